/* SPDX-License-Identifier: BSD-3-Clause */
/* items.c -- arguments with all that they borrow, in an arena of their own.
 * Thread: one at a time. Owns: copies; what an argument only points to (queues,
 * huge values, users' objects) stays its owner's. */
#include "value/value.h"
#include <string.h>
#include "base/mem.h"
#include "base/err.h"
#include "value/decode.h"

struct gate_items {
    gate_arg_t *data;
    size_t n, room;
    gi_arena_t arena;
    const gate_settings_t *settings;
};

static gate_err_t s_copy(gate_items_t *self, gate_arg_t *v, unsigned depth);

static gate_err_t s_no_memory(void) {
    return gi_err(GATE_NOMEM, "no memory to copy an argument");
}

static gate_err_t s_keep(gate_items_t *self, const void **p, size_t size) {
    if (size && gi_err_null(*p, "an argument"))
        return GATE_BADARG;
    void *copy = gi_arena_alloc(&self->arena, size ? size : 1);
    if (!copy)
        return s_no_memory();
    if (size)
        memcpy(copy, *p, size);
    *p = copy;
    return GATE_OK;
}

static gate_err_t s_copy_all(gate_items_t *self, gate_arg_t *v,
                             unsigned depth) {
    const gate_arg_t *items;
    size_t n;
    gate_err_t e = gi_arg_items(v, &items, &n);
    if (!e && depth >= GI_DEPTH_MAX)
        e = gi_err(GATE_BADARG, "an argument is nested deeper than %d levels",
                   GI_DEPTH_MAX);
    const void *copy = items;
    if (!e)
        e = s_keep(self, &copy, n * sizeof *items);
    if (e)
        return e;
    gate_arg_t *own = (gate_arg_t *)(uintptr_t)copy;
    for (size_t i = 0; i < n && !e; i++)
        e = s_copy(self, &own[i], depth + 1);
    *v = (gate_arg_t){.type = v->type, .kw = v->kw, .n = n, .as.p = own};
    return e;
}

/* An object is kept as msgpack: it may be of any shape. */
static gate_err_t s_copy_object(gate_items_t *self, gate_arg_t *v) {
    gi_buf_t packed = {0};
    gate_err_t e = gi_arg_pack(&packed, v, NULL);
    const void *bytes = packed.data;
    if (!e)
        e = s_keep(self, &bytes, packed.size);
    if (!e)
        *v = (gate_arg_t){
            .type = GATE_A_RAW, .kw = v->kw, .n = packed.size, .as.p = bytes};
    gi_buf_fini(&packed);
    return e;
}

static gate_err_t s_copy(gate_items_t *self, gate_arg_t *v, unsigned depth) {
    const void *name = v->kw;
    gate_err_t e = name ? s_keep(self, &name, strlen(v->kw) + 1) : GATE_OK;
    v->kw = name;
    if (e)
        return e;
    switch (v->type) {
    case GATE_A_STR:
    case GATE_A_BIN:
    case GATE_A_RAW:
    case GATE_A_SPREAD:
        return s_keep(self, &v->as.p, v->n);
    case GATE_A_META:
        return v->as.p
                   ? s_keep(self, &v->as.p, v->n ? v->n : strlen(v->as.p) + 1)
                   : GATE_OK;
    case GATE_A_LIST:
    case GATE_A_MAP:
        return s_copy_all(self, v, depth);
    case GATE_A_OBJ:
        return s_copy_object(self, v);
    default: /* scalars, and pointers that stay borrowed */
        return GATE_OK;
    }
}

gate_items_t *gate_items_new(void) {
    gate_items_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        (void)s_no_memory();
    return self;
}

void gate_items_destroy(gate_items_t **self_p) {
    gate_items_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    gi_arena_fini(&self->arena);
    gi_mem_free(self->data);
    gi_mem_free(self);
}

static bool s_grow(gate_items_t *self) {
    size_t room = self->room ? 2 * self->room : 16;
    gate_arg_t *data = gi_mem_realloc(self->data, room * sizeof *data);
    if (!data)
        return false;
    self->data = data;
    self->room = room;
    return true;
}

gate_err_t gate_items_add_(gate_items_t *self, gate_arg_t v) {
    if (gi_err_null(self, "gate_items_add_"))
        return GATE_BADARG;
    if (self->n == self->room && !s_grow(self))
        return s_no_memory();
    gate_err_t e = s_copy(self, &v, 0);
    if (!e)
        self->data[self->n++] = v;
    return e;
}

const gate_arg_t *gate_items_data(const gate_items_t *self) {
    if (gi_err_null(self, "gate_items_data"))
        return NULL;
    return self->data;
}

size_t gate_items_size(const gate_items_t *self) {
    if (gi_err_null(self, "gate_items_size"))
        return 0;
    return self->n;
}

gate_arg_t gate_items_list(const gate_items_t *self) {
    if (gi_err_null(self, "gate_items_list"))
        return gate_null(NULL);
    return gate_list_(self->data, self->n);
}
