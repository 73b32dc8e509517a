/* SPDX-License-Identifier: BSD-3-Clause */
/* link_parts.c -- fragments: the id, then bytes; the last one is flagged. */
#include "link/link_parts.h"

#include "base/err.h"
#include "base/mem.h"

void gi_link_parts_fini(gi_link_parts_t *self) {
    for (unsigned i = 0; i < GI_LINK_PARTS_MAX; i++) {
        gi_buf_fini(&self->open[i].bytes);
        self->open[i].id = 0;
    }
}

/* The one that is open, or a free place for it. */
static gi_buf_t *s_place(gi_link_parts_t *self, uint32_t id) {
    unsigned unused = GI_LINK_PARTS_MAX;
    for (unsigned i = 0; i < GI_LINK_PARTS_MAX; i++) {
        if (self->open[i].id == id)
            return &self->open[i].bytes;
        if (self->open[i].id == 0)
            unused = i;
    }
    if (unused == GI_LINK_PARTS_MAX)
        return NULL;
    self->open[unused].id = id;
    return &self->open[unused].bytes;
}

static void s_free(gi_link_parts_t *self, uint32_t id) {
    for (unsigned i = 0; i < GI_LINK_PARTS_MAX; i++)
        if (self->open[i].id == id)
            self->open[i].id = 0;
}

gate_err_t gi_link_parts_take(gi_link_parts_t *self,
                              const gi_link_record_t *fragment, size_t max,
                              unsigned char **whole, size_t *size) {
    gate_bytes_t f[2];
    unsigned n = 0;
    gate_err_t e = gi_link_record_frames(fragment->body, 2, f, &n);
    *whole = NULL;
    if (e)
        return e;
    if (n != 2 || f[0].size != 4 || gi_link_get32(f[0].data) == 0)
        return gi_err(GATE_BADDATA, "a fragment without an id");
    uint32_t id = gi_link_get32(f[0].data);
    gi_buf_t *bytes = s_place(self, id);
    if (bytes == NULL)
        return gi_err(GATE_TOOBIG, "more than %d records in fragments",
                      GI_LINK_PARTS_MAX);
    if (f[1].size > max || bytes->size > max - f[1].size)
        return gi_err(GATE_TOOBIG, "a record of more than %zu bytes", max);
    if (!gi_buf_append(bytes, f[1].data, f[1].size))
        return gi_err(GATE_NOMEM, "no memory for a record in fragments");
    if (!(fragment->flags & GI_LINK_LAST))
        return GATE_OK;
    s_free(self, id);
    *whole = gi_buf_take(bytes, size);
    return GATE_OK;
}

unsigned char *gi_link_parts_write(uint32_t id, gate_bytes_t record,
                                   size_t bytes, size_t *at,
                                   unsigned char *to) {
    unsigned char number[4];
    size_t left = record.size - *at, n = left < bytes ? left : bytes;
    gate_bytes_t f[2] = {{number, sizeof number},
                         {(const unsigned char *)record.data + *at, n}};
    gi_link_put32(number, id);
    *at += n;
    return gi_link_record_write(GI_LINK_FRAGMENT, n == left ? GI_LINK_LAST : 0,
                                f, 2, to);
}
