/* SPDX-License-Identifier: BSD-3-Clause */
/* Packed messages: what goes in comes out, and nothing else is taken. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "wire/packed.h"

static unsigned char s_bytes[4096];

/* Packs frames of these sizes and compares what comes back. */
static void s_round(const size_t *sizes, unsigned n, uint64_t expected) {
    gate_bytes_t in[GI_PACKED_FRAMES_MAX], out[GI_PACKED_FRAMES_MAX];
    uint64_t outside;
    unsigned n_out, n_outside;
    for (unsigned i = 0; i < n; i++)
        in[i] = (gate_bytes_t){s_bytes + i, sizes[i]};
    size_t size = gi_packed_size(in, n, &outside);
    cr_assert_leq(size, GI_PACKED_MAX);
    cr_assert_eq(outside, expected, "%llx", (unsigned long long)outside);
    unsigned char *to = malloc(size); /* exactly: ASan sees one byte more */
    gi_packed_write(in, n, outside, to);
    cr_assert_eq(
        gi_packed_parse((gate_bytes_t){to, size}, n, out, &n_out, &n_outside),
        GATE_OK);
    cr_assert_eq(n_out, n);
    cr_assert_eq(n_outside, (unsigned)__builtin_popcountll(expected));
    for (unsigned i = 0; i < n; i++)
        if (expected >> i & 1)
            cr_assert(!out[i].data && out[i].size == SIZE_MAX);
        else
            cr_assert(out[i].size == sizes[i] &&
                      memcmp(out[i].data, in[i].data, sizes[i]) == 0);
    free(to);
}

static void s_fill(void) {
    for (size_t i = 0; i < sizeof s_bytes; i++)
        s_bytes[i] = (unsigned char)(i * 7 + i / 256);
}

Test(packed, round_trips) {
    s_fill();
    s_round((size_t[]){6, 5, 16, 4, 70, 1}, 6, 0);
    s_round((size_t[]){0}, 1, 0);
    s_round((size_t[]){0}, 0, 0);
    s_round((size_t[]){253, 254, 255}, 3, 0);
    for (size_t n = 0; n < 300; n++)
        s_round(&n, 1, 0);
    s_round((size_t[]){6, 4000, 3}, 3, 2);
    s_round((size_t[]){500, 400, 300, 4}, 4, 4);
    s_round((size_t[]){1014}, 1, 0);
    s_round((size_t[]){1015}, 1, 1);
    s_round((size_t[]){2000, 2000}, 2, 3);
    size_t many[GI_PACKED_FRAMES_MAX] = {0};
    s_round(many, GI_PACKED_FRAMES_MAX, 0);
}

#define PARSE(bytes)                                                      \
    gi_packed_parse((gate_bytes_t){bytes, sizeof(bytes) - 1}, 8, out, &n, \
                    &outside)

Test(packed, refuses_what_is_wrong) {
    gate_bytes_t out[8];
    unsigned n, outside;
    cr_assert_eq(PARSE("\xc1GXP\2\1\0x"), GATE_OK);
    cr_assert(n == 2 && out[0].size == 1 && out[1].size == 0);
    cr_assert_neq(PARSE("\xc1GXP"), GATE_OK);         /* no number */
    cr_assert_neq(PARSE("\xc1GX1\2\1\0x"), GATE_OK);  /* another frame */
    cr_assert_neq(PARSE("\xc1GXP\2\1"), GATE_OK);     /* a length missing */
    cr_assert_neq(PARSE("\xc1GXP\2\2\0x"), GATE_OK);  /* too short */
    cr_assert_neq(PARSE("\xc1GXP\2\1\0xy"), GATE_OK); /* too long */
    cr_assert_neq(PARSE("\xc1GXP\1\xfe\0\0\0"), GATE_OK);
    cr_assert_neq(PARSE("\xc1GXP\1\xfe\xff\xff\xff\xffx"), GATE_OK);
    cr_assert_neq(PARSE("\xc1GXP\x9\0\0\0\0\0\0\0\0\0"), GATE_OK); /* > 8 */
}
