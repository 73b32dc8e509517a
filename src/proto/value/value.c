/* SPDX-License-Identifier: BSD-3-Clause */
/* value.c -- a decoded value in one block: head, objects, and the bytes when
 * they were copied.
 *
 * Values are immutable and reference counted, shared by threads; so the count
 * is atomic, and so is what reading adds: NUL-terminated copies of strings, the
 * packed form of a part. (Atomics are the pool room's otherwise; here they make
 * gate_value_share possible and nothing waits on them.) */
#include "value/value.h"
#include "base/arena.h"
#include "value/decode.h"
#include "base/mem.h"
#include "base/err.h"

#include <stdatomic.h>
#include <string.h>

struct gate_value {
    atomic_uint refs;
    msgpack_object object;
    gate_bytes_t bytes;     /* the packed form; empty: see gate_value_bytes */
    gi_release_fn *release; /* of borrowed bytes */
    void *hint;
    gi_release_fn *gone; /* instead of freeing it; NULL: it is the heap's */
    void *gone_ctx;
    gate_value_t *whole; /* a part: whose objects and strings it uses */
    msgpack_zone zone;   /* what hooks made; chunk_list.head NULL = none */
    bool bare;           /* was never packed: it is when asked for */
    bool hooked;         /* a hook ran: bytes may say something else */
    _Atomic(gi_arena_block_t *) copies; /* strings that were read */
    _Atomic(struct s_packed *) packed;  /* of a part, once asked for */
    msgpack_object objects[];
};

typedef struct s_packed {
    size_t size;
    unsigned char data[];
} s_packed_t;

/* ---- life ---------------------------------------------------------------- */
static gate_value_t *s_new(size_t n_objects, size_t n_bytes) {
    if (n_objects > (SIZE_MAX / 2) / sizeof(msgpack_object))
        return NULL;
    gate_value_t *self = gi_mem_alloc(
        sizeof *self + n_objects * sizeof(msgpack_object) + n_bytes);
    if (self) {
        memset(self, 0, sizeof *self);
        atomic_init(&self->refs, 1);
    }
    return self;
}

static void s_free(gate_value_t *self) {
    if (self->zone.chunk_list.head)
        msgpack_zone_destroy(&self->zone);
    gi_arena_t copies = {atomic_load(&self->copies)};
    gi_arena_fini(&copies);
    gi_mem_free(atomic_load(&self->packed));
    if (self->release)
        self->release(self->hint);
    gate_value_t *whole = self->whole;
    if (self->gone)
        self->gone(self->gone_ctx);
    else
        gi_mem_free(self);
    gate_value_destroy(&whole); /* a whole is never a part itself */
}

void gate_value_destroy(gate_value_t **self_p) {
    gate_value_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    /* the last one: nobody is left who could take another */
    if (atomic_load_explicit(&self->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) == 1)
        s_free(self);
}

gate_value_t *gate_value_share(gate_value_t *self) {
    if (gi_err_null(self, "gate_value_share"))
        return NULL;
    atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    return self;
}

/* ---- decoding ------------------------------------------------------------ */
static gate_err_t s_no_memory(void) { return gi_err(GATE_NOMEM, "a value"); }

/* Scans; *n_objects is what the value needs. */
static gate_err_t s_scan(const void *data, size_t size,
                         const gi_limits_t *limits, size_t *n_objects) {
    size_t used;
    gate_err_t e = gi_scan_count(data, size, limits, &used, n_objects);
    if (e || used == size)
        return e;
    return gi_err(GATE_BADDATA, "msgpack: %zu bytes after the value's %zu",
                  size - used, used);
}

static gate_err_t s_build(gate_value_t *self, gate_bytes_t bytes,
                          const gate_hooks_t *hooks) {
    bool has_hooks = gi_decode_has_hooks(hooks);
    /* msgpack-c allocates zones by itself: ask the door on its behalf */
    if (has_hooks && (gi_mem_refused() || !msgpack_zone_init(&self->zone, 512)))
        return s_no_memory();
    self->bytes = bytes;
    return gi_decode_build(bytes.data, self->objects, has_hooks ? hooks : NULL,
                           &self->zone, &self->object, &self->hooked);
}

/* Takes the bytes; n_copy of them are copied into the value's own block. */
static gate_err_t s_make(gate_bytes_t bytes, size_t n_copy,
                         const gi_limits_t *limits, const gate_hooks_t *hooks,
                         gate_value_t **out) {
    size_t n_objects = 0;
    gate_err_t e = s_scan(bytes.data, bytes.size, limits, &n_objects);
    if (e)
        return e;
    gate_value_t *self = s_new(n_objects, n_copy);
    if (!self)
        return s_no_memory();
    if (n_copy)
        bytes.data = memcpy(&self->objects[n_objects], bytes.data, n_copy);
    e = s_build(self, bytes, hooks);
    if (e)
        gate_value_destroy(&self);
    else
        *out = self;
    return e;
}

static gate_err_t s_take(gate_bytes_t bytes, gi_release_fn *release, void *hint,
                         const gi_limits_t *limits, const gate_hooks_t *hooks,
                         gate_value_t **out) {
    gate_err_t e = s_make(bytes, 0, limits, hooks, out);
    if (!e)
        gi_value_keep(*out, release, hint);
    else if (release)
        release(hint);
    return e;
}

_Static_assert(sizeof(gate_value_t) <= GI_VALUE_ROOM(0), "room for a value");

gate_value_t *gi_value_make_at(void *room, size_t n_objects, gate_bytes_t bytes,
                               const gate_settings_t *settings,
                               gi_release_fn *gone, void *ctx) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    gate_value_t *self = room;
    gi_mem_zero(self, sizeof *self);
    if (!gi_decode_few(bytes, s, self->objects, n_objects, &self->object))
        return NULL;
    atomic_init(&self->refs, 1);
    self->bytes = bytes;
    self->gone = gone;
    self->gone_ctx = ctx;
    return self;
}

gate_err_t gi_value_take(const void *data, size_t size, gi_release_fn *release,
                         void *hint, const gate_settings_t *settings,
                         gate_value_t **out) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    gi_limits_t limits = gi_scan_limits(s);
    return s_take((gate_bytes_t){data, size}, release, hint, &limits, &s->hooks,
                  out);
}

gate_err_t gi_value_take_huge(const void *data, size_t size,
                              gi_release_fn *release, void *hint,
                              const gate_settings_t *settings,
                              gate_value_t **out) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    gi_limits_t limits = gi_scan_limits_huge(s);
    return s_take((gate_bytes_t){data, size}, release, hint, &limits, &s->hooks,
                  out);
}

gate_value_t *gi_value_bin(const void *data, size_t size,
                           gi_release_fn *release, void *hint) {
    gate_value_t *self = size <= UINT32_MAX ? s_new(0, 0) : NULL;
    if (!self)
        return NULL;
    self->object.type = MSGPACK_OBJECT_BIN;
    self->object.via.bin.ptr = data;
    self->object.via.bin.size = (uint32_t)size;
    self->bare = true;
    gi_value_keep(self, release, hint);
    return self;
}

void gi_value_keep(gate_value_t *self, gi_release_fn *release, void *hint) {
    self->release = release;
    self->hint = hint;
}

gate_err_t gate_value_decode(const void *msgpack, size_t size,
                             const gate_settings_t *settings,
                             gate_value_t **out) {
    if (gi_err_null(out, "gate_value_decode: where the value goes"))
        return GATE_BADARG;
    if (size && gi_err_null(msgpack, "gate_value_decode: the bytes"))
        return GATE_BADARG;
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    gi_limits_t limits = gi_scan_limits(s);
    return s_make((gate_bytes_t){msgpack, size}, size, &limits, &s->hooks, out);
}

bool gi_value_decode_few(gate_bytes_t packed, const gate_settings_t *settings,
                         msgpack_object *objects, size_t n_objects,
                         msgpack_object *out) {
    return gi_decode_few(packed, settings ? settings : gi_settings_defaults(),
                         objects, n_objects, out);
}

gate_err_t gi_value_decode_within(const void *data, size_t size,
                                  msgpack_zone *zone,
                                  const gate_settings_t *settings,
                                  const gi_limits_t *limits,
                                  msgpack_object *out) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    size_t n_objects = 0;
    bool hooked;
    gate_err_t e = s_scan(data, size, limits, &n_objects);
    if (e)
        return e;
    msgpack_object *objects = NULL;
    if (n_objects &&
        (gi_mem_refused() ||
         !(objects = msgpack_zone_malloc(zone, n_objects * sizeof *objects))))
        return s_no_memory();
    msgpack_object made;
    e = gi_decode_build(data, objects, &s->hooks, zone, &made, &hooked);
    if (!e)
        *out = made;
    return e;
}

gate_err_t gi_value_decode_into(const void *data, size_t size,
                                msgpack_zone *zone,
                                const gate_settings_t *settings,
                                msgpack_object *out) {
    gi_limits_t limits = gi_scan_limits(settings);
    return gi_value_decode_within(data, size, zone, settings, &limits, out);
}

/* What we packed ourselves is not measured against a peer's limits. */
gate_value_t *gate_value_new_(gate_arg_t v) {
    static const gi_limits_t limits = {SIZE_MAX,     SIZE_MAX,     SIZE_MAX,
                                       SIZE_MAX,     GI_DEPTH_MAX, SIZE_MAX,
                                       .utf8 = false};
    static const gate_hooks_t hooks = {0};
    gi_buf_t buf = {0};
    gate_value_t *self = NULL;
    gate_err_t e = gi_arg_pack(&buf, &v, NULL);
    if (!e)
        e = s_make((gate_bytes_t){buf.data, buf.size}, 0, &limits, &hooks,
                   &self);
    if (e) {
        gi_buf_fini(&buf);
        return NULL;
    }
    gi_value_keep(self, gi_mem_free, buf.data);
    return self;
}

gate_value_t *gi_value_part(gate_value_t *whole, const msgpack_object *part) {
    if (part == &whole->object)
        return gate_value_share(whole);
    gate_value_t *self = s_new(0, 0);
    if (!self) {
        (void)s_no_memory();
        return NULL;
    }
    gate_value_t *owner = whole->whole ? whole->whole : whole;
    self->whole = gate_value_share(owner);
    self->object = *part;
    self->hooked = owner->hooked;
    return self;
}

/* ---- reading ------------------------------------------------------------- */
const msgpack_object *gate_value_object(const gate_value_t *self) {
    if (gi_err_null(self, "gate_value_object"))
        return NULL;
    return &self->object;
}

/* Whoever reads keeps its additions on the value, whose face is const. */
static gate_value_t *s_mutable(const gate_value_t *self) {
    return (gate_value_t *)(uintptr_t)self;
}

/* Packs a part when somebody asks; the first to finish wins. */
static const s_packed_t *s_pack_part(gate_value_t *self) {
    gi_buf_t buf = {0};
    s_packed_t *seen = NULL, *made;
    gate_arg_t arg = gate_obj(&self->object);
    size_t head = offsetof(s_packed_t, data);
    if (!gi_buf_reserve(&buf, head) ||
        (buf.size = head, gi_arg_pack(&buf, &arg, NULL))) {
        gi_buf_fini(&buf);
        return NULL;
    }
    made = (s_packed_t *)(void *)buf.data;
    made->size = buf.size - head;
    if (atomic_compare_exchange_strong(&self->packed, &seen, made))
        return made;
    gi_mem_free(made);
    return seen;
}

gate_bytes_t gate_value_bytes(const gate_value_t *self) {
    if (gi_err_null(self, "gate_value_bytes"))
        return (gate_bytes_t){"", 0};
    if (self->hooked)
        return (gate_bytes_t){"", 0};
    if (!self->whole && !self->bare)
        return self->bytes;
    const s_packed_t *packed = atomic_load(&s_mutable(self)->packed);
    if (!packed)
        packed = s_pack_part(s_mutable(self));
    return packed ? (gate_bytes_t){packed->data, packed->size}
                  : (gate_bytes_t){"", 0};
}

static const msgpack_object *s_in_array(const msgpack_object_array *array,
                                        const char *word, size_t size) {
    uint64_t index = 0;
    if (!size)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        if (word[i] < '0' || word[i] > '9' || index > UINT32_MAX)
            return NULL;
        index = index * 10 + (uint64_t)(word[i] - '0');
    }
    return index < array->size ? &array->ptr[index] : NULL;
}

static const msgpack_object *s_in_map(const msgpack_object_map *map,
                                      const char *word, size_t size) {
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object *key = &map->ptr[i].key;
        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == size &&
            !memcmp(key->via.str.ptr, word, size))
            return &map->ptr[i].val;
    }
    return NULL;
}

static const msgpack_object *s_at(const msgpack_object *o, const char *path) {
    bool more = *path;
    while (o && more) {
        size_t size = strcspn(path, ".");
        if (o->type == MSGPACK_OBJECT_ARRAY)
            o = s_in_array(&o->via.array, path, size);
        else if (o->type == MSGPACK_OBJECT_MAP)
            o = s_in_map(&o->via.map, path, size);
        else
            o = NULL;
        more = path[size] == '.';
        path += size + 1;
    }
    return o;
}

/* Hangs the blocks of arena onto self, which frees them. */
static void s_adopt(gate_value_t *self, gi_arena_t *arena) {
    gi_arena_block_t *first = arena->blocks, *last = first;
    if (!first)
        return;
    while (last->next)
        last = last->next;
    last->next = atomic_load(&self->copies);
    while (!atomic_compare_exchange_weak(&self->copies, &last->next, first))
        ;
    arena->blocks = NULL;
}

gate_err_t gate_value_read_(const gate_value_t *self, const char *path,
                            gate_slot_t to) {
    if (gi_err_null(self, "gate_value_read_"))
        return GATE_BADARG;
    if (gi_err_null(path, "gate_value_read_: the path"))
        return GATE_BADARG;
    gi_arena_t arena = {0};
    const msgpack_object *o = s_at(&self->object, path);
    if (!o && to.optional)
        return GATE_OK;
    if (!o)
        return gi_err(GATE_BADARG, "the value has no '%.200s'", path);
    gate_err_t e = gi_slot_store(&to, o, s_mutable(self), &arena,
                                 *path ? path : "the value");
    s_adopt(s_mutable(self), &arena);
    gi_arena_fini(&arena);
    return e;
}
