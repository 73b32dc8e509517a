/* SPDX-License-Identifier: BSD-3-Clause */
/* whole.c -- files as gzip, bzip2, xz, zstd and lz4 write them: several streams
 * in a row, padding, skippable frames; and what is none of that. */
#include "data.h"
#include "huge/codec.h"
#include "huge/join.h"
#include <criterion/criterion.h>

static const char *const s_names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
#define S_NAMES (sizeof s_names / sizeof *s_names)

static void s_add(t_bytes_t *to, const char *codec, const char *text) {
    void *packed;
    size_t n;
    cr_assert_eq(gi_codec_compress(codec, 0, (gate_bytes_t){text, strlen(text)},
                                   &packed, &n),
                 GATE_OK);
    t_append(to, packed, n);
    free(packed);
}

static void s_skippable(t_bytes_t *to, unsigned char kind) {
    unsigned char frame[] = {0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    frame[0] |= kind;
    t_append(to, frame, sizeof frame);
}

/* Takes the bytes: they are want, within a cap of just so much. */
static void s_reads(t_bytes_t *in, const char *codec, const char *want) {
    void *out;
    size_t n, size = strlen(want);
    gate_bytes_t bytes = {in->data, in->size};
    cr_assert_eq(gate_decompress(codec, bytes, size, &out, &n), GATE_OK,
                 "%s: %s", codec, gate_error()->text);
    cr_assert(n == size && !memcmp(out, want, n), "%s", codec);
    free(out);
    if (size)
        cr_assert_eq(gate_decompress(codec, bytes, size - 1, &out, &n),
                     GATE_TOOBIG);
    free(in->data);
    *in = (t_bytes_t){0};
}

static void s_refuses(t_bytes_t *in, const char *codec, const char *says) {
    void *out;
    size_t n;
    gate_bytes_t bytes = {in->data, in->size};
    cr_assert_eq(gate_decompress(codec, bytes, 1000, &out, &n), GATE_BADDATA,
                 "%s", codec);
    cr_assert(strstr(gate_error()->text, says), "%s: %s", codec,
              gate_error()->text);
    free(in->data);
    *in = (t_bytes_t){0};
}

Test(whole, streams_in_a_row_are_one) {
    for (size_t c = 0; c < S_NAMES; c++) {
        t_bytes_t in = {0};
        s_add(&in, s_names[c], "one, ");
        s_add(&in, s_names[c], "");
        s_add(&in, s_names[c], "two");
        s_reads(&in, s_names[c], "one, two");
        char want[1001] = {0};
        for (int i = 0; i < 500; i++) {
            s_add(&in, s_names[c], "ab");
            strcat(want, "ab");
        }
        s_reads(&in, s_names[c], want);
    }
}

Test(whole, a_later_stream_that_is_cut_off_or_damaged_is_an_error) {
    for (size_t c = 0; c < S_NAMES; c++) {
        t_bytes_t first = {0}, both = {0};
        s_add(&first, s_names[c], "one");
        s_add(&both, s_names[c], "one");
        s_add(&both, s_names[c], "two");
        for (size_t cut = first.size + 1; cut < both.size; cut++) {
            t_bytes_t in = {0};
            t_append(&in, both.data, cut);
            s_refuses(&in, s_names[c], "");
        }
        both.data[both.size - 5] ^= 1;
        s_refuses(&both, s_names[c], "");
        free(first.data);
    }
}

Test(whole, what_is_no_stream_behind_one_is_an_error) {
    for (size_t c = 0; c < S_NAMES; c++) {
        t_bytes_t in = {0};
        s_add(&in, s_names[c], "one");
        t_append(&in, "x", 1);
        s_refuses(&in, s_names[c], "1 bytes follow");
        s_add(&in, s_names[c], "one");
        t_append(&in, "garbage", 7);
        s_refuses(&in, s_names[c], "7 bytes follow");
        /* another format's stream is none of this one's */
        s_add(&in, s_names[c], "one");
        s_add(&in, s_names[(c + 1) % S_NAMES], "two");
        s_refuses(&in, s_names[c], "bytes follow");
    }
}

/* gzip: any number, at the end; xz: fours, anywhere; the others: none. */
Test(whole, padding) {
    for (size_t c = 0; c < S_NAMES; c++) {
        bool gzip = c == 0, xz = c == 2;
        for (size_t n = 1; n < 14; n++) {
            t_bytes_t in = {0};
            s_add(&in, s_names[c], "one");
            t_append(&in, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", n);
            if (gzip || (xz && n % 4 == 0))
                s_reads(&in, s_names[c], "one");
            else
                s_refuses(&in, s_names[c], "bytes follow");
            s_add(&in, s_names[c], "one");
            t_append(&in, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", n);
            s_add(&in, s_names[c], "two");
            if (xz && n % 4 == 0)
                s_reads(&in, s_names[c], "onetwo");
            else
                s_refuses(&in, s_names[c], "bytes follow");
        }
    }
}

Test(whole, skippable_frames_say_nothing) {
    for (size_t c = 3; c < S_NAMES; c++)
        for (unsigned char kind = 0; kind < 16; kind++) {
            t_bytes_t in = {0};
            s_skippable(&in, kind);
            s_add(&in, s_names[c], "one");
            s_skippable(&in, kind);
            s_skippable(&in, kind);
            s_add(&in, s_names[c], "two");
            s_skippable(&in, kind);
            s_reads(&in, s_names[c], "onetwo");
        }
}

/* A call's value is one stream, as ever. */
Test(whole, the_wire_takes_one_stream) {
    for (size_t c = 0; c < S_NAMES; c++) {
        gi_join_t *join;
        gi_join_options_t options = {.codec = s_names[c]};
        t_bytes_t in = {0};
        unsigned char out[100];
        size_t n = sizeof out;
        s_add(&in, s_names[c], "one");
        s_add(&in, s_names[c], "two");
        gate_bytes_t bytes = {in.data, in.size};
        cr_assert_eq(gi_join_new(&options, &join), GATE_OK);
        cr_assert_eq(gi_join_step(join, &bytes, out, &n), GATE_BADDATA, "%s",
                     s_names[c]);
        gi_join_destroy(&join);
        free(in.data);
    }
}
