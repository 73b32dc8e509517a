/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_ext.c -- what parses packs to a frame that parses to the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "wire/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_same(gate_bytes_t a, gate_bytes_t b) {
    assert(a.size == b.size && (!a.size || !memcmp(a.data, b.data, a.size)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gi_ext_t a, b;
    gi_buf_t buf = {0};
    if (gi_ext_parse((gate_bytes_t){data, size}, &a))
        return 0;
    gate_err_t e = gi_ext_pack(&buf, &a);
    assert(!e);
    e = gi_ext_parse((gate_bytes_t){buf.data, buf.size}, &b);
    assert(!e);
    assert(a.credit_items == b.credit_items &&
           a.credit_bytes == b.credit_bytes && a.timeout_ms == b.timeout_ms);
    assert(a.cancel == b.cancel && a.drain == b.drain && a.huge == b.huge &&
           a.attempt == b.attempt);
    assert(a.huge_size == b.huge_size && a.args_size == b.args_size &&
           a.kwargs_size == b.kwargs_size);
    s_same(a.args_codec, b.args_codec);
    s_same(a.codecs, b.codecs);
    s_same(a.idempotent, b.idempotent);
    s_same(a.user, b.user);
    s_same(a.meta, b.meta);
    gi_buf_fini(&buf);
    return 0;
}
