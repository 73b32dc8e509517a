/* SPDX-License-Identifier: BSD-3-Clause */
/* Compression alone, as a program uses it: no service, no client. */
#include <criterion/criterion.h>
#include <gaterpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Criterion's test bodies already have two threads. */
__attribute__((constructor)) static void s_zygote(void) {
    if (gate_process_init() != GATE_OK)
        abort();
}

static char *s_data(size_t size) {
    char *data = malloc(size + 64);
    cr_assert_not_null(data);
    for (size_t i = 0, n = 0; i < size; n++)
        i += (size_t)sprintf(data + i, "{\"id\": %zu, \"n\": \"user-%zu\"},",
                             n * 7919 % 100003, n * 31 % 997);
    return data;
}

static void s_roundtrip(gate_pool_t *pool, const char *codec, size_t size) {
    char *data = s_data(size);
    void *packed, *back;
    size_t n, m;
    gate_bytes_t in = {data, size};
    cr_assert_eq(gate_compress(pool, codec, 0, in, &packed, &n), GATE_OK, "%s",
                 gate_error()->text);
    if (size > 1000)
        cr_assert_lt(n, size / 2);
    in = (gate_bytes_t){packed, n};
    cr_assert_eq(gate_decompress(codec, in, size, &back, &m), GATE_OK, "%s",
                 gate_error()->text);
    cr_assert(m == size && !memcmp(back, data, size));
    free(back);
    free(packed);
    free(data);
}

static void s_pool(gate_pool_t *pool) {
    static const char *const codecs[] = {NULL,   "gzip", "bz2",
                                         "lzma", "zstd", "lz4"};
    for (size_t c = 0; c < 6; c++)
        for (size_t size = 0; size < 3000000; size = size * 40 + 1)
            s_roundtrip(pool, codecs[c], size);
}

Test(huge_alone, without_a_pool) { s_pool(NULL); }

Test(huge_alone, on_threads) {
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool) pool = gate_threads_new(rt, NULL);
    cr_assert_not_null(pool);
    s_pool(pool);
}

/* How many jobs the pool has done. */
static int s_done(gate_pool_t *pool) {
    GATE_OWN(gate_value) stats = gate_pool_stats(pool);
    int done = -1;
    cr_assert_eq(gate_value_read(stats, "done", &done), GATE_OK);
    return done;
}

/* Every kind of block, with and without a dictionary, from memory of its own
 * and from memory that is shared: then nothing is copied on its way in. */
Test(huge_alone, on_processes) {
    enum { SIZE = 3000001 };
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    gate_pool_options_t options = {.workers = 2};
    GATE_OWN(gate_pool) pool = gate_procs_new(rt, &options);
    cr_assert_not_null(pool, "%s", gate_error()->text);
    s_pool(pool);
    GATE_OWN(gate_shared) shared = gate_shared_new(pool, SIZE);
    cr_assert_not_null(shared);
    unsigned char *data = gate_shared_data(shared);
    for (int kind = 0; kind < 3; kind++)
        for (int level = 1; level < 8; level += 3) {
            unsigned seed = 1;
            for (size_t i = 0; i < SIZE;
                 i++, seed = seed * 1664525 + 1013904223)
                data[i] = (unsigned char)(seed >> (kind == 0   ? 24
                                                   : kind == 1 ? 28
                                                               : 30));
            void *packed, *back;
            size_t n, m;
            gate_bytes_t in = {data, SIZE};
            cr_assert_eq(gate_compress(pool, NULL, level, in, &packed, &n),
                         GATE_OK);
            in = (gate_bytes_t){packed, n};
            cr_assert_eq(gate_decompress(NULL, in, SIZE, &back, &m), GATE_OK,
                         "%s", gate_error()->text);
            cr_assert(m == SIZE && !memcmp(back, data, m));
            free(packed);
            free(back);
        }
    /* a slow worker's blocks are compressed here, but not all were */
    cr_assert_gt(s_done(pool), 0);
}

Test(huge_alone, unknown_codecs_and_caps_are_errors) {
    void *out;
    size_t n;
    gate_bytes_t in = {"abc", 3};
    cr_assert_eq(gate_compress(NULL, "snappy", 0, in, &out, &n), GATE_NOTIMPL);
    cr_assert_eq(gate_decompress("snappy", in, 9, &out, &n), GATE_NOTIMPL);
    cr_assert_eq(gate_decompress(NULL, in, 9, &out, &n), GATE_BADDATA);
    char *zeros = calloc(1, 10 << 20);
    void *packed;
    in = (gate_bytes_t){zeros, 10 << 20};
    cr_assert_eq(gate_compress(NULL, NULL, 9, in, &packed, &n), GATE_OK);
    in = (gate_bytes_t){packed, n};
    cr_assert_eq(gate_decompress(NULL, in, (10 << 20) - 1, &out, &n),
                 GATE_TOOBIG);
    free(packed);
    free(zeros);
}

/* ---- a codec of one's own: one bit flipped, a 0 at the end --------------- */
typedef struct s_own {
    bool compress, ended;
} s_own_t;

static void *s_open(bool compress, int level) {
    (void)level;
    s_own_t *self = calloc(1, sizeof *self);
    if (self)
        self->compress = compress;
    return self;
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    s_own_t *self = impl;
    const char *from = in->data;
    size_t n = 0, used = 0;
    for (; used < in->size && n < *out_size && !self->ended; used++) {
        if (self->compress || from[used])
            ((char *)out)[n++] = (char)(from[used] ^ 1);
        else
            self->ended = true;
    }
    in->data = from + used;
    in->size -= used;
    if (self->compress && finish && !in->size && n < *out_size) {
        ((char *)out)[n++] = 0;
        self->ended = true;
    }
    *out_size = n;
    return self->ended ? GATE_EOS : GATE_OK;
}

Test(huge_alone, a_codec_of_ones_own) {
    static const gate_codec_t flip = {"flip", s_open, free, s_step};
    cr_assert_eq(gate_codec_register(&flip), GATE_OK);
    cr_assert_eq(gate_codec_register(&flip), GATE_BADARG);
    void *packed, *back;
    size_t n, m;
    gate_bytes_t in = {"hello", 5};
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool) threads = gate_threads_new(rt, NULL);
    gate_pool_t *pools[] = {NULL, threads};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(gate_compress(pools[i], "flip", 0, in, &packed, &n),
                     GATE_OK);
        cr_assert(n == 6 && !memcmp(packed, "idmmn", 6));
        cr_assert_eq(
            gate_decompress("flip", (gate_bytes_t){packed, n}, 5, &back, &m),
            GATE_OK);
        cr_assert(m == 5 && !memcmp(back, "hello", 5));
        free(packed);
        free(back);
    }
}
