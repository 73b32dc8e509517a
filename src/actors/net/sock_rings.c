/* SPDX-License-Identifier: BSD-3-Clause */
/* sock_rings.c -- see sock.h.
 *
 *   OFFERED --enough was sent--> DIALLED --hello--> ASKED --memory--> MAPPED
 *      --our last message by ZeroMQ--> OUT --the broker's last there--> UP
 *      --the broker's last record--> LEAVING --ours--> LEFT --its end--> OFFERED
 *
 * From OUT on we write to the ring alone, in UP we read it alone. In LEFT nothing
 * is sent: what goes by ZeroMQ comes behind what the broker has read of the ring.
 * Whatever goes wrong before OUT means that there is no lane, and nothing else.
 * After it the way is closed, which the broker sees and ends the connection of
 * ZeroMQ for. */
#include "net/sock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "rings/rings.h"
#include "settings/settings.h"
#include "sync/clock.h"
#include "sync/fd.h"

#define S_SECOND_NS INT64_C(1000000000)
#define S_PATIENCE_NS (2 * S_SECOND_NS) /* for the broker's next word */

typedef enum s_state {
    S_NONE, /* nor will there be one on this connection */
    S_OFFERED,
    S_DIALLED,
    S_HEARD, /* the nonce is known, and not sent */
    S_ASKED,
    S_MAPPED,
    S_OUT,
    S_UP,
    S_LEAVING,
    S_LEFT
} s_state_t;

typedef struct gi_sock_rings {
    s_state_t state;
    const gate_settings_t *settings;
    gi_ringway_t *way; /* from MAPPED on */
    int fd;            /* before that */
    bool rung;         /* something may be on it */
    int64_t
        since_ns;   /* OFFERED: of the second that is counted; else of state */
    int64_t n_sent; /* in that second */
    size_t load;
    unsigned char nonce[GI_RINGS_NONCE];
    char offer[GI_RINGS_OFFER];
    size_t offer_size;
} s_rings_t;

/* ---- life ---------------------------------------------------------------- */
static void s_give_up(s_rings_t *r) {
    r->state = S_NONE;
    gi_fd_close(&r->fd);
    gi_ringway_destroy(&r->way);
}

static bool s_is_inproc(const gi_sock_t *self) {
    char at[256] = "";
    size_t size = sizeof at;
    return zmq_getsockopt(self->raw, ZMQ_LAST_ENDPOINT, at, &size) == 0 &&
           strncmp(at, "inproc:", 7) == 0;
}

void gi_sock_offered(gi_sock_t *self, gate_bytes_t offer,
                     const gate_settings_t *settings, bool encrypted) {
    if (self->rings || !gi_rings_wanted(settings, encrypted) ||
        offer.size >= GI_RINGS_OFFER || s_is_inproc(self))
        return;
    s_rings_t *r = gi_mem_calloc(1, sizeof *r);
    if (!r)
        return;
    r->state = S_OFFERED;
    r->settings = settings;
    r->fd = -1;
    r->offer_size = offer.size;
    memcpy(r->offer, offer.data, offer.size);
    self->rings = r;
}

void gi_sock_rings_close(gi_sock_t *self) {
    s_rings_t *r = self->rings;
    if (!r)
        return;
    self->rings = NULL;
    if (r->way)
        gi_ringway_flush(r->way);
    s_give_up(r);
    gi_mem_free(r);
}

/* ---- on the way to one ---------------------------------------------------- */
static bool s_say(gi_sock_t *self, gi_rings_word_t word) {
    unsigned char said[GI_RINGS_SAID];
    size_t n = gi_rings_write(word, self->rings->nonce, said);
    self->maybe = true;
    if (gi_parcel_waits(self) && !gi_parcel_flush(self))
        return false; /* it is behind what was sent before */
    return zmq_send(self->raw, said, n, ZMQ_DONTWAIT) >= 0;
}

static void s_become(s_rings_t *r, s_state_t state) {
    r->state = state;
    r->since_ns = gi_clock_coarse_ns();
}

static void s_dial(s_rings_t *r) {
    r->fd = gi_rings_connect((gate_bytes_t){r->offer, r->offer_size});
    s_become(r, r->fd < 0 ? S_NONE : S_DIALLED);
    r->rung = true;
}

/* One-shot clients never pay for one. */
static void s_count(s_rings_t *r) {
    int64_t now_ns = gi_clock_coarse_ns();
    if (now_ns - r->since_ns > S_SECOND_NS) {
        r->since_ns = now_ns;
        r->n_sent = 0;
    }
    if (++r->n_sent >= r->settings->lane_after || gi_rings_always(r->settings))
        s_dial(r);
}

static void s_map(s_rings_t *r, int memory, size_t ring) {
    size_t most = gi_rings_most(r->settings->message_bytes_max);
    r->way = gi_ringway_new(&r->fd, memory, ring, false, most);
    close(memory);
    if (r->way)
        s_become(r, S_MAPPED);
    else
        s_give_up(r);
}

static void s_hear(s_rings_t *r) {
    int memory = -1;
    size_t ring = 0;
    if (!r->rung)
        return;
    gi_rings_told_t told = gi_rings_hear(r->fd, r->nonce, &memory, &ring);
    if (told == GI_RINGS_WAIT) {
        r->rung = false;
    } else if (told == GI_RINGS_HELLO && r->state == S_DIALLED) {
        s_become(r, S_HEARD);
    } else if (told == GI_RINGS_MEMORY && r->state == S_ASKED) {
        s_map(r, memory, ring);
    } else {
        gi_fd_close(&memory);
        s_give_up(r);
    }
}

/* A step further, if it can be done. */
static void s_go_on(gi_sock_t *self) {
    s_rings_t *r = self->rings;
    if (r->state == S_DIALLED || r->state == S_ASKED)
        s_hear(r);
    if (r->state == S_HEARD && s_say(self, GI_RINGS_ASK))
        s_become(r, S_ASKED);
    if (r->state == S_MAPPED && s_say(self, GI_RINGS_UP))
        s_become(r, S_OUT);
    if (r->state > S_OFFERED && r->state < S_MAPPED &&
        gi_clock_coarse_ns() - r->since_ns > S_PATIENCE_NS)
        s_give_up(r);
}

bool gi_sock_rings_said(gi_sock_t *self, gi_frames_t *frames) {
    s_rings_t *r = self->rings;
    unsigned char nonce[GI_RINGS_NONCE];
    if (frames->n != 1)
        return false;
    gi_rings_word_t word = gi_rings_read(gi_frames_at(frames, 0), nonce);
    if (word == GI_RINGS_NOTHING)
        return false;
    if (word == GI_RINGS_UP && r->state == S_OUT)
        s_become(r, S_UP);
    gi_frames_close(frames);
    return true;
}

/* ---- back to ZeroMQ -------------------------------------------------------- */
static void s_leave(s_rings_t *r) {
    if (r->state == S_LEAVING && gi_rings_put(r->way, GI_RINGS_DOWN))
        s_become(r, S_LEFT);
}

/* The broker has read all that we wrote, and has closed its end. */
static void s_look_back(gi_sock_t *self) {
    s_rings_t *r = self->rings;
    if (!r->way->ended)
        return;
    s_give_up(r);
    r->state = S_OFFERED;
    r->since_ns = r->n_sent = 0;
    self->maybe = true;
}

/* ---- messages ------------------------------------------------------------- */
static int s_take(gi_sock_t *self, gi_frames_t *frames) {
    s_rings_t *r = self->rings;
    unsigned char nonce[GI_RINGS_NONCE];
    gate_bytes_t record;
    if (!gi_ringway_take(r->way, &record))
        return -1;
    if (gi_rings_read(record, nonce) != GI_RINGS_DOWN) {
        gi_frames_lent(frames, record);
        return 1;
    }
    s_become(r, S_LEAVING);
    s_leave(r);
    self->maybe = true; /* what the broker said next is there */
    return 0;
}

int gi_sock_rings_recv(gi_sock_t *self, gi_frames_t *frames) {
    s_rings_t *r = self->rings;
    if (r->state > S_OFFERED && r->state < S_OUT)
        s_go_on(self);
    if (r->state < S_OUT)
        return 0;
    gi_ringway_hear(r->way);
    if (r->state == S_UP)
        return s_take(self, frames);
    if (r->state == S_LEFT)
        s_look_back(self);
    return 0;
}

int gi_sock_rings_send(gi_sock_t *self, gi_frames_t *frames) {
    s_rings_t *r = self->rings;
    if (r->state == S_LEFT) {
        gi_ringway_hear(r->way);
        s_look_back(self);
    }
    if (r->state == S_OFFERED)
        s_count(r);
    if (r->state < S_OUT)
        return -1;
    if (r->state >= S_LEAVING)
        return EAGAIN;
    size_t size = gi_frames_pack_size(frames, 0);
    void *to = gi_ringway_room(r->way, size);
    if (!to)
        return EAGAIN;
    gi_frames_pack(frames, 0, to);
    gi_ringway_sent(r->way, size);
    return 0;
}

bool gi_sock_flush(gi_sock_t *self) {
    s_rings_t *r = self->rings;
    bool any = gi_parcel_flush(self);
    if (r)
        s_leave(r);
    return (r && r->state >= S_OUT && gi_ringway_flush(r->way)) || any;
}

bool gi_sock_rings_may_be(const gi_sock_t *self) {
    return self->rings && self->rings->state != S_NONE;
}

/* ---- sleeping ------------------------------------------------------------- */
void gi_sock_rings_poll(gi_sock_t *self, gi_polled_t *polled) {
    s_rings_t *r = self->rings;
    if (r->state < S_MAPPED) {
        gi_polled_add(polled, r->fd, &r->rung);
        return;
    }
    if (!r->way->ended)
        gi_polled_add(polled, r->way->fd, &r->way->rung);
    if (r->state == S_UP)
        polled->hurry |= !gi_ringway_sleep(r->way);
}

bool gi_sock_rings_holds(const gi_sock_t *self) {
    const s_rings_t *r = self->rings;
    return r->state == S_UP && gi_ringway_there(r->way);
}

void gi_sock_load(gi_sock_t *self, size_t load) {
    s_rings_t *r = self->rings;
    if (!r || !r->way)
        return;
    r->load = load;
    gi_ringpair_load(&r->way->pair, load < 1000 ? (uint32_t)load : 1000);
}

bool gi_sock_brief(const gi_sock_t *self) {
    const s_rings_t *r = self->rings;
    return r && r->state == S_UP && strcmp(r->settings->linger, "off") != 0;
}

bool gi_sock_calm(gi_sock_t *self) {
    const s_rings_t *r = self->rings;
    return gi_sock_brief(self) && gi_ringway_calm(r->way) &&
           r->load <= GI_RINGWAY_FEW;
}

bool gi_sock_there(const gi_sock_t *self) {
    return self->rings && gi_sock_rings_holds(self);
}
