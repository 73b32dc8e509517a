/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge/join.h"
#include "data.h"
#include "huge/gunzip.h"
#include "base/mem.h"
#include "base/tags.h"
#include <criterion/criterion.h>
#include <zlib.h>

#define S_VECTORS "tests/wire/vectors/huge_gzip_shapes.json"

/* Feeds one chunk through rooms of room bytes. */
static gate_err_t s_feed(gi_join_t *join, gate_bytes_t chunk, size_t room,
                         t_bytes_t *out) {
    unsigned char *buf = malloc(room);
    size_t n = 0;
    gate_err_t e = GATE_OK;
    do {
        n = room;
        e = gi_join_step(join, &chunk, buf, &n);
        cr_assert_leq(n, room);
        t_append(out, buf, n);
    } while (e == GATE_OK && (chunk.size || n == room));
    free(buf);
    return e;
}

static gate_err_t s_end(gi_join_t *join, size_t room, t_bytes_t *out) {
    unsigned char *buf = malloc(room);
    gate_err_t e = GATE_OK;
    while (e == GATE_OK) {
        size_t n = room;
        e = gi_join_end(join, buf, &n);
        t_append(out, buf, n);
    }
    free(buf);
    return e;
}

/* A whole result in chunks, with an empty one before END as Python's workers
 * send it. */
static gate_err_t s_receive(const gi_join_options_t *options,
                            gate_bytes_t packed, size_t chunk, size_t room,
                            t_bytes_t *out) {
    gi_join_t *join;
    gate_err_t e = gi_join_new(options, &join);
    if (e != GATE_OK)
        return e;
    for (size_t at = 0; e == GATE_OK && at < packed.size; at += chunk) {
        size_t n = packed.size - at < chunk ? packed.size - at : chunk;
        gate_bytes_t part = {(const char *)packed.data + at, n};
        e = s_feed(join, part, room, out);
    }
    if (e == GATE_OK)
        e = s_feed(join, (gate_bytes_t){NULL, 0}, room, out);
    if (e == GATE_OK)
        e = s_end(join, room, out);
    else
        cr_assert_eq(s_end(join, room, out), e); /* an error stays */
    gi_join_destroy(&join);
    cr_assert_null(join);
    return e;
}

static void *s_pack(const char *codec, const void *data, size_t size,
                    size_t *n) {
    void *packed;
    cr_assert_eq(
        gi_codec_compress(codec, 0, (gate_bytes_t){data, size}, &packed, n),
        GATE_OK);
    return packed;
}

Test(join, what_python_workers_send) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    static const size_t sizes[] = {1, 5000, 131072, 700001};
    for (size_t c = 0; c < 5; c++)
        for (size_t i = 0; i < 4; i++)
            for (int kind = 0; kind < T_KINDS; kind++) {
                size_t n;
                t_bytes_t out = {0};
                unsigned char *data = t_data(kind, sizes[i], 9);
                void *packed = s_pack(names[c], data, sizes[i], &n);
                gi_join_options_t options = {names[c], sizes[i], 20000, 0};
                cr_assert_eq(s_receive(&options, (gate_bytes_t){packed, n},
                                       i & 1 ? 1000 : 65536, 65536, &out),
                             GATE_EOS, "%s: %s", names[c], gate_error()->text);
                cr_assert_eq(out.size, sizes[i]);
                cr_assert(!memcmp(out.data, data, out.size));
                free(out.data);
                free(packed);
                free(data);
            }
}

Test(join, nothing_but_end_is_an_error) {
    gi_join_options_t options = {0};
    t_bytes_t out = {0};
    cr_assert_eq(s_receive(&options, (gate_bytes_t){NULL, 0}, 1, 10, &out),
                 GATE_BADDATA);
    cr_assert_eq(out.size, 0);
    free(out.data);
    cr_assert_not_null(strstr(gate_error()->text, "empty"));
    gi_join_t *join;
    size_t room = 10;
    char buf[10];
    cr_assert_eq(gi_join_new(&options, &join), GATE_OK);
    cr_assert_eq(gi_join_end(join, buf, &room), GATE_BADDATA);
    cr_assert_not_null(strstr(gate_error()->text, "empty"));
    gi_join_destroy(&join);
    options.codec = "snappy";
    cr_assert_eq(gi_join_new(&options, &join), GATE_NOTIMPL);
}

/* ---- the vectors --------------------------------------------------------- */
static size_t s_unhex(const char *hex, size_t n, unsigned char *out) {
    for (size_t i = 0; i < n / 2; i++) {
        unsigned v = 0;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (unsigned char)v;
    }
    return n / 2;
}

/* The value of the next "key": at *at, up to the closing quote or comma. */
static const char *s_key(const char *at, const char *key, size_t *n) {
    char name[40];
    snprintf(name, sizeof name, "\"%s\": ", key);
    at = strstr(at, name);
    if (!at)
        return NULL;
    at += strlen(name);
    if (*at == '"')
        at++;
    *n = strcspn(at, "\",");
    return at;
}

/* Plays one variant's data frames; the END frame is END if it is whole. */
static gate_err_t s_play(const char *frames, t_bytes_t *out) {
    gi_join_options_t options = {NULL, 1 << 20, 2000, 0};
    gi_join_t *join;
    gate_err_t e = gi_join_new(&options, &join);
    const char *at = strchr(frames, '[') + 1, *stop = strchr(at, ']');
    at = strchr(strchr(at, '"') + 1, '"') + 1; /* not the tag */
    while (e == GATE_OK && !gi_join_saw_end(join)) {
        unsigned char data[1000];
        at = strchr(at, '"');
        cr_assert(at && at < stop, "no END");
        size_t n = s_unhex(at + 1, strcspn(at + 1, "\""), data);
        at = strchr(at + 1, '"') + 1;
        if (n == sizeof GI_HUGE_END - 1 && !memcmp(data, GI_HUGE_END, n))
            break;
        e = s_feed(join, (gate_bytes_t){data, n}, 100, out);
    }
    if (e == GATE_OK)
        e = s_end(join, 100, out);
    gi_join_destroy(&join);
    return e;
}

/* What Python's client accepts we accept, but for the wrong CRC that it does
 * not see; what it refuses we refuse. */
Test(join, the_shapes_of_the_vectors) {
    static char json[1 << 16];
    unsigned char payload[1000];
    size_t n, n_name, n_shapes = 0;
    FILE *file = fopen(S_VECTORS, "rb");
    cr_assert_not_null(file, "run from the project's root");
    json[fread(json, 1, sizeof json - 1, file)] = '\0';
    fclose(file);
    const char *hex = s_key(json, "payload", &n);
    size_t n_payload = s_unhex(hex, n, payload);
    for (const char *at = json; (at = s_key(at, "name", &n_name));) {
        const char *name = at;
        bool accepted = *s_key(at, "accepted", &n) == 't';
        if (!strncmp(name, "bad_crc", n_name))
            accepted = false;
        t_bytes_t out = {0};
        gate_err_t e = s_play(strstr(at, "\"frames\""), &out);
        cr_assert_eq(e, accepted ? GATE_EOS : GATE_BADDATA, "%.*s: %s",
                     (int)n_name, name, gate_error()->text);
        if (accepted)
            cr_assert(out.size == n_payload &&
                      !memcmp(out.data, payload, n_payload));
        free(out.data);
        n_shapes++;
    }
    cr_assert_eq(n_shapes, 15);
}

/* ---- attacks ------------------------------------------------------------- */
Test(join, bombs_are_refused_in_bounded_memory) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    unsigned char *zeros = calloc(1, 50 << 20);
    for (size_t c = 0; c < 5; c++) {
        size_t n;
        void *packed = s_pack(names[c], zeros, 50 << 20, &n);
        gi_join_options_t size = {names[c], 4 << 20, 0, 0};
        gi_join_options_t ratio = {names[c], 0, 100, 0};
        t_bytes_t out = {0};
        gate_bytes_t in = {packed, n};
        cr_assert_eq(s_receive(&size, in, 4096, 65536, &out), GATE_TOOBIG);
        cr_assert_leq(out.size, 4 << 20); /* never a byte beyond the cap */
        free(out.data);
        out = (t_bytes_t){0};
        cr_assert_eq(s_receive(&ratio, in, 256, 65536, &out), GATE_TOOBIG);
        cr_assert_leq(out.size, (1 << 20) + 65536);
        free(out.data);
        free(packed);
    }
    free(zeros);
}

#define S_ANNOUNCED (8 << 20)

/* What was announced is exactly what comes, however well it shrinks. */
Test(join, an_announced_size_is_met_to_the_byte) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    unsigned char *zeros = calloc(1, S_ANNOUNCED);
    for (size_t c = 0; c < 5; c++) {
        size_t n;
        void *packed = s_pack(names[c], zeros, S_ANNOUNCED, &n);
        for (int more = -1; more <= 1; more++) {
            gi_join_options_t options = {names[c], 0, 10,
                                         (uint64_t)((S_ANNOUNCED) + more)};
            t_bytes_t out = {0};
            cr_assert_eq(s_receive(&options, (gate_bytes_t){packed, n}, 65536,
                                   65536, &out),
                         more ? GATE_BADDATA : GATE_EOS, "%s %d: %s", names[c],
                         more, gate_error()->text);
            cr_assert_leq(out.size, options.size);
            free(out.data);
        }
        free(packed);
    }
    free(zeros);
}

Test(join, a_cap_is_met_to_the_byte) {
    unsigned char *data = t_data(T_JSON, 300000, 1);
    size_t n;
    void *packed = s_pack(NULL, data, 300000, &n);
    for (size_t cap = 299999; cap <= 300001; cap++)
        for (size_t room = 100; room <= 400000; room *= 20) {
            gi_join_options_t options = {NULL, cap, 0, 0};
            t_bytes_t out = {0};
            cr_assert_eq(
                s_receive(&options, (gate_bytes_t){packed, n}, 999, room, &out),
                cap < 300000 ? GATE_TOOBIG : GATE_EOS);
            cr_assert_leq(out.size, cap);
            free(out.data);
        }
    free(packed);
    free(data);
}

/* Sync flushes for ever: input without output. */
Test(join, an_endless_stream_of_nothing_is_refused) {
    gi_join_options_t options = {0};
    gi_join_t *join;
    t_bytes_t out = {0};
    unsigned char empty[5000];
    for (size_t i = 0; i < sizeof empty; i++)
        empty[i] = (unsigned char)"\0\0\0\xff\xff"[i % 5];
    cr_assert_eq(gi_join_new(&options, &join), GATE_OK);
    cr_assert_eq(s_feed(join, (gate_bytes_t){gi_gzip_head, 10}, 100, &out),
                 GATE_OK);
    gate_err_t e = GATE_OK;
    int i = 0;
    for (; e == GATE_OK && i < 1000; i++)
        e = s_feed(join, (gate_bytes_t){empty, sizeof empty}, 100, &out);
    cr_assert_eq(e, GATE_BADDATA);
    cr_assert_lt(i, 250);
    gi_join_destroy(&join);
    cr_assert_eq(out.size, 0);
    free(out.data);
}

Test(join, an_endless_header_is_refused) {
    unsigned char data[6000];
    for (int flag = 8; flag <= 16; flag += 8) {
        gi_gunzip_t *gunzip = gi_gunzip_new(GI_ENGINE_AUTO, false);
        memset(data, 'n', sizeof data);
        memcpy(data, gi_gzip_head, 10);
        data[3] = (unsigned char)flag;
        gate_bytes_t in = {data, sizeof data};
        size_t n = 10;
        char out[10];
        cr_assert_eq(gi_gunzip_step(gunzip, &in, out, &n, false), GATE_BADDATA);
        gi_gunzip_destroy(&gunzip);
    }
}

Test(join, every_truncation_and_flip_is_an_error) {
    unsigned char *data = t_data(T_JSON, 3000, 1);
    size_t n;
    unsigned char *packed = s_pack(NULL, data, 3000, &n);
    gi_join_options_t options = {NULL, 1 << 20, 2000, 0};
    for (size_t cut = 0; cut < n; cut++) {
        t_bytes_t out = {0};
        gate_err_t e =
            s_receive(&options, (gate_bytes_t){packed, cut}, 1000, 777, &out);
        /* without any trailer it is what Python takes too (no_trailer) */
        cr_assert_eq(e, cut == n - 8 ? GATE_EOS : GATE_BADDATA, "%zu of %zu",
                     cut, n);
        free(out.data);
    }
    for (size_t i = 10; i < n; i++) {
        t_bytes_t out = {0};
        packed[i] ^= 4;
        gate_err_t e =
            s_receive(&options, (gate_bytes_t){packed, n}, 1000, 777, &out);
        if (e == GATE_EOS) /* the last bits of deflate fill up a byte */
            cr_assert(i == n - 9 && !memcmp(out.data, data, 3000));
        else
            cr_assert_eq(e, GATE_BADDATA, "flip at %zu of %zu", i, n);
        packed[i] ^= 4;
        free(out.data);
    }
    free(packed);
    free(data);
}

Test(join, reordered_chunks_are_an_error) {
    unsigned char *data = t_data(T_JSON, 100000, 1);
    size_t n;
    unsigned char *packed = s_pack(NULL, data, 100000, &n), swap[1000];
    gi_join_options_t options = {NULL, 1 << 20, 2000, 0};
    t_bytes_t out = {0};
    memcpy(swap, packed + 2000, 1000);
    memcpy(packed + 2000, packed + 3000, 1000);
    memcpy(packed + 3000, swap, 1000);
    cr_assert_eq(
        s_receive(&options, (gate_bytes_t){packed, n}, 1000, 777, &out),
        GATE_BADDATA);
    free(out.data);
    free(packed);
    free(data);
}

/* Both engines read every header, and every stream in any steps. */
Test(join, gunzip_of_both_engines) {
    static const unsigned char flags[] = {0, 1, 2, 4, 8, 16, 31};
    unsigned char *data = t_data(T_JSON, 9000, 1), *back = malloc(9001);
    size_t n;
    unsigned char *packed = s_pack(NULL, data, 9000, &n);
    for (size_t f = 0; f < sizeof flags; f++)
        for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++)
            for (size_t step = 1; step < 20000; step = step * 3 + 1) {
                t_bytes_t in = {0};
                t_append(&in, packed, 10);
                in.data[3] = flags[f];
                if (flags[f] & 4)
                    t_append(&in, "\3\0abc", 5);
                if (flags[f] & 8)
                    t_append(&in, "name", 5);
                if (flags[f] & 16)
                    t_append(&in, "comment", 8);
                if (flags[f] & 2)
                    t_append(&in, "cc", 2);
                t_append(&in, packed + 10, n - 10);
                gi_gunzip_t *gunzip = gi_gunzip_new((gi_engine_t)engine, false);
                size_t at = 0, done = 0;
                gate_err_t e = GATE_OK;
                while (e == GATE_OK) {
                    size_t part = in.size - at < step ? in.size - at : step;
                    size_t room = 9001 - done < step ? 9001 - done : step;
                    gate_bytes_t from = {in.data + at, part};
                    e = gi_gunzip_step(gunzip, &from, back + done, &room,
                                       at + part == in.size);
                    at += part - from.size;
                    done += room;
                }
                cr_assert_eq(e, GATE_EOS, "flags %d engine %d step %zu: %s",
                             flags[f], engine, step, gate_error()->text);
                cr_assert(done == 9000 && !memcmp(back, data, 9000));
                cr_assert_eq(at, in.size);
                gi_gunzip_destroy(&gunzip);
                free(in.data);
            }
    free(packed);
    free(back);
    free(data);
}

Test(join, no_memory_is_an_error) {
    gate_err_t e = GATE_NOMEM;
    long n = 0;
    gi_join_options_t options = {.codec = "zstd"};
    gi_join_t *join = NULL;
    while (e == GATE_NOMEM) {
        gi_mem_fail_at(++n, false);
        e = gi_join_new(&options, &join);
        gi_mem_fail_at(0, false);
    }
    cr_assert(e == GATE_OK && n > 2);
    gi_join_destroy(&join);
    gi_mem_fail_at(1, true);
    options.codec = NULL;
    cr_assert_eq(gi_join_new(&options, &join), GATE_NOMEM);
    gi_mem_fail_at(0, false);
}
