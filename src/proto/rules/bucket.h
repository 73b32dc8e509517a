/* SPDX-License-Identifier: BSD-3-Clause */
/* bucket.h -- a token bucket: so many per second, so many at once. Zeroed
 * memory is a full one. Pure: the caller brings the time. */
#ifndef GI_BUCKET_H
#define GI_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gi_bucket {
    double used;   /* tokens taken and not yet grown again */
    int64_t at_ms; /* when that was reckoned */
} gi_bucket_t;

static inline void gi_bucket_grow(gi_bucket_t *self, double per_s,
                                  int64_t now_ms) {
    self->used -= per_s * (double)(now_ms - self->at_ms) / 1000.0;
    if (self->used < 0 || self->at_ms == 0)
        self->used = 0;
    self->at_ms = now_ms;
}
/* True when a token is there. */
static inline bool gi_bucket_has(gi_bucket_t *self, double per_s, double burst,
                                 int64_t now_ms) {
    gi_bucket_grow(self, per_s, now_ms);
    return self->used + 1 <= burst;
}
/* Takes one if it is there. */
static inline bool gi_bucket_take(gi_bucket_t *self, double per_s, double burst,
                                  int64_t now_ms) {
    bool has = gi_bucket_has(self, per_s, burst, now_ms);
    self->used += has;
    return has;
}

#endif
