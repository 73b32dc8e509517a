/* SPDX-License-Identifier: BSD-3-Clause */
/* tally.c -- a method gets a row of its own only with its first answer that is
 * not AttributeError: names that a stranger made up fill no table. */
#include "tally/tally.h"

#include <string.h>
#include "base/mem.h"
#include "base/utf8.h"

#define S_OTHER "_other"

const char *const gi_tally_outcomes[GI_OUTCOMES] = {
    "ok", "exception", "refused", "lost", "expired", "cancelled", "orphaned"};

/* ---- room ---------------------------------------------------------------- */
static void *s_take(gi_tally_room_t *room, size_t size) {
    void *p = room->left >= size ? gi_mem_calloc(1, size) : NULL;
    if (p)
        room->left -= size;
    else
        room->folded++;
    return p;
}

static void s_give(gi_tally_room_t *room, void *p, size_t size) {
    gi_mem_free(p);
    room->left += size;
}

gi_tally_t *gi_tally_new(gi_tally_room_t *room) {
    gi_tally_t *self = s_take(room, sizeof *self);
    if (self)
        self->room = room;
    return self;
}

void gi_tally_destroy(gi_tally_t **self_p) {
    gi_tally_t *self = *self_p;
    if (self == NULL)
        return;
    for (unsigned i = 0; i < self->n_methods; i++)
        s_give(self->room, self->methods[i], sizeof *self->methods[i]);
    while (self->classes) {
        gi_tally_class_t *next = self->classes->next;
        s_give(self->room, self->classes, sizeof *self->classes);
        self->classes = next;
    }
    s_give(self->room, self, sizeof *self);
    *self_p = NULL;
}

/* ---- what peers wrote ---------------------------------------------------- */
/* A msgpack str at the front of *from, which goes behind it. */
static bool s_str(gate_bytes_t *from, gate_bytes_t *out) {
    const unsigned char *p = from->data;
    size_t head = 1, size = from->size;
    if (size && (*p & 0xe0) == 0xa0)
        size = *p & 0x1f;
    else if (size >= 2 && *p == 0xd9)
        head = 2, size = p[1];
    else if (size >= 3 && *p == 0xda)
        head = 3, size = (size_t)p[1] << 8 | p[2];
    else if (size >= 5 && *p == 0xdb)
        head = 5, size = (size_t)p[1] << 24 | (size_t)p[2] << 16 |
                         (size_t)p[3] << 8 | p[4];
    else
        return false;
    if (from->size - head < size)
        return false;
    *out = (gate_bytes_t){p + head, size};
    *from = (gate_bytes_t){p + head + size, from->size - head - size};
    return true;
}

bool gi_tally_triple(gate_bytes_t frame, gate_bytes_t *cls,
                     gate_bytes_t *text) {
    const unsigned char *p = frame.data;
    *cls = *text = (gate_bytes_t){"", 0};
    if (frame.size == 0 || *p != 0x93)
        return false;
    gate_bytes_t rest = {p + 1, frame.size - 1};
    return s_str(&rest, cls) && s_str(&rest, text);
}

/* Key order is law (wire.md, replies). */
#define S_FAILED             \
    "\x82\xa6result\xc0\xa9" \
    "exception"

bool gi_tally_reply(gate_bytes_t frame, gate_bytes_t *cls, gate_bytes_t *text) {
    const size_t n = sizeof S_FAILED - 1;
    if (frame.size <= n || ((const char *)frame.data)[8] != S_FAILED[8] ||
        memcmp(frame.data, S_FAILED, n) != 0)
        return false;
    const unsigned char *p = frame.data;
    if (p[n] == 0xc0) /* a result that is None */
        return false;
    gi_tally_triple((gate_bytes_t){p + n, frame.size - n}, cls, text);
    return true;
}

void gi_tally_name(gi_tally_name_t *name, gate_bytes_t func) {
    const unsigned char *p = func.data;
    gate_bytes_t text;
    memset(name, 0, sizeof *name);
    if (func.size && *p == 0xa0 + func.size - 1 && *p < 0xa0 + 32) {
        memcpy(name->text, p + 1, func.size - 1); /* a short one: the most */
        return;
    }
    if (!s_str(&func, &text))
        return;
    memcpy(name->text, text.data,
           text.size < GI_TALLY_METHOD ? text.size : GI_TALLY_METHOD - 1);
}

/* ---- classes ------------------------------------------------------------- */
static void s_copy(char *to, size_t room, gate_bytes_t from) {
    size_t n = from.size < room - 1 ? from.size : room - 1;
    if (n)
        memcpy(to, from.data, n);
    to[n] = 0;
}

/* It stands in tables and labels as it is: two names are never one there. */
static bool s_is_plain(const char *name) {
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return false;
    return *name && strcmp(name, S_OTHER) && gi_utf8_valid(name, strlen(name));
}

static gi_tally_class_t *s_add_class(gi_tally_t *self, gi_tally_class_t **end,
                                     const char *name) {
    gi_tally_class_t *fresh = s_take(self->room, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    strcpy(fresh->name, name);
    self->n_classes++;
    return *end = fresh;
}

static gi_tally_class_t *s_class(gi_tally_t *self, gate_bytes_t name) {
    gi_tally_class_t **at = &self->classes;
    char cut[GI_TALLY_CLASS];
    s_copy(cut, sizeof cut, name);
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->name, cut) == 0)
            return *at;
    if (self->n_classes < GI_TALLY_CLASSES && s_is_plain(cut))
        return s_add_class(self, at, cut);
    self->room->folded++;
    if (self->more == NULL)
        self->more = s_add_class(self, at, S_OTHER);
    return self->more;
}

static void s_count_class(gi_tally_t *self, const gi_tally_end_t *end) {
    gi_tally_class_t *cls = s_class(
        self, end->cls.size ? end->cls : (gate_bytes_t){"Exception", 9});
    if (cls == NULL)
        return;
    cls->n++;
    cls->last_ms = end->now_ms;
    s_copy(cls->text, sizeof cls->text, end->text);
}

/* ---- methods ------------------------------------------------------------- */
static bool s_same(const gi_tally_name_t *a, const gi_tally_name_t *b) {
    return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) |
             (a->word[2] ^ b->word[2]) | (a->word[3] ^ b->word[3]));
}

static unsigned s_hash(const gi_tally_name_t *name) {
    uint64_t h = 0;
    for (unsigned i = 0; i < GI_TALLY_METHOD / 8; i++)
        h = (h ^ name->word[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(h >> 56) % (2 * GI_TALLY_METHODS);
}

/* Where in the index the name is, or would be. */
static unsigned s_place(const gi_tally_t *self, const gi_tally_name_t *name) {
    unsigned i = s_hash(name);
    while (self->index[i] &&
           !s_same(&self->methods[self->index[i] - 1]->name, name))
        i = (i + 1) % (2 * GI_TALLY_METHODS);
    return i;
}

static bool s_deserves_row(const gi_tally_end_t *end) {
    static const char unknown[] = "AttributeError";
    if (!s_is_plain(end->method->text))
        return false;
    if (end->outcome == GI_OUT_EXCEPTION)
        return end->cls.size != sizeof unknown - 1 ||
               memcmp(end->cls.data, unknown, end->cls.size) != 0;
    return end->outcome == GI_OUT_OK;
}

static gi_tally_method_t *s_method(gi_tally_t *self,
                                   const gi_tally_end_t *end) {
    if (self->last && s_same(&self->last->name, end->method))
        return self->last;
    unsigned at = s_place(self, end->method);
    if (self->index[at])
        return self->last = self->methods[self->index[at] - 1];
    if (!s_deserves_row(end))
        return NULL;
    if (self->n_methods == GI_TALLY_METHODS) {
        self->room->folded++;
        return NULL;
    }
    gi_tally_method_t *row = s_take(self->room, sizeof *row);
    if (row == NULL)
        return NULL;
    row->name = *end->method;
    self->methods[self->n_methods++] = row;
    self->index[at] = (uint8_t)self->n_methods;
    return self->last = row;
}

/* ---- one end ------------------------------------------------------------- */
void gi_tally_count(gi_tally_t *self, const gi_tally_end_t *end) {
    gi_tally_method_t *row = s_method(self, end);
    self->outcome[end->outcome]++;
    (row ? row->outcome : self->other)[end->outcome]++;
    if (end->cls.size || end->outcome == GI_OUT_EXCEPTION)
        s_count_class(self, end);
    if (end->wait_ns) {
        gi_lat_add(&self->wait, end->wait_ns);
    } else { /* the most */
        self->wait.n++;
        self->wait.slot[GI_LAT_UNDER]++;
    }
    gi_lat_add(&self->total, end->total_ns);
    if (row)
        gi_lat_add(&row->run, end->total_ns - end->wait_ns);
}

uint64_t gi_tally_errors(const gi_tally_t *self) {
    uint64_t n = 0;
    for (unsigned i = GI_OUT_OK + 1; i < GI_OUTCOMES; i++)
        n += self->outcome[i];
    return n;
}
