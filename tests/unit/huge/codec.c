/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge/codec.h"
#include "data.h"
#include "base/mem.h"
#include "huge/split.h"
#include <criterion/criterion.h>
#include <lzma.h>
#include <unistd.h>

static const char *const s_names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
#define S_NAMES (sizeof s_names / sizeof *s_names)

static const size_t s_sizes[] = {0,
                                 1,
                                 2,
                                 999,
                                 65535,
                                 65536,
                                 GI_BLOCK_SIZE - 1,
                                 GI_BLOCK_SIZE,
                                 GI_BLOCK_SIZE + 1,
                                 2 * GI_BLOCK_SIZE,
                                 3 * GI_BLOCK_SIZE + 77};

/* Runs a codec with inputs of at most in_max and rooms of at most room bytes;
 * GATE_EOS, or the error. */
static gate_err_t s_run(const char *name, bool compress, gate_bytes_t in,
                        size_t in_max, size_t room, t_bytes_t *out) {
    gi_codec_t *codec;
    unsigned char *buf = malloc(room);
    gate_err_t e = gi_codec_open(name, compress, 0, &codec);
    if (e == GATE_OK) {
        while (e == GATE_OK) {
            gate_bytes_t part = in;
            if (part.size > in_max)
                part.size = in_max;
            size_t had = part.size, n = room;
            e = gi_codec_step(codec, &part, buf, &n, had == in.size);
            cr_assert_leq(n, room);
            t_append(out, buf, n);
            gi_codec_used(&in, had - part.size);
        }
        gi_codec_close(&codec);
        cr_assert_null(codec);
    }
    free(buf);
    if (e == GATE_EOS)
        cr_assert_eq(in.size, 0);
    return e;
}

static void s_roundtrip(const char *name, int kind, size_t size, size_t in_max,
                        size_t room) {
    unsigned char *data = t_data(kind, size, (uint32_t)size);
    t_bytes_t packed = {0}, back = {0};
    cr_assert_eq(
        s_run(name, true, (gate_bytes_t){data, size}, in_max, room, &packed),
        GATE_EOS);
    cr_assert_eq(s_run(name, false, (gate_bytes_t){packed.data, packed.size},
                       in_max, room, &back),
                 GATE_EOS, "%s %d %zu: %s", name, kind, size,
                 gate_error()->text);
    cr_assert_eq(back.size, size, "%s %d %zu", name, kind, size);
    cr_assert(!size || !memcmp(back.data, data, size));
    free(packed.data);
    free(back.data);
    free(data);
}

Test(codec, round_trips_of_all_sizes_and_kinds) {
    for (size_t c = 0; c < S_NAMES; c++)
        for (int kind = 0; kind < T_KINDS; kind++)
            for (size_t i = 0; i < sizeof s_sizes / sizeof *s_sizes; i++)
                if (c == 0 || c > 2 || i < 7 ||
                    kind == T_JSON) /* bz2, lzma: slow */
                    s_roundtrip(s_names[c], kind, s_sizes[i], 100000, 65536);
}

Test(codec, any_step_size_does) {
    for (size_t c = 0; c < S_NAMES; c++) {
        s_roundtrip(s_names[c], T_JSON, 20000, 1, 1);
        s_roundtrip(s_names[c], T_JSON, 20000, 3, 70000);
        s_roundtrip(s_names[c], T_RANDOM, 200001, 70000, 7);
        s_roundtrip(s_names[c], T_ZEROS, 300000, SIZE_MAX, 11);
    }
}

Test(codec, compressed_by_levels) {
    unsigned char *data = t_data(T_JSON, 100000, 1);
    for (size_t c = 0; c < S_NAMES; c++)
        for (int level = 0; level < 30; level += 3) {
            void *packed, *back;
            size_t n, m;
            cr_assert_eq(gi_codec_compress(s_names[c], level,
                                           (gate_bytes_t){data, 100000},
                                           &packed, &n),
                         GATE_OK);
            cr_assert_lt(n, 75000);
            cr_assert_eq(gate_decompress(s_names[c], (gate_bytes_t){packed, n},
                                         100000, &back, &m),
                         GATE_OK);
            cr_assert(m == 100000 && !memcmp(back, data, m));
            free(packed);
            free(back);
        }
    free(data);
}

Test(codec, null_is_gzip_and_unknown_is_an_error) {
    gi_codec_t *codec;
    void *out;
    size_t n;
    cr_assert_eq(gi_codec_find(NULL), &gi_codec_gzip);
    cr_assert_eq(gi_codec_open("snappy", true, 0, &codec), GATE_NOTIMPL);
    cr_assert_eq(gate_decompress("snappy", (gate_bytes_t){"x", 1}, 9, &out, &n),
                 GATE_NOTIMPL);
    const char *names[8];
    cr_assert_eq(gi_codec_names(names, 8), 5);
    cr_assert_str_eq(names[4], "lz4");
    cr_assert_eq(gi_codec_names(names, 1), 5);
}

/* The lengths of both, so that a cap is met to the byte. */
Test(codec, decompressing_stops_at_the_cap) {
    unsigned char *data = t_data(T_ZEROS, 1000000, 1);
    for (size_t c = 0; c < S_NAMES; c++) {
        void *packed, *back;
        size_t n, m;
        cr_assert_eq(gi_codec_compress(s_names[c], 0,
                                       (gate_bytes_t){data, 1000000}, &packed,
                                       &n),
                     GATE_OK);
        gate_bytes_t in = {packed, n};
        cr_assert_eq(gate_decompress(s_names[c], in, 999999, &back, &m),
                     GATE_TOOBIG);
        cr_assert_eq(gate_decompress(s_names[c], in, 0, &back, &m),
                     GATE_TOOBIG);
        cr_assert_eq(gate_decompress(s_names[c], in, 1000000, &back, &m),
                     GATE_OK);
        cr_assert_eq(m, 1000000);
        free(back);
        free(packed);
    }
    free(data);
}

Test(codec, truncated_corrupted_and_followed_streams_are_errors) {
    unsigned char *data = t_data(T_JSON, 5000, 1);
    for (size_t c = 0; c < S_NAMES; c++) {
        void *packed, *back;
        size_t n, m;
        cr_assert_eq(gi_codec_compress(s_names[c], 0,
                                       (gate_bytes_t){data, 5000}, &packed, &n),
                     GATE_OK);
        unsigned char *bytes = realloc(packed, n + 1);
        for (size_t cut = 0; cut < n; cut += 1 + n / 300)
            cr_assert_eq(gate_decompress(s_names[c], (gate_bytes_t){bytes, cut},
                                         1 << 20, &back, &m),
                         GATE_BADDATA, "%s cut at %zu", s_names[c], cut);
        for (size_t i = 0; i < n; i += 1 + n / 400) {
            bytes[i] ^= 0x10;
            gate_err_t e = gate_decompress(s_names[c], (gate_bytes_t){bytes, n},
                                           1 << 20, &back, &m);
            if (e == GATE_OK) { /* a byte that means nothing, as gzip's time */
                cr_assert(m == 5000 && !memcmp(back, data, m),
                          "%s flipped at %zu", s_names[c], i);
                free(back);
            }
            bytes[i] ^= 0x10;
        }
        bytes[n] = 'x';
        cr_assert_eq(gate_decompress(s_names[c], (gate_bytes_t){bytes, n + 1},
                                     1 << 20, &back, &m),
                     GATE_BADDATA);
        free(bytes);
    }
    free(data);
}

Test(codec, no_memory_is_an_error_everywhere) {
    unsigned char *data = t_data(T_JSON, 140000, 1);
    gate_bytes_t in = {data, 140000};
    for (size_t c = 0; c < S_NAMES; c++)
        for (int way = 0; way < 2; way++) {
            t_bytes_t good = {0};
            cr_assert_eq(s_run(s_names[c], true, in, 100000, 65536, &good),
                         GATE_EOS);
            gate_bytes_t from = way ? (gate_bytes_t){good.data, good.size} : in;
            gate_err_t e = GATE_NOMEM;
            long n = 0;
            while (e == GATE_NOMEM) {
                t_bytes_t out = {0};
                cr_assert_lt(n, 200);
                gi_mem_fail_at(++n, false);
                e = s_run(s_names[c], !way, from, 100000, 65536, &out);
                gi_mem_fail_at(0, false);
                free(out.data);
            }
            cr_assert_eq(e, GATE_EOS, "%s: %s", s_names[c], gate_error()->text);
            cr_assert_gt(n, 1);
            free(good.data);
        }
    free(data);
}

/* Python's lzma module writes the older container too (wire.md 7). */
Test(codec, reads_lzma_alone) {
    unsigned char *data = t_data(T_JSON, 50000, 3), packed[60000];
    lzma_options_lzma options;
    lzma_stream stream = LZMA_STREAM_INIT;
    cr_assert(!lzma_lzma_preset(&options, 1));
    cr_assert_eq(lzma_alone_encoder(&stream, &options), LZMA_OK);
    stream.next_in = data;
    stream.avail_in = 50000;
    stream.next_out = packed;
    stream.avail_out = sizeof packed;
    cr_assert_eq(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
    size_t n = sizeof packed - stream.avail_out, m;
    lzma_end(&stream);
    void *back;
    cr_assert_eq(
        gate_decompress("lzma", (gate_bytes_t){packed, n}, 50000, &back, &m),
        GATE_OK);
    cr_assert(m == 50000 && !memcmp(back, data, m));
    free(back);
    free(data);
}

/* A header that wants gigabytes gets an error, not the gigabytes. */
Test(codec, an_lzma_header_that_asks_for_much_is_refused) {
    unsigned char alone[] = {0x5d, 0,    0,    0,    0x80, 0xff, 0xff,
                             0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,
                             1,    2,    3,    4,    5,    6};
    void *back;
    size_t m;
    cr_assert_eq(gate_decompress("lzma", (gate_bytes_t){alone, sizeof alone},
                                 50000, &back, &m),
                 GATE_TOOBIG);
}

/* ---- one's own ----------------------------------------------------------- */
/* xor: the end is told by a zero byte in front of every other one. */
typedef struct s_xor {
    bool compress, ended;
} s_xor_t;

static void *s_xor_open(bool compress, int level) {
    s_xor_t *self = calloc(1, sizeof *self);
    (void)level;
    if (self)
        self->compress = compress;
    return self;
}

static gate_err_t s_xor_step(void *impl, gate_bytes_t *in, void *out,
                             size_t *out_size, bool finish) {
    s_xor_t *self = impl;
    unsigned char *to = out;
    const unsigned char *from = in->data;
    size_t n = 0;
    while (n < *out_size && in->size) {
        if (!self->compress && *from == 0xff) {
            gi_codec_used(in, 1);
            *out_size = n;
            return GATE_EOS;
        }
        to[n++] = *from++ ^ 0x55;
        gi_codec_used(in, 1);
    }
    if (self->compress && finish && !in->size && n < *out_size) {
        to[n++] = 0xff;
        *out_size = n;
        return GATE_EOS;
    }
    *out_size = n;
    return GATE_OK;
}

static gate_err_t s_idle_step(void *impl, gate_bytes_t *in, void *out,
                              size_t *out_size, bool finish) {
    (void)impl, (void)in, (void)out, (void)finish;
    *out_size = 0;
    return GATE_OK;
}

static gate_err_t s_wild_step(void *impl, gate_bytes_t *in, void *out,
                              size_t *out_size, bool finish) {
    (void)impl, (void)in, (void)out, (void)finish;
    *out_size += 1;
    return GATE_OK;
}

Test(codec, of_ones_own) {
    static const gate_codec_t xor = {"xor", s_xor_open, free, s_xor_step};
    static const gate_codec_t idle = {"idle", s_xor_open, free, s_idle_step};
    static const gate_codec_t wild = {"wild", s_xor_open, free, s_wild_step};
    static const gate_codec_t half = {"half", s_xor_open, free, NULL};
    static const gate_codec_t gzip = {"gzip", s_xor_open, free, s_xor_step};
    t_bytes_t out = {0};
    gate_bytes_t in = {"abc", 3};
    cr_assert_eq(gate_codec_register(&half), GATE_BADARG);
    cr_assert_eq(gate_codec_register(NULL), GATE_BADARG);
    cr_assert_eq(gate_codec_register(&gzip), GATE_BADARG);
    cr_assert_eq(gate_codec_register(&xor), GATE_OK);
    cr_assert_eq(gate_codec_register(&xor), GATE_BADARG);
    cr_assert_eq(gate_codec_register(&idle), GATE_OK);
    cr_assert_eq(gate_codec_register(&wild), GATE_OK);
    s_roundtrip("xor", T_ZEROS, 1000, 7, 3);
    cr_assert_eq(s_run("idle", true, in, 9, 9, &out), GATE_BADDATA);
    cr_assert_eq(s_run("wild", true, in, 9, 9, &out), GATE_BADDATA);
    cr_assert_eq(out.size, 0);
    free(out.data);
}
