/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches: what is put in comes out in its order, and nothing else is taken. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "wire/batch.h"
#include "wire/packed.h"

static gi_batch_t s_batch;
static unsigned char s_bytes[4096];

static gi_batch_put_t s_put(size_t a, size_t b) {
    gate_bytes_t f[] = {{s_bytes + 1, a}, {s_bytes + 2, b}};
    return gi_batch_put(&s_batch, f, 2);
}

/* The next message has frames of these sizes. */
static void s_is(gi_batch_reader_t *reader, size_t a, size_t b) {
    gate_bytes_t message, f[8];
    unsigned n, n_outside;
    cr_assert(gi_batch_left(reader));
    cr_assert_eq(gi_batch_next(reader, &message), GATE_OK);
    cr_assert_eq(gi_packed_parse(message, 8, f, &n, &n_outside), GATE_OK);
    cr_assert(n == 2 && n_outside == 0);
    cr_assert(f[0].size == a && memcmp(f[0].data, s_bytes + 1, a) == 0);
    cr_assert(f[1].size == b && memcmp(f[1].data, s_bytes + 2, b) == 0);
}

static void s_fill(void) {
    for (size_t i = 0; i < sizeof s_bytes; i++)
        s_bytes[i] = (unsigned char)(i * 7 + i / 256);
    gi_batch_init(&s_batch);
}

/* Exactly: ASan sees one byte more. */
static gate_bytes_t s_copy(gate_bytes_t frame) {
    void *to = malloc(frame.size);
    memcpy(to, frame.data, frame.size);
    return (gate_bytes_t){to, frame.size};
}

Test(batch, comes_out_as_it_went_in) {
    static const size_t sizes[] = {0, 1, 5, 200, 244, 245, 246, 247, 700, 1000};
    gi_batch_reader_t reader;
    unsigned n = 0;
    s_fill();
    for (; n < sizeof sizes / sizeof *sizes; n++)
        cr_assert_eq(s_put(sizes[n], n), GI_BATCH_IN);
    gate_bytes_t frame = s_copy(gi_batch_frame(&s_batch, true));
    cr_assert(gi_batch_is(frame));
    gi_batch_read(&reader, frame);
    for (unsigned i = 0; i < n; i++)
        s_is(&reader, sizes[i], i);
    cr_assert_not(gi_batch_left(&reader));
    free((void *)(uintptr_t)frame.data);
}

Test(batch, of_one_is_that_message) {
    gate_bytes_t f[8];
    unsigned n, n_outside;
    for (size_t size = 0; size < 1000; size += 37) {
        s_fill();
        cr_assert_eq(s_put(3, size), GI_BATCH_IN);
        cr_assert(gi_batch_is(gi_batch_frame(&s_batch, false)));
        cr_assert_eq(gi_packed_parse(gi_batch_frame(&s_batch, true), 8, f, &n,
                                     &n_outside),
                     GATE_OK);
        cr_assert(n == 2 && f[1].size == size);
    }
}

Test(batch, has_an_end) {
    s_fill();
    for (unsigned i = 0; i < GI_BATCH_FULL; i++)
        cr_assert_eq(s_put(3, i), GI_BATCH_IN);
    cr_assert_eq(s_put(3, 1), GI_BATCH_NO_ROOM);
    cr_assert_eq(s_batch.n, GI_BATCH_FULL);
    gi_batch_init(&s_batch);
    cr_assert_eq(s_put(3, 1), GI_BATCH_IN);
    for (size_t n = 1; s_put(500, 500) == GI_BATCH_IN; n++)
        cr_assert_eq(s_batch.n, n + 1);
    cr_assert(s_batch.n == 8 && s_batch.size <= GI_BATCH_BYTES);
    cr_assert_eq(s_put(500, 600), GI_BATCH_ALONE);
    cr_assert_eq(s_batch.n, 8);
}

/* The first of a pass goes alone, unless the one before had several. */
Test(batch, what_is_alone_goes_at_once) {
    gi_batch_pace_t pace = {0};
    cr_assert(gi_batch_alone(&pace, 1));
    cr_assert(gi_batch_alone(&pace, 2));
    cr_assert_not(gi_batch_alone(&pace, 2));
    cr_assert_not(gi_batch_alone(&pace, 2));
    cr_assert_not(gi_batch_alone(&pace, 3));
    cr_assert(gi_batch_alone(&pace, 4));
    cr_assert(gi_batch_alone(&pace, 9));
    cr_assert_not(gi_batch_alone(&pace, 9));
    cr_assert_not(gi_batch_alone(&pace, 11));
    cr_assert_not(gi_batch_alone(&pace, 11));
}

/* So many messages are read before what is none; frame ends where it ends. */
static void s_bad(const void *data, size_t size, unsigned good) {
    gate_bytes_t frame = s_copy((gate_bytes_t){data, size}), message;
    gi_batch_reader_t reader;
    unsigned n = 0;
    gi_batch_read(&reader, frame);
    cr_assert(gi_batch_left(&reader));
    while (gi_batch_next(&reader, &message) == GATE_OK)
        cr_assert(gi_batch_left(&reader) && ++n < 100);
    cr_assert_eq(n, good, "%u", n);
    cr_assert_not(gi_batch_left(&reader));
    cr_assert_eq(gi_batch_next(&reader, &message), GATE_BADDATA);
    free((void *)(uintptr_t)frame.data);
}
#define BAD(bytes, good) s_bad(bytes, sizeof(bytes) - 1, good)
#define ONE "\6\xc1GXP\1\0"

Test(batch, what_is_none_ends_it) {
    BAD("\xc1GXB", 0);                     /* no message */
    BAD("\xc1GXC" ONE, 0);                 /* another magic */
    BAD("\xc1GXB" ONE "\6", 1);            /* a length alone */
    BAD("\xc1GXB" ONE "\7\xc1GXP\1\0", 1); /* too short */
    BAD("\xc1GXB" ONE "\0" ONE, 1);        /* an empty one */
    BAD("\xc1GXB" ONE "\xff" ONE, 1);      /* no length at all */
    BAD("\xc1GXB" ONE "\xfe\0\0\0", 1);    /* a long one that is cut */
    BAD("\xc1GXB" ONE "\xfe\xff\xff\xff\xff\xc1GXP\1\0", 1);
    BAD("\xc1GXB" ONE "\6MDPC01" ONE, 1);            /* not packed */
    BAD("\xc1GXB" ONE ONE "\x9\xc1GXB\4\xc1GXP", 2); /* a batch in it */
}

Test(batch, too_much_is_none) {
    unsigned char many[GI_BATCH_BYTES + 1];
    size_t size = 4;
    memcpy(many, GI_BATCH_MAGIC, 4);
    for (unsigned i = 0; i < GI_BATCH_MESSAGES + 2; i++, size += 7)
        memcpy(many + size, ONE, 7);
    s_bad(many, size, GI_BATCH_MESSAGES);
    memset(many + size, 0, sizeof many - size);
    s_bad(many, sizeof many, 0);
}
