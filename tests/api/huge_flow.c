/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_flow.c -- huge values keep nobody waiting who need not wait: what is
 * compressed holds up no actor, and what a slow producer gave is at its reader
 * before the next comes. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "rig.h"

#define OK(call)                                                          \
    do {                                                                  \
        gate_err_t e_ = (call);                                           \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s", #call, gate_err_name(e_), \
                     gate_error()->text);                                 \
    } while (0)

/* Seen by worker processes too. */
typedef struct s_gates {
    sem_t entered, let, seen;
} s_gates_t;
static s_gates_t *s_gates;

static bool s_await(sem_t *sem) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    return sem_timedwait(sem, &until) == 0;
}

/* ---- a codec that is held up in its step --------------------------------- */
static void *s_held_open(bool compress, int level) {
    bool *self = calloc(1, sizeof *self);
    (void)level;
    *self = compress;
    return self;
}

static gate_err_t s_held_step(void *impl, gate_bytes_t *in, void *out,
                              size_t *room, bool finish) {
    bool *first = impl;
    if (*first) {
        sem_post(&s_gates->entered);
        if (!s_await(&s_gates->let))
            return gate_codec_error(GATE_TIMEOUT, "nobody let it go on");
    }
    *first = false;
    size_t n = in->size < *room ? in->size : *room;
    if (n)
        memcpy(out, in->data, n);
    in->data = (const char *)in->data + n;
    in->size -= n;
    *room = n;
    return finish && !in->size ? GATE_EOS : GATE_OK;
}

__attribute__((constructor)) static void s_begin(void) {
    static const gate_codec_t held = {"held", s_held_open, free, s_held_step};
    s_gates = mmap(NULL, sizeof *s_gates, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s_gates == MAP_FAILED || sem_init(&s_gates->entered, 1, 0) ||
        sem_init(&s_gates->let, 1, 0) || sem_init(&s_gates->seen, 1, 0) ||
        gate_codec_register(&held) || gate_process_init())
        abort();
}

/* ---- the service --------------------------------------------------------- */
static gate_err_t ping(gate_call_t *call) { return gate_return(call, 1); }

static gate_err_t length(gate_call_t *call) {
    gate_bytes_t in;
    gate_err_t e = gate_args(call, &in);
    return e ? e : gate_return(call, (int64_t)in.size);
}

static gate_err_t zeros(gate_call_t *call) {
    int64_t n;
    const char *codec;
    gate_err_t e = gate_args(call, &n, &codec);
    return e ? e
             : gate_huge_data(call, calloc(1, (size_t)n), (size_t)n, free,
                              &(gate_huge_options_t){.codec = codec});
}

/* Three pieces, each once its reader has the one before. */
static gate_err_t slow(gate_call_t *call) {
    char piece[1000];
    const char *codec;
    bool flush;
    gate_err_t e = gate_args(call, &codec, &flush);
    if (e)
        return e;
    GATE_OWN(gate_huge)
    h = gate_huge_new(
        call, &(gate_huge_options_t){.codec = codec, .size = sizeof piece * 3});
    if (!h)
        return gate_error()->code;
    for (int i = 0; i < 3 && !e; i++) {
        memset(piece, 'a' + i, sizeof piece);
        e = gate_huge_put(h, piece, sizeof piece);
        if (!e && flush)
            e = gate_huge_flush(h);
        if (!e && !s_await(&s_gates->seen))
            e = gate_raise(call, "TimeoutError", "its reader has seen nothing");
    }
    return e ? e : gate_huge_end(&h);
}

/* Its reader leaves before it begins, and it looks at nothing. */
static gate_err_t late(gate_call_t *call) {
    size_t n = 8 << 20; /* of noise: more than goes out unread */
    char *data = calloc(1, n);
    unsigned x = 1;
    for (size_t i = 0; data && i < n; i++)
        data[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    sem_post(&s_gates->entered);
    if (!data || !s_await(&s_gates->let))
        return gate_raise(call, "TimeoutError", "nobody let it go on");
    return gate_huge_data(call, data, n, free, NULL);
}

static const gate_method_t table[] = {
    {.name = "ping", .fn = ping, .runs = GATE_INLINE},
    {.name = "length", .fn = length, .runs = GATE_INLINE},
    {.name = "zeros", .fn = zeros, .runs = GATE_INLINE},
    {.name = "slow_t", .fn = slow, .runs = GATE_THREAD},
    {.name = "slow_p", .fn = slow, .runs = GATE_PROCESS},
    {.name = "ping_p", .fn = ping, .runs = GATE_PROCESS},
    {.name = "late_t", .fn = late, .runs = GATE_THREAD},
    {.name = "late_p", .fn = late, .runs = GATE_PROCESS},
    GATE_END,
};

/* ---- no actor compresses ------------------------------------------------- */
static void s_ping(rig_t *rig) {
    int64_t one = 0;
    OK(gate_client_call(rig->client, "Test.ping", &one,
                        gate_timeout_ms(20000)));
    cr_assert_eq(one, 1);
}

/* With worker processes running, which cannot take such a block. */
static void s_held_up(rig_way_t way) {
    int64_t n = 0;
    rig_t rig;
    gate_bytes_t got;
    rig_up(&rig, way, NULL, table, NULL);
    OK(gate_client_call(rig.client, "Test.ping_p", NULL));
    for (int last = 0; last < 2; last++) { /* all of it, or its end alone */
        size_t size = last ? 0 : 300000;
        GATE_OWN(gate_future)
        result = gate_client_start(rig.client, "Test.zeros", (int64_t)size,
                                   "held", gate_timeout_ms(60000));
        cr_assert(s_await(&s_gates->entered));
        s_ping(&rig);
        sem_post(&s_gates->let);
        OK(gate_future_wait(result, 60000, &got));
        cr_assert_eq(got.size, size);
    }
    /* the same of an argument, at its client; s_ping is that client's */
    GATE_OWN(gate_huge)
    h = gate_huge_arg_new(
        &(gate_huge_options_t){.codec = "held", .size = 100000});
    GATE_OWN(gate_future)
    call =
        gate_client_start(rig.client, "Test.length", h, gate_timeout_ms(60000));
    char *bytes = calloc(1, 100000);
    OK(gate_huge_put(h, bytes, 100000));
    free(bytes);
    OK(gate_huge_end(&h));
    cr_assert(s_await(&s_gates->entered));
    s_ping(&rig);
    sem_post(&s_gates->let);
    OK(gate_future_wait(call, 60000, &n));
    cr_assert_eq(n, 100000);
    rig_down(&rig);
}

Test(huge_flow, inline_calls_are_answered_while_a_block_is_compressed,
     .timeout = 120) {
    s_held_up(RIG_IPC);
    s_held_up(RIG_TCP);
}

/* ---- a slow producer ----------------------------------------------------- */
static void s_read_slow(rig_t *rig, const char *method, const char *codec,
                        bool flush) {
    char got[3001];
    size_t n = 0;
    GATE_OWN(gate_stream) stream = NULL;
    OK(gate_client_open(rig->client, method, &stream, codec, flush,
                        gate_timeout_ms(20000)));
    for (int i = 1; i <= 3; i++) {
        while (n < 1000 * (size_t)i) {
            size_t size = sizeof got - n;
            OK(gate_stream_read(stream, got + n, &size));
            n += size;
        }
        cr_assert_eq(n, 1000 * (size_t)i, "%s %s", method, codec);
        cr_assert_eq(got[n - 1], 'a' + i - 1);
        sem_post(&s_gates->seen);
    }
    size_t size = sizeof got;
    cr_assert_eq(gate_stream_read(stream, got, &size), GATE_EOS);
}

Test(huge_flow, what_a_slow_producer_gave_is_there_before_the_next,
     .timeout = 120) {
    static const char *const codecs[] = {"gzip", "lzma", "zstd", "lz4"};
    static const rig_way_t ways[] = {RIG_TCP, RIG_REGISTRY};
    for (size_t w = 0; w < 2; w++) {
        rig_t rig;
        rig_up(&rig, ways[w], NULL, table, NULL);
        for (size_t c = 0; c < 4; c++)
            for (int flush = c > 0; flush < 2; flush++) {
                s_read_slow(&rig, "Test.slow_t", codecs[c], flush);
                s_read_slow(&rig, "Test.slow_p", codecs[c], flush);
            }
        rig_down(&rig);
    }
}

/* Its service hears of a slow argument often enough, in every codec. */
Test(huge_flow, an_argument_that_comes_slowly_is_not_taken_for_dead,
     .timeout = 120) {
    static const char *const codecs[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    GATE_OWN(gate_settings) settings = rig_settings();
    gate_settings_set(settings, "reply_timeout", 1);
    rig_t rig;
    gate_huge_t *h[5];
    gate_future_t *f[5];
    rig_up(&rig, RIG_IPC, settings, table, NULL);
    for (int c = 0; c < 5; c++) {
        h[c] = gate_huge_arg_new(
            &(gate_huge_options_t){.codec = codecs[c], .size = 160});
        f[c] = gate_client_start(rig.client, "Test.length", h[c],
                                 gate_timeout_ms(60000));
    }
    for (int i = 0; i < 16; i++) { /* 2.4 s: more than two of its timeouts */
        for (int c = 0; c < 5; c++)
            OK(gate_huge_put(h[c], "0123456789", 10));
        if (i == 2)
            OK(gate_huge_flush(h[0]));
        nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
    }
    for (int c = 0; c < 5; c++) {
        int64_t n = 0;
        OK(gate_huge_end(&h[c]));
        OK(gate_future_wait(f[c], 60000, &n));
        cr_assert_eq(n, 160);
        gate_future_destroy(&f[c]);
    }
    rig_down(&rig);
}

/* ---- nobody reads it ----------------------------------------------------- */
static int64_t s_stat(rig_t *rig, const char *name) {
    int64_t n = -1;
    GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
    OK(gate_value_read(stats, name, &n));
    return n;
}

static void s_becomes(rig_t *rig, const char *name, int64_t n) {
    for (int i = 0; i < 2000 && s_stat(rig, name) != n; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    cr_assert_eq(s_stat(rig, name), n, "%s", name);
}

/* The slot is free as soon as the handler is back. */
Test(huge_flow, one_that_begins_after_its_reader_left_ends, .timeout = 120) {
    static const char *const methods[] = {"Test.late_t", "Test.late_p"};
    for (int w = 0; w < rig_ways(); w++) {
        rig_t rig;
        rig_up(&rig, (rig_way_t)w, NULL, table, NULL);
        for (int64_t i = 0; i < 2; i++) {
            gate_stream_t *stream = NULL;
            OK(gate_client_open(rig.client, methods[i], &stream));
            cr_assert(s_await(&s_gates->entered));
            gate_stream_destroy(&stream);
            s_becomes(&rig, "cancelled", i + 1);
            sem_post(&s_gates->let);
            s_becomes(&rig, "in_flight", 0);
        }
        s_ping(&rig);
        rig_down(&rig);
    }
}
