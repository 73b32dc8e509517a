/* SPDX-License-Identifier: BSD-3-Clause */
/* value.h (private) -- decode, pack, store: the doors between msgpack bytes and
 * C variables. */
#ifndef GI_VALUE_H
#define GI_VALUE_H

#include <gaterpc/value.h>
#include "base/arena.h"
#include "base/buf.h"
#include "value/scan.h"
#include "settings/settings.h"

/* Frees what a value borrowed its bytes from. */
typedef void gi_release_fn(void *hint);

/* Scans, decodes in place (strings point into data) and applies the hooks.
 * Takes the bytes: release(hint) runs when the value dies, or at once on
 * failure. NULL release: the bytes outlive the value. */
gate_err_t gi_value_take(const void *data, size_t size, gi_release_fn *release,
                         void *hint, const gate_settings_t *settings,
                         gate_value_t **out) GATE_MUST;
/* The same for a value that came as a huge one: a single str or bin may be as
 * long as huge_max_bytes. */
gate_err_t gi_value_take_huge(const void *data, size_t size,
                              gi_release_fn *release, void *hint,
                              const gate_settings_t *settings,
                              gate_value_t **out) GATE_MUST;
/* Memory for a value with so many objects. */
#define GI_VALUE_ROOM(n_objects) (192 + (n_objects) * sizeof(msgpack_object))
/* A plain value of at most n_objects in room (aligned to 16), its strings in
 * bytes, which outlive it; gone(ctx) runs instead of a free when its last
 * reference goes. NULL without a story: it is not as plain as that (or not
 * valid): decode it as any other. */
gate_value_t *gi_value_make_at(void *room, size_t n_objects, gate_bytes_t bytes,
                               const gate_settings_t *settings,
                               gi_release_fn *gone, void *ctx);
/* A bin of bytes that are borrowed until release(hint); never NULL data. NULL:
 * no memory, nothing was taken. */
gate_value_t *gi_value_bin(const void *data, size_t size,
                           gi_release_fn *release, void *hint);
/* From now on release(hint) runs when the value dies. */
void gi_value_keep(gate_value_t *self, gi_release_fn *release, void *hint);
/* Scans and decodes into zone (which the caller reuses), hooks applied; strings
 * point into data. */
gate_err_t gi_value_decode_into(const void *data, size_t size,
                                msgpack_zone *zone,
                                const gate_settings_t *settings,
                                msgpack_object *out) GATE_MUST;
/* The same within limits of its own. */
gate_err_t gi_value_decode_within(const void *data, size_t size,
                                  msgpack_zone *zone,
                                  const gate_settings_t *settings,
                                  const gi_limits_t *limits,
                                  msgpack_object *out) GATE_MUST;
/* The same in one pass and without a zone, for what is small and valid where
 * there are no hooks; false without a story: use the other. */
bool gi_value_decode_few(gate_bytes_t packed, const gate_settings_t *settings,
                         msgpack_object *objects, size_t n_objects,
                         msgpack_object *out);
/* A value around one part of another (shares it). NULL with gate_error() set.
 */
gate_value_t *gi_value_part(gate_value_t *whole, const msgpack_object *part);

/* Packs one argument. GATE_BADARG for what cannot be packed (GATE_A_QUEUE
 * outside process jobs, no hook for GATE_A_EXT, invalid raw msgpack). */
/* A str: GATE_BADARG when it is no UTF-8. */
gate_err_t gi_arg_pack_str(gi_buf_t *out, const void *data, size_t n) GATE_MUST;
/* What a list or map holds. GATE_BADARG: its memory has been used again. */
gate_err_t gi_arg_items(const gate_arg_t *arg, const gate_arg_t **items,
                        size_t *n) GATE_MUST;
gate_err_t gi_arg_pack(gi_buf_t *out, const gate_arg_t *arg,
                       const gate_settings_t *settings) GATE_MUST;

/* Stores object where slot says; owner (may be NULL) is shared by GATE_S_VALUE
 * slots, else the object is copied. what names it in error texts ("argument 2",
 * "result"). GATE_S_QUEUE slots are GATE_BADARG here: the call resolves them.
 */
gate_err_t gi_slot_store(const gate_slot_t *slot, const msgpack_object *object,
                         gate_value_t *owner, gi_arena_t *arena,
                         const char *what) GATE_MUST;
/* All of a call's arguments against its slots (call.h: gate_args_). queue
 * resolves GATE_S_QUEUE slots (NULL: refused). */
typedef gate_err_t gi_slot_queue_fn(void *ctx, const msgpack_object *object,
                                    gate_queue_t **to);
gate_err_t gi_slots_store(const gate_slot_t *slots, size_t n,
                          const msgpack_object *args,
                          const msgpack_object *kwargs, gi_arena_t *arena,
                          gi_slot_queue_fn *queue, void *queue_ctx) GATE_MUST;

/* What a gate_huge_t begins with that stands for an argument: the first bytes
 * of its msgpack, and how many bytes follow them, which are elsewhere. */
typedef struct gi_huge_head {
    uint64_t size;
    unsigned char n_head, head[5];
} gi_huge_head_t;

/* ---- arg.c --------------------------------------------------------------- */
/* What gate_spread holds: arguments by keyword or by position, how many, their
 * bytes (borrowed). */
gate_err_t gi_arg_spread(const gate_arg_t *arg, bool *named, size_t *n,
                         gate_bytes_t *items) GATE_MUST;

#endif
