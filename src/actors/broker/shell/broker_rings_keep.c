/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rings_keep.c -- what lanes may keep, and that they give it back.
 *
 * Descriptors: lanes live of the half that nothing else uses; when new peers have
 * to wait for one, all lanes are given back. Memory: lanes_max of them; a quarter
 * of these for one process, half for users that are not the broker's; unfinished
 * records of all together have the room of the broker's queues. Time: a pass has
 * half a millisecond for all.
 *
 * A lane by which little goes is given back: our last record says so, its peer
 * answers with its own, and both go on over ZeroMQ. */
#include "broker/shell/broker_rings_impl.h"

#include <string.h>
#include <unistd.h>
#include "sync/clock.h"

#define S_IDLE_MS 10000
#define S_SHARE 4 /* of lanes_max: a process has one of so many */
#define S_SHARE_MIN 4
#define S_PASS_NS 500000
#define S_LOOK_EVERY 4 /* messages between looks at the clock */

/* ---- shares ---------------------------------------------------------------- */
static bool s_is_foreign(const gi_broker_lane_t *lane) {
    return lane->user != geteuid() && lane->user != 0;
}

bool gi_broker_lane_share(const gi_broker_rings_t *self,
                          const gi_broker_lane_t *lane, unsigned most,
                          bool bound) {
    unsigned same = 0, foreign = 0, share = most / S_SHARE;
    share = share < S_SHARE_MIN ? S_SHARE_MIN : share;
    for (const gi_broker_lane_t *at = self->lanes; at; at = at->next) {
        if (at == lane || (at->state >= GI_LANE_BOUND) != bound)
            continue;
        same += at->process == lane->process;
        foreign += s_is_foreign(at);
    }
    return same < share && (!s_is_foreign(lane) || foreign < most / 2);
}

/* ---- time ------------------------------------------------------------------ */
/* What those before it have left over is there for it as well. */
bool gi_broker_lane_over(int64_t since_ns, unsigned k, unsigned n,
                         int64_t n_read) {
    return n_read > 0 && n_read % S_LOOK_EVERY == 0 &&
           gi_clock_ns() - since_ns > S_PASS_NS * (int64_t)(k + 1) / n;
}

/* ---- giving back ----------------------------------------------------------- */
void gi_broker_lane_leave(gi_broker_lane_t *lane) {
    if (lane->leaving && !lane->left && lane->told)
        lane->left = gi_rings_put(lane->way, GI_RINGS_DOWN);
}

static bool s_pays(const gi_broker_rings_t *self,
                   const gi_broker_lane_t *lane) {
    const gate_settings_t *settings = self->broker->settings;
    return lane->n >= settings->lane_after || gi_rings_always(settings);
}

static void s_look_for_idle(gi_broker_rings_t *self, int64_t now_ms) {
    bool all = self->broker->guard.shut;
    if (!all && now_ms < self->idle_ms)
        return;
    self->idle_ms = now_ms + S_IDLE_MS;
    for (gi_broker_lane_t *lane = self->lanes; lane; lane = lane->next) {
        if (lane->state != GI_LANE_UP)
            continue;
        lane->leaving |= all || !s_pays(self, lane);
        lane->n = 0;
    }
}

/* The largest record that its peer has begun and not ended goes, when all of
 * them are more than may wait here. */
static void s_look_for_unfinished(gi_broker_rings_t *self) {
    int64_t all = 0;
    size_t largest = 0;
    gi_broker_lane_t *whose = NULL;
    for (gi_broker_lane_t *lane = self->lanes; lane; lane = lane->next) {
        size_t held = lane->state == GI_LANE_UP && !lane->way->in_whole
                          ? lane->way->in_room
                          : 0;
        all += (int64_t)held;
        if (held > largest) {
            largest = held;
            whose = lane;
        }
    }
    int64_t most = self->broker->settings->broker_queue_max_bytes;
    if (most > 0 && all > most && whose)
        gi_broker_lane_break(self, whose, "unfinished messages are too much");
}

void gi_broker_lane_look(gi_broker_rings_t *self, int64_t now_ms) {
    if (!self->n_up)
        return;
    s_look_for_idle(self, now_ms);
    s_look_for_unfinished(self);
}
