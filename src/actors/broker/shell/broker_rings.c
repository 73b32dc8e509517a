/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rings.c -- see broker_rings.h. */
#include "broker/shell/broker_rings_impl.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"
#include "sync/clock.h"
#include "sync/fd.h"

#define S_PART "broker"
#define S_EVENTS 64
#define S_DOUBT_MS 1000
#define S_DOUBT_LOOK_MS 5
#define S_FRAMES_MAX (GI_FRAMES_MAX - 4)

/* ---- who ------------------------------------------------------------------ */
unsigned gi_broker_lane_bucket(unsigned side, gate_bytes_t id) {
    uint64_t word = 0; /* of its end: ids that are made differ there */
    size_t n = id.size < sizeof word ? id.size : sizeof word;
    memcpy(&word, (const unsigned char *)id.data + id.size - n, n);
    word = (word ^ side) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(word >> 32) % GI_BROKER_LANE_BUCKETS;
}

gate_bytes_t gi_broker_lane_id(const gi_broker_lane_t *lane) {
    zmq_msg_t *id = (zmq_msg_t *)(uintptr_t)&lane->id;
    return (gate_bytes_t){zmq_msg_data(id), zmq_msg_size(id)};
}

gi_broker_lane_t *gi_broker_lane_find(const gi_broker_rings_t *self,
                                      unsigned side, gate_bytes_t id) {
    gi_broker_lane_t *lane = self->buckets[gi_broker_lane_bucket(side, id)];
    for (; lane; lane = lane->mates) {
        gate_bytes_t its = gi_broker_lane_id(lane);
        if (lane->side == side && its.size == id.size &&
            memcmp(its.data, id.data, id.size) == 0)
            return lane;
    }
    return NULL;
}

uint64_t gi_broker_lane_connection(int fd) {
    struct stat now;
    return fd >= 0 && fstat(fd, &now) == 0 && S_ISSOCK(now.st_mode)
               ? (uint64_t)now.st_ino
               : 0;
}

/* ---- counters ------------------------------------------------------------- */
void gi_broker_lane_count(const gi_broker_rings_t *self) {
    gi_broker_core_lanes(self->broker->core, self->n_up, self->n_opened,
                         self->n_left, self->n_refused, self->n_bad);
}

void gi_broker_lane_refused(gi_broker_rings_t *self) {
    self->n_refused++;
    gi_broker_lane_count(self);
}

/* ---- life ----------------------------------------------------------------- */
static void s_unlink(gi_broker_lane_t **at, gi_broker_lane_t *lane,
                     bool mates) {
    while (*at != lane)
        at = mates ? &(*at)->mates : &(*at)->next;
    *at = mates ? lane->mates : lane->next;
}

void gi_broker_lane_free(gi_broker_rings_t *self, gi_broker_lane_t *lane) {
    s_unlink(&self->lanes, lane, false);
    if (lane->state <= GI_LANE_BOUND)
        self->n_pending--;
    else
        self->n_up--;
    if (lane->state >= GI_LANE_BOUND) {
        s_unlink(&self->buckets[gi_broker_lane_bucket(lane->side,
                                                      gi_broker_lane_id(lane))],
                 lane, true);
        zmq_msg_close(&lane->id);
        self->n_bound--;
    }
    gi_fd_close(&lane->fd); /* epoll forgets it by itself */
    gi_ringway_destroy(&lane->way);
    gi_mem_free(lane);
    gi_broker_lane_count(self);
}

bool gi_broker_lane_watch(gi_broker_rings_t *self, int fd, void *what) {
    struct epoll_event on = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &on) == 0;
}

gi_broker_rings_t *gi_broker_rings_new(gate_broker_t *broker) {
    if (!gi_rings_wanted(broker->settings, broker->curve_cert != NULL))
        return NULL;
    gi_broker_rings_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->broker = broker;
    self->listener = -1;
    self->epoll = gi_fd_high(epoll_create1(EPOLL_CLOEXEC));
    gate_err_t e = self->epoll < 0
                       ? gi_err_errno("no lanes: no epoll")
                       : gi_rings_listen(self->offer, &self->listener);
    if (!e && gi_broker_lane_watch(self, self->listener, NULL))
        return self;
    gate_log(gi_rings_always(broker->settings) ? GATE_WARN : GATE_INFO, S_PART,
             "%s",
             e ? gate_error()->text : "no lanes: no memory to watch them");
    gi_broker_rings_destroy(&self);
    return NULL;
}

void gi_broker_rings_destroy(gi_broker_rings_t **self_p) {
    gi_broker_rings_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_broker_rings_flush(self);
    while (self->lanes)
        gi_broker_lane_free(self, self->lanes);
    gi_fd_close(&self->listener);
    gi_fd_close(&self->epoll);
    gi_mem_free(self);
}

const char *gi_broker_rings_offer(const gi_broker_rings_t *self) {
    return self ? self->offer : NULL;
}

/* ---- an end --------------------------------------------------------------- */
/* The connection of ZeroMQ ends with it, and the rest comes from there. */
void gi_broker_lane_break(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                          const char *why) {
    if (lane->state == GI_LANE_BROKEN)
        return;
    lane->state = GI_LANE_BROKEN;
    lane->way->ended = true;
    if (why) {
        self->n_bad++;
        gi_broker_lane_count(self);
        gate_log(GATE_WARN, S_PART, "a lane is closed: %s", why);
    }
    epoll_ctl(self->epoll, EPOLL_CTL_DEL, lane->way->fd, NULL);
    shutdown(lane->way->fd, SHUT_RDWR); /* its peer is to see it now */
    if (gi_broker_lane_connection(lane->srcfd) == lane->connection)
        gi_guard_shut(&self->broker->guard, lane->srcfd);
}

/* ---- what ZeroMQ brings ---------------------------------------------------- */
/* Somebody speaks there whose messages come by a lane: another connection has
 * its routing id now. */
static void s_spoken(gi_broker_rings_t *self, gi_broker_lane_t *lane, int fd) {
    if (lane->state == GI_LANE_BOUND && fd == lane->srcfd)
        return;
    if (lane->state == GI_LANE_BOUND) {
        gi_broker_lane_free(self, lane);
        return;
    }
    bool same =
        fd == lane->srcfd && gi_broker_lane_connection(fd) == lane->connection;
    gi_broker_lane_break(self, lane,
                         same ? "its peer speaks over both ways" : NULL);
    if (!same)
        gi_broker_lane_free(self, lane);
}

/* Who says up and has no lane (any more: it stood still for too long) has begun to
 * write to a ring that nobody reads. */
static void s_no_word(gi_broker_rings_t *self, gi_rings_word_t word, int fd) {
    gi_broker_core_oversized(self->broker->core);
    if (word == GI_RINGS_UP)
        gi_guard_shut(&self->broker->guard, fd);
}

bool gi_broker_rings_heard(gi_broker_rings_t *self, unsigned side, int fd) {
    gi_frames_t *in = &self->broker->in;
    unsigned char nonce[GI_RINGS_NONCE];
    gi_rings_word_t word = GI_RINGS_NOTHING;
    if (in->n == 2)
        word = gi_rings_read(gi_frames_at(in, 1), nonce);
    gi_broker_lane_t *lane =
        word != GI_RINGS_ASK && self->n_bound
            ? gi_broker_lane_find(self, side, gi_frames_at(in, 0))
            : NULL;
    if (word == GI_RINGS_NOTHING) {
        if (lane)
            s_spoken(self, lane, fd);
        return false;
    }
    if (word == GI_RINGS_ASK)
        gi_broker_lane_bind(self, side, fd, nonce);
    else if (word == GI_RINGS_UP && lane && lane->state == GI_LANE_BOUND &&
             lane->srcfd == fd)
        gi_broker_lane_up(self, lane);
    else
        s_no_word(self, word, fd);
    gi_frames_close(in);
    return true;
}

/* ---- messages -------------------------------------------------------------- */
int gi_broker_rings_send(gi_broker_rings_t *self, unsigned side,
                         gi_frames_t *frames) {
    gi_broker_lane_t *lane =
        self->n_up ? gi_broker_lane_find(self, side, gi_frames_at(frames, 0))
                   : NULL;
    if (!lane || lane->state < GI_LANE_UP || lane->left)
        return -1;
    if (!lane->told)
        gi_broker_lane_tell(self, lane);
    if (!lane->told)
        return EAGAIN;
    size_t size = gi_frames_pack_size(frames, 1);
    void *to = gi_ringway_room(lane->way, size);
    if (!to)
        return EAGAIN;
    gi_frames_pack(frames, 1, to);
    gi_ringway_sent(lane->way, size);
    lane->n++;
    return 0;
}

static bool s_deliver(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                      int64_t now_ms) {
    gate_broker_t *broker = self->broker;
    gi_frames_t *in = &broker->in;
    unsigned max = (unsigned)broker->settings->frames_max;
    gate_bytes_t record;
    zmq_msg_t id;
    if (lane->gone || !gi_ringway_take(lane->way, &record))
        return false;
    lane->n++;
    lane->gone = gi_rings_read(record, lane->nonce) == GI_RINGS_DOWN;
    if (lane->gone)
        return false;
    zmq_msg_init(&id);
    zmq_msg_copy(&id, &lane->id);
    gi_frames_move(in, &id);
    gi_frames_lent(in, record);
    max = max < S_FRAMES_MAX ? max : S_FRAMES_MAX;
    if (gi_frames_unpack(in, 1, max) && in->packed)
        gi_broker_core_message(broker->core, broker->sides[lane->side].number,
                               in, lane->srcfd, now_ms);
    else
        gi_broker_core_oversized(broker->core);
    gi_frames_close(in);
    return true;
}

/* Its peer's last record was read: from now on it speaks by ZeroMQ again. */
static void s_part(gi_broker_rings_t *self, gi_broker_lane_t *lane) {
    if (!lane->left) {
        gi_broker_lane_break(self, lane, "its peer leaves before it is asked");
        return;
    }
    self->n_left++;
    gi_broker_lane_free(self, lane);
}

static bool s_read(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                   int64_t now_ms, int64_t since_ns, unsigned k) {
    int64_t n = 0, most = self->broker->settings->batch_max;
    gi_ringway_hear(lane->way);
    while (n < most && !gi_broker_lane_over(since_ns, k, self->n_up, n) &&
           s_deliver(self, lane, now_ms))
        n++;
    if (lane->gone)
        s_part(self, lane);
    else if (lane->way->pair.bad)
        gi_broker_lane_break(self, lane, "its peer wrote what is no ring");
    else if (gi_ringway_over(lane->way))
        gi_broker_lane_break(self, lane, NULL);
    return n > 0;
}

/* Of a lane whose peer has gone: what it had said before. The other end may be
 * there and go on: no more than there can have been. */
static void s_drain(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                    int64_t now_ms) {
    uint64_t most = lane->way->pair.size / 8;
    while (most-- > 0 && s_deliver(self, lane, now_ms)) {
    }
}

/* libzmq tells of an end before it closes the descriptor, and maybe after the
 * number is another connection's: the inode says which, in a while. */
static bool s_settle(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                     int64_t now_ms) {
    if (gi_broker_lane_connection(lane->srcfd) != lane->connection) {
        if (lane->state == GI_LANE_UP)
            s_drain(self, lane, now_ms);
        gi_broker_lane_free(self, lane);
        return true;
    }
    if (now_ms >= lane->doubt_ms)
        lane->doubt_ms = 0; /* it was an earlier one */
    return false;
}

/* ---- the pass -------------------------------------------------------------- */
static void s_collect(gi_broker_rings_t *self) {
    struct epoll_event events[S_EVENTS];
    if (!self->rung)
        return;
    self->rung = false;
    int n = epoll_wait(self->epoll, events, S_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        gi_broker_lane_t *lane = events[i].data.ptr;
        if (!lane)
            self->knocks = true;
        else if (lane->way)
            lane->way->rung = true;
        else
            lane->rung = true;
    }
}

void gi_broker_lane_sweep(gi_broker_rings_t *self) {
    self->rung = true;
    s_collect(self);
    for (gi_broker_lane_t *lane = self->lanes, *next; lane; lane = next) {
        next = lane->next;
        if (lane->state == GI_LANE_GREETED && lane->rung)
            gi_broker_lane_free(self, lane);
    }
}

/* Before it has a way a peer has nothing to say on the socket. */
static void s_wait(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                   int64_t now_ms) {
    if (lane->way)
        gi_ringway_hear(lane->way);
    if (lane->rung || (lane->way && lane->way->ended) || now_ms >= lane->due_ms)
        gi_broker_lane_free(self, lane);
}

bool gi_broker_rings_work(gi_broker_rings_t *self, int64_t now_ms) {
    s_collect(self);
    gi_broker_lane_undeafen(self, now_ms);
    bool any = gi_broker_lane_accept(self, now_ms);
    int64_t since_ns = self->n_up ? gi_clock_ns() : 0;
    unsigned k = 0;
    for (gi_broker_lane_t *lane = self->lanes, *next; lane; lane = next) {
        next = lane->next;
        if (lane->doubt_ms && s_settle(self, lane, now_ms))
            continue;
        if (lane->state <= GI_LANE_BOUND)
            s_wait(self, lane, now_ms);
        else if (lane->state == GI_LANE_UP)
            any |= s_read(self, lane, now_ms, since_ns, k++);
    }
    gi_broker_lane_look(self, now_ms);
    return any;
}

bool gi_broker_rings_flush(gi_broker_rings_t *self) {
    bool any = false;
    for (gi_broker_lane_t *lane = self->lanes; lane; lane = lane->next) {
        if (lane->state != GI_LANE_UP)
            continue;
        if (!lane->told)
            gi_broker_lane_tell(self, lane);
        gi_broker_lane_leave(lane);
        any |= gi_ringway_flush(lane->way);
    }
    return any;
}

void gi_broker_rings_closed(gi_broker_rings_t *self, unsigned side, int fd,
                            int64_t now_ms) {
    for (gi_broker_lane_t *lane = self->n_bound ? self->lanes : NULL, *next;
         lane; lane = next) {
        next = lane->next;
        if (lane->state < GI_LANE_BOUND || lane->side != side ||
            lane->srcfd != fd)
            continue;
        if (lane->state == GI_LANE_UP)
            s_drain(self, lane, now_ms); /* before its peer counts as gone */
        lane->doubt_ms = now_ms + S_DOUBT_MS;
        s_settle(self, lane, now_ms);
    }
}

bool gi_broker_rings_has(const gi_broker_rings_t *self, int fd) {
    const gi_broker_lane_t *lane = self->n_up ? self->lanes : NULL;
    while (lane &&
           (lane->state < GI_LANE_UP || lane->left || lane->srcfd != fd))
        lane = lane->next;
    return lane != NULL;
}

/* ---- sleeping -------------------------------------------------------------- */
void gi_broker_rings_fds(gi_broker_rings_t *self, gi_polled_t *polled) {
    gi_polled_add(polled, self->epoll, &self->rung);
    for (gi_broker_lane_t *lane = self->lanes; lane; lane = lane->next)
        if (lane->state == GI_LANE_UP)
            polled->hurry |= !gi_ringway_sleep(lane->way);
}

int64_t gi_broker_rings_next(const gi_broker_rings_t *self, int64_t now_ms) {
    int64_t next = self->deaf_ms ? self->deaf_ms : INT64_MAX;
    if (self->n_up && self->idle_ms < next)
        next = self->idle_ms;
    for (const gi_broker_lane_t *lane = self->lanes; lane; lane = lane->next) {
        if (lane->state <= GI_LANE_BOUND && lane->due_ms < next)
            next = lane->due_ms;
        if (lane->doubt_ms && now_ms + S_DOUBT_LOOK_MS < next)
            next = now_ms + S_DOUBT_LOOK_MS;
    }
    return next;
}

/* All together: what comes from one goes to another. */
bool gi_broker_rings_calm(gi_broker_rings_t *self) {
    bool calm =
        self->n_up && strcmp(self->broker->settings->linger, "off") != 0;
    unsigned taken = 0, moved = 0;
    for (gi_broker_lane_t *lane = calm ? self->lanes : NULL; lane;
         lane = lane->next) {
        if (lane->state != GI_LANE_UP || !lane->way->moved)
            continue;
        taken += lane->way->taken;
        moved += lane->way->moved;
        calm &= gi_ringpair_other_load(&lane->way->pair) <= GI_RINGWAY_FEW;
        gi_ringway_calm(lane->way);
    }
    return calm && moved > 0 && taken <= 2 * GI_RINGWAY_FEW;
}

bool gi_broker_rings_there(const gi_broker_rings_t *self) {
    const gi_broker_lane_t *lane = self->n_up ? self->lanes : NULL;
    while (lane && (lane->state != GI_LANE_UP || !gi_ringway_there(lane->way)))
        lane = lane->next;
    return lane != NULL;
}
