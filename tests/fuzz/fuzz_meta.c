/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_meta.c -- a call's metadata as anybody may send it: what is accepted
 * keeps the bounds, and packs and reads again as the same. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "wire/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_again(gate_bytes_t flat) {
    gate_arg_t of = {.type = GATE_A_META, .n = flat.size, .as.p = flat.data};
    gi_buf_t packed = {0};
    char to[GI_META_BYTES_MAX];
    const char *key, *value;
    if (gi_meta_pack(&packed, &of, 1) != GATE_OK)
        abort(); /* it came within the bounds */
    size_t n = gi_meta_flatten((gate_bytes_t){packed.data, packed.size}, to);
    for (size_t i = 0; (key = gi_meta_at((gate_bytes_t){to, n}, i, &value));
         i++) {
        assert(strlen(key) <= GI_META_KEY_MAX && *key);
        assert(strlen(value) <= GI_META_VALUE_MAX);
        assert(gi_meta_find(flat, key));
    }
    gi_buf_fini(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *to = malloc(size + 1);
    size_t n = gi_meta_flatten((gate_bytes_t){data, size}, to);
    assert(to && n <= size);
    gate_bytes_t flat = {to, n};
    const char *priority = gi_meta_find(flat, GI_META_PRIORITY);
    bool urgent = gi_meta_urgent((gate_bytes_t){data, size});
    assert(!urgent || priority);
    if (n)
        s_again(flat);
    free(to);
    return 0;
}
