/* SPDX-License-Identifier: BSD-3-Clause */
/* client_huge.c -- a huge reply given whole: chunks are decompressed as they
 * come, capped by huge_max_bytes and huge_ratio_max while inflating; the value
 * is complete at END (docs/wire.md, huge data). */
#include <string.h>
#include "client_impl.h"
#include "err.h"
#include "join.h"
#include "mem.h"

#define S_STEP (256 * 1024)

struct gi_chuge {
    gi_join_t *join;
    gi_buf_t value;
};

void gi_chuge_destroy(gi_chuge_t **self_p) {
    gi_chuge_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_join_destroy(&self->join);
    gi_buf_fini(&self->value);
    gi_mem_free(self);
}

static gate_err_t s_begin(gi_pending_t *p) {
    const gate_settings_t *settings = p->client->settings;
    gi_join_options_t options = {
        .codec = settings->huge_data_compress_module,
        .max_bytes = (uint64_t)settings->huge_max_bytes,
        .ratio_max = (uint64_t)settings->huge_ratio_max};
    p->huge = gi_mem_calloc(1, sizeof *p->huge);
    if (!p->huge)
        return gi_err(GATE_NOMEM, "no memory for a huge reply");
    return gi_join_new(&options, &p->huge->join);
}

/* Inflates what is in hand; end: no more input comes. */
static gate_err_t s_inflate(gi_chuge_t *h, gate_bytes_t in, bool end) {
    gate_err_t e;
    size_t room;
    do {
        if (!gi_buf_reserve(&h->value, S_STEP))
            return gi_err(GATE_NOMEM, "no memory for a huge reply");
        room = h->value.room - h->value.size;
        size_t out = room;
        e = end ? gi_join_end(h->join, h->value.data + h->value.size, &out)
                : gi_join_step(h->join, &in, h->value.data + h->value.size,
                               &out);
        h->value.size += out;
        room -= out;
    } while (!e && (end || in.size || room == 0));
    return e;
}

static void s_complete(gi_pending_t *p) {
    size_t size;
    void *data = gi_buf_take(&p->huge->value, &size);
    if (p->stream) {
        gate_err_t e =
            gi_stream_push(p->stream, data, size, gi_mem_free, data, 0);
        if (!e)
            gi_stream_end(p->stream);
    } else {
        gi_future_complete_packed(p->future, data, size, gi_mem_free, data);
        p->future = NULL;
    }
    p->client->stats.answers++;
    gi_pending_done(p);
}

void gi_pending_huge(gi_pending_t *p, const gate_bytes_t *body, size_t n) {
    gi_body_kind_t kind = gi_rpc_body_kind(body, n);
    gate_err_t e = GATE_OK;
    if (kind == GI_BODY_HUGE_EXCEPTION) {
        gi_pending_exception(p, n > 2 ? body[2] : (gate_bytes_t){NULL, 0});
        return;
    }
    if (!p->huge)
        e = s_begin(p);
    if (!e)
        e = s_inflate(p->huge,
                      kind == GI_BODY_CHUNK ? body[1] : (gate_bytes_t){NULL, 0},
                      kind == GI_BODY_HUGE_END);
    if (kind == GI_BODY_HUGE_END && e == GATE_EOS) {
        s_complete(p);
    } else if (e) {
        gate_error_t story = *gate_error();
        gi_pending_fail(p, &story);
    }
}
