/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge/chunk.h"
#include "data.h"
#include "base/mem.h"
#include "base/tags.h"
#include <criterion/criterion.h>

#define S_END_SIZE (sizeof GI_HUGE_END - 1)

static bool s_ends(const unsigned char *data, size_t size) {
    return size >= S_END_SIZE &&
           !memcmp(data + size - S_END_SIZE, GI_HUGE_END, S_END_SIZE);
}

/* Cuts data and checks every law of chunk.h; how many chunks there were. */
static size_t s_cut(gate_bytes_t data, size_t target, size_t piece) {
    gi_chunker_t chunker;
    gate_bytes_t got;
    t_bytes_t out = {0};
    size_t n = 0, done = 0;
    gi_chunker_init(&chunker, target);
    do {
        size_t part = data.size - done < piece ? data.size - done : piece;
        cr_assert_eq(
            gi_chunker_add(&chunker, (const char *)data.data + done, part),
            GATE_OK);
        done += part;
        while (gi_chunker_next(&chunker, done == data.size, &got)) {
            cr_assert(got.size > 0 && got.size <= chunker.target);
            for (size_t i = GI_CHUNK_SLICE; i < got.size; i += GI_CHUNK_SLICE)
                cr_assert_not(s_ends(got.data, i));
            cr_assert_not(s_ends(got.data, got.size));
            t_append(&out, got.data, got.size);
            n++;
        }
    } while (done < data.size);
    cr_assert_eq(gi_chunker_size(&chunker), 0);
    cr_assert_eq(out.size, data.size);
    cr_assert(!data.size || !memcmp(out.data, data.data, data.size));
    gi_chunker_fini(&chunker);
    free(out.data);
    return n;
}

Test(chunk, sizes_are_as_asked) {
    unsigned char *data = t_data(T_RANDOM, 1000000, 1);
    cr_assert_eq(s_cut((gate_bytes_t){data, 1000000}, 65536, 30000), 16);
    cr_assert_eq(s_cut((gate_bytes_t){data, 65536}, 65536, 65536), 1);
    cr_assert_eq(s_cut((gate_bytes_t){data, 65537}, 65536, 65536), 2);
    cr_assert_eq(s_cut((gate_bytes_t){data, 0}, 65536, 65536), 0);
    cr_assert_eq(s_cut((gate_bytes_t){data, 640}, 1, 640), 10);
    free(data);
}

/* wire.md 7.2: where the tag could end a read of Python's client. */
Test(chunk, no_border_is_a_trap) {
    static const size_t borders[] = {11,    999,   1000,  1001,  2000,
                                     64000, 65536, 66000, 66536, 70000};
    unsigned char *data = malloc(70000);
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++) {
        memset(data, 'x', 70000);
        memcpy(data + borders[i] - S_END_SIZE, GI_HUGE_END, S_END_SIZE);
        s_cut((gate_bytes_t){data, 70000}, 65536, 70000);
        s_cut((gate_bytes_t){data, borders[i]}, 65536, 70000);
        s_cut((gate_bytes_t){data, 70000}, 1000, 333);
    }
    for (size_t i = 0; i < 70000; i++) /* the tag all over */
        data[i] = (unsigned char)GI_HUGE_END[i % S_END_SIZE];
    for (size_t size = 0; size < 3000; size += 7)
        s_cut((gate_bytes_t){data, size}, 1000, 3000);
    s_cut((gate_bytes_t){data, 70000}, 65536, 70000);
    free(data);
}

Test(chunk, none_is_a_tag) {
    static const char *const tags[] = {GI_HUGE_END,         GI_HUGE_EXCEPTION,
                                       GI_STREAM_EXCEPTION, GI_STREAM_END,
                                       GI_STREAM_TAG,       GI_HUGE_TAG};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        cr_assert_eq(
            s_cut((gate_bytes_t){tags[i], strlen(tags[i])}, 65536, 70000), 2);
}

Test(chunk, no_memory_is_an_error) {
    gi_chunker_t chunker;
    gi_chunker_init(&chunker, 1000);
    gi_mem_fail_at(1, true);
    cr_assert_eq(gi_chunker_add(&chunker, "abc", 3), GATE_NOMEM);
    gi_mem_fail_at(0, false);
    gi_chunker_fini(&chunker);
}
