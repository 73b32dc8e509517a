/* SPDX-License-Identifier: BSD-3-Clause */
/* decode.c -- msgpack bytes to msgpack_object, iterative. It trusts its input:
 * gi_scan_count came first. */
#include "value/decode.h"
#include "base/err.h"
#include "value/mp.h"
#include "settings/settings.h"

typedef struct s_level {
    msgpack_object *container; /* NULL: the level of the value itself */
    msgpack_object *next;      /* where the next item goes */
    uint64_t left;             /* items still to come */
} s_level_t;

bool gi_decode_has_hooks(const gate_hooks_t *hooks) {
    return hooks->object_hook || hooks->pairs_hook || hooks->list_hook;
}

static double s_f64(const gi_mp_t *h) {
    double d;
    float f;
    uint32_t half = (uint32_t)h->bits;
    if (h->kind == GI_MP_F32) {
        memcpy(&f, &half, sizeof f);
        return (double)f;
    }
    memcpy(&d, &h->bits, sizeof d);
    return d;
}

/* A scalar, or a str, bin or ext whose body is at body. */
static void s_leaf(msgpack_object *o, const gi_mp_t *h, const void *body) {
    switch (h->kind) {
    case GI_MP_NIL:
        o->type = MSGPACK_OBJECT_NIL;
        break;
    case GI_MP_BOOL:
        o->type = MSGPACK_OBJECT_BOOLEAN;
        o->via.boolean = h->bits != 0;
        break;
    case GI_MP_UINT:
        o->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
        o->via.u64 = h->bits;
        break;
    case GI_MP_INT: /* a signed form may hold a positive number */
        o->type = (int64_t)h->bits < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER
                                       : MSGPACK_OBJECT_POSITIVE_INTEGER;
        o->via.i64 = (int64_t)h->bits;
        break;
    case GI_MP_F32:
    case GI_MP_F64:
        o->type = h->kind == GI_MP_F32 ? MSGPACK_OBJECT_FLOAT32
                                       : MSGPACK_OBJECT_FLOAT64;
        o->via.f64 = s_f64(h);
        break;
    case GI_MP_STR:
        o->type = MSGPACK_OBJECT_STR;
        o->via.str = (msgpack_object_str){h->n, body};
        break;
    case GI_MP_BIN:
        o->type = MSGPACK_OBJECT_BIN;
        o->via.bin = (msgpack_object_bin){h->n, body};
        break;
    case GI_MP_EXT:
        o->type = MSGPACK_OBJECT_EXT;
        o->via.ext = (msgpack_object_ext){h->ext, h->n, body};
        break;
    case GI_MP_ARRAY:
    case GI_MP_MAP:
    case GI_MP_RESERVED:
        break;
    }
}

/* A kv is two objects behind each other, so a map's room is that of 2 n. */
_Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object),
               "a pair is two objects");

static void s_container(msgpack_object *o, const gi_mp_t *h,
                        msgpack_object *objects) {
    msgpack_object *items = h->n ? objects : NULL;
    if (h->kind == GI_MP_ARRAY) {
        o->type = MSGPACK_OBJECT_ARRAY;
        o->via.array = (msgpack_object_array){h->n, items};
    } else {
        o->type = MSGPACK_OBJECT_MAP;
        o->via.map = (msgpack_object_map){h->n, (msgpack_object_kv *)items};
    }
}

/* A container is complete: the user's hook may replace it. */
static gate_err_t s_hook(const gate_hooks_t *hooks, msgpack_object *o,
                         msgpack_zone *zone, bool *hooked) {
    gate_err_t (*hook)(void *, msgpack_object *, msgpack_zone *) =
        o->type == MSGPACK_OBJECT_ARRAY ? hooks->list_hook
        : hooks->pairs_hook             ? hooks->pairs_hook
                                        : hooks->object_hook;
    if (!hook)
        return GATE_OK;
    *hooked = true;
    gate_err_t e = hook(hooks->ctx, o, zone);
    if (!e)
        return GATE_OK;
    return gi_err(e, "the %s hook failed: %s",
                  o->type == MSGPACK_OBJECT_ARRAY ? "list" : "map",
                  gate_error()->code == e ? gate_error()->text
                                          : gate_err_text(e));
}

gate_err_t gi_decode_build(const void *data, msgpack_object *objects,
                           const gate_hooks_t *hooks, msgpack_zone *zone,
                           msgpack_object *out, bool *hooked) {
    const unsigned char *p = data;
    s_level_t stack[GI_DEPTH_MAX + 1], *level = stack;
    *level = (s_level_t){NULL, out, 1};
    *hooked = false;
    for (;;) {
        gi_mp_t h;
        p += gi_mp_head(p, SIZE_MAX, &h);
        msgpack_object *o = level->next++;
        level->left--;
        if (h.kind >= GI_MP_ARRAY) {
            uint64_t n = h.kind == GI_MP_MAP ? 2 * (uint64_t)h.n : h.n;
            s_container(o, &h, objects);
            *++level = (s_level_t){o, objects, n};
            if (n) /* no objects at all: NULL */
                objects += n;
        } else {
            s_leaf(o, &h, p);
            p += h.n;
        }
        for (; !level->left; level--) {
            if (level == stack)
                return GATE_OK;
            gate_err_t e =
                hooks ? s_hook(hooks, level->container, zone, hooked) : GATE_OK;
            if (e)
                return e;
        }
    }
}

/* ---- few objects --------------------------------------------------------- */
typedef struct s_few {
    const unsigned char *end;
    msgpack_object *objects; /* room that is left */
    size_t n_objects;
} s_few_t;

/* One value; what follows it, or NULL. */
static const unsigned char *s_few(s_few_t *self, const unsigned char *p,
                                  unsigned depth, msgpack_object *out) {
    gi_mp_t h;
    size_t head = gi_mp_head(p, (size_t)(self->end - p), &h);
    p += head;
    if (!head || h.kind == GI_MP_RESERVED)
        return NULL;
    if (h.kind < GI_MP_ARRAY) {
        if (h.n > (size_t)(self->end - p))
            return NULL;
        s_leaf(out, &h, p);
        return p + h.n;
    }
    uint64_t n = h.kind == GI_MP_MAP ? 2 * (uint64_t)h.n : h.n;
    if (n > self->n_objects || !depth)
        return NULL;
    msgpack_object *o = self->objects;
    s_container(out, &h, o);
    self->objects += n;
    self->n_objects -= n;
    for (; n && p; n--)
        p = s_few(self, p, depth - 1, o++);
    return p;
}

/* No length can pass a limit that the whole does not reach. */
bool gi_decode_few(gate_bytes_t packed, const gate_settings_t *settings,
                   msgpack_object *objects, size_t n_objects,
                   msgpack_object *out) {
    int64_t size = (int64_t)packed.size;
    s_few_t self = {(const unsigned char *)packed.data + packed.size, objects,
                    n_objects};
    if (size > settings->msgpack_str_max || size > settings->msgpack_bin_max ||
        size > settings->msgpack_array_max ||
        size > settings->msgpack_map_max || settings->msgpack_depth_max < 4 ||
        gi_decode_has_hooks(&settings->hooks))
        return false;
    return s_few(&self, packed.data, 4, out) == self.end;
}
