/* SPDX-License-Identifier: BSD-3-Clause */
/* load.h -- makes the load on one lane and measures it. A lane is one caller's
 * way to some system: ours, or a reference. The same loop drives all of them,
 * so that they are measured alike.
 *
 *   closed: `outstanding` calls are always under way; a call's time counts from
 *           when it was sent.
 *   open:   `rate` calls a second are due, whatever the system does; a call's
 *           time counts from when it was due. Nothing that waits for a slow
 *           system is left out (no coordinated omission).
 * Thread: a lane is one thread's. */
#ifndef GI_LOAD_H
#define GI_LOAD_H

#include "bench/rigs/hist.h"
#include <stdbool.h>

/* What one run is asked to do. Flat: it goes through a link. */
typedef struct gi_load {
    int64_t outstanding;
    uint64_t size; /* of the payload */
    double seconds, warm_seconds;
    double rate;           /* calls/s of each lane; 0 = closed */
    uint64_t sample_every; /* which calls are timed: one in so many */
} gi_load_t;

/* What came of it. Flat. */
typedef struct gi_sample {
    uint64_t n, errors; /* units of work done; that failed or never ended */
    double seconds;
    gi_hist_t hist;
} gi_sample_t;

typedef struct gi_lane gi_lane_t;
struct gi_lane {
    void *self;
    /* Readies itself for lane->load; false: cannot. May be NULL. */
    bool (*prepare)(gi_lane_t *lane);
    /* Starts one call; false: not now. Its end is told by gi_lane_done. */
    bool (*send)(gi_lane_t *lane, uint64_t stamp);
    /* Ends what is ready; waits up to wait_ns for the first. */
    void (*reap)(gi_lane_t *lane, int64_t wait_ns);
    /* Gives up what is under way. May be NULL: it is waited for. */
    void (*stop)(gi_lane_t *lane);

    /* the loop's own */
    const gi_load_t *load;
    gi_sample_t *sample;
    int64_t out; /* under way */
    uint64_t sent;
    bool warm; /* something has come back */
    bool counting;
};

/* One call has ended; stamp is what send got. */
void gi_lane_done(gi_lane_t *lane, uint64_t stamp, bool ok);
/* One unit came that ends no call: an item of a stream. */
void gi_lane_item(gi_lane_t *lane);

/* Runs load on lane; begun (may be NULL) is called when counting begins. */
void gi_load_run(gi_lane_t *lane, const gi_load_t *load,
                 void (*begun)(void *ctx), void *ctx, gi_sample_t *sample);

#endif
