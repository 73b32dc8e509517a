/* SPDX-License-Identifier: BSD-3-Clause */
/* decode.h -- scan with a count, then build into room for that many objects:
 * msgpack-c's own decoder stops at 32 levels and allocates as it goes. */
#ifndef GI_DECODE_H
#define GI_DECODE_H

#include <gaterpc/value.h>
#include "value/scan.h"

enum { GI_DEPTH_MAX = 512 }; /* the upper bound of msgpack_depth_max */

/* gi_scan_one, and how many objects lie inside containers. */
gate_err_t gi_scan_count(const void *data, size_t size,
                         const gi_limits_t *limits, size_t *used,
                         size_t *n_objects) GATE_MUST;

/* Builds what gi_scan_count has accepted. objects: room for its n_objects.
 * Strings point into data. Hooks (NULL: none) run children first, their memory
 * from zone; *hooked tells whether any ran. */
gate_err_t gi_decode_build(const void *data, msgpack_object *objects,
                           const gate_hooks_t *hooks, msgpack_zone *zone,
                           msgpack_object *out, bool *hooked) GATE_MUST;
/* Both in one pass, for what is valid, short, not deep and has at most
 * n_objects, where there are no hooks; false, without a story, for all else. */
bool gi_decode_few(gate_bytes_t packed, const gate_settings_t *settings,
                   msgpack_object *objects, size_t n_objects,
                   msgpack_object *out);
/* True when decoding calls any of these. */
bool gi_decode_has_hooks(const gate_hooks_t *hooks);

#endif
