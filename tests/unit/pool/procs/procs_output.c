/* SPDX-License-Identifier: BSD-3-Clause */
/* What jobs print and log arrives: every line, whole, with its level. The test
 * is the log's consumer. */
#include "procs_kit.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "mail/logring.h"
#include "sync/clock.h"

enum { LINES = 20000, LONG = 2000 };

static gate_err_t flood(gate_call_t *call) {
    for (int i = 0; i < LINES; i++)
        printf("line %d of a flood\n", i);
    return gate_return(call, 1);
}

static gate_err_t speak(gate_call_t *call) {
    gate_log(GATE_ERROR, "mine", "it is %s", "bad");
    gate_log(GATE_WARN, "mine", "it is doubtful");
    fprintf(stderr, "no level\n");
    return gate_return(call, 1);
}

static gate_err_t lengthy(gate_call_t *call) {
    char line[LONG + 1];
    for (int i = 0; i < LONG; i++)
        line[i] = (char)('a' + i % 26);
    line[LONG] = 0;
    printf("%s\n", line);
    return gate_return(call, 1);
}

/* ---- the consumer ---------------------------------------------------------- */

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER; /* over s_heard_t */

typedef struct s_heard {
    int next; /* line of the flood */
    bool wrong;
    int errors, warnings, plain;
    size_t n_long;
    atomic_bool over;
} s_heard_t;

static void s_hear(s_heard_t *self, const gi_log_line_t *line) {
    const char *text = strstr(line->text, ": ");
    int n;
    if (strncmp(line->part, "worker.", 7) || !text)
        return;
    text += 2;
    if (sscanf(text, "line %d of a flood", &n) == 1) {
        self->wrong |= n != self->next;
        self->next = n + 1;
    } else if (!strcmp(text, "mine: speak: it is bad"))
        self->errors += line->level == GATE_ERROR;
    else if (!strcmp(text, "mine: speak: it is doubtful"))
        self->warnings += line->level == GATE_WARN;
    else if (!strcmp(text, "no level"))
        self->plain += line->level == GATE_INFO;
    else
        for (; *text; text++, self->n_long++)
            self->wrong |= *text != (char)('a' + self->n_long % 26);
}

/* Slower than a flood: it looks every 5 ms. */
static void *s_consume(void *ctx) {
    s_heard_t *self = ctx;
    gi_log_line_t line;
    while (!atomic_load(&self->over)) {
        while (gi_logring_pop(&line)) {
            pthread_mutex_lock(&s_lock);
            s_hear(self, &line);
            pthread_mutex_unlock(&s_lock);
        }
        gi_logring_written();
        usleep(5000);
    }
    return NULL;
}

static bool s_heard_all(s_heard_t *heard, bool (*all)(s_heard_t *)) {
    pthread_mutex_lock(&s_lock);
    bool is = all(heard);
    pthread_mutex_unlock(&s_lock);
    return is;
}

static void s_run(gate_fn *fn, s_heard_t *heard, bool (*all)(s_heard_t *)) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    int64_t until = gi_clock_ms() + 60000;
    uint64_t before = gate_log_dropped();
    pthread_t thread;
    int fd;
    gate_fn_register("speak", speak);
    ok(gi_logring_attach(&fd));
    cr_assert_eq(pthread_create(&thread, NULL, s_consume, heard), 0);
    GATE_OWN(gate_future) f = gate_submit(pool, fn);
    ok(gate_future_wait(f, 60000, gate_onone(NULL)));
    while (!s_heard_all(heard, all) && gi_clock_ms() < until)
        usleep(5000);
    gate_pool_destroy(&pool);
    atomic_store(&heard->over, true);
    pthread_join(thread, NULL);
    gi_logring_detach();
    cr_assert(all(heard), "%d %d %d %d %zu", heard->next, heard->errors,
              heard->warnings, heard->plain, heard->n_long);
    cr_assert(!heard->wrong);
    cr_assert_eq(gate_log_dropped(), before);
}

static bool s_flooded(s_heard_t *h) { return h->next == LINES; }
static bool s_spoken(s_heard_t *h) {
    return h->errors == 1 && h->warnings == 1 && h->plain == 1;
}
static bool s_lengthy(s_heard_t *h) { return h->n_long == LONG; }

Test(procs_output, a_flood_arrives_whole, .timeout = 120) {
    s_heard_t heard = {0};
    s_run(flood, &heard, s_flooded);
}

Test(procs_output, a_line_has_its_level_and_job, .timeout = 120) {
    s_heard_t heard = {0};
    s_run(speak, &heard, s_spoken);
}

Test(procs_output, a_long_line_arrives_in_pieces, .timeout = 120) {
    s_heard_t heard = {0};
    s_run(lengthy, &heard, s_lengthy);
}

Test(procs_output, what_has_the_form_of_a_line) {
    char good[] = "2026-01-02 03:04:05.678 WARN  broker: text";
    char bad[] = "2026-01-02 03:04:05.678 WARNS broker: text";
    char none[] = "2026-01-02";
    gate_level_t level = GATE_INFO;
    const char *text = NULL;
    cr_assert(gi_logring_parse(good, &level, &text));
    cr_assert_eq(level, GATE_WARN);
    cr_assert_str_eq(text, "broker: text");
    cr_assert(!gi_logring_parse(bad, &level, &text));
    cr_assert(!gi_logring_parse(none, &level, &text));
}
