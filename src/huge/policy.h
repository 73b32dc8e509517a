/* SPDX-License-Identifier: BSD-3-Clause */
/* policy.h -- is a block worth compressing? Stored when the link takes the
 * original bytes faster than the compressor makes, and the link takes,
 * compressed ones. Pure: the caller measures.
 * Thread: one at a time. Law: while it stores, one block in GI_POLICY_PROBE is
 * compressed all the same, so that what it knows stays true. */
#ifndef GI_POLICY_H
#define GI_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define GI_POLICY_PROBE 32

typedef enum gi_policy_mode {
    GI_POLICY_ADAPTIVE,
    GI_POLICY_COMPRESS,
    GI_POLICY_STORE
} gi_policy_mode_t;

/* A rate that forgets: both sums are halved as they grow. */
typedef struct gi_rate {
    double bytes, ns;
} gi_rate_t;

typedef struct gi_policy {
    gi_policy_mode_t mode;
    int workers;          /* compressing at once; at least 1 */
    gi_rate_t compress;   /* original bytes, one worker's time */
    gi_rate_t link;       /* frame bytes */
    double in, out;       /* what compressed blocks shrank from and to */
    bool storing;         /* the decision in force */
    uint32_t since_probe; /* blocks stored since the last probe */
} gi_policy_t;

/* name: "adaptive", "compress", "store"; anything else is adaptive. */
gi_policy_mode_t gi_policy_mode(const char *name);
void gi_policy_init(gi_policy_t *self, gi_policy_mode_t mode, int workers);
/* A block was compressed: how long one worker took. */
void gi_policy_compressed(gi_policy_t *self, uint64_t in, uint64_t out,
                          uint64_t ns);
/* Frames were sent: bytes taken by the link while it was the bottleneck. */
void gi_policy_sent(gi_policy_t *self, uint64_t bytes, uint64_t ns);
/* True: store the next block. */
bool gi_policy_store(gi_policy_t *self);

#endif
