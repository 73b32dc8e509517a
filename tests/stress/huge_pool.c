/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_pool.c -- huge results compressed over pools of every kind: what comes
 * out is one sound stream, whatever the pool does in between. Own main, for
 * TSan. GATE_SCALE scales the rounds. */
#include "bulk/huge_pack.h"
#include "huge/codec.h"
#include "base/mem.h"
#include "sync/waitpoint.h"
#include "value/mp.h"
#include "shared/queue.h"
#include "settings/settings.h"
#include "huge/split.h"
#include <gaterpc/runtime.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S_MUST(what)                                                     \
    do {                                                                 \
        if (!(what)) {                                                   \
            fprintf(stderr, "FAIL: line %d: %s (%s)\n", __LINE__, #what, \
                    gate_error()->text);                                 \
            exit(1);                                                     \
        }                                                                \
    } while (0)

static _Thread_local unsigned s_seed = 1;

static unsigned s_random(void) {
    s_seed ^= s_seed << 13;
    s_seed ^= s_seed >> 17;
    return s_seed ^= s_seed << 5;
}

static gi_pool_base_t s_base(void) {
    static gate_settings_t *settings;
    if (!settings)
        settings = gate_settings_new();
    return (gi_pool_base_t){.settings = settings};
}

static gate_pool_t *s_threads(int workers, int queue_max) {
    gi_pool_base_t base = s_base();
    gate_pool_options_t options = {.workers = workers, .queue_max = queue_max};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    S_MUST(pool);
    return pool;
}

/* ---- a pool that acts as worker processes do, and fails as they do ------- */
static gate_pool_t *s_inner; /* threads that run the jobs */
static bool s_faults;        /* now and then full, or a worker is lost */
static atomic_int s_n_done;

typedef struct s_proc {
    const gi_sink_t *sink;
    void *ctx;
} s_proc_t;

static void s_proc_done(void *ctx, const void *data, size_t size,
                        const gate_error_t *err) {
    static const gate_error_t lost = {GATE_WORKERLOST, "WorkerLostError",
                                      "killed", ""};
    s_proc_t *proc = ctx;
    if (s_faults && atomic_fetch_add(&s_n_done, 1) % 7 == 0)
        proc->sink->done(proc->ctx, NULL, 0, &lost);
    else
        proc->sink->done(proc->ctx, data, size, err);
    free(proc);
}

/* Threads know no shared memory: the first argument, a reference to it, becomes
 * the bytes themselves. */
static void s_resolve(gi_buf_t *to, gi_request_t *request) {
    static const unsigned char head[] = {0x94, 0xd4, GI_EXT_RUN, 0};
    const unsigned char *args = request->args.data;
    if (!request->n_runs)
        return;
    S_MUST(request->n_runs == 1 && !memcmp(args, head, sizeof head));
    unsigned char *data = gi_run_data(request->runs[0]);
    data += request->run_refs[0].at - gi_run_at(request->runs[0], data);
    gi_mp_put_byte(to, 0x94);
    gi_mp_put_bin(to, data, (size_t)request->run_refs[0].size);
    gi_buf_append(to, args + sizeof head, request->args.size - sizeof head);
    request->args = (gate_bytes_t){to->data, to->size};
    request->n_runs = 0;
}

static gate_err_t s_proc_submit(gate_pool_t *self, const gi_request_t *request,
                                gi_ticket_t *ticket) {
    static const gi_sink_t sink = {.done = s_proc_done};
    gi_request_t inner = *request;
    gi_buf_t args = {0};
    s_resolve(&args, &inner);
    s_proc_t *proc = malloc(sizeof *proc);
    (void)self;
    S_MUST(proc);
    *proc = (s_proc_t){request->sink, request->ctx};
    inner.sink = &sink;
    inner.ctx = proc;
    gate_err_t e = args.failed ? GATE_NOMEM
                   : s_faults && s_random() % 5 == 0
                       ? GATE_BUSY
                       : gi_pool_submit(s_inner, &inner, ticket);
    gi_buf_fini(&args);
    if (e != GATE_OK)
        free(proc);
    return e;
}

static void s_proc_cancel(gate_pool_t *self, gi_ticket_t ticket) {
    (void)self;
    gi_pool_cancel(s_inner, ticket);
}

static gate_value_t *s_proc_stats(gate_pool_t *self) {
    (void)self;
    return gate_pool_stats(s_inner);
}

static gi_exchange_t *s_memory;

static gi_exchange_t *s_proc_inbox(gate_pool_t *self) {
    (void)self;
    return s_memory;
}

static gate_pool_t *s_procs(void) {
    static const gi_pool_ops_t ops = {.kind = "processes",
                                      .stats = s_proc_stats,
                                      .submit = s_proc_submit,
                                      .cancel = s_proc_cancel,
                                      .inbox = s_proc_inbox};
    static gate_pool_t pool = {.ops = &ops};
    return &pool;
}

/* ---- data, and what must come of it -------------------------------------- */
static char *s_data(size_t size) {
    char *data = malloc(size + 64);
    unsigned kind = s_random() % 3;
    S_MUST(data);
    for (size_t i = 0; i < size;)
        if (kind == 0)
            i += (size_t)sprintf(data + i, "{\"id\": %u, \"n\": \"u-%u\"},",
                                 s_random() % 99999, s_random() % 500);
        else if (kind == 1)
            data[i++] = (char)(s_random() >> 7);
        else
            data[i++] = "0123456789abcdef"[s_random() >> 5 & 15];
    return data;
}

typedef struct s_out {
    char *data;
    size_t size;
    size_t fail_after; /* emit fails at this size; 0 = never */
} s_out_t;

static gate_err_t s_emit(void *ctx, const void *data, size_t size) {
    s_out_t *out = ctx;
    S_MUST(size > 0);
    out->data = realloc(out->data, out->size + size);
    S_MUST(out->data);
    memcpy(out->data + out->size, data, size);
    out->size += size;
    return out->fail_after && out->size >= out->fail_after ? GATE_LOST
                                                           : GATE_OK;
}

static void s_check(const char *codec, s_out_t *out, const char *data,
                    size_t size) {
    void *back;
    size_t n;
    gate_bytes_t in = {out->data, out->size};
    S_MUST(gate_decompress(codec, in, size, &back, &n) == GATE_OK);
    S_MUST(n == size && !memcmp(back, data, size));
    free(back);
    free(out->data);
    *out = (s_out_t){0};
}

/* ---- the ways to drive it ------------------------------------------------ */
typedef struct s_bell {
    gi_monitor_t monitor;
    int rung;
} s_bell_t;

static void s_ring(void *ctx) {
    s_bell_t *bell = ctx;
    gi_monitor_enter(&bell->monitor);
    bell->rung++;
    gi_monitor_notify(&bell->monitor);
    gi_monitor_leave(&bell->monitor);
}

/* As an actor does: next until it would block, then the bell or a tick. */
static void s_pull(gi_huge_pack_t *pack, s_bell_t *bell, s_out_t *out) {
    gate_bytes_t chunk;
    gate_err_t e;
    while ((e = gi_huge_pack_next(pack, &chunk)) != GATE_EOS) {
        if (e == GATE_OK) {
            (void)s_emit(out, chunk.data, chunk.size);
            gi_huge_pack_sent(pack, chunk.size, 1000);
            continue;
        }
        S_MUST(e == GATE_WOULDBLOCK);
        gi_monitor_enter(&bell->monitor);
        if (!bell->rung)
            gi_monitor_wait(&bell->monitor, 20);
        bell->rung = 0;
        gi_monitor_leave(&bell->monitor);
    }
}

static void s_async(gate_pool_t *pool, gi_huge_pack_options_t options,
                    gate_bytes_t in, s_out_t *out) {
    s_bell_t bell = {.rung = 0};
    gi_huge_pack_t *pack;
    gi_monitor_init(&bell.monitor);
    options.ready = s_ring;
    options.ctx = &bell;
    S_MUST(gi_huge_pack_new(pool, &options, &pack) == GATE_OK);
    S_MUST(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0}, in) == GATE_OK);
    s_pull(pack, &bell, out);
    gi_huge_pack_destroy(&pack);
    gi_monitor_fini(&bell.monitor);
}

/* Piece by piece, as it is made. */
static void s_fed(gate_pool_t *pool, const gi_huge_pack_options_t *options,
                  gate_bytes_t in, s_out_t *out) {
    gi_huge_pack_t *pack;
    gate_bytes_t chunk;
    gate_err_t e = GATE_WOULDBLOCK;
    S_MUST(gi_huge_pack_new(pool, options, &pack) == GATE_OK);
    while (e != GATE_EOS) {
        size_t n = s_random() % 300000;
        gate_bytes_t part = {in.data, n < in.size ? n : in.size};
        size_t had = part.size;
        S_MUST(gi_huge_pack_feed(pack, &part) == GATE_OK);
        gi_codec_used(&in, had - part.size);
        if (!in.size)
            gi_huge_pack_finish(pack);
        while ((e = gi_huge_pack_wait(pack, &chunk)) == GATE_OK)
            (void)s_emit(out, chunk.data, chunk.size);
        S_MUST(e == GATE_EOS || (e == GATE_WOULDBLOCK && in.size));
    }
    gi_huge_pack_destroy(&pack);
}

/* Every way over one pool with one piece of data. */
static void s_ways(gate_pool_t *pool, const char *codec, size_t size) {
    char *data = s_data(size);
    gate_bytes_t in = {data, size};
    s_out_t out = {0};
    gi_huge_pack_options_t options = {.codec = codec,
                                      .level = (int)(s_random() % 4),
                                      .chunk_bytes = 1000 + s_random() % 200000,
                                      .mode =
                                          (gi_policy_mode_t)(s_random() % 3)};
    S_MUST(gi_huge_pool_compress(pool, &options, in, s_emit, &out) == GATE_OK);
    s_check(codec, &out, data, size);
    s_async(pool, options, in, &out);
    s_check(codec, &out, data, size);
    s_fed(pool, &options, in, &out);
    s_check(codec, &out, data, size);
    void *packed;
    S_MUST(gate_compress(pool, codec, 0, in, &packed, &out.size) == GATE_OK);
    out.data = packed;
    s_check(codec, &out, data, size);
    free(data);
}

static void s_sizes(gate_pool_t *pool, const char *codec, int n) {
    static const size_t sizes[] = {0, 1, GI_BLOCK_SIZE - 1, GI_BLOCK_SIZE,
                                   GI_BLOCK_SIZE + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        s_ways(pool, codec, sizes[i]);
    for (int i = 0; i < n; i++)
        s_ways(pool, codec, s_random() % (12 * GI_BLOCK_SIZE));
}

/* Ends before its time: the receiver left, or everything is torn down. */
static void s_endings(gate_pool_t *pool) {
    size_t size = 8 * GI_BLOCK_SIZE;
    char *data = s_data(size);
    gi_huge_pack_options_t options = {.chunk_bytes = 10000,
                                      .mode = GI_POLICY_COMPRESS};
    for (int i = 0; i < 12; i++) {
        s_out_t out = {.fail_after = 1 + s_random() % 100000};
        gi_huge_pack_t *pack;
        gate_bytes_t chunk;
        char *mine = malloc(size); /* freed at once: nobody may read it after */
        S_MUST(mine);
        memcpy(mine, data, size);
        gate_bytes_t in = {mine, size};
        S_MUST(gi_huge_pool_compress(pool, &options, in, s_emit, &out) ==
               GATE_LOST);
        free(out.data);
        S_MUST(gi_huge_pack_new(pool, &options, &pack) == GATE_OK);
        S_MUST(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0}, in) ==
               GATE_OK);
        for (unsigned n = s_random() % 8; n--;)
            S_MUST(gi_huge_pack_wait(pack, &chunk) == GATE_OK);
        if (i % 2) {
            gi_huge_pack_cancel(pack);
            S_MUST(gi_huge_pack_wait(pack, &chunk) == GATE_CANCELLED);
            S_MUST(gi_huge_pack_next(pack, &chunk) == GATE_CANCELLED);
        }
        gi_huge_pack_destroy(&pack);
        gi_huge_pack_destroy(&pack);
        free(mine);
    }
    free(data);
}

/* A cancel from another thread wakes who waits. */
static void *s_cancel(void *arg) {
    gi_huge_pack_cancel(arg);
    return NULL;
}

static void s_cancels(gate_pool_t *pool) {
    size_t size = 60 * GI_BLOCK_SIZE;
    char *data = s_data(size);
    gi_huge_pack_options_t options = {.mode = GI_POLICY_COMPRESS};
    for (int i = 0; i < 5; i++) {
        gi_huge_pack_t *pack;
        gate_bytes_t chunk;
        pthread_t thread;
        S_MUST(gi_huge_pack_new(pool, &options, &pack) == GATE_OK);
        S_MUST(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0},
                                   (gate_bytes_t){data, size}) == GATE_OK);
        S_MUST(!pthread_create(&thread, NULL, s_cancel, pack));
        gate_err_t e;
        while ((e = gi_huge_pack_wait(pack, &chunk)) == GATE_OK)
            ;
        S_MUST(e == GATE_CANCELLED || e == GATE_EOS);
        pthread_join(thread, NULL);
        gi_huge_pack_destroy(&pack);
    }
    free(data);
}

/* The n-th allocation fails, for every n: an error or a sound result. */
static void s_no_memory(gate_pool_t *pool, const char *codec) {
    size_t size = 3 * GI_BLOCK_SIZE + 5;
    char *data = s_data(size);
    gi_huge_pack_options_t options = {.codec = codec,
                                      .mode = GI_POLICY_COMPRESS};
    for (long at = 1; at < 60; at++) {
        s_out_t out = {0};
        gi_mem_fail_at(at, at % 2);
        gate_err_t e = gi_huge_pool_compress(
            pool, &options, (gate_bytes_t){data, size}, s_emit, &out);
        gi_mem_fail_at(0, false);
        S_MUST(e == GATE_OK || e == GATE_NOMEM);
        if (e == GATE_OK)
            s_check(codec, &out, data, size);
        free(out.data);
    }
    free(data);
}

/* A pool whose only worker never comes: the owner does the work. */
static void s_stay(gi_job_t *job) {
    (void)job;
    struct timespec t = {0, 300 * 1000000};
    nanosleep(&t, NULL); /* the job that keeps the worker */
}

static void s_stuck(void) {
    gate_pool_t *pool = s_threads(1, 10);
    gi_job_t stay = {.run = s_stay};
    S_MUST(gi_pool_run(pool, &stay) == GATE_OK);
    int64_t begun = gi_clock_ms();
    s_ways(pool, NULL, 5 * GI_BLOCK_SIZE);
    fprintf(stderr, "stuck pool: %d ms\n", (int)(gi_clock_ms() - begun));
    gate_pool_destroy(&pool);
}

/* An executor of one's own that runs the job at once, inside submit. */
static gate_err_t s_at_once(void *ctx, void (*run)(void *arg), void *arg) {
    (void)ctx;
    run(arg);
    return GATE_OK;
}

static void *s_many(void *pool) {
    size_t size = 20 * GI_BLOCK_SIZE + 3;
    char *data = malloc(size);
    S_MUST(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * i >> 9);
    gi_huge_pack_options_t options = {0};
    for (int i = 0; i < 3; i++) {
        s_out_t out = {0};
        gate_bytes_t in = {data, size};
        S_MUST(gi_huge_pool_compress(pool, &options, in, s_emit, &out) ==
               GATE_OK);
        s_check(NULL, &out, data, size);
    }
    free(data);
    return NULL;
}

static void s_concurrent(gate_pool_t *pool) {
    pthread_t threads[20];
    for (int i = 0; i < 20; i++)
        S_MUST(!pthread_create(&threads[i], NULL, s_many, pool));
    for (int i = 0; i < 20; i++)
        pthread_join(threads[i], NULL);
}

static void s_pool(gate_pool_t *pool, int rounds) {
    static const char *const codecs[] = {"bz2", "lzma", "zstd", "lz4"};
    s_sizes(pool, NULL, rounds);
    for (size_t i = 0; i < 4; i++)
        s_ways(pool, codecs[i], 2 * GI_BLOCK_SIZE + 7);
    s_endings(pool);
    s_cancels(pool);
    s_no_memory(pool, NULL);
    s_no_memory(pool, "lz4");
}

static void s_real_procs(int rounds) {
    gate_pool_options_t options = {.workers = 2};
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool) pool = gate_procs_new(rt, &options);
    S_MUST(pool);
    s_sizes(pool, NULL, rounds);
    s_ways(pool, "zstd", 2 * GI_BLOCK_SIZE + 7);
    s_endings(pool);
    s_cancels(pool);
    s_concurrent(pool);
}

int main(void) {
    const char *scale = getenv("GATE_SCALE");
    int rounds = scale ? (int)(3 * atof(scale)) : 3;
    gi_pool_base_t base = s_base();
    gi_huge_pack_options_t options = {.codec = "snappy"};
    gi_huge_pack_t *pack;
    S_MUST(gi_huge_pack_new(NULL, &options, &pack) == GATE_NOTIMPL);
    S_MUST(gate_process_init() == GATE_OK); /* before any thread */
    s_real_procs(rounds);
    s_sizes(NULL, NULL, rounds);
    s_ways(NULL, "zstd", 500000);
    s_no_memory(NULL, NULL);
    for (int workers = 1; workers <= 3; workers++) {
        gate_pool_t *pool = s_threads(workers, workers == 3 ? 1 : 1000);
        s_pool(pool, rounds);
        if (workers == 2)
            s_concurrent(pool);
        gate_pool_destroy(&pool);
    }
    gate_pool_t *custom = gi_pool_custom(&base, s_at_once, NULL);
    s_pool(custom, rounds);
    gate_pool_destroy(&custom);
    s_stuck();
    s_inner = s_threads(2, 1000);
    s_memory = gi_exchange_new("stress", 64); /* at times it is all in use */
    S_MUST(s_memory);
    for (int i = 0; i < 2; i++) {
        s_faults = i;
        s_pool(s_procs(), rounds);
    }
    s_concurrent(s_procs());
    gate_pool_destroy(&s_inner);
    gi_exchange_release(&s_memory);
    gate_settings_t *settings = (gate_settings_t *)(uintptr_t)base.settings;
    gate_settings_destroy(&settings);
    printf("ok\n");
    return 0;
}
