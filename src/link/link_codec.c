/* SPDX-License-Identifier: BSD-3-Clause */
/* link_codec.c -- heads and records as bytes. A record's frames are written as
 * packed messages are (docs/extensions.md): how many, their lengths, then their
 * bytes; but all of them are inside. */
#include "link/link_codec.h"

#include <assert.h>
#include <string.h>
#include "base/err.h"

static const unsigned char s_magic[4] = {0xc1, 'G', 'X', 'L'};

#define S_LONG 254 /* four bytes of length follow */

/* ---- integers ------------------------------------------------------------ */
static unsigned char *s_put(unsigned char *to, uint64_t value, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        to[i] = (unsigned char)(value >> (8 * (n - 1 - i)));
    return to + n;
}

static uint64_t s_get(const unsigned char **from, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value = value << 8 | *(*from)++;
    return value;
}

void gi_link_put32(unsigned char *to, uint32_t value) { s_put(to, value, 4); }

uint32_t gi_link_get32(const void *from) {
    const unsigned char *p = from;
    return (uint32_t)s_get(&p, 4);
}

/* ---- the head ------------------------------------------------------------ */
void gi_link_head_write(const gi_link_head_t *head,
                        unsigned char to[GI_LINK_HEAD]) {
    unsigned char *p = to;
    memcpy(p, s_magic, sizeof s_magic);
    p += sizeof s_magic;
    *p++ = GI_LINK_VERSION;
    *p++ = (unsigned char)head->kind;
    p = s_put(p, head->flags, 2);
    memcpy(p, head->node, sizeof head->node);
    p = s_put(p + sizeof head->node, head->gen, 4);
    p = s_put(p, head->peer_gen, 4);
    p = s_put(p, head->seq, 8);
    p = s_put(p, head->ack, 8);
    p = s_put(p, head->grant, 8);
    p = s_put(p, head->age_ms, 4);
    p = s_put(p, head->size, 4);
    assert(p == to + GI_LINK_HEAD);
}

gate_err_t gi_link_head_parse(gate_bytes_t message, gi_link_head_t *head,
                              gate_bytes_t *rest) {
    const unsigned char *p = message.data;
    if (message.size < GI_LINK_HEAD || memcmp(p, s_magic, sizeof s_magic) != 0)
        return gi_err(GATE_BADDATA, "no message of a link");
    if (p[4] != GI_LINK_VERSION)
        return gi_err(GATE_NOTIMPL, "a link of version %u: this is %d", p[4],
                      GI_LINK_VERSION);
    p += 5;
    int kind = *p++;
    if (kind == 0 || strchr("AHDRB", kind) == NULL)
        return gi_err(GATE_BADDATA, "a link's message of no kind");
    head->kind = (gi_link_kind_t)kind;
    head->flags = (uint16_t)s_get(&p, 2);
    memcpy(head->node, p, sizeof head->node);
    p += sizeof head->node;
    head->gen = (uint32_t)s_get(&p, 4);
    head->peer_gen = (uint32_t)s_get(&p, 4);
    head->seq = s_get(&p, 8);
    head->ack = s_get(&p, 8);
    head->grant = s_get(&p, 8);
    head->age_ms = (uint32_t)s_get(&p, 4);
    head->size = (uint32_t)s_get(&p, 4);
    if (head->size != message.size - GI_LINK_HEAD)
        return gi_err(GATE_BADDATA, "a link's message of another length");
    *rest = (gate_bytes_t){p, head->size};
    return GATE_OK;
}

void gi_link_node_text(const unsigned char node[GI_LINK_NODE_SIZE],
                       char to[GI_LINK_NODE_TEXT + 1]) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    const unsigned char *p = node;
    uint64_t value = s_get(&p, GI_LINK_NODE_SIZE);
    for (unsigned i = 0; i < GI_LINK_NODE_TEXT; i++) {
        unsigned shift = 5 * (GI_LINK_NODE_TEXT - 1 - i);
        to[i] = digits[value >> shift & 31];
    }
    to[GI_LINK_NODE_TEXT] = 0;
}

/* ---- writing records ----------------------------------------------------- */
static size_t s_length_size(size_t size) { return size < S_LONG ? 1 : 5; }

size_t gi_link_record_size(const gate_bytes_t *f, unsigned n) {
    size_t size = GI_LINK_RECORD_HEAD + 1;
    for (unsigned i = 0; i < n; i++)
        size += s_length_size(f[i].size) + f[i].size;
    return size;
}

unsigned char *gi_link_record_write(gi_link_type_t type, unsigned flags,
                                    const gate_bytes_t *f, unsigned n,
                                    unsigned char *to) {
    unsigned char *p = to + GI_LINK_RECORD_HEAD;
    assert(n <= GI_LINK_FRAMES_MAX);
    *p++ = (unsigned char)n;
    for (unsigned i = 0; i < n; i++) {
        bool is_long = f[i].size >= S_LONG;
        p = s_put(p, is_long ? S_LONG : f[i].size, 1);
        if (is_long)
            p = s_put(p, f[i].size, 4);
    }
    for (unsigned i = 0; i < n; i++) {
        if (f[i].size)
            memcpy(p, f[i].data, f[i].size);
        p += f[i].size;
    }
    to[0] = (unsigned char)type;
    to[1] = (unsigned char)flags;
    s_put(to + 2, (uint64_t)(p - to) - GI_LINK_RECORD_HEAD, 4);
    return p;
}

/* ---- reading records ----------------------------------------------------- */
static gate_err_t s_short(void) {
    return gi_err(GATE_BADDATA, "a link's record ends too early");
}

gate_err_t gi_link_record_next(gate_bytes_t *rest, gi_link_record_t *out) {
    const unsigned char *p = rest->data;
    if (rest->size < GI_LINK_RECORD_HEAD)
        return s_short();
    size_t size = gi_link_get32(p + 2);
    if (size > rest->size - GI_LINK_RECORD_HEAD)
        return s_short();
    if (p[0] == 0 || strchr("QCPKSF", p[0]) == NULL)
        return gi_err(GATE_BADDATA, "a link's record of no type");
    out->type = (gi_link_type_t)p[0];
    out->flags = p[1];
    out->body = (gate_bytes_t){p + GI_LINK_RECORD_HEAD, size};
    rest->data = p + GI_LINK_RECORD_HEAD + size;
    rest->size -= GI_LINK_RECORD_HEAD + size;
    return GATE_OK;
}

/* One length; *p is behind it. */
static gate_err_t s_length(const unsigned char **p, const unsigned char *end,
                           size_t *out) {
    if (*p == end)
        return s_short();
    *out = *(*p)++;
    if (*out < S_LONG)
        return GATE_OK;
    if (*out != S_LONG || end - *p < 4)
        return s_short();
    *out = (size_t)s_get(p, 4);
    return GATE_OK;
}

gate_err_t gi_link_record_frames(gate_bytes_t body, unsigned max,
                                 gate_bytes_t *f, unsigned *n) {
    const unsigned char *p = body.data, *end = p + body.size;
    gate_err_t e = GATE_OK;
    if (body.size == 0)
        return s_short();
    unsigned count = *p++;
    if (count > max)
        return gi_err(GATE_BADDATA, "%u frames in a link's record: at most %u",
                      count, max);
    for (unsigned i = 0; i < count && !e; i++)
        e = s_length(&p, end, &f[i].size);
    for (unsigned i = 0; i < count && !e; i++) {
        if (f[i].size > (size_t)(end - p))
            return s_short();
        f[i].data = p;
        p += f[i].size;
    }
    if (!e && p != end)
        e = gi_err(GATE_BADDATA, "a link's record with %zu bytes behind it",
                   (size_t)(end - p));
    if (!e)
        *n = count;
    return e;
}
