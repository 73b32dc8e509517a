/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge/split.h"
#include "data.h"
#include "huge/gather.h"
#include "huge/join.h"
#include "base/mem.h"
#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static const size_t s_sizes[] = {0,
                                 1,
                                 9,
                                 40000,
                                 GI_BLOCK_SIZE - 1,
                                 GI_BLOCK_SIZE,
                                 GI_BLOCK_SIZE + 1,
                                 2 * GI_BLOCK_SIZE,
                                 3 * GI_BLOCK_SIZE + 12345,
                                 17 * GI_BLOCK_SIZE + 1};
#define S_SIZES (sizeof s_sizes / sizeof *s_sizes)

typedef struct s_case {
    gi_engine_t engine;
    int level;
    size_t workers;   /* blocks that may finish in any order */
    size_t chunk;     /* bytes of a frame */
    unsigned store;   /* every so manieth block is stored; 0 = none */
    bool empty_final; /* the end was not known with the last data */
    uint32_t seed;
} s_case_t;

static gi_piece_t s_piece(const s_case_t *c, gate_bytes_t whole, uint64_t seq) {
    size_t n = gi_block_count(whole.size);
    gi_block_t block = {.last = true};
    if (seq < n) {
        block = gi_block_at(whole, seq * GI_BLOCK_SIZE, c->seed & 1);
        block.store = c->store && seq % c->store == 0;
    }
    if (c->empty_final)
        block.last = seq == n;
    gi_piece_t piece = {
        .seq = seq, .in_size = block.in.size, .last = block.last};
    size_t bound = gi_block_bound(block.in.size);
    piece.data = gi_mem_alloc(bound);
    cr_assert_eq(gi_gzip_block(c->engine, c->level, &block, piece.data,
                               &piece.size, &piece.crc),
                 GATE_OK);
    cr_assert_leq(piece.size, bound);
    return piece;
}

static void s_take(gi_gather_t *gather, t_bytes_t *out, size_t chunk) {
    gate_bytes_t got;
    while (gi_gather_next(gather, &got)) {
        cr_assert_gt(got.size, 0);
        cr_assert_leq(got.size, chunk);
        if (!out->size)
            cr_assert_gt(got.size, 10); /* the header and some data */
        t_append(out, got.data, got.size);
    }
}

/* Workers finish in an order drawn from the seed; the joiner puts it right. */
static t_bytes_t s_compress(const s_case_t *c, gate_bytes_t whole) {
    gi_gather_t gather;
    t_bytes_t out = {0};
    uint64_t n = gi_block_count(whole.size) + c->empty_final, begun = 0;
    uint64_t flight[64];
    size_t n_flight = 0;
    uint32_t seed = c->seed;
    cr_assert_eq(gi_gather_init(&gather, c->chunk, c->workers), GATE_OK);
    while (!gi_gather_done(&gather)) {
        while (begun < n && begun - gather.next < c->workers)
            flight[n_flight++] = begun++;
        cr_assert_gt(n_flight, 0);
        size_t i = t_random(&seed) % n_flight;
        gi_piece_t piece = s_piece(c, whole, flight[i]);
        flight[i] = flight[--n_flight];
        cr_assert_eq(gi_gather_put(&gather, &piece), GATE_OK);
        cr_assert_null(piece.data);
        cr_assert(gi_gather_valid(&gather));
        s_take(&gather, &out, c->chunk);
    }
    gi_gather_fini(&gather);
    return out;
}

/* zlib's own idea of one gzip member, and not a byte more. */
static void s_strict(gate_bytes_t packed, gate_bytes_t whole) {
    unsigned char *back = malloc(whole.size + 1);
    z_stream z = {0};
    cr_assert_eq(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)packed.data;
    z.avail_in = (uInt)packed.size;
    z.next_out = back;
    z.avail_out = (uInt)whole.size + 1;
    cr_assert_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(z.avail_in, 0);
    cr_assert_eq(z.total_out, whole.size);
    cr_assert(!whole.size || !memcmp(back, whole.data, whole.size));
    inflateEnd(&z);
    free(back);
}

static void s_check(const s_case_t *c, gate_bytes_t whole) {
    t_bytes_t packed = s_compress(c, whole);
    void *back;
    size_t n;
    s_strict((gate_bytes_t){packed.data, packed.size}, whole);
    cr_assert_eq(gate_decompress(NULL, (gate_bytes_t){packed.data, packed.size},
                                 whole.size, &back, &n),
                 GATE_OK, "%s", gate_error()->text);
    cr_assert(n == whole.size && (!n || !memcmp(back, whole.data, n)));
    free(back);
    free(packed.data);
}

static void s_sweep(gi_engine_t engine) {
    for (int kind = 0; kind < T_KINDS; kind++)
        for (size_t i = 0; i < S_SIZES; i++) {
            unsigned char *data = t_data(kind, s_sizes[i], 5);
            for (uint32_t run = 0; run < 4; run++) {
                s_case_t c = {engine,           (int)run, 1 + run * run,
                              65536 << run % 3, run & 2,  run == 3,
                              run + 77};
                s_check(&c, (gate_bytes_t){data, s_sizes[i]});
            }
            free(data);
        }
}

Test(split, zlib_is_one_sound_member) { s_sweep(GI_ENGINE_ZLIB); }

Test(split, isal_is_one_sound_member) {
    if (!gi_engine_has(GI_ENGINE_ISAL))
        cr_skip_test("ISA-L is not built in");
    s_sweep(GI_ENGINE_ISAL);
}

Test(split, random_sizes_and_worker_counts) {
    uint32_t seed = 4711;
    for (int i = 0; i < 40; i++) {
        size_t size = t_random(&seed) % (6 * GI_BLOCK_SIZE);
        s_case_t c = {i & 1 ? GI_ENGINE_AUTO : GI_ENGINE_ZLIB,
                      (int)(t_random(&seed) % 10),
                      1 + t_random(&seed) % 8,
                      1000 + t_random(&seed) % 200000,
                      t_random(&seed) % 4,
                      t_random(&seed) % 2,
                      t_random(&seed)};
        unsigned char *data = t_data(i % T_KINDS, size, seed);
        s_check(&c, (gate_bytes_t){data, size});
        free(data);
    }
}

Test(split, bytes_do_not_depend_on_the_workers) {
    unsigned char *data = t_data(T_JSON, 2000000, 5);
    s_case_t one = {.workers = 1, .chunk = 65536, .seed = 1};
    s_case_t many = {.workers = 9, .chunk = 65536, .seed = 3};
    t_bytes_t a = s_compress(&one, (gate_bytes_t){data, 2000000});
    t_bytes_t b = s_compress(&many, (gate_bytes_t){data, 2000000});
    cr_assert(a.size == b.size && !memcmp(a.data, b.data, a.size));
    free(a.data);
    free(b.data);
    free(data);
}

Test(split, random_data_is_stored) {
    unsigned char *data = t_data(T_RANDOM, 1000000, 5);
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++) {
        s_case_t c = {.engine = (gi_engine_t)engine,
                      .workers = 3,
                      .chunk = 65536,
                      .seed = 1};
        t_bytes_t a = s_compress(&c, (gate_bytes_t){data, 1000000});
        cr_assert_leq(a.size, 1000000 + 5 * 24 + 18);
        free(a.data);
    }
    free(data);
}

/* A dictionary is worth its time where blocks repeat each other. */
Test(split, blocks_look_back) {
    unsigned char *data = t_data(T_RANDOM, 2 * GI_BLOCK_SIZE, 5);
    memcpy(data + GI_BLOCK_SIZE, data + GI_BLOCK_SIZE - 20000, 20000);
    gi_block_t block = gi_block_at((gate_bytes_t){data, GI_BLOCK_SIZE + 20000},
                                   GI_BLOCK_SIZE, true);
    unsigned char out[30000];
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++) {
        size_t n;
        uint32_t crc;
        cr_assert_eq(
            gi_gzip_block((gi_engine_t)engine, 1, &block, out, &n, &crc),
            GATE_OK);
        cr_assert_lt(n, 2000);
    }
    free(data);
}

Test(split, a_deflater_is_used_again) {
    unsigned char *data = t_data(T_HEX, 5 * GI_BLOCK_SIZE, 5);
    gate_bytes_t whole = {data, 5 * GI_BLOCK_SIZE};
    unsigned char *a = malloc(gi_block_bound(GI_BLOCK_SIZE));
    unsigned char *b = malloc(gi_block_bound(GI_BLOCK_SIZE));
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++) {
        gi_deflater_t *d = gi_deflater_new((gi_engine_t)engine, 1);
        for (size_t i = 5; i-- > 0;) {
            gi_block_t block = gi_block_at(whole, i * GI_BLOCK_SIZE, true);
            size_t n, m;
            uint32_t crc, crc2;
            cr_assert_eq(gi_deflater_block(d, &block, a, &n, &crc), GATE_OK);
            cr_assert_eq(
                gi_gzip_block((gi_engine_t)engine, 1, &block, b, &m, &crc2),
                GATE_OK);
            cr_assert(n == m && crc == crc2 && !memcmp(a, b, n));
            cr_assert_eq(crc, crc32(0, block.in.data, (uInt)block.in.size));
        }
        gi_deflater_destroy(&d);
    }
    free(a);
    free(b);
    free(data);
}

Test(split, joiner_refuses_what_it_does_not_want) {
    gi_gather_t gather;
    gi_piece_t piece = {.seq = 2, .data = gi_mem_dup("\x03\x00", 2), .size = 2};
    cr_assert_eq(gi_gather_init(&gather, 1000, 2), GATE_OK);
    cr_assert_eq(gi_gather_put(&gather, &piece), GATE_BADARG); /* beyond */
    piece.seq = 1;
    cr_assert_eq(gi_gather_put(&gather, &piece), GATE_OK);
    piece.data = gi_mem_dup("", 0);
    piece.size = 0;
    cr_assert_eq(gi_gather_put(&gather, &piece), GATE_BADARG); /* there */
    piece.seq = 0;
    piece.last = true;
    cr_assert_eq(gi_gather_put(&gather, &piece), GATE_OK);
    cr_assert(gather.ended);
    piece.data = gi_mem_dup("", 0);
    piece.seq = gather.next;
    cr_assert_eq(gi_gather_put(&gather, &piece), GATE_BADARG); /* the end */
    gi_mem_free(piece.data);
    gi_gather_fini(&gather);
}

Test(split, no_memory_is_an_error) {
    unsigned char *data = t_data(T_JSON, 2 * GI_BLOCK_SIZE, 5);
    gi_block_t block = gi_block_at((gate_bytes_t){data, GI_BLOCK_SIZE + 5},
                                   GI_BLOCK_SIZE, false);
    unsigned char out[1000];
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++) {
        gate_err_t e = GATE_NOMEM;
        size_t n;
        uint32_t crc;
        long at = 0;
        while (e == GATE_NOMEM) {
            gi_mem_fail_at(++at, false);
            e = gi_gzip_block((gi_engine_t)engine, 1, &block, out, &n, &crc);
            gi_mem_fail_at(0, false);
        }
        cr_assert(e == GATE_OK && at > 1);
    }
    for (long at = 1; at <= 4; at++) {
        gi_gather_t gather;
        gi_mem_fail_at(at, true);
        gate_err_t e = gi_gather_init(&gather, 20000, 4);
        if (e == GATE_OK) {
            gi_mem_fail_at(0, false);
            gi_piece_t piece = {
                .seq = 0, .data = gi_mem_alloc(50000), .size = 50000};
            memset(piece.data, 0, 50000);
            gi_mem_fail_at(1, true);
            e = gi_gather_put(&gather, &piece);
            cr_assert_eq(e, GATE_NOMEM);
            gi_mem_free(piece.data);
        }
        gi_mem_fail_at(0, false);
        cr_assert_eq(e, GATE_NOMEM);
        gi_gather_fini(&gather);
    }
    free(data);
}

/* ---- what others say ----------------------------------------------------- */
static void s_write(const char *dir, const char *name, const void *data,
                    size_t size) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

static int s_shell(const char *dir, const char *command) {
    char line[1000];
    snprintf(line, sizeof line, "cd '%s' && %s", dir, command);
    FILE *pipe = popen(line, "r");
    cr_assert_not_null(pipe);
    while (fgets(line, sizeof line, pipe))
        fputs(line, stderr);
    return pclose(pipe);
}

Test(split, gunzip_and_python_accept_every_stream) {
    char dir[] = "/tmp/gate-split-XXXXXX";
    int n = 0;
    cr_assert_not_null(mkdtemp(dir));
    for (int kind = 0; kind < T_KINDS; kind++)
        for (size_t i = 0; i < S_SIZES; i++, n++) {
            char name[40];
            unsigned char *data = t_data(kind, s_sizes[i], 5);
            s_case_t c = {n & 1 ? GI_ENGINE_AUTO : GI_ENGINE_ZLIB,
                          n % 3,
                          1 + (size_t)n % 5,
                          65536,
                          (unsigned)n % 4,
                          n % 3 == 0,
                          (uint32_t)n + 1};
            t_bytes_t a = s_compress(&c, (gate_bytes_t){data, s_sizes[i]});
            snprintf(name, sizeof name, "%d.gz", n);
            s_write(dir, name, a.data, a.size);
            snprintf(name, sizeof name, "%d.raw", n);
            s_write(dir, name, data, s_sizes[i]);
            free(a.data);
            free(data);
        }
    int gunzip = s_shell(dir, "gunzip -t *.gz 2>&1");
    int python =
        s_shell(dir, "/usr/bin/python3 -c \"\n"
                     "import glob, gzip, zlib\n"
                     "for f in glob.glob('*.gz'):\n"
                     "    raw = open(f[:-2] + 'raw', 'rb').read()\n"
                     "    packed = open(f, 'rb').read()\n"
                     "    assert gzip.decompress(packed) == raw, f\n"
                     "    d = zlib.decompressobj(31)\n"
                     "    assert d.decompress(packed) == raw, f\n"
                     "    assert d.eof and not d.unused_data, f\n\" 2>&1");
    s_shell(dir, "rm -f *.gz *.raw");
    rmdir(dir);
    cr_assert_eq(gunzip, 0);
    cr_assert_eq(python, 0);
}
