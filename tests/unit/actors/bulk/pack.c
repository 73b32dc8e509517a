/* SPDX-License-Identifier: BSD-3-Clause */
/* pack.c -- a huge value's blocks: who compresses them, when less than a frame
 * goes out, and what is told of a codec that misbehaves. */
#include "bulk/huge_pack.h"
#include "huge/codec.h"
#include "huge/join.h"
#include "huge/split.h"
#include "settings/settings.h"
#include "sync/clock.h"
#include "sync/waitpoint.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const s_codecs[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
#define S_CODECS (sizeof s_codecs / sizeof *s_codecs)

static gate_pool_t *s_threads(int workers) {
    gi_pool_base_t base = {.settings = gate_settings_new()};
    gate_pool_options_t options = {.workers = workers};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    gate_settings_destroy((gate_settings_t **)(void *)&base.settings);
    cr_assert(pool);
    return pool;
}

static unsigned char *s_data(size_t size, unsigned seed) {
    unsigned char *data = malloc(size + 64);
    for (size_t i = 0; i < size; seed = seed * 1664525 + 1013904223)
        i += (size_t)sprintf((char *)data + i, "%u: user-%u,", seed >> 16,
                             seed >> 27);
    return data;
}

/* ---- a bell, as an actor's mailbox --------------------------------------- */
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

static bool s_rung(s_bell_t *bell) {
    gi_monitor_enter(&bell->monitor);
    bool rung = bell->rung > 0;
    bell->rung = 0;
    gi_monitor_leave(&bell->monitor);
    return rung;
}

static void s_await_bell(s_bell_t *bell, int ms) {
    gi_monitor_enter(&bell->monitor);
    if (!bell->rung)
        gi_monitor_wait(&bell->monitor, ms);
    bell->rung = 0;
    gi_monitor_leave(&bell->monitor);
}

/* ---- a reader ------------------------------------------------------------ */
typedef struct s_reader {
    gi_join_t *join;
    unsigned char *data;
    size_t size;
    int frames;
} s_reader_t;

static void s_read(s_reader_t *r, gate_bytes_t frame) {
    gate_err_t e = GATE_OK;
    size_t n;
    r->frames++;
    do {
        r->data = realloc(r->data, r->size + 65536);
        n = 65536;
        e = gi_join_step(r->join, &frame, r->data + r->size, &n);
        r->size += n;
        cr_assert(!e || e == GATE_EOS, "%s", gate_error()->text);
    } while (!e && (frame.size || n == 65536));
}

static void s_reader_init(s_reader_t *r, const char *codec) {
    *r = (s_reader_t){0};
    gi_join_options_t options = {.codec = codec, .ratio_max = 500};
    cr_assert_eq(gi_join_new(&options, &r->join), GATE_OK);
}

static void s_reader_fini(s_reader_t *r) {
    gi_join_destroy(&r->join);
    free(r->data);
}

/* Everything that there is to be had now. */
static gate_err_t s_drain(gi_huge_pack_t *pack, s_bell_t *bell,
                          s_reader_t *reader) {
    gate_bytes_t frame;
    gate_err_t e;
    for (;;) {
        e = gi_huge_pack_next(pack, &frame);
        if (e == GATE_OK)
            s_read(reader, frame);
        else if (e != GATE_WOULDBLOCK)
            return e;
        else if (!gi_huge_pack_idle(pack))
            s_await_bell(bell, 1000);
        else if (!s_rung(bell))
            return e;
    }
}

static gi_huge_pack_t *s_pack(gate_pool_t *pool, s_bell_t *bell,
                              gi_huge_pack_options_t options) {
    gi_huge_pack_t *pack;
    bell->rung = 0;
    gi_monitor_init(&bell->monitor);
    options.mode = GI_POLICY_COMPRESS;
    options.ready = s_ring;
    options.ctx = bell;
    cr_assert_eq(gi_huge_pack_new(pool, &options, &pack), GATE_OK);
    return pack;
}

static void s_feed(gi_huge_pack_t *pack, s_bell_t *bell, s_reader_t *reader,
                   gate_bytes_t in) {
    while (in.size) {
        cr_assert_eq(gi_huge_pack_feed(pack, &in), GATE_OK);
        if (in.size)
            cr_assert_eq(s_drain(pack, bell, reader), GATE_WOULDBLOCK);
    }
}

/* ---- flushing ------------------------------------------------------------ */
/* All that was put before each flush is there for the reader after it; bz2's
 * last bits come with what follows. */
static void s_flushes(gate_pool_t *pool, const char *codec, int level,
                      unsigned seed) {
    enum { SIZE = 700000 };
    unsigned char *data = s_data(SIZE, seed);
    s_bell_t bell;
    s_reader_t reader;
    gi_huge_pack_t *pack = s_pack(
        pool, &bell, (gi_huge_pack_options_t){.codec = codec, .level = level});
    s_reader_init(&reader, codec);
    for (size_t at = 0; at < SIZE;) {
        seed = seed * 1664525 + 1013904223;
        size_t n = seed >> 28 ? (seed >> 8) % 3000 : GI_BLOCK_SIZE + seed % 9;
        n = n < SIZE - at ? n : SIZE - at;
        int frames = reader.frames;
        s_feed(pack, &bell, &reader, (gate_bytes_t){data + at, n});
        at += n;
        gi_huge_pack_flush(pack);
        cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
        cr_assert(!n || reader.frames > frames, "%s: %zu", codec, n);
        if (strcmp(codec, "bz2"))
            cr_assert_eq(reader.size, at, "%s: %zu of %zu", codec, reader.size,
                         at);
    }
    gi_huge_pack_finish(pack);
    cr_assert_eq(s_drain(pack, &bell, &reader), GATE_EOS);
    cr_assert_eq(reader.size, SIZE);
    cr_assert(!memcmp(reader.data, data, SIZE));
    gi_huge_pack_destroy(&pack);
    s_reader_fini(&reader);
    free(data);
}

Test(pack, what_was_put_before_a_flush_is_there_after_it) {
    for (int workers = 0; workers < 3; workers++) {
        gate_pool_t *pool = workers ? s_threads(workers) : NULL;
        for (size_t c = 0; c < S_CODECS; c++)
            s_flushes(pool, s_codecs[c], 1, (unsigned)(7 * workers + 1));
        s_flushes(pool, "gzip", 6, 99); /* its blocks look back */
        gate_pool_destroy(&pool);
    }
}

/* A flush without anything new makes no frame. */
Test(pack, a_flush_of_nothing_is_none) {
    gate_pool_t *pool = s_threads(1);
    for (size_t c = 0; c < S_CODECS; c++) {
        s_bell_t bell;
        s_reader_t reader;
        gi_huge_pack_t *pack = s_pack(
            pool, &bell,
            (gi_huge_pack_options_t){.codec = s_codecs[c], .flush_ms = 1});
        s_reader_init(&reader, s_codecs[c]);
        gi_huge_pack_flush(pack);
        cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
        cr_assert_eq(gi_huge_pack_due(pack), INT64_MAX);
        s_feed(pack, &bell, &reader, (gate_bytes_t){"abc", 3});
        gi_huge_pack_flush(pack);
        cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
        int frames = reader.frames;
        cr_assert_geq(frames, 1, "%s", s_codecs[c]);
        for (int i = 0; i < 5; i++) {
            gi_huge_pack_flush(pack);
            cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
        }
        cr_assert_eq(reader.frames, frames, "%s", s_codecs[c]);
        cr_assert_eq(gi_huge_pack_due(pack), INT64_MAX);
        gi_huge_pack_destroy(&pack);
        s_reader_fini(&reader);
    }
    gate_pool_destroy(&pool);
}

/* Nobody says flush: what was fed goes out by itself, when due says. */
Test(pack, what_is_held_for_long_goes_out_by_itself) {
    gate_pool_t *pool = s_threads(1);
    for (size_t c = 0; c < S_CODECS; c++) {
        s_bell_t bell;
        s_reader_t reader;
        gi_huge_pack_t *pack = s_pack(
            pool, &bell,
            (gi_huge_pack_options_t){.codec = s_codecs[c], .flush_ms = 20});
        s_reader_init(&reader, s_codecs[c]);
        for (int i = 1; i < 4; i++) {
            s_feed(pack, &bell, &reader, (gate_bytes_t){"abc", 3});
            int64_t due = gi_huge_pack_due(pack);
            cr_assert_leq(due, gi_clock_ms() + 20, "%s", s_codecs[c]);
            while (reader.frames < i) {
                gate_err_t e = s_drain(pack, &bell, &reader);
                cr_assert_eq(e, GATE_WOULDBLOCK);
                cr_assert(reader.frames == i || gi_clock_ms() < due + 5000);
                s_await_bell(&bell, 5);
            }
            cr_assert_geq(gi_clock_ms(), due, "%s", s_codecs[c]);
        }
        gi_huge_pack_finish(pack);
        cr_assert_eq(s_drain(pack, &bell, &reader), GATE_EOS);
        cr_assert(reader.size == 9 && !memcmp(reader.data, "abcabcabc", 9));
        gi_huge_pack_destroy(&pack);
        s_reader_fini(&reader);
    }
    gate_pool_destroy(&pool);
}

/* Small blocks do not loosen the bound of a stream without a known size. */
Test(pack, flushes_leave_a_bounded_stream_below_its_ratio) {
    gate_pool_t *pool = s_threads(1);
    unsigned char *zeros = calloc(1, GI_BLOCK_SIZE);
    s_bell_t bell;
    s_reader_t reader; /* refuses more than 500 : 1 */
    gi_huge_pack_t *pack =
        s_pack(pool, &bell, (gi_huge_pack_options_t){.bounded = true});
    s_reader_init(&reader, "gzip");
    size_t want = 0;
    for (int i = 0; i < 1200; i++) {
        size_t n = i % GI_HUGE_RATIO == 1 || i % GI_HUGE_RATIO == 0
                       ? 1
                       : GI_BLOCK_SIZE;
        s_feed(pack, &bell, &reader, (gate_bytes_t){zeros, n});
        gi_huge_pack_flush(pack);
        cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
        cr_assert_eq(reader.size, want += n);
        reader.size = want = 0; /* the count is the join's */
    }
    gi_huge_pack_destroy(&pack);
    s_reader_fini(&reader);
    free(zeros);
    gate_pool_destroy(&pool);
}

/* ---- who compresses ------------------------------------------------------ */
static pthread_t s_owner;
static bool s_by_owner;

static void *s_open(bool compress, int level) {
    bool *self = calloc(1, sizeof *self);
    (void)level;
    *self = compress;
    return self;
}

static gate_err_t s_copy(gate_bytes_t *in, void *out, size_t *room,
                         bool finish) {
    size_t n = in->size < *room ? in->size : *room;
    if (n)
        memcpy(out, in->data, n);
    gi_codec_used(in, n);
    *room = n;
    return finish && !in->size ? GATE_EOS : GATE_OK;
}

static gate_err_t s_witness(void *impl, gate_bytes_t *in, void *out,
                            size_t *room, bool finish) {
    s_by_owner |= *(bool *)impl && pthread_equal(pthread_self(), s_owner);
    return s_copy(in, out, room, finish);
}

static void s_witness_blocks(gate_pool_t *pool, bool here) {
    enum { SIZE = 5 * 131072 + 9 };
    unsigned char *data = s_data(SIZE, 5);
    s_bell_t bell;
    s_reader_t reader;
    gi_huge_pack_t *pack =
        s_pack(pool, &bell, (gi_huge_pack_options_t){.codec = "witness"});
    s_reader_init(&reader, "witness");
    s_owner = pthread_self();
    s_by_owner = false;
    s_feed(pack, &bell, &reader, (gate_bytes_t){data, SIZE});
    gi_huge_pack_flush(pack);
    cr_assert_eq(s_drain(pack, &bell, &reader), GATE_WOULDBLOCK);
    gi_huge_pack_finish(pack);
    cr_assert_eq(s_drain(pack, &bell, &reader), GATE_EOS);
    cr_assert_eq(s_by_owner, here);
    s_owner = (pthread_t){0};
    cr_assert(reader.size == SIZE && !memcmp(reader.data, data, SIZE));
    gi_huge_pack_destroy(&pack);
    s_reader_fini(&reader);
    free(data);
}

Test(pack, no_block_of_any_kind_is_compressed_by_an_owner_that_pulls) {
    static const gate_codec_t witness = {"witness", s_open, free, s_witness};
    cr_assert_eq(gate_codec_register(&witness), GATE_OK);
    gate_pool_t *pool = s_threads(2);
    s_witness_blocks(pool, false);
    gate_pool_destroy(&pool);
}

typedef struct s_stay {
    gi_job_t job;
    s_bell_t bell, begun;
} s_stay_t;

static void s_stay_run(gi_job_t *job) {
    s_ring(&((s_stay_t *)(void *)job)->begun);
    s_await_bell(&((s_stay_t *)(void *)job)->bell, 30000);
}

/* However long no thread comes, a pulling owner does not take the block. */
Test(pack, a_late_thread_is_waited_for) {
    for (size_t c = 0; c < S_CODECS; c++) {
        gate_pool_t *pool = s_threads(1);
        s_stay_t stay = {.job = {.run = s_stay_run}};
        gi_monitor_init(&stay.bell.monitor);
        gi_monitor_init(&stay.begun.monitor);
        cr_assert_eq(gi_pool_run(pool, &stay.job), GATE_OK);
        s_await_bell(&stay.begun, 30000);
        s_bell_t bell;
        gate_bytes_t frame;
        gi_huge_pack_t *pack =
            s_pack(pool, &bell, (gi_huge_pack_options_t){.codec = s_codecs[c]});
        cr_assert_eq(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0},
                                         (gate_bytes_t){"abc", 3}),
                     GATE_OK);
        for (int i = 0; i < 15; i++) {
            cr_assert_eq(gi_huge_pack_next(pack, &frame), GATE_WOULDBLOCK, "%s",
                         s_codecs[c]);
            s_await_bell(&bell, 10);
        }
        s_ring(&stay.bell);
        gate_err_t e;
        while ((e = gi_huge_pack_next(pack, &frame)) == GATE_WOULDBLOCK)
            s_await_bell(&bell, 1000);
        cr_assert_eq(e, GATE_OK);
        cr_assert_eq(gi_huge_pack_next(pack, &frame), GATE_EOS);
        gi_huge_pack_destroy(&pack);
        gate_pool_destroy(&pool);
    }
}

/* Where no thread can be had at all it is one block a call, and a ring. */
Test(pack, without_threads_a_block_at_a_time) {
    enum { SIZE = 6 * 131072 };
    unsigned char *data = malloc(SIZE);
    unsigned seed = 1;
    for (size_t i = 0; i < SIZE; i++, seed = seed * 1664525 + 1013904223)
        data[i] = (unsigned char)(seed >> 24);
    for (size_t c = 0; c < S_CODECS; c++) {
        s_bell_t bell;
        gate_bytes_t frame;
        int blocks = 0;
        gi_huge_pack_t *pack =
            s_pack(NULL, &bell, (gi_huge_pack_options_t){.codec = s_codecs[c]});
        cr_assert_eq(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0},
                                         (gate_bytes_t){data, SIZE}),
                     GATE_OK);
        gate_err_t e;
        while ((e = gi_huge_pack_next(pack, &frame)) != GATE_EOS) {
            cr_assert(e == GATE_OK || e == GATE_WOULDBLOCK);
            if (e == GATE_WOULDBLOCK)
                cr_assert_eq(bell.rung, ++blocks);
        }
        cr_assert_geq(blocks, 6, "%s", s_codecs[c]);
        gi_huge_pack_destroy(&pack);
    }
    free(data);
}

/* ---- codecs that misbehave ----------------------------------------------- */
typedef struct s_bad {
    bool compress;
    size_t total;
} s_bad_t;

static const char *s_mode;

static void *s_bad_open(bool compress, int level) {
    (void)level;
    s_bad_t *self = calloc(1, sizeof *self);
    self->compress = compress;
    return self;
}

static gate_err_t s_bad_step(void *impl, gate_bytes_t *in, void *out,
                             size_t *room, bool finish) {
    s_bad_t *self = impl;
    bool now = self->compress && self->total >= 300000;
    if (now && !strcmp(s_mode, "early")) {
        *room = 0;
        return GATE_EOS;
    }
    if (now && !strcmp(s_mode, "wouldblock"))
        return gi_codec_used(in, in->size), *room = 0, GATE_WOULDBLOCK;
    if (now && !strcmp(s_mode, "number"))
        return *room = 0, (gate_err_t)12345;
    if (now && !strcmp(s_mode, "plain"))
        return *room = 0, GATE_BUSY;
    if (now && !strcmp(s_mode, "told"))
        return *room = 0, gate_codec_error(GATE_SYSTEM, "the key is gone");
    if (self->compress && finish && !strcmp(s_mode, "endless"))
        return memset(out, 0, *room), GATE_OK;
    if (self->compress && !strcmp(s_mode, "nothing"))
        return *room = 0, GATE_OK;
    gate_err_t e = s_copy(in, out, room, finish);
    self->total += *room;
    return e;
}

static const struct {
    const char *mode, *says;
    gate_err_t e;
} s_bads[] = {{"early", "ended its stream before its input", GATE_BADDATA},
              {"wouldblock", "WOULDBLOCK", GATE_BADDATA},
              {"number", "12345", GATE_BADDATA},
              {"plain", "a bounded queue is full", GATE_BUSY},
              {"told", "the key is gone", GATE_SYSTEM},
              {"endless", "does not end", GATE_BADDATA},
              {"nothing", "makes no progress", GATE_BADDATA}};

/* Alone, on threads that wait, and pulled: the same error, in words. */
Test(pack, a_codec_of_ones_own_that_misbehaves_is_named) {
    enum { SIZE = 1000000 };
    static const gate_codec_t bad = {"bad", s_bad_open, free, s_bad_step};
    cr_assert_eq(gate_codec_register(&bad), GATE_OK);
    unsigned char *data = s_data(SIZE, 3);
    gate_bytes_t in = {data, SIZE}, frame;
    gate_pool_t *pool = s_threads(1);
    for (size_t i = 0; i < sizeof s_bads / sizeof *s_bads; i++) {
        void *out;
        size_t n;
        s_mode = s_bads[i].mode;
        for (int pooled = 0; pooled < 2; pooled++) {
            gate_err_t e =
                gate_compress(pooled ? pool : NULL, "bad", 1, in, &out, &n);
            cr_assert_eq(e, s_bads[i].e, "%s: %d", s_mode, e);
            cr_assert(strstr(gate_error()->text, s_bads[i].says), "%s: %s",
                      s_mode, gate_error()->text);
        }
        s_bell_t bell;
        s_reader_t reader;
        gi_huge_pack_t *pack =
            s_pack(pool, &bell, (gi_huge_pack_options_t){.codec = "bad"});
        s_reader_init(&reader, "bad");
        cr_assert_eq(gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0}, in),
                     GATE_OK);
        gate_err_t e;
        while ((e = s_drain(pack, &bell, &reader)) == GATE_WOULDBLOCK)
            s_await_bell(&bell, 1000);
        cr_assert_eq(e, s_bads[i].e, "%s: %d", s_mode, e);
        for (int again = 0; again < 2;
             again++) { /* it stays, with its reason */
            cr_assert(strstr(gate_error()->text, s_bads[i].says), "%s: %s",
                      s_mode, gate_error()->text);
            cr_assert_eq(gi_huge_pack_next(pack, &frame), s_bads[i].e);
        }
        gi_huge_pack_destroy(&pack);
        s_reader_fini(&reader);
    }
    gate_pool_destroy(&pool);
    free(data);
}
