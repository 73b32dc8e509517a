/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_scan_value.c -- three decoders must agree: gi_scan accepts exactly what
 * gate_value_decode decodes, and to msgpack-c (where its 32 levels reach) it is
 * the same value. What was decoded can be packed, shown and decoded again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "value/scan.h"
#include "value/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { S_MSGPACK_C_DEPTH = 30 };

static void s_pack(gi_buf_t *out, const msgpack_object *o) {
    gate_arg_t arg = gate_obj(o);
    gate_err_t e = gi_arg_pack(out, &arg, NULL);
    assert(!e);
}

static void s_like_msgpack_c(const uint8_t *data, size_t size,
                             const msgpack_object *ours) {
    gi_buf_t a = {0}, b = {0};
    msgpack_unpacked theirs;
    size_t at = 0;
    msgpack_unpacked_init(&theirs);
    int got = msgpack_unpack_next(&theirs, (const char *)data, size, &at);
    assert(got == MSGPACK_UNPACK_SUCCESS && at == size);
    s_pack(&a, ours);
    s_pack(&b, &theirs.data);
    assert(a.size == b.size && !memcmp(a.data, b.data, a.size));
    msgpack_unpacked_destroy(&theirs);
    gi_buf_fini(&a);
    gi_buf_fini(&b);
}

/* What came is packed again, but for texts that are no UTF-8. */
static void s_again(const gate_value_t *v, bool utf8) {
    gate_value_t *copy = gate_value_new(gate_obj(gate_value_object(v)));
    assert(!copy == !utf8);
    if (!copy)
        return;
    char *json = gate_value_json(v), *same = gate_value_json(copy);
    assert(json && same && !strcmp(json, same));
    free(json);
    free(same);
    gate_value_destroy(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gate_value_t *v = NULL;
    gi_limits_t limits = gi_scan_limits(NULL), shallow = limits;
    shallow.depth_max = S_MSGPACK_C_DEPTH;
    gate_err_t scanned = gi_scan(data, size, &limits);
    gate_err_t decoded = gate_value_decode(data, size, NULL, &v);
    assert(scanned == decoded);
    if (scanned)
        return 0;
    limits.utf8 = true;
    bool utf8 = gi_scan(data, size, &limits) == GATE_OK;
    s_again(v, utf8);
    if (utf8 && !gi_scan(data, size, &shallow)) /* packs both to compare */
        s_like_msgpack_c(data, size, gate_value_object(v));
    gate_value_destroy(&v);
    return 0;
}
