/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rings_new.c -- how a lane comes about (rings/rings.h): who connects is
 * greeted, who asks is given memory, who says up is one. */
#include "broker/shell/broker_rings_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include "base/identity.h"
#include "base/mem.h"
#include "sync/fd.h"

#define S_PENDING_MAX 64 /* GREETED and BOUND */
#define S_PATIENCE_MS 2000
#define S_DEAF_MS 1000
#define S_ACCEPT_MAX 8 /* in a pass */

/* ---- newcomers ------------------------------------------------------------ */
static bool s_has_share(const gi_broker_rings_t *self,
                        const gi_broker_lane_t *lane) {
    return self->n_pending < S_PENDING_MAX &&
           gi_broker_lane_share(self, lane, S_PENDING_MAX, false);
}

static bool s_is_room(gi_broker_rings_t *self, const gi_broker_lane_t *lane,
                      int64_t now_ms) {
    if (!s_has_share(self, lane))
        gi_broker_lane_sweep(self);
    return s_has_share(self, lane) &&
           gi_guard_spares(&self->broker->guard, self->n_pending + self->n_up,
                           now_ms);
}

static bool s_greet(gi_broker_rings_t *self, int *fd, int64_t now_ms) {
    gi_broker_lane_t *lane = gi_mem_calloc(1, sizeof *lane);
    if (!lane)
        return false;
    gi_random(lane->nonce, sizeof lane->nonce);
    if (!gi_rings_who(*fd, &lane->process, &lane->user) ||
        !s_is_room(self, lane, now_ms) ||
        !gi_broker_lane_watch(self, *fd, lane) ||
        !gi_rings_hello(*fd, lane->nonce)) {
        gi_mem_free(lane);
        return false;
    }
    lane->fd = *fd;
    lane->due_ms = now_ms + S_PATIENCE_MS;
    lane->next = self->lanes;
    self->lanes = lane;
    self->n_pending++;
    *fd = -1;
    return true;
}

/* No descriptors are left: the listener would wake us for nothing. */
static void s_deafen(gi_broker_rings_t *self, int64_t now_ms) {
    epoll_ctl(self->epoll, EPOLL_CTL_DEL, self->listener, NULL);
    self->deaf_ms = now_ms + S_DEAF_MS;
}

void gi_broker_lane_undeafen(gi_broker_rings_t *self, int64_t now_ms) {
    if (self->deaf_ms && now_ms >= self->deaf_ms)
        self->deaf_ms = gi_broker_lane_watch(self, self->listener, NULL)
                            ? 0
                            : now_ms + S_DEAF_MS;
}

bool gi_broker_lane_accept(gi_broker_rings_t *self, int64_t now_ms) {
    unsigned n = 0;
    for (; self->knocks && n < S_ACCEPT_MAX; n++) {
        int fd = gi_fd_high(
            accept4(self->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
        self->knocks = fd >= 0;
        if (fd < 0 && errno != EAGAIN && errno != EINTR)
            s_deafen(self, now_ms);
        if (fd >= 0 && !s_greet(self, &fd, now_ms))
            gi_broker_lane_refused(self);
        gi_fd_close(&fd);
    }
    return n > 1;
}

static gi_broker_lane_t *
s_find_nonce(const gi_broker_rings_t *self,
             const unsigned char nonce[GI_RINGS_NONCE]) {
    gi_broker_lane_t *lane = self->lanes;
    while (lane && (lane->state != GI_LANE_GREETED ||
                    memcmp(lane->nonce, nonce, GI_RINGS_NONCE) != 0))
        lane = lane->next;
    return lane;
}

static bool s_make_way(gi_broker_rings_t *self, gi_broker_lane_t *lane) {
    const gate_settings_t *settings = self->broker->settings;
    size_t ring = GI_RINGPAIR_MIN;
    while (ring < (size_t)settings->lane_bytes)
        ring *= 2;
    int memory = gi_rings_memory(ring);
    if (memory >= 0)
        lane->way = gi_ringway_new(&lane->fd, memory, ring, true,
                                   gi_rings_most(settings->message_bytes_max));
    if (lane->way && !gi_rings_give(lane->way->fd, memory, ring))
        gi_ringway_destroy(&lane->way);
    gi_fd_close(&memory);
    return lane->way != NULL;
}

/* A connection has one lane at most. */
void gi_broker_lane_bind(gi_broker_rings_t *self, unsigned side, int fd,
                         const unsigned char nonce[GI_RINGS_NONCE]) {
    gi_frames_t *in = &self->broker->in;
    gate_bytes_t id = gi_frames_at(in, 0);
    gi_broker_lane_t *lane = s_find_nonce(self, nonce);
    unsigned most = (unsigned)self->broker->settings->lanes_max;
    if (!lane)
        return;
    if (fd < 0 || gi_broker_lane_find(self, side, id) ||
        self->n_bound >= most ||
        !gi_broker_lane_share(self, lane, most, true) ||
        !s_make_way(self, lane)) {
        gi_broker_lane_refused(self);
        gi_broker_lane_free(self, lane);
        return;
    }
    lane->state = GI_LANE_BOUND;
    lane->side = side;
    lane->srcfd = fd;
    lane->connection = gi_broker_lane_connection(fd);
    zmq_msg_init(&lane->id);
    zmq_msg_copy(&lane->id, gi_frames_message(in, 0));
    gi_broker_lane_t **bucket =
        &self->buckets[gi_broker_lane_bucket(side, gi_broker_lane_id(lane))];
    lane->mates = *bucket;
    *bucket = lane;
    self->n_bound++;
}

void gi_broker_lane_tell(gi_broker_rings_t *self, gi_broker_lane_t *lane) {
    unsigned char said[GI_RINGS_SAID];
    gi_frames_t out;
    gate_bytes_t id = gi_broker_lane_id(lane);
    gi_frames_init(&out);
    gi_frames_add(&out, id.data, id.size);
    gi_frames_add(&out, said, gi_rings_write(GI_RINGS_UP, NULL, said));
    lane->told = gi_sock_send(&self->broker->sides[lane->side].sock, &out) == 0;
    gi_frames_close(&out);
}

void gi_broker_lane_up(gi_broker_rings_t *self, gi_broker_lane_t *lane) {
    lane->state = GI_LANE_UP;
    lane->n = self->broker->settings->lane_after; /* it has just begun */
    self->n_pending--;
    self->n_up++;
    self->n_opened++;
    gi_broker_lane_count(self);
    gi_broker_lane_tell(self, lane);
}
