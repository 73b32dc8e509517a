/* SPDX-License-Identifier: BSD-3-Clause */
/* meta.h -- a call's metadata: a few short texts by name that go along with it
 * (docs/extensions.md, "m"). Two forms: packed, a msgpack map of str to str, on
 * the wire; flat, "key NUL value NUL ...", for handlers. Pure. Law: both forms
 * keep the bounds below; neither has the same key twice when we made it. */
#ifndef GI_META_H
#define GI_META_H

#include <gaterpc/value.h>
#include "base/buf.h"

#define GI_META_PAIRS_MAX 16
#define GI_META_KEY_MAX 64
#define GI_META_VALUE_MAX 1024
#define GI_META_BYTES_MAX 4096 /* packed */

/* "priority" = "high": before others, wherever the call has to wait. */
#define GI_META_PRIORITY "priority"
#define GI_META_HIGH "high"

/* Appends what gate_meta and gate_meta_of say among a call's arguments, packed;
 * nothing when there is none of it. The last word on a key holds, NULL takes it
 * out. GATE_BADARG, GATE_TOOBIG, GATE_NOMEM: out is as before. */
gate_err_t gi_meta_pack(gi_buf_t *out, const gate_arg_t *args,
                        size_t n) GATE_MUST;
/* Packed to flat; to has room for packed.size bytes. Its size; 0 when it is
 * empty or not within the bounds. packed may be anybody's bytes. */
size_t gi_meta_flatten(gate_bytes_t packed, char *to);
/* Of the flat form: the value behind key, NULL when there is none. */
const char *gi_meta_find(gate_bytes_t flat, const char *key);
/* The i-th key, its value in *value unless that is NULL; NULL beyond. */
const char *gi_meta_at(gate_bytes_t flat, size_t i, const char **value);
/* Of the packed form, anybody's: it says that the call is urgent. */
bool gi_meta_urgent(gate_bytes_t packed);

#endif
