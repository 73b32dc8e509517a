/* SPDX-License-Identifier: BSD-3-Clause */
/* link_parts.h -- records that are larger than a batch: cut into fragments that
 * take turns with other records, and put together again. Thread: one. Owns: the
 * bytes of what is not whole yet. Law: at most GI_LINK_PARTS_MAX are open, none
 * is larger than was allowed. */
#ifndef GI_LINK_PARTS_H
#define GI_LINK_PARTS_H

#include "base/buf.h"
#include "link/link_codec.h"

#define GI_LINK_PARTS_MAX 16
#define GI_LINK_PART_BYTES ((size_t)128 << 10) /* of a fragment, at most */
/* What a fragment is longer than its bytes, at most. */
#define GI_LINK_PART_HEAD (GI_LINK_RECORD_HEAD + 1 + 1 + 5 + 4)

typedef struct gi_link_parts {
    struct {
        uint32_t id; /* 0: free */
        gi_buf_t bytes;
    } open[GI_LINK_PARTS_MAX];
} gi_link_parts_t;

/* Zeroed memory is an empty one. */
void gi_link_parts_fini(gi_link_parts_t *self);
/* A record of type FRAGMENT. *whole: the record that it completes, given
 * (gi_mem_free), or NULL. GATE_BADDATA, GATE_TOOBIG, GATE_NOMEM. */
gate_err_t gi_link_parts_take(gi_link_parts_t *self,
                              const gi_link_record_t *fragment, size_t max,
                              unsigned char **whole, size_t *size) GATE_MUST;
/* Writes the fragment of a record's bytes from at on, at most so many, and
 * returns where it ends; *at moves. */
unsigned char *gi_link_parts_write(uint32_t id, gate_bytes_t record,
                                   size_t bytes, size_t *at, unsigned char *to);

#endif
