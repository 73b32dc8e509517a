/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_rpc.c -- first byte: what the rest is taken for: a reply, an exception,
 * a func frame, body frames, the text of an exception. */
#include <assert.h>

#include "wire/exception.h"
#include "frames.h"
#include "base/mem.h"
#include "wire/rpc.h"
#include "wire/row.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_count(void *hint) { ++*(int *)hint; }

static void s_reply(const uint8_t *data, size_t size) {
    int released = 0;
    gate_value_t *v = NULL;
    gate_err_t e = gi_rpc_take_reply(data, size, s_count, &released, NULL, &v);
    assert(released == (e != GATE_OK) && (v != NULL) == !e);
    gate_value_destroy(&v);
    assert(released == 1);
    if (e)
        assert(gate_error()->code == e && *gate_error()->cls);
}

/* What was read from a triple is packed to one that reads the same. */
static void s_triple(gate_bytes_t packed) {
    gate_err_t e = gi_rpc_publish_triple(packed, NULL);
    assert(e);
    gi_error_t first;
    gi_buf_t b = {0};
    gi_error_init(&first);
    gi_error_set(&first, gate_error());
    const gate_error_t *s = &first.story;
    bool utf8 = gi_utf8_valid(s->text, strlen(s->text)) &&
                gi_utf8_valid(s->cls, strlen(s->cls));
    e = gi_rpc_pack_triple(&b, s->cls, s->text, s->traceback);
    assert(!e);
    e = gi_rpc_publish_triple((gate_bytes_t){b.data, b.size}, NULL);
    assert(e != GATE_OK && e != GATE_BADDATA);
    if (utf8 && *s->cls)
        assert(!strcmp(gate_error()->cls, s->cls));
    gi_buf_fini(&b);
    gi_error_fini(&first);
}

static void s_func(gate_bytes_t frame) {
    gate_bytes_t func;
    if (!gi_rpc_parse_func(frame, &func))
        assert(func.size < frame.size);
}

/* What was counted is there, and written again it is the same. */
static void s_row(gate_bytes_t row) {
    static gi_row_t again;
    gate_bytes_t rest = row, item;
    unsigned n = gi_row_count(row);
    bool fits = row.size <= GI_ROW_BYTES;
    again.n = 0;
    again.size = 0;
    assert(n > 0 && n <= GI_ROW_ITEMS);
    for (unsigned i = 0; i < n; i++) {
        assert(gi_row_next(&rest, &item) && item.size);
        fits = fits && gi_row_put(&again, item.data, item.size);
    }
    assert(!rest.size && !gi_row_next(&rest, &item));
    assert(!fits ||
           (again.size == row.size && !memcmp(again.data, row.data, row.size)));
}

static void s_kind(const uint8_t *data, size_t size) {
    gate_bytes_t f[FUZZ_FRAMES_MAX];
    size_t n = fuzz_frames(data, size, f);
    gi_body_kind_t kind = gi_rpc_body_kind(f, n);
    if (kind == GI_BODY_SINGLE)
        s_reply(f[0].data, f[0].size);
    if (kind == GI_BODY_EXCEPTION)
        s_triple(f[2]);
    if (kind == GI_BODY_ITEM)
        assert(n == 2);
    if (kind == GI_BODY_ROW)
        s_row(f[1]);
    if (kind == GI_BODY_CHUNK) /* the first one says what is in it */
        assert(n == 2 || (n == 3 && gi_ext_is(f[2])));
    fuzz_frames_free(f, n);
}

/* repr and back is the identity on UTF-8 text without NUL. */
static void s_text(const uint8_t *data, size_t size) {
    gi_buf_t repr = {0}, back = {0};
    char *text = gi_mem_dup(data, size);
    gi_exception_repr(&repr, "Cls", text);
    gi_exception_text(&back, (const char *)repr.data, repr.size);
    assert(gi_utf8_valid(repr.data, repr.size));
    if (gi_utf8_valid(text, strlen(text)))
        assert(back.size == strlen(text) &&
               (!back.size || !memcmp(back.data, text, back.size)));
    gi_buf_fini(&back);
    gi_exception_text(&back, text, strlen(text)); /* anything as a repr */
    assert(back.size <= 4 * strlen(text));
    gi_buf_fini(&repr);
    gi_buf_fini(&back);
    gi_mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    const uint8_t *rest = data + 1;
    switch (*data % 5) {
    case 0:
        s_reply(rest, size - 1);
        break;
    case 1:
        s_triple((gate_bytes_t){rest, size - 1});
        break;
    case 2:
        s_func((gate_bytes_t){rest, size - 1});
        break;
    case 3:
        s_kind(rest, size - 1);
        break;
    case 4:
        s_text(rest, size - 1);
        break;
    }
    return 0;
}
