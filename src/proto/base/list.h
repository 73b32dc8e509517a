/* SPDX-License-Identifier: BSD-3-Clause */
/* list.h -- intrusive lists: a ring of nodes that lie in what is listed. The
 * list itself is such a node. Thread: the owner's. Owns: nothing. */
#ifndef GI_LIST_H
#define GI_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define GI_OF(p, type, member) \
    ((type *)(void *)((char *)(p)-offsetof(type, member)))

typedef struct gi_list {
    struct gi_list *next, *prev; /* to itself: in no list, or an empty one */
} gi_list_t;

static inline void gi_list_init(gi_list_t *self) {
    self->next = self->prev = self;
}
static inline bool gi_list_empty(const gi_list_t *self) {
    return self->next == self;
}
static inline void gi_list_append(gi_list_t *list, gi_list_t *link) {
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}
static inline void gi_list_prepend(gi_list_t *list, gi_list_t *link) {
    gi_list_append(list->next, link);
}
/* Moves what is in from, in order, before what is in list. */
static inline void gi_list_prepend_all(gi_list_t *list, gi_list_t *from) {
    if (gi_list_empty(from))
        return;
    from->next->prev = list;
    from->prev->next = list->next;
    list->next->prev = from->prev;
    list->next = from->next;
    gi_list_init(from);
}
static inline void gi_list_remove(gi_list_t *self) {
    self->prev->next = self->next;
    self->next->prev = self->prev;
    gi_list_init(self);
}

#endif
