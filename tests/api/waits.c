/* SPDX-License-Identifier: BSD-3-Clause */
/* Who waits for itself, or in a child of fork() for what its parent has, is told
 * so at once. Each runs in a process that an alarm ends: a hang is a failure. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

#define MUST(call) cr_assert_eq(call, GATE_OK, "%s", gate_error()->text)

static gate_err_t nothing(gate_call_t *call) { return gate_return(call, 1); }

static void s_pause(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* ---- in a job or a callback of the same object --------------------------- */
typedef struct s_world {
    gate_runtime_t *rt;
    gate_pool_t *pool;
    gate_cq_t *cq;
    gate_supervisor_t *supervisor;
    void (*act)(struct s_world *);
    gate_err_t code;
    atomic_bool over;
} s_world_t;

static s_world_t s_w;

static void s_drain(s_world_t *w) { w->code = gate_pool_drain(w->pool, -1); }
static void s_stop(s_world_t *w) {
    w->code = gate_pool_stop(w->pool, GATE_STOP_RUNNING, 60000);
}
/* It asks, and does not wait. */
static void s_stop_ask(s_world_t *w) {
    if (gate_pool_stop(w->pool, GATE_STOP_QUEUED, 0) == GATE_TIMEOUT)
        w->code = GATE_WOULDBLOCK;
}
static void s_wait(s_world_t *w) {
    if (gate_runtime_wait(w->rt) == 1)
        w->code = gate_error()->code;
}
static void s_end_pool(s_world_t *w) {
    gate_pool_destroy(&w->pool);
    w->code = w->pool ? GATE_OK : GATE_WOULDBLOCK;
}
static void s_end_all(s_world_t *w) {
    s_end_pool(w);
    gate_runtime_destroy(&w->rt);
}

static gate_err_t s_job(gate_call_t *call) {
    s_w.act(&s_w);
    s_w.over = true;
    return gate_return(call, 1);
}

static void s_told(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)ctx, (void)e, (void)value;
    s_w.act(&s_w);
    s_w.over = true;
}

static gate_err_t s_here(void *ctx, void (*run)(void *arg), void *arg) {
    (void)ctx;
    run(arg);
    return GATE_OK;
}

/* A custom pool that runs at once has told before there is a callback. */
static void s_begin(int where) {
    const gate_pool_options_t one = {.workers = 1};
    gate_future_t *f = NULL;
    s_w.pool = where < 3 ? gate_threads_new(s_w.rt, &one)
                         : gate_pool_custom(s_w.rt, s_here, NULL);
    if (where % 3 == 0)
        f = gate_submit(s_w.pool, s_job);
    else if (where % 3 == 1)
        MUST(gate_submit_then(s_w.pool, nothing, s_told, NULL));
    else {
        f = gate_submit(s_w.pool, nothing);
        gate_future_then(&f, NULL, s_told, NULL);
    }
    gate_future_destroy(&f);
}

static void s_until_over(void) {
    while (!s_w.over)
        s_pause(1);
}

static int s_of_a_pool(void (*act)(s_world_t *), int where) {
    alarm(60);
    s_w = (s_world_t){.rt = gate_runtime_new(NULL), .act = act};
    s_begin(where);
    s_until_over();
    gate_pool_destroy(&s_w.pool);
    gate_runtime_destroy(&s_w.rt); /* waits for what was left to do */
    return s_w.code == GATE_WOULDBLOCK ? 0 : 1;
}

static void s_ends_well(pid_t pid, const char *what, int where) {
    int status;
    cr_assert(pid > 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s, %d: %x", what,
              where, (unsigned)status);
}

Test(waits, a_pool_in_its_own_job_or_callback) {
    static const struct {
        const char *name;
        void (*act)(s_world_t *);
    } acts[] = {{"drain", s_drain},      {"stop", s_stop},
                {"stop 0", s_stop_ask},  {"runtime_wait", s_wait},
                {"destroy", s_end_pool}, {"destroy all", s_end_all}};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        for (int where = 0; where < 5; where++) {
            pid_t pid = fork();
            if (!pid)
                exit(s_of_a_pool(acts[i].act, where));
            s_ends_well(pid, acts[i].name, where);
        }
}

/* ---- a supervisor in its child's function -------------------------------- */
static void s_ready(s_world_t *w) {
    w->code = gate_supervisor_ready(w->supervisor, -1);
}
static void s_end_supervisor(s_world_t *w) {
    gate_supervisor_destroy(&w->supervisor);
    w->code = w->supervisor ? GATE_OK : GATE_WOULDBLOCK;
}

static gate_err_t s_child_start(void *ctx) {
    (void)ctx;
    if (!s_w.over)
        s_w.act(&s_w);
    s_w.over = true;
    return GATE_OK;
}

static int s_of_a_supervisor(void (*act)(s_world_t *)) {
    const gate_child_t child = {.name = "c", .start = s_child_start};
    alarm(60);
    s_w = (s_world_t){.rt = gate_runtime_new(NULL), .act = act};
    s_w.supervisor = gate_supervisor_new(s_w.rt, NULL);
    gate_supervisor_add(s_w.supervisor, &child);
    MUST(gate_supervisor_start(s_w.supervisor));
    s_until_over();
    gate_supervisor_destroy(&s_w.supervisor);
    gate_runtime_destroy(&s_w.rt);
    return s_w.code == GATE_WOULDBLOCK ? 0 : 1;
}

Test(waits, a_supervisor_in_its_childs_function) {
    void (*const acts[])(s_world_t *) = {s_ready, s_end_supervisor, s_wait};
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (!pid)
            exit(s_of_a_supervisor(acts[i]));
        s_ends_well(pid, "supervisor", i);
    }
}

/* ---- a queue on an actor's thread ---------------------------------------- */
static gate_err_t waits(gate_call_t *call) {
    gate_cq_t *cq = gate_cq_new();
    size_t n = gate_cq_wait(cq, 1, -1);
    gate_err_t e = gate_error()->code;
    gate_cq_destroy(&cq);
    return gate_return(call, n == 0 ? (int)e : -1);
}

Test(waits, a_completion_queue_in_an_inline_handler) {
    static const gate_method_t table[] = {GATE_METHOD(waits), GATE_END};
    rig_t rig;
    int code = 0;
    rig_up(&rig, RIG_TCP, NULL, table, NULL);
    MUST(gate_client_call(rig.client, "Test.waits", &code));
    cr_expect_eq(code, GATE_WOULDBLOCK);
    rig_down(&rig);
}

/* ---- in a child of fork() ------------------------------------------------ */
typedef struct s_parents {
    gate_runtime_t *rt;
    gate_cq_t *cq, *full;
    gate_dict_t *dict;
    gate_supervisor_t *supervisor;
    gate_stream_t *stream;
    gate_future_t *future;
} s_parents_t;

static bool s_closed(void) {
    return gate_error()->code == GATE_CLOSED &&
           strstr(gate_error()->text, "fork()");
}

static void s_note(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)value;
    *(gate_err_t *)ctx = e;
}

/* The number of the first that is not as it should be. */
static int s_child_waits(s_parents_t *p) {
    void *value;
    gate_err_t e = GATE_OK;
    alarm(60);
    if (gate_cq_wait(p->cq, 1, -1) || !s_closed())
        return 1;
    if (gate_cq_dispatch(p->full, 1) || !s_closed()) /* it is run there */
        return 2;
    if (gate_cq_fd(p->cq) != -1 || gate_stream_fd(p->stream) != -1)
        return 3;
    if (gate_dict_get(p->dict, (gate_bytes_t){"k", 1}, &value, -1) !=
            GATE_CLOSED ||
        gate_dict_set(p->dict, (gate_bytes_t){"l", 1}, p, -1) != GATE_CLOSED)
        return 4;
    if (gate_supervisor_ready(p->supervisor, -1) != GATE_CLOSED)
        return 5;
    gate_future_then(&p->future, NULL, s_note, &e);
    if (e != GATE_CLOSED || p->future)
        return 6;
    gate_client_t *client = gate_client_new(p->rt);
    if (gate_client_connect(client, "tcp://127.0.0.1:9") != GATE_CLOSED)
        return 7;
    gate_client_destroy(&client);
    gate_dict_destroy(&p->dict);
    gate_cq_destroy(&p->cq);
    gate_cq_destroy(&p->full);
    gate_supervisor_destroy(&p->supervisor);
    return 0;
}

static void *s_gets(void *dict) {
    void *value = NULL;
    MUST(gate_dict_get(dict, (gate_bytes_t){"k", 1}, &value, -1));
    return value;
}

static atomic_bool s_go_on;

static gate_err_t held(gate_call_t *call) {
    while (!s_go_on)
        s_pause(1);
    return gate_return(call, 7);
}

static void s_count(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)value;
    *(int *)ctx += e == GATE_OK;
}

Test(waits, a_child_for_what_its_parent_has) {
    static const gate_method_t table[] = {
        GATE_METHOD(held, .runs = GATE_THREAD), GATE_METHOD(nothing), GATE_END};
    const gate_child_t child = {.name = "c", .start = s_child_start};
    rig_t rig;
    s_parents_t p = {.cq = gate_cq_new(), .full = gate_cq_new()};
    pthread_t getter;
    int ran = 0;
    rig_up(&rig, RIG_TCP, NULL, table, NULL);
    p.rt = rig.rt;
    s_w.over = true; /* the child's start does nothing */
    p.supervisor = gate_supervisor_new(rig.rt, NULL);
    gate_supervisor_add(p.supervisor, &child);
    MUST(gate_supervisor_start(p.supervisor));
    p.dict = gate_dict_new(4, NULL);
    pthread_create(&getter, NULL, s_gets, p.dict);
    p.future = gate_client_start(rig.client, "Test.held");
    MUST(gate_client_open(rig.client, "Test.held", &p.stream));
    gate_future_t *f = gate_client_start(rig.client, "Test.held");
    gate_future_then(&f, p.cq, s_count, &ran);
    gate_pool_t *pool = gate_pool_custom(rig.rt, s_here, NULL);
    f = gate_submit(pool, nothing);
    gate_future_then(&f, p.full, s_count, &ran);
    s_pause(50); /* the getter is inside, as a rule */
    pid_t pid = fork();
    if (!pid)
        _exit(s_child_waits(&p));
    s_ends_well(pid, "a child", 0);
    s_go_on = true;
    MUST(gate_dict_set(p.dict, (gate_bytes_t){"k", 1}, &p, -1));
    pthread_join(getter, NULL);
    cr_expect_eq(gate_cq_wait(p.cq, 1, 60000), 1);
    cr_expect_eq(gate_cq_dispatch(p.full, 1), 1);
    cr_expect_eq(ran, 2);
    gate_stream_destroy(&p.stream);
    gate_future_destroy(&p.future);
    gate_dict_destroy(&p.dict);
    gate_cq_destroy(&p.cq);
    gate_cq_destroy(&p.full);
    gate_supervisor_destroy(&p.supervisor);
    gate_pool_destroy(&pool);
    rig_down(&rig);
}
