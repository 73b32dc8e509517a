/* SPDX-License-Identifier: BSD-3-Clause */
/* rsp_sum.h -- a response cell's check: of its head and what lies in the cell
 * itself. Against jobs that write where they should not, not against liars. */
#ifndef GI_RSP_SUM_H
#define GI_RSP_SUM_H

#include <string.h>
#include "shared/shm.h"

static inline uint64_t gi_rsp_mix(uint64_t h, uint64_t word) {
    h ^= word;
    return (h << 23 | h >> 41) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline uint16_t gi_rsp_sum(const gi_rsp_cell_t *c) {
    bool inside = !(c->flags & (GI_RSP_IN_LANE | GI_RSP_LENT));
    size_t n = inside && c->size <= GI_RSP_INLINE ? c->size : 0;
    uint64_t h = gi_rsp_mix(1, c->id), word;
    h = gi_rsp_mix(h,
                   c->kind ^ (uint64_t)c->flags << 8 ^ (uint64_t)c->size << 32);
    h = gi_rsp_mix(h, c->run_ns ^ (uint64_t)c->at << 32);
    for (size_t i = 0; i < n; i += sizeof word) { /* the cell is whole words */
        memcpy(&word, c->data + i, sizeof word);
        h = gi_rsp_mix(h, word);
    }
    return (uint16_t)(h >> 48 ^ h >> 24);
}

#endif
