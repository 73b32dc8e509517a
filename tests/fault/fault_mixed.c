/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_mixed.c -- everything at once: readers and callers are killed and
 * started anew, clients' and a worker's connections are cut, another worker is
 * killed, while lanes keep their ledger. Nothing is lost, double or wrong; and
 * within three heartbeats after it slots, threads and memory of the broker and
 * of the service that lived through it are where they were. Long: 60 s. */
#include "child.h"
#include "chaos.h"
#include "lanes.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 500
#define CALLERS 6
#define LANES 4 /* of each client */
#define TIMEOUT_MS 8000
#define STEPS 6 /* of each kind of chaos one, of killed callers three */
#define GROWN_KB (32 * 1024)

typedef struct world {
    child_t broker, lives, dies; /* two services */
    child_t callers[CALLERS];
    char front[128], back[128];
    chaos_t *cut_front, *cut_back;
    gate_runtime_t *runtime;
    gate_client_t *client[2], *asks; /* cut now and then; not; looks */
    unsigned seed;
    int n_killed, n_cut, n_died;
} world_t;

static const gate_err_t s_loss[] = {GATE_LOST, GATE_WORKERLOST, GATE_NOSERVICE,
                                    GATE_TIMEOUT, GATE_BUSY};

/* ---- what is there ------------------------------------------------------- */
static int s_threads(const child_t *child) {
    char path[64];
    int n = -2; /* "." and ".." */
    snprintf(path, sizeof path, "/proc/%d/task", (int)child->pid);
    DIR *dir = opendir(path);
    if (!dir)
        child_die("cannot read %s", path);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

typedef struct room {
    int threads[2];
    long kb[2];
} room_t;

static room_t s_room(const world_t *w) {
    return (room_t){{s_threads(&w->broker), s_threads(&w->lives)},
                    {child_rss_kb(&w->broker), child_rss_kb(&w->lives)}};
}

static bool s_is_back(const world_t *w, const room_t *before) {
    room_t now = s_room(w);
    long most = (long)(GROWN_KB * child_slow()); /* sanitizers keep more */
    return lanes_count(w->asks, "in_flight") == 0 &&
           lanes_count(w->asks, "queued") == 0 &&
           now.threads[0] <= before->threads[0] &&
           now.threads[1] <= before->threads[1] &&
           now.kb[0] - before->kb[0] < most && now.kb[1] - before->kb[1] < most;
}

/* ---- chaos --------------------------------------------------------------- */
/* Streams whose output nobody reads, one that is slow, a call that runs on. */
static void s_caller(world_t *w, int i) {
    static const char *const what[][3] = {{"Demo.gen", "1000000000", NULL},
                                          {"Demo.slow_gen", "1000000", "1"},
                                          {"Demo.sleep", "60000", NULL}};
    const char *const *words = what[rand_r(&w->seed) % 3];
    const char *at = i % 2 ? w->front : chaos_endpoint(w->cut_front);
    w->callers[i].out = -1;
    child_spawn(&w->callers[i],
                (const char *const[]){"call", "--broker", at, words[0],
                                      words[1], words[2], NULL});
}

static void s_one(world_t *w, int step) {
    int i = rand_r(&w->seed) % CALLERS;
    switch (step % STEPS) {
    case 1:
    case 3:
        chaos_cut(step % STEPS == 1 ? w->cut_front : w->cut_back);
        w->n_cut++;
        break;
    case 5:
        child_kill(&w->dies);
        child_service(&w->dies, w->back, "2");
        w->n_died++;
        break;
    default:
        child_kill(&w->callers[i]);
        s_caller(w, i);
        w->n_killed++;
    }
}

static void s_chaos(world_t *w, double ms) {
    double end = child_now_ms() + ms;
    for (int i = 0; i < CALLERS; i++)
        s_caller(w, i);
    for (int step = 0; step < 2 * STEPS || child_now_ms() < end; step++) {
        s_one(w, step);
        child_sleep_ms(50 + rand_r(&w->seed) % 100);
    }
    for (int i = 0; i < CALLERS; i++)
        child_kill(&w->callers[i]);
    printf("%d callers killed, %d cuts, %d workers killed\n", w->n_killed,
           w->n_cut, w->n_died);
}

/* ---- the test ------------------------------------------------------------ */
static void s_begin(world_t *w) {
    child_broker(&w->broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&w->broker, "frontend=", w->front, sizeof w->front);
    child_endpoint(&w->broker, "backend=", w->back, sizeof w->back);
    w->cut_front = chaos_new(w->front);
    w->cut_back = chaos_new(w->back);
    child_service(&w->lives, chaos_endpoint(w->cut_back), "2");
    child_service(&w->dies, w->back, "2");
    w->runtime = lanes_runtime();
    w->client[0] = lanes_client(w->runtime, chaos_endpoint(w->cut_front));
    w->client[1] = lanes_client(w->runtime, w->front);
    w->asks = lanes_client(w->runtime, w->front);
}

/* Threads of a pool are made when they are wanted. */
static void s_warm(world_t *w) {
    gate_future_t *calls[32];
    for (int i = 0; i < 32; i++)
        calls[i] = gate_client_start(w->asks, "Demo.sleep", 50);
    for (int i = 0; i < 32; i++) {
        gate_value_t *v = NULL;
        gate_err_t e = gate_future_wait(calls[i], 30000, &v);
        if (e)
            child_fail("warm: %s", gate_error()->text);
        gate_value_destroy(&v);
        gate_future_destroy(&calls[i]);
    }
}

static void s_end(world_t *w) {
    gate_client_destroy(&w->client[0]);
    gate_client_destroy(&w->client[1]);
    gate_client_destroy(&w->asks);
    gate_runtime_destroy(&w->runtime);
    child_end(&w->dies);
    child_end(&w->lives);
    child_end(&w->broker);
    chaos_destroy(&w->cut_front);
    chaos_destroy(&w->cut_back);
}

/* Lanes over both clients, with or without chaos beside them. */
static void s_load(world_t *w, const char *name, double chaos_ms) {
    ledger_t *ledger = ledger_new(name, 4000000);
    for (size_t i = 0; chaos_ms > 0 && i < sizeof s_loss / sizeof *s_loss; i++)
        ledger_allow(ledger, s_loss[i]);
    lanes_t *lanes =
        lanes_start_each(w->client, 2, ledger, 2 * LANES, TIMEOUT_MS, 1);
    if (chaos_ms > 0)
        s_chaos(w, chaos_ms);
    child_check(lanes_all_back(lanes, 20 * HB_MS * child_slow()) >= 0,
                "all lanes are answered again");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    world_t w = {.seed = 1};
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    /* What ASan keeps back of freed memory is nobody's. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    s_begin(&w);
    s_warm(&w);
    s_load(&w, "calm", 0);
    room_t before = s_room(&w);
    s_load(&w, "mixed chaos", child_long() ? 60000 : 2500);
    double begin = child_now_ms(),
           limit = 3 * HB_MS * (child_slow() < 4 ? 4 : child_slow());
    if (child_long())
        limit = 3 * HB_MS;
    while (!s_is_back(&w, &before) && child_now_ms() - begin < limit)
        child_sleep_ms(20);
    room_t after = s_room(&w);
    printf("after %.0f ms: in flight %lld, queued %lld; broker %d -> %d "
           "threads, %+ld kB; service %d -> %d threads, %+ld kB\n",
           child_now_ms() - begin, (long long)lanes_count(w.asks, "in_flight"),
           (long long)lanes_count(w.asks, "queued"), before.threads[0],
           after.threads[0], after.kb[0] - before.kb[0], before.threads[1],
           after.threads[1], after.kb[1] - before.kb[1]);
    child_check(s_is_back(&w, &before),
                "slots, threads and memory are back within three heartbeats");
    s_end(&w);
    return child_result();
}
