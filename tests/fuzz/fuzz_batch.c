/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_batch.c -- what is read of a batch lies in it, in order and without gaps
 * but lengths; the messages that parse are written to a batch that reads the
 * same again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/batch.h"
#include "wire/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gi_batch_t s_batch;

/* True: it was put in, and has to be read again. */
static bool s_put(gate_bytes_t message, gi_batch_put_t *put) {
    gate_bytes_t f[GI_PACKED_FRAMES_MAX];
    unsigned n, n_outside;
    if (gi_packed_parse(message, GI_PACKED_FRAMES_MAX, f, &n, &n_outside) ||
        n_outside)
        return false;
    *put = gi_batch_put(&s_batch, f, n);
    return *put == GI_BATCH_IN;
}

static void s_same(gate_bytes_t a, gate_bytes_t b) {
    gate_bytes_t f[GI_PACKED_FRAMES_MAX], g[GI_PACKED_FRAMES_MAX];
    unsigned n, m, n_outside;
    gate_err_t e = gi_packed_parse(a, GI_PACKED_FRAMES_MAX, f, &n, &n_outside);
    assert(!e && !n_outside);
    e = gi_packed_parse(b, GI_PACKED_FRAMES_MAX, g, &m, &n_outside);
    assert(!e && !n_outside && n == m);
    for (unsigned i = 0; i < n; i++)
        assert(f[i].size == g[i].size &&
               !memcmp(f[i].data, g[i].data, f[i].size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gate_bytes_t message, again, kept[GI_BATCH_FULL];
    gi_batch_reader_t reader;
    gi_batch_put_t put = GI_BATCH_IN;
    const uint8_t *end = data;
    unsigned n = 0, n_kept = 0;
    gi_batch_init(&s_batch);
    gi_batch_read(&reader, (gate_bytes_t){data, size});
    while (gi_batch_left(&reader) && !gi_batch_next(&reader, &message)) {
        const uint8_t *at = message.data;
        assert(at > end && at - end <= (end == data ? 9 : 5));
        end = at + message.size;
        assert(end <= data + size && ++n <= GI_BATCH_MESSAGES);
        if (put != GI_BATCH_NO_ROOM && s_put(message, &put))
            kept[n_kept++] = message;
    }
    assert(!gi_batch_left(&reader));
    if (!n_kept)
        return 0;
    assert(s_batch.n == n_kept && s_batch.size <= GI_BATCH_BYTES);
    gi_batch_read(&reader, gi_batch_frame(&s_batch, false));
    for (unsigned i = 0; i < n_kept; i++) {
        gate_err_t e = gi_batch_next(&reader, &again);
        assert(!e);
        s_same(kept[i], again);
    }
    assert(!gi_batch_left(&reader));
    if (n_kept == 1)
        s_same(kept[0], gi_batch_frame(&s_batch, true));
    return 0;
}
