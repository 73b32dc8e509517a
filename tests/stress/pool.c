/* SPDX-License-Identifier: BSD-3-Clause */
/* The races of src/pool, with counts that ThreadSanitizer manages in seconds.
 * Every check aborts. */
#include <gaterpc/call.h>
#include <gaterpc/dict.h>
#include <gaterpc/log.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "async/future.h"
#include "mail/logring.h"
#include "mail/mailbox.h"
#include "jobs/pool.h"
#include "async/stream.h"

#define CHECK(what)                                                    \
    do {                                                               \
        if (!(what)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                   \
        }                                                              \
    } while (0)

#define THREADS 4

static void s_threads(void *(*run)(void *), void *arg, pthread_t *threads) {
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, run, arg) == 0);
}

static void s_join(pthread_t *threads) {
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- mailbox: push, sleep, close and destroy ----------------------------- */
#define ITEMS 20000

static atomic_int s_closed_pushes;

static void *s_push(void *box) {
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        gate_err_t e = gi_mailbox_push(box, (void *)i, i % 2 ? -1 : 5);

        if (e == GATE_BUSY)
            i--;
        else if (e == GATE_CLOSED)
            s_closed_pushes++;
        else
            CHECK(e == GATE_OK);
    }
    return NULL;
}

static size_t s_take(gi_mailbox_t *box, size_t enough) {
    void *items[32];
    size_t got = 0, n;

    while (got < enough) {
        got += n = gi_mailbox_pop(box, items, 32);
        if (n || !gi_mailbox_sleep(box))
            continue;
        struct pollfd item = {gi_mailbox_fd(box), POLLIN, 0};
        CHECK(poll(&item, 1, 20000) == 1);
        gi_mailbox_wake(box);
    }
    return got;
}

static void s_mailbox(void) {
    static const size_t capacities[] = {1024, 8, 65536};

    for (int round = 0; round < 3; round++) {
        gi_mailbox_t *box = gi_mailbox_new(capacities[round]);
        pthread_t threads[THREADS];
        void *items[32];
        size_t got, n;

        s_closed_pushes = 0;
        s_threads(s_push, box, threads);
        got = s_take(box, THREADS * ITEMS / 2);
        gi_mailbox_close(box);
        while ((n = gi_mailbox_pop(box, items, 32)))
            got += n;
        s_join(threads);
        CHECK(gi_mailbox_pop(box, items, 32) == 0);
        CHECK(got + (size_t)s_closed_pushes == THREADS * ITEMS);
        gi_mailbox_destroy(&box);
    }
}

/* The box is destroyed as soon as the last item was taken: the push that
 * brought it may still be on its way out. */
static void *s_push_one(void *box) {
    CHECK(gi_mailbox_push(box, box, 0) == GATE_OK);
    return NULL;
}

/* Enough for a second ring: its owner may sleep at the first one's end. */
#define MANY 100

static void *s_push_many(void *box) {
    for (int i = 0; i < MANY; i++) {
        CHECK(gi_mailbox_push(box, box, 0) == GATE_OK);
        if (i % 8 == 0)
            sched_yield();
    }
    return NULL;
}

static void s_mailbox_grows(void) {
    for (int round = 0; round < 300; round++) {
        gi_mailbox_t *box = gi_mailbox_new(65536);
        pthread_t threads[THREADS];

        s_threads(s_push_many, box, threads);
        s_take(box, THREADS * MANY);
        gi_mailbox_destroy(&box);
        s_join(threads);
    }
}

static void s_mailbox_destroy(void) {
    for (int round = 0; round < 300; round++) {
        gi_mailbox_t *box = gi_mailbox_new(8);
        pthread_t threads[THREADS];

        s_threads(s_push_one, box, threads);
        s_take(box, THREADS);
        gi_mailbox_destroy(&box);
        s_join(threads);
    }
}

/* ---- thread pool --------------------------------------------------------- */
static atomic_long s_ran;

static void s_count(gi_job_t *job) {
    (void)job;
    atomic_fetch_add(&s_ran, 1);
}

static void *s_submit(void *pool) {
    gi_job_t *jobs = calloc(2000, sizeof *jobs);

    for (int i = 0; i < 2000; i++) {
        jobs[i].run = s_count;
        while (gi_threads_submit(pool, &jobs[i]) == GATE_BUSY)
            ;
        if (i % 500 == 0)
            CHECK(gi_threads_resize(pool, 1 + i / 500) == GATE_OK);
    }
    return jobs;
}

static void s_thread_pool(void) {
    for (int round = 0; round < 5; round++) {
        gi_threads_t *pool;
        pthread_t threads[THREADS];
        void *jobs[THREADS];

        s_ran = 0;
        CHECK(gi_threads_new("stress", 3, 256, &pool) == GATE_OK);
        s_threads(s_submit, pool, threads);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], &jobs[i]);
        gi_threads_destroy(&pool);
        CHECK(s_ran == THREADS * 2000);
        for (int i = 0; i < THREADS; i++)
            free(jobs[i]);
    }
}

/* ---- futures: complete, cancel, wait, then ------------------------------- */
static atomic_int s_callbacks, s_releases;

static void s_release(void *hint) {
    s_releases++;
    free(hint);
}

static void s_on_cancel(void *ctx, gate_future_t *f) {
    (void)f;
    for (int i = 0; i < 20; i++) /* the completion comes meanwhile */
        sched_yield();
    ++*(int *)ctx; /* plain: TSan sees it if the completion does not wait */
}

typedef struct s_race {
    gate_future_t *future;
    int cancels;
    atomic_bool begun;
} s_race_t;

static void *s_complete(void *arg) {
    s_race_t *race = arg;
    char *bytes = malloc(1);

    *bytes = 5;
    race->begun = true;
    gi_future_complete_packed(race->future, bytes, 1, s_release, bytes);
    race->cancels += 100; /* never beside the callback */
    return NULL;
}

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)ctx;
    CHECK((e == GATE_OK) == (value != NULL));
    s_callbacks++;
}

static void s_futures(void) {
    gate_cq_t *cq = gate_cq_new();
    int expected = 0;

    for (int round = 0; round < 3000; round++) {
        gate_future_t *f = gi_future_new(NULL, NULL, NULL);
        s_race_t race = {f, 0, false};
        pthread_t thread;
        gate_err_t e;

        gi_future_on_cancel(f, s_on_cancel, &race.cancels);
        CHECK(pthread_create(&thread, NULL, s_complete, &race) == 0);
        switch (round % 5) {
        case 0:
            while (round % 2 && !race.begun)
                sched_yield();
            gate_future_cancel(f);
            e = gate_future_wait_(f, -1, gate_onone(NULL));
            CHECK(e == GATE_OK || e == GATE_CANCELLED);
            break;
        case 1:
            CHECK(gate_future_wait_(f, -1, gate_onone(NULL)) == GATE_OK);
            break;
        case 2:
            gate_future_then(&f, NULL, s_done, NULL);
            expected++;
            break;
        case 3:
            gate_future_then(&f, cq, s_done, NULL);
            expected++;
            break;
        default:
            break; /* destroyed while it is completed */
        }
        gate_future_destroy(&f);
        pthread_join(thread, NULL);
        CHECK(race.cancels == 100 || race.cancels == 101);
        gate_cq_dispatch(cq, 1);
    }
    while (s_callbacks < expected)
        gate_cq_wait(cq, 10, 100);
    CHECK(s_releases == 3000);
    gate_cq_destroy(&cq);
}

/* ---- jobs through futures, streams and map ------------------------------- */
static gate_err_t s_job(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);

    return e == GATE_OK ? gate_return(call, n + 1) : e;
}

static gate_err_t s_items(gate_call_t *call) {
    gate_err_t e = GATE_OK;

    for (int64_t i = 0; i < 5000 && e == GATE_OK; i++)
        e = gate_yield(call, i);
    return e == GATE_OK ? GATE_EOS : e;
}

static void s_read_some(gate_stream_t *s, int64_t enough) {
    int64_t n, got = 0;
    gate_err_t e = GATE_OK;

    while (got < enough && (e = gate_stream_next(s, &n)) == GATE_OK)
        CHECK(n == got++);
    CHECK(e == GATE_OK || e == GATE_EOS);
    CHECK(got == (enough < 5000 ? enough : 5000));
}

static void *s_use_pool(void *arg) {
    gate_pool_t *pool = arg;
    gate_stream_t *s;

    for (int round = 0; round < 200; round++) {
        gate_future_t *f = gate_submit(pool, s_job, round);
        int64_t n = 0;

        if (round % 3 == 0)
            gate_future_cancel(f);
        else if (gate_future_wait(f, -1, &n) == GATE_OK)
            CHECK(n == round + 1);
        gate_future_destroy(&f);
        if (round % 20 == 0) {
            CHECK(gate_submit_stream(pool, s_items, &s) == GATE_OK);
            s_read_some(s, round % 40 ? 10000 : 100);
            gate_stream_destroy(&s);
        }
    }
    return NULL;
}

static void *s_use_map(void *arg) {
    gate_arg_t inputs[1000];
    gate_stream_t *s;
    int64_t n;

    for (int i = 0; i < 1000; i++)
        inputs[i] = gate_int(i);
    for (int round = 0; round < 6; round++) {
        CHECK(gate_pool_map(arg, s_job, inputs, 1000, round % 2, &s) ==
              GATE_OK);
        for (int i = 0; i < (round < 4 ? 1000 : 300); i++) {
            CHECK(gate_stream_next(s, &n) == GATE_OK);
            CHECK(n == (int64_t)gate_stream_index(s) + 1);
        }
        gate_stream_destroy(&s);
    }
    return NULL;
}

static void s_jobs(void) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 3};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    pthread_t threads[THREADS];

    s_threads(s_use_pool, pool, threads);
    s_use_map(pool);
    s_join(threads);
    gate_pool_destroy(&pool);
}

/* Jobs that wait for jobs of their own pool, on fewer threads than wait. */
static gate_pool_t *s_own;

static gate_err_t s_halves(gate_call_t *call) {
    gate_job_options_t options = {0};
    int64_t n, sum = 0, one = 0;
    gate_err_t e = gate_args(call, &n), failed = GATE_OK;
    gate_future_t *f[2];

    if (e || n < 2)
        return e ? e : gate_return(call, n);
    for (int i = 0; i < 2; i++) {
        options.priority = (n + i) % 3 == 0 ? GATE_HIGH : GATE_NORMAL;
        f[i] = gate_submit_with(s_own, s_halves, &options, n - 1 - i);
    }
    for (int i = 1; i >= 0; i--, sum += one) {
        e = gate_future_wait(f[i], n % 2 ? -1 : 100000, &one);
        CHECK(e == GATE_OK || e == GATE_CLOSED); /* one that was left alone */
        failed = failed ? failed : e;
        gate_future_destroy(&f[i]);
    }
    return failed ? failed : gate_return(call, sum);
}

static void *s_use_nested(void *unused) {
    for (int round = 0; round < 40; round++) {
        gate_future_t *f = gate_submit(s_own, s_halves, (int64_t)8);
        gate_future_t *left = gate_submit(s_own, s_halves, (int64_t)3);
        int64_t n = 0;

        if (round % 2)
            gate_future_cancel(left);
        gate_future_destroy(&left);
        CHECK(gate_future_wait(f, -1, &n) == GATE_OK && n == 21);
        gate_future_destroy(&f);
    }
    return unused;
}

static void s_nested(void) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 3};
    pthread_t threads[THREADS];

    s_own = gi_pool_threads(&base, &options);
    s_threads(s_use_nested, NULL, threads);
    s_join(threads);
    gate_pool_t *pool = s_own; /* jobs that were left alone read the other */
    gate_pool_destroy(&pool);
}

/* A reader reads on while the pool is destroyed. */
static void *s_read_on(void *arg) {
    gate_stream_t *s = arg;

    while (gate_stream_next_(s, gate_onone(NULL)) == GATE_OK)
        ;
    gate_stream_destroy(&s);
    return NULL;
}

static void s_destroy_under_readers(void) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 2};
    gate_arg_t inputs[1000];

    for (int i = 0; i < 1000; i++)
        inputs[i] = gate_int(i);
    for (int round = 0; round < 30; round++) {
        gate_pool_t *pool = gi_pool_threads(&base, &options);
        gate_stream_t *map, *items;
        pthread_t a, b;

        CHECK(gate_pool_map(pool, s_job, inputs, 1000, round % 2, &map) ==
              GATE_OK);
        CHECK(gate_submit_stream(pool, s_items, &items) == GATE_OK);
        pthread_create(&a, NULL, s_read_on, map);
        pthread_create(&b, NULL, s_read_on, items);
        gate_pool_destroy(&pool);
        pthread_join(a, NULL);
        pthread_join(b, NULL);
    }
}

/* ---- streams: a producer against a reader that leaves -------------------- */
static void s_stream_stop(void *ctx) { atomic_fetch_add((atomic_int *)ctx, 1); }

static void s_stream_credit(void *ctx, size_t items, size_t bytes) {
    (void)items;
    (void)bytes;
    CHECK(atomic_load((atomic_int *)ctx) == 0);
}

static const gi_stream_ops_t s_stream_ops = {.credit = s_stream_credit,
                                             .stop = s_stream_stop};

static void *s_feed(void *arg) {
    gate_stream_t *s = arg;

    for (size_t i = 0; i < 500; i++) {
        char *bytes = malloc(1);

        *bytes = (char)(i % 100);
        if (gi_stream_push(s, bytes, 1, free, bytes, i) == GATE_CANCELLED)
            break;
    }
    gi_stream_idle_ms(s, 0);
    gi_stream_end(s);
    gi_stream_release(&s);
    return NULL;
}

static void s_streams(void) {
    for (int round = 0; round < 300; round++) {
        atomic_int stops = 0;
        gi_stream_options_t options = {
            .timeout_ms = -1, .ops = &s_stream_ops, .ctx = &stops};
        gate_stream_t *s = gi_stream_new(NULL, &options);
        pthread_t thread;
        int64_t n;

        CHECK(pthread_create(&thread, NULL, s_feed, s) == 0);
        for (int i = 0; i < (round % 2 ? 500 : round); i++) {
            CHECK(gate_stream_next(s, &n) == GATE_OK);
            CHECK(n == i % 100);
        }
        if (round % 3 == 0)
            gate_stream_fd(s);
        gate_stream_destroy(&s);
        pthread_join(thread, NULL);
        CHECK(stops <= 1);
    }
}

/* ---- dictionary ---------------------------------------------------------- */
static atomic_int s_dict_sum;

static void *s_use_dict(void *arg) {
    gate_dict_t *dict = arg;
    static atomic_int ids;
    int id = ids++;
    void *value;
    char key[4] = {0};

    for (int i = 0; i < 3000; i++) {
        gate_bytes_t bytes = {key, sizeof key};

        key[0] = (char)(i % 37);
        key[1] = (char)(id / 2); /* pairs: one sets, one gets */
        if (id % 2) {
            while (gate_dict_get(dict, bytes, &value, 10) == GATE_TIMEOUT)
                ;
            s_dict_sum -= (int)(intptr_t)value;
        } else {
            while (gate_dict_has(dict, bytes) ||
                   gate_dict_set(dict, bytes, (void *)(intptr_t)(i + 1), 10) ==
                       GATE_BUSY)
                ;
            s_dict_sum += i + 1;
        }
    }
    return NULL;
}

static atomic_int s_dict_entering;

static void *s_wait_in_dict(void *arg) {
    void *value;

    s_dict_entering++;
    CHECK(gate_dict_get(arg, (gate_bytes_t){"x", 1}, &value, -1) ==
          GATE_CLOSED);
    return NULL;
}

static void s_dict(void) {
    gate_dict_t *dict = gate_dict_new(64, NULL);
    pthread_t threads[THREADS];

    s_threads(s_use_dict, dict, threads);
    s_join(threads);
    CHECK(s_dict_sum == 0);
    CHECK(gate_dict_size(dict) == 0);
    s_threads(s_wait_in_dict, dict, threads);
    /* Destroy is for those inside: each has said that it goes in, and is given
     * far longer than the few instructions that are left to it. */
    while (s_dict_entering < THREADS)
        poll(NULL, 0, 1);
    poll(NULL, 0, 300);
    gate_dict_destroy(&dict);
    s_join(threads);
}

/* ---- log ----------------------------------------------------------------- */
static void *s_log(void *arg) {
    for (int i = 0; i < 3000; i++)
        gate_log(GATE_INFO, "stress", "line %d", i);
    return arg;
}

static void s_logring(void) {
    pthread_t threads[THREADS];
    gi_log_line_t line;
    uint64_t popped = 0;
    int fd;

    CHECK(gi_logring_attach(&fd) == GATE_OK);
    s_threads(s_log, NULL, threads);
    while (popped + gate_log_dropped() < THREADS * 3000) {
        while (gi_logring_pop(&line))
            popped++;
        gi_logring_written();
        if (popped + gate_log_dropped() < THREADS * 3000 &&
            gi_logring_sleep()) {
            struct pollfd item = {fd, POLLIN, 0};
            poll(&item, 1, 100); /* the last lines may be dropped ones */
            gi_logring_wake();
        }
    }
    s_join(threads);
    CHECK(popped > 0);
    gi_logring_detach();
}

static const struct {
    const char *name;
    void (*run)(void);
} s_parts[] = {
    {"mailbox", s_mailbox},
    {"mailbox_destroy", s_mailbox_destroy},
    {"mailbox_grows", s_mailbox_grows},
    {"thread_pool", s_thread_pool},
    {"futures", s_futures},
    {"jobs", s_jobs},
    {"nested", s_nested},
    {"destroy_under_readers", s_destroy_under_readers},
    {"streams", s_streams},
    {"dict", s_dict},
    {"logring", s_logring},
};

/* stress_pool [part] */
int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof s_parts / sizeof *s_parts; i++) {
        if (argc > 1 && strcmp(argv[1], s_parts[i].name) != 0)
            continue;
        fprintf(stderr, "%s\n", s_parts[i].name);
        s_parts[i].run();
    }
    return 0;
}
