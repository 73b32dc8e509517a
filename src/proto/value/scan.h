/* SPDX-License-Identifier: BSD-3-Clause */
/* scan.h -- a bounded walk over msgpack bytes before msgpack-c sees them
 * (msgpack-c does not enforce limits). No allocation, no recursion beyond
 * depth_max. wire.md 0: caps on str, bin, array, map; trailing bytes. */
#ifndef GI_SCAN_H
#define GI_SCAN_H

#include <gaterpc/error.h>

typedef struct gi_limits {
    size_t str_max, bin_max, array_max,
        map_max; /* bytes, bytes, items, pairs */
    unsigned depth_max;
    size_t objects_max; /* in all containers together: each costs memory when
                           it is decoded, a nil of one byte too */
    bool utf8;          /* a str must be UTF-8: what is about to leave */
    bool huge_str, huge_bin; /* str_max or bin_max is huge_max_bytes */
} gi_limits_t;

/* Exactly one value in size bytes: GATE_OK, GATE_BADDATA (truncated, reserved
 * byte, trailing bytes) or GATE_TOOBIG; the text says where and what. */
gate_err_t gi_scan(const void *data, size_t size,
                   const gi_limits_t *limits) GATE_MUST;
/* The first value in size bytes; *used is its length. */
gate_err_t gi_scan_one(const void *data, size_t size, const gi_limits_t *limits,
                       size_t *used) GATE_MUST;
gi_limits_t gi_scan_limits(const gate_settings_t *settings);
/* The same for what came in chunks: a str or bin may be huge_max_bytes long. */
gi_limits_t gi_scan_limits_huge(const gate_settings_t *settings);

#endif
