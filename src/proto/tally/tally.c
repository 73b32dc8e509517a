/* SPDX-License-Identifier: BSD-3-Clause */
/* tally.c -- a method gets a row of its own only with its first answer that is
 * not AttributeError: names that a stranger made up fill no table. */
#include "tally/tally.h"

#include <string.h>
#include "base/mem.h"
#include "base/utf8.h"

#define S_OTHER "_other"
/* Not inlined, or each call would save registers for it. */
#define S_RARE __attribute__((noinline))

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
    if (frame.size <= n || memcmp(frame.data, S_FAILED, n) != 0)
        return false;
    const unsigned char *p = frame.data;
    if (p[n] == 0xc0) /* a result that is None */
        return false;
    gi_tally_triple((gate_bytes_t){p + n, frame.size - n}, cls, text);
    return true;
}

S_RARE static void s_long_name(gi_tally_name_t *name, gate_bytes_t func) {
    gate_bytes_t text;
    if (s_str(&func, &text))
        memcpy(name->text, text.data,
               text.size < GI_TALLY_METHOD ? text.size : GI_TALLY_METHOD - 1);
}

/* Below 32 bytes: two copies that overlap, where a call of memcpy would be as
 * dear as the rest of gi_tally_name. */
static inline void s_copy_short(char *to, const unsigned char *from, size_t n) {
    if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = (char)from[i];
    }
}

void gi_tally_name(gi_tally_name_t *name, gate_bytes_t func) {
    const unsigned char *p = func.data;
    size_t n = func.size - 1;
    if (n < GI_TALLY_METHOD && *p == (0xa0 | n)) /* the most */
        s_copy_short(name->text, p + 1, n);
    else
        s_long_name(name, func);
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
    s_copy(cut, sizeof cut, name.size ? name : (gate_bytes_t){"Exception", 9});
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

static void s_count_class(gi_tally_t *self, const gi_tally_error_t *error,
                          uint64_t n) {
    gi_tally_class_t *cls = s_class(self, error->cls);
    if (cls == NULL)
        return;
    cls->n += n;
    cls->last_ms = error->now_ms;
    s_copy(cls->text, sizeof cls->text, error->text);
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

/* Two names are never one text: of the bytes behind a NUL nothing is shown. */
static bool s_is_name(const gi_tally_name_t *name) {
    gi_tally_name_t shown = {.word = {0}};
    strcpy(shown.text, name->text);
    return s_same(&shown, name) && s_is_plain(name->text);
}

static bool s_deserves_row(const gi_tally_name_t *name, gi_outcome_t outcome,
                           const gi_tally_error_t *error) {
    static const char unknown[] = "AttributeError";
    if (!s_is_name(name))
        return false;
    if (error && outcome == GI_OUT_EXCEPTION)
        return error->cls.size != sizeof unknown - 1 ||
               memcmp(error->cls.data, unknown, error->cls.size) != 0;
    return outcome == GI_OUT_OK;
}

static gi_tally_method_t *s_add_method(gi_tally_t *self, unsigned at,
                                       const gi_tally_name_t *name) {
    gi_tally_method_t *row = NULL;
    if (self->n_methods == GI_TALLY_METHODS)
        self->room->folded++;
    else
        row = s_take(self->room, sizeof *row);
    if (row == NULL)
        return NULL;
    row->name = *name;
    self->methods[self->n_methods++] = row;
    self->index[at] = (uint8_t)self->n_methods;
    return self->last = row;
}

static gi_tally_method_t *s_method(gi_tally_t *self,
                                   const gi_tally_name_t *name,
                                   gi_outcome_t outcome,
                                   const gi_tally_error_t *error) {
    unsigned at = s_place(self, name);
    if (self->index[at])
        return self->last = self->methods[self->index[at] - 1];
    return s_deserves_row(name, outcome, error) ? s_add_method(self, at, name)
                                                : NULL;
}

/* ---- one end ------------------------------------------------------------- */
/* Where a call did not wait, as the most, its run is its total. */
static void s_count_times(gi_tally_t *self, gi_tally_method_t *row,
                          int64_t total_ns, int64_t wait_ns) {
    uint64_t total = total_ns > 0 ? (uint64_t)total_ns : 0;
    unsigned slot = gi_lat_slot(total);
    gi_lat_put(&self->total, slot, total);
    if (wait_ns == 0) {
        gi_lat_put(&self->wait, GI_LAT_UNDER, 0);
        if (row)
            gi_lat_put(&row->run, slot, total);
        return;
    }
    gi_lat_add(&self->wait, wait_ns);
    if (row)
        gi_lat_add(&row->run, total_ns - wait_ns);
}

static inline void s_count(gi_tally_t *self, gi_tally_method_t *row,
                           gi_outcome_t outcome, int64_t total_ns,
                           int64_t wait_ns) {
    self->outcome[outcome]++;
    (row ? row->outcome : self->other)[outcome]++;
    s_count_times(self, row, total_ns, wait_ns);
}

S_RARE static void s_count_other(gi_tally_t *self,
                                 const gi_tally_name_t *method,
                                 gi_outcome_t outcome,
                                 const gi_tally_error_t *error,
                                 int64_t total_ns, int64_t wait_ns) {
    gi_tally_method_t *row = s_method(self, method, outcome, error);
    if (error)
        s_count_class(self, error, 1);
    s_count(self, row, outcome, total_ns, wait_ns);
}

void gi_tally_count(gi_tally_t *self, const gi_tally_name_t *method,
                    gi_outcome_t outcome, const gi_tally_error_t *error,
                    int64_t total_ns, int64_t wait_ns) {
    gi_tally_method_t *row = self->last;
    if (row && !error && s_same(&row->name, method)) /* the most */
        s_count(self, row, outcome, total_ns, wait_ns);
    else
        s_count_other(self, method, outcome, error, total_ns, wait_ns);
}

void gi_tally_fold(gi_tally_t *self, const gi_tally_t *from) {
    for (unsigned i = 0; i < GI_OUTCOMES; i++) {
        self->outcome[i] += from->outcome[i];
        self->other[i] += from->outcome[i];
    }
    gi_lat_fold(&self->total, &from->total);
    gi_lat_fold(&self->wait, &from->wait);
    for (const gi_tally_class_t *c = from->classes; c; c = c->next) {
        gi_tally_error_t error = {
            {c->name, strlen(c->name)}, {c->text, strlen(c->text)}, c->last_ms};
        s_count_class(self, &error, c->n);
    }
}

uint64_t gi_tally_errors(const gi_tally_t *self) {
    uint64_t n = 0;
    for (unsigned i = GI_OUT_OK + 1; i < GI_OUTCOMES; i++)
        n += self->outcome[i];
    return n;
}
