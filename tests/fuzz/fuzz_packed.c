/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_packed.c -- what parses is written to the same frames again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gate_bytes_t a[GI_PACKED_FRAMES_MAX], b[GI_PACKED_FRAMES_MAX];
    unsigned n, m, n_outside;
    uint64_t outside;
    if (gi_packed_parse((gate_bytes_t){data, size}, GI_PACKED_FRAMES_MAX, a, &n,
                        &n_outside) ||
        n_outside > 0)
        return 0;
    size_t made = gi_packed_size(a, n, &outside);
    assert(made <= GI_PACKED_MAX);
    unsigned char *to = malloc(made);
    if (!to)
        return 0;
    gi_packed_write(a, n, outside, to);
    gate_err_t e =
        gi_packed_parse((gate_bytes_t){to, made}, n, b, &m, &n_outside);
    assert(!e && m == n);
    for (unsigned i = 0; i < n; i++)
        assert(outside >> i & 1 || (a[i].size == b[i].size &&
                                    !memcmp(a[i].data, b[i].data, a[i].size)));
    free(to);
    return 0;
}
