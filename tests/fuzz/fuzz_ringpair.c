/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_ringpair.c -- two sides of a ring pair of which one is hostile: between
 * the honest side's steps it writes what it likes, anywhere. The honest one may
 * call it bad; it may not read or write outside the memory, give more bytes than
 * the ring has without being told of them, or go on once it is bad. Without
 * scribbles all arrives, in order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "input.h"
#include "shared/ringpair.h"

#define RING GI_RINGPAIR_MIN

typedef struct s_world {
    unsigned char *memory;
    gi_ringpair_t honest, other;
    bool scribbled;
    uint32_t n_put, n_got; /* records of the other's to the honest one */
} s_world_t;

static void s_scribble(s_world_t *w, fuzz_input_t *in) {
    size_t bytes = gi_ringpair_bytes(RING), half = bytes / 2;
    unsigned where = fuzz_byte(in);
    size_t at =
        (where & 1 ? half : 0) + (where & 2 ? 64u * (where >> 2 & 3) : 0);
    if (!(where & 2))
        at += 256 + (fuzz_byte(in) | fuzz_byte(in) << 8) % RING;
    gate_bytes_t some = fuzz_some(in, 16);
    if (at + some.size <= bytes && some.size)
        memcpy(w->memory + at, some.data, some.size);
    w->scribbled = true;
}

static void s_other_puts(s_world_t *w, fuzz_input_t *in) {
    size_t size = 4 + fuzz_byte(in) * 4;
    size =
        size < gi_ringpair_most(&w->other) ? size : gi_ringpair_most(&w->other);
    unsigned char *to = gi_ringpair_room(&w->other, size);
    if (!to)
        return;
    memcpy(to, &w->n_put, 4);
    gi_ringpair_put(&w->other, size, fuzz_byte(in) & 1);
    w->n_put++;
}

static void s_honest_takes(s_world_t *w) {
    static unsigned char to[RING];
    size_t size = 0;
    bool more;
    uint32_t number;
    int rc = gi_ringpair_next(&w->honest, &size, &more);
    if (w->honest.bad)
        fuzz_must(rc == -1);
    if (rc != 1)
        return;
    fuzz_must(size > 0 && size <= RING);
    gi_ringpair_take(&w->honest, to);
    memcpy(&number, to, 4);
    if (!w->scribbled)
        fuzz_must(number == w->n_got);
    w->n_got++;
}

static void s_honest_puts(s_world_t *w, fuzz_input_t *in) {
    size_t size = 1 + fuzz_byte(in) * 4;
    size = size < gi_ringpair_most(&w->honest) ? size
                                               : gi_ringpair_most(&w->honest);
    unsigned char *to = gi_ringpair_room(&w->honest, size);
    if (!to)
        return;
    fuzz_must(to >= w->memory &&
              to + size <= w->memory + gi_ringpair_bytes(RING));
    memset(to, 0x55, size);
    gi_ringpair_put(&w->honest, size, false);
}

static void s_step(s_world_t *w, fuzz_input_t *in) {
    switch (fuzz_byte(in) % 9) {
    case 0:
        s_scribble(w, in);
        break;
    case 1:
    case 2:
        s_other_puts(w, in);
        break;
    case 3:
    case 4:
        s_honest_takes(w);
        break;
    case 5:
        s_honest_puts(w, in);
        break;
    case 6:
        gi_ringpair_freed(&w->honest);
        gi_ringpair_sleeper(&w->honest);
        break;
    case 7:
        if (gi_ringpair_sleep(&w->honest) && !w->scribbled)
            fuzz_must(!gi_ringpair_there(&w->honest));
        gi_ringpair_wake(&w->honest);
        break;
    default: { /* the other one reads */
        static unsigned char to[RING];
        size_t size;
        bool more;
        if (gi_ringpair_next(&w->other, &size, &more) == 1)
            gi_ringpair_take(&w->other, to);
        gi_ringpair_freed(&w->other);
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input_t in = {data, size};
    size_t bytes = gi_ringpair_bytes(RING);
    s_world_t w = {.memory = aligned_alloc(64, bytes)};
    memset(w.memory, 0, bytes);
    gi_ringpair_open(&w.honest, w.memory, RING, true, 0);
    gi_ringpair_open(&w.other, w.memory, RING, false, 0);
    while (in.size > 0)
        s_step(&w, &in);
    if (!w.scribbled) {
        fuzz_must(!w.honest.bad && !w.other.bad);
        while (gi_ringpair_there(&w.honest))
            s_honest_takes(&w);
        fuzz_must(w.n_got == w.n_put);
    }
    free(w.memory);
    return 0;
}
