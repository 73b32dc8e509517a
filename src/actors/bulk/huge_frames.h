/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_frames.h -- compressed blocks in order, as frames. Small ones are copied
 * together, once; one of a good size goes out from where it is.
 * Thread: one at a time. Owns: what was not taken. */
#ifndef GI_HUGE_FRAMES_H
#define GI_HUGE_FRAMES_H

#include <zmq.h>
#include "bulk/huge_block.h"

typedef struct gi_huge_frames {
    bool gzip;
    gi_gather_t gather;   /* of gzip */
    gi_chunker_t chunker; /* of other codecs */
    gi_piece_t direct;    /* behind what waits there; data NULL: none */
    bool lent;            /* it is the frame that was given last */
    bool flush;           /* all of it goes out before anything is added */
} gi_huge_frames_t;

gate_err_t gi_huge_frames_init(gi_huge_frames_t *self, bool gzip,
                               size_t chunk_bytes) GATE_MUST;
void gi_huge_frames_fini(gi_huge_frames_t *self);
/* The block's result: copied, or taken. When next has no frame. */
gate_err_t gi_huge_frames_add(gi_huge_frames_t *self,
                              gi_huge_block_t *block) GATE_MUST;
/* True: *frame is the next one, borrowed until the next call. all: nothing
 * follows, so that less than a whole one is given too. */
bool gi_huge_frames_next(gi_huge_frames_t *self, bool all, gate_bytes_t *frame);
/* The memory it lies in, for zmq_msg_init_data; false: copy it. Once. */
bool gi_huge_frames_take(gi_huge_frames_t *self, zmq_free_fn **release,
                         void **hint);

#endif
