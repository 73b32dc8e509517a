/* SPDX-License-Identifier: BSD-3-Clause */
/* slot.c -- gate_slot_t: decoded objects into C variables, and a call's
 * arguments into its parameters, with Python's words for what does not fit.
 * Law: first everything is checked, then stored: after an error no variable
 * has changed and nothing was given. */
#include "base/mem.h"
#include "value/value.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making -------------------------------------------------------------- */
static gate_slot_t s_slot(gate_slot_type_t type, void *to) {
    return (gate_slot_t){.type = type, .to = to};
}

gate_slot_t gate_onone(void *ignored) { return s_slot(GATE_S_NONE, ignored); }
gate_slot_t gate_oi64(int64_t *to) { return s_slot(GATE_S_I64, to); }
gate_slot_t gate_oll(long long *to) { return s_slot(GATE_S_I64, to); }
gate_slot_t gate_oint(int *to) { return s_slot(GATE_S_INT, to); }
gate_slot_t gate_ou64(uint64_t *to) { return s_slot(GATE_S_U64, to); }
gate_slot_t gate_of64(double *to) { return s_slot(GATE_S_F64, to); }
gate_slot_t gate_ouint(unsigned *to) { return s_slot(GATE_S_UINT, to); }
gate_slot_t gate_of32(float *to) { return s_slot(GATE_S_F32, to); }
gate_slot_t gate_oi16(int16_t *to) { return s_slot(GATE_S_I16, to); }
gate_slot_t gate_ou16(uint16_t *to) { return s_slot(GATE_S_U16, to); }
gate_slot_t gate_oi8(int8_t *to) { return s_slot(GATE_S_I8, to); }
gate_slot_t gate_ou8(uint8_t *to) { return s_slot(GATE_S_U8, to); }
gate_slot_t gate_obool(bool *to) { return s_slot(GATE_S_BOOL, to); }
gate_slot_t gate_ostr(const char **to) { return s_slot(GATE_S_STR, to); }
gate_slot_t gate_odup(char **to) { return s_slot(GATE_S_DUP, to); }
gate_slot_t gate_obytes(gate_bytes_t *to) { return s_slot(GATE_S_BYTES, to); }
gate_slot_t gate_oobj(const msgpack_object **to) {
    return s_slot(GATE_S_OBJ, to);
}
gate_slot_t gate_oval(gate_value_t **to) { return s_slot(GATE_S_VALUE, to); }
gate_slot_t gate_oqueue(gate_queue_t **to) { return s_slot(GATE_S_QUEUE, to); }
gate_slot_t gate_osame(gate_slot_t v) { return v; }

gate_slot_t gate_opt_(gate_slot_t v) {
    v.optional = true;
    return v;
}

gate_slot_t gate_kwslot_(const char *name, gate_slot_t v) {
    v.kw = name;
    return v;
}

/* ---- checking ------------------------------------------------------------ */
static const char *s_type_of(const msgpack_object *o) {
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return "None";
    case MSGPACK_OBJECT_BOOLEAN:
        return "bool";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "int";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return "float";
    case MSGPACK_OBJECT_STR:
        return "str";
    case MSGPACK_OBJECT_BIN:
        return "bytes";
    case MSGPACK_OBJECT_ARRAY:
        return "list";
    case MSGPACK_OBJECT_MAP:
        return "dict";
    case MSGPACK_OBJECT_EXT:
        return "ext";
    }
    return "object";
}

static gate_err_t s_must_be(const char *what, const char *type,
                            const msgpack_object *o) {
    return gi_err(GATE_BADARG, "%s must be %s, not %s", what, type,
                  s_type_of(o));
}

static gate_err_t s_check_int(const msgpack_object *o, int64_t min,
                              uint64_t max, const char *what) {
    bool positive = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
    if (!positive && o->type != MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return s_must_be(what, "int", o);
    if (positive ? o->via.u64 <= max : o->via.i64 >= min)
        return GATE_OK;
    char text[24];
    if (positive)
        snprintf(text, sizeof text, "%" PRIu64, o->via.u64);
    else
        snprintf(text, sizeof text, "%" PRId64, o->via.i64);
    return gi_err(GATE_BADARG,
                  "%s must be an int from %" PRId64 " to %" PRIu64 ", not %s",
                  what, min, max, text);
}

static bool s_is_number(const msgpack_object *o) {
    return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
           o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ||
           o->type == MSGPACK_OBJECT_FLOAT32 ||
           o->type == MSGPACK_OBJECT_FLOAT64;
}

static gate_err_t s_check_str(const msgpack_object *o, const char *what) {
    if (o->type != MSGPACK_OBJECT_STR)
        return s_must_be(what, "str", o);
    if (o->via.str.size && memchr(o->via.str.ptr, '\0', o->via.str.size))
        return gi_err(GATE_BADARG, "%s must be str without a NUL inside", what);
    return GATE_OK;
}

static gate_err_t s_check(const gate_slot_t *slot, const msgpack_object *o,
                          const char *what) {
    if (!slot->to && slot->type != GATE_S_NONE)
        return gi_err(GATE_BADARG, "%s: where it goes is NULL", what);
    switch (slot->type) {
    case GATE_S_I64:
        return s_check_int(o, INT64_MIN, INT64_MAX, what);
    case GATE_S_INT:
        return s_check_int(o, INT_MIN, INT_MAX, what);
    case GATE_S_U64:
        return s_check_int(o, 0, UINT64_MAX, what);
    case GATE_S_UINT:
        return s_check_int(o, 0, UINT_MAX, what);
    case GATE_S_I16:
        return s_check_int(o, INT16_MIN, INT16_MAX, what);
    case GATE_S_U16:
        return s_check_int(o, 0, UINT16_MAX, what);
    case GATE_S_I8:
        return s_check_int(o, INT8_MIN, INT8_MAX, what);
    case GATE_S_U8:
        return s_check_int(o, 0, UINT8_MAX, what);
    case GATE_S_F32:
    case GATE_S_F64:
        return s_is_number(o) ? GATE_OK : s_must_be(what, "float", o);
    case GATE_S_BOOL:
        return o->type == MSGPACK_OBJECT_BOOLEAN ? GATE_OK
                                                 : s_must_be(what, "bool", o);
    case GATE_S_STR:
    case GATE_S_DUP:
        return s_check_str(o, what);
    case GATE_S_BYTES:
        if (o->type == MSGPACK_OBJECT_STR || o->type == MSGPACK_OBJECT_BIN)
            return GATE_OK;
        return s_must_be(what, "bytes or str", o);
    case GATE_S_NONE:
    case GATE_S_OBJ:
    case GATE_S_VALUE:
        return GATE_OK;
    case GATE_S_QUEUE:
        return gi_err(GATE_BADARG, "%s cannot be a queue here", what);
    }
    return gi_err(GATE_BADARG, "%s: a slot of unknown type %d", what,
                  (int)slot->type);
}

/* ---- storing: what was checked; only memory can fail --------------------- */
static double s_number(const msgpack_object *o) {
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return (double)o->via.u64;
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return (double)o->via.i64;
    return o->via.f64;
}

static bool s_copy_str(const msgpack_object_str *s, char *copy) {
    if (!copy)
        return false;
    if (s->size)
        memcpy(copy, s->ptr, s->size);
    copy[s->size] = '\0';
    return true;
}

static bool s_assign_str(const gate_slot_t *slot, const msgpack_object_str *s,
                         gi_arena_t *arena) {
    size_t size = (size_t)s->size + 1;
    char *copy = slot->type == GATE_S_STR ? gi_arena_alloc(arena, size)
                 : gi_mem_refused()       ? NULL
                                          : malloc(size); /* the user frees */
    if (!s_copy_str(s, copy))
        return false;
    if (slot->type == GATE_S_STR)
        *(const char **)slot->to = copy;
    else
        *(char **)slot->to = copy;
    return true;
}

static bool s_assign_value(const gate_slot_t *slot, const msgpack_object *o,
                           gate_value_t *owner) {
    gate_value_t *value =
        owner ? gi_value_part(owner, o) : gate_value_new_(gate_obj(o));
    if (value)
        *(gate_value_t **)slot->to = value;
    return value != NULL;
}

static gate_err_t s_assign(const gate_slot_t *slot, const msgpack_object *o,
                           gate_value_t *owner, gi_arena_t *arena) {
    bool ok = true;
    switch (slot->type) {
    case GATE_S_I64:
        *(int64_t *)slot->to = o->via.i64;
        break;
    case GATE_S_INT:
        *(int *)slot->to = (int)o->via.i64;
        break;
    case GATE_S_U64:
        *(uint64_t *)slot->to = o->via.u64;
        break;
    case GATE_S_F64:
        *(double *)slot->to = s_number(o);
        break;
    case GATE_S_F32:
        *(float *)slot->to = (float)s_number(o);
        break;
    case GATE_S_UINT:
        *(unsigned *)slot->to = (unsigned)o->via.u64;
        break;
    case GATE_S_I16:
        *(int16_t *)slot->to = (int16_t)o->via.i64;
        break;
    case GATE_S_U16:
        *(uint16_t *)slot->to = (uint16_t)o->via.u64;
        break;
    case GATE_S_I8:
        *(int8_t *)slot->to = (int8_t)o->via.i64;
        break;
    case GATE_S_U8:
        *(uint8_t *)slot->to = (uint8_t)o->via.u64;
        break;
    case GATE_S_BOOL:
        *(bool *)slot->to = o->via.boolean;
        break;
    case GATE_S_STR:
    case GATE_S_DUP:
        ok = s_assign_str(slot, &o->via.str, arena);
        break;
    case GATE_S_BYTES: /* str and bin lie alike */
        *(gate_bytes_t *)slot->to =
            o->type == MSGPACK_OBJECT_STR
                ? (gate_bytes_t){o->via.str.ptr, o->via.str.size}
                : (gate_bytes_t){o->via.bin.ptr, o->via.bin.size};
        break;
    case GATE_S_OBJ:
        *(const msgpack_object **)slot->to = o;
        break;
    case GATE_S_VALUE:
        ok = s_assign_value(slot, o, owner);
        break;
    case GATE_S_NONE:
    case GATE_S_QUEUE:
        break;
    }
    return ok ? GATE_OK : gi_err(GATE_NOMEM, "storing %s", s_type_of(o));
}

/* Takes back what s_assign gave. */
static void s_undo(const gate_slot_t *slot) {
    if (slot->type == GATE_S_DUP) {
        free(*(char **)slot->to);
        *(char **)slot->to = NULL;
    } else if (slot->type == GATE_S_VALUE) {
        gate_value_destroy((gate_value_t **)slot->to);
    }
}

gate_err_t gi_slot_store(const gate_slot_t *slot, const msgpack_object *object,
                         gate_value_t *owner, gi_arena_t *arena,
                         const char *what) {
    gate_err_t e = s_check(slot, object, what);
    return e ? e : s_assign(slot, object, owner, arena);
}

/* ---- a call's arguments -------------------------------------------------- */
typedef struct s_bind {
    const gate_slot_t *slots;
    size_t n;
    const msgpack_object **found; /* one per slot; NULL = absent */
} s_bind_t;

static gate_err_t s_bind_positional(s_bind_t *self,
                                    const msgpack_object *args) {
    if (!args)
        return GATE_OK;
    if (args->type != MSGPACK_OBJECT_ARRAY)
        return gi_err(GATE_BADARG, "arguments must be a list, not %s",
                      s_type_of(args));
    uint32_t given = args->via.array.size;
    size_t least = 0;
    for (size_t i = 0; i < self->n; i++)
        least += !self->slots[i].optional;
    if (given > self->n && least == self->n)
        return gi_err(GATE_BADARG, "takes %zu argument%s, %u given", self->n,
                      self->n == 1 ? "" : "s", given);
    if (given > self->n)
        return gi_err(GATE_BADARG, "takes %zu to %zu arguments, %u given",
                      least, self->n, given);
    for (uint32_t i = 0; i < given; i++)
        self->found[i] = &args->via.array.ptr[i];
    return GATE_OK;
}

static gate_err_t s_bind_one(s_bind_t *self, const msgpack_object_kv *kv) {
    if (kv->key.type != MSGPACK_OBJECT_STR)
        return gi_err(GATE_BADARG, "keywords must be str, not %s",
                      s_type_of(&kv->key));
    const msgpack_object_str *key = &kv->key.via.str;
    int cut = key->size < 100 ? (int)key->size : 100;
    for (size_t i = 0; i < self->n; i++) {
        const char *kw = self->slots[i].kw;
        if (!kw || strlen(kw) != key->size || memcmp(kw, key->ptr, key->size))
            continue;
        if (self->found[i])
            return gi_err(GATE_BADARG, "got multiple values for argument '%s'",
                          kw);
        self->found[i] = &kv->val;
        return GATE_OK;
    }
    return gi_err(GATE_BADARG, "got an unexpected keyword argument '%.*s'", cut,
                  cut ? key->ptr : "");
}

static gate_err_t s_bind_keywords(s_bind_t *self,
                                  const msgpack_object *kwargs) {
    if (!kwargs)
        return GATE_OK;
    if (kwargs->type != MSGPACK_OBJECT_MAP)
        return gi_err(GATE_BADARG, "keyword arguments must be a dict, not %s",
                      s_type_of(kwargs));
    gate_err_t e = GATE_OK;
    for (uint32_t i = 0; i < kwargs->via.map.size && !e; i++)
        e = s_bind_one(self, &kwargs->via.map.ptr[i]);
    return e;
}

static void s_name(const gate_slot_t *slot, size_t i, char out[80]) {
    if (slot->kw)
        snprintf(out, 80, "argument %zu ('%.40s')", i + 1, slot->kw);
    else
        snprintf(out, 80, "argument %zu", i + 1);
}

/* What fails is named; what fits costs no name. */
static gate_err_t s_bind_check_one(const s_bind_t *self, size_t i) {
    const gate_slot_t *slot = &self->slots[i];
    char name[80];
    if (self->found[i] && !s_check(slot, self->found[i], "argument"))
        return GATE_OK;
    s_name(slot, i, name);
    if (self->found[i])
        return s_check(slot, self->found[i], name);
    return gi_err(GATE_BADARG, "takes %zu argument%s, %s is missing", self->n,
                  self->n == 1 ? "" : "s", name);
}

/* Everything that must come came, and fits. */
static gate_err_t s_bind_check(const s_bind_t *self, gi_slot_queue_fn *queue) {
    gate_err_t e = GATE_OK;
    for (size_t i = 0; i < self->n && !e; i++) {
        bool later = self->slots[i].type == GATE_S_QUEUE && queue;
        if (self->found[i] ? !later : !self->slots[i].optional)
            e = s_bind_check_one(self, i);
    }
    return e;
}

static gate_err_t s_bind_store(const s_bind_t *self, gi_arena_t *arena) {
    for (size_t i = 0; i < self->n; i++) {
        if (!self->found[i])
            continue;
        gate_err_t e = s_assign(&self->slots[i], self->found[i], NULL, arena);
        while (e && i-- > 0)
            if (self->found[i])
                s_undo(&self->slots[i]);
        if (e)
            return e;
    }
    return GATE_OK;
}

/* Queues come last, since their place of origin takes them back, not we. */
static gate_err_t s_bind_queues(const s_bind_t *self, gi_slot_queue_fn *queue,
                                void *ctx) {
    gate_err_t e = GATE_OK;
    for (size_t i = 0; i < self->n && !e; i++)
        if (self->found[i] && self->slots[i].type == GATE_S_QUEUE)
            e = queue(ctx, self->found[i], (gate_queue_t **)self->slots[i].to);
    for (size_t i = 0; i < self->n && e; i++)
        if (self->found[i])
            s_undo(&self->slots[i]);
    return e;
}

gate_err_t gi_slots_store(const gate_slot_t *slots, size_t n,
                          const msgpack_object *args,
                          const msgpack_object *kwargs, gi_arena_t *arena,
                          gi_slot_queue_fn *queue, void *queue_ctx) {
    const msgpack_object *few[16];
    s_bind_t self = {slots, n, few};
    if (n > sizeof few / sizeof *few) {
        self.found = gi_arena_alloc(arena, n * sizeof *self.found);
        if (!self.found)
            return gi_err(GATE_NOMEM, "arguments");
    }
    for (size_t i = 0; i < n; i++)
        self.found[i] = NULL;
    gate_err_t e = s_bind_positional(&self, args);
    if (!e)
        e = s_bind_keywords(&self, kwargs);
    if (!e)
        e = s_bind_check(&self, queue);
    if (!e)
        e = s_bind_store(&self, arena);
    return e ? e : s_bind_queues(&self, queue, queue_ctx);
}
