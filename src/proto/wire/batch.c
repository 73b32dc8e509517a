/* SPDX-License-Identifier: BSD-3-Clause */
/* batch.c -- magic, then each message's length and the message. A length is one
 * byte up to 253, else 254 and four bytes, most significant first. */
#include "wire/batch.h"

#include <string.h>
#include "base/err.h"
#include "value/mp.h"
#include "wire/packed.h"

enum { S_LONG = 254, S_LONG_SIZE = 5 };

/* ---- writing ------------------------------------------------------------- */
void gi_batch_init(gi_batch_t *self) {
    self->n = 0;
    self->size = 0;
}

static unsigned char *s_put_length(unsigned char *to, size_t size) {
    if (size < S_LONG) {
        *to++ = (unsigned char)size;
        return to;
    }
    *to++ = S_LONG;
    for (int k = 24; k >= 0; k -= 8)
        *to++ = (unsigned char)(size >> k);
    return to;
}

gi_batch_put_t gi_batch_put(gi_batch_t *self, const gate_bytes_t *frames,
                            unsigned n) {
    uint64_t outside;
    size_t size = gi_packed_size(frames, n, &outside);
    if (outside)
        return GI_BATCH_ALONE;
    if (self->n == 0) {
        memcpy(self->data, GI_BATCH_MAGIC, GI_BATCH_HEAD);
        self->size = GI_BATCH_HEAD;
    }
    if (self->n == GI_BATCH_FULL ||
        size + S_LONG_SIZE > GI_BATCH_BYTES - self->size)
        return GI_BATCH_NO_ROOM;
    unsigned char *to = s_put_length(self->data + self->size, size);
    if (self->n++ == 0)
        self->first = (unsigned)(to - self->data);
    gi_packed_write(frames, n, outside, to);
    self->size = (size_t)(to - self->data) + size;
    return GI_BATCH_IN;
}

gate_bytes_t gi_batch_frame(const gi_batch_t *self, bool plain) {
    size_t from = plain && self->n == 1 ? self->first : 0;
    return (gate_bytes_t){self->data + from, self->size - from};
}

/* ---- reading ------------------------------------------------------------- */
bool gi_batch_is(gate_bytes_t frame) {
    return frame.size >= GI_BATCH_HEAD &&
           memcmp(frame.data, GI_BATCH_MAGIC, GI_BATCH_HEAD) == 0;
}

void gi_batch_read(gi_batch_reader_t *self, gate_bytes_t frame) {
    *self = (gi_batch_reader_t){.frame = frame};
}

static gate_err_t s_bad(gi_batch_reader_t *self, const char *why) {
    self->at = self->frame.size;
    return gi_err(GATE_BADDATA, "%s", why);
}

/* Of the next message; *at is behind it. False: it is not there. */
static bool s_length(gate_bytes_t frame, size_t *at, size_t *size) {
    const unsigned char *p = (const unsigned char *)frame.data + *at;
    size_t left = frame.size - *at;
    if (left < 1 || *p > S_LONG || (*p == S_LONG && left < S_LONG_SIZE))
        return false;
    bool is_long = *p == S_LONG;
    *size = is_long ? gi_mp_be(p + 1, 4) : *p;
    *at += is_long ? S_LONG_SIZE : 1;
    return true;
}

gate_err_t gi_batch_next(gi_batch_reader_t *self, gate_bytes_t *out) {
    size_t size, at = self->at ? self->at : GI_BATCH_HEAD;
    if (!gi_batch_is(self->frame))
        return s_bad(self, "not a batch");
    if (self->frame.size > GI_BATCH_BYTES)
        return s_bad(self, "a batch of more than 8,000 bytes");
    if (self->n++ == GI_BATCH_MESSAGES)
        return s_bad(self, "a batch of more than 64 messages");
    if (!s_length(self->frame, &at, &size) || size > self->frame.size - at)
        return s_bad(self, "a batch ends too early");
    gate_bytes_t message = {(const unsigned char *)self->frame.data + at, size};
    if (!gi_packed_is(message))
        return s_bad(self, "a batch of what is no packed message");
    self->at = at + size;
    *out = message;
    return GATE_OK;
}
