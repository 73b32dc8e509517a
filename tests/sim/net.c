/* SPDX-License-Identifier: BSD-3-Clause */
/* net.c -- connections as libzmq shows them. A DEALER keeps what it sends while
 * it has none, and opens another by itself under the same routing id; a ROUTER
 * sends to the connection that came last under an id (ROUTER_HANDOVER), says
 * EHOSTUNREACH where there is none and EAGAIN where nobody reads. What is on
 * its way when a connection ends is lost. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned sim_dice(sim_world_t *w, unsigned below) {
    w->dice ^= w->dice << 13;
    w->dice ^= w->dice >> 7;
    w->dice ^= w->dice << 17;
    return (unsigned)((w->dice >> 16) % below);
}

/* ---- telling ---------------------------------------------------------------- */
bool sim_tells;

static void s_tell_frame(gate_bytes_t f) {
    const unsigned char *p = f.data;
    bool plain = f.size < 24;
    for (size_t i = 0; i < f.size && plain; i++)
        plain = p[i] >= ' ' && p[i] < 127;
    if (plain) {
        fprintf(stderr, " %.*s|", (int)f.size, (const char *)f.data);
        return;
    }
    fputc(' ', stderr);
    for (size_t i = 0; i < f.size && i < 12; i++)
        fprintf(stderr, "%02x", p[i]);
    fputc('|', stderr);
}

void sim_tell(const sim_world_t *w, const sim_conn_t *c, const char *what,
              const sim_msg_t *m) {
    if (!sim_tells)
        return;
    fprintf(stderr, "%7d %s/%d %s", (int)(w->now - 1000000), c->id, c->fd,
            what);
    for (unsigned i = 1; m && i < m->n; i++)
        s_tell_frame(m->f[i]);
    fputc('\n', stderr);
}

/* ---- queues ---------------------------------------------------------------- */
static sim_msg_t *s_copy(const gi_frames_t *frames, unsigned first) {
    gate_bytes_t f[GI_FRAMES_MAX];
    size_t size = 0, at = 0;
    gi_frames_view(frames, 0, f);
    for (unsigned i = first; i < frames->n; i++)
        size += f[i].size;
    sim_msg_t *m = calloc(1, sizeof *m + size + 1);
    for (unsigned i = first; i < frames->n && m->n < 16; i++) {
        if (f[i].size)
            memcpy(m->data + at, f[i].data, f[i].size);
        m->f[m->n++] = (gate_bytes_t){m->data + at, f[i].size};
        at += f[i].size;
    }
    return m;
}

static void s_put(sim_queue_t *q, sim_msg_t *m) {
    if (!q->first)
        q->last = &q->first;
    *q->last = m;
    q->last = &m->next;
    q->n++;
}

static sim_msg_t *s_take(sim_queue_t *q) {
    sim_msg_t *m = q->first;
    q->first = m->next;
    q->n--;
    m->next = NULL;
    return m;
}

void sim_queue_put(sim_queue_t *q, gi_frames_t *frames) {
    s_put(q, s_copy(frames, 0));
    gi_frames_close(frames);
}

void sim_queue_clear(sim_queue_t *q) {
    while (q->first)
        free(s_take(q));
}

/* Later than all before it: a connection keeps the order. */
static void s_on_its_way(sim_world_t *w, sim_queue_t *q, sim_msg_t *m) {
    m->at = w->now + 1 + sim_dice(w, 8);
    if (q->first) {
        sim_msg_t *last = q->first;
        while (last->next)
            last = last->next;
        if (m->at < last->at)
            m->at = last->at;
    }
    s_put(q, m);
}

/* ---- sending --------------------------------------------------------------- */
void sim_send(sim_world_t *w, unsigned node, gi_frames_t *frames) {
    sim_node_t *self = &w->node[node];
    sim_msg_t *m = s_copy(frames, 0);
    gi_frames_close(frames);
    if (self->conn)
        s_on_its_way(w, &self->conn->in, m);
    else
        s_put(&self->waiting, m);
}

void sim_queue_send(sim_world_t *w, unsigned node, sim_queue_t *q) {
    s_on_its_way(w, &w->node[node].conn->in, s_take(q));
}

static sim_conn_t *s_router(sim_world_t *w, unsigned socket, gate_bytes_t id) {
    for (unsigned i = 0; i < SIM_CONNS; i++) {
        sim_conn_t *c = &w->conn[i];
        if (c->fd && c->router && strlen(c->id) == id.size &&
            memcmp(c->id, id.data, id.size) == 0 &&
            sim_is_client(c->node) == (socket == SIM_FRONT))
            return c;
    }
    return NULL;
}

int sim_broker_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    sim_world_t *w = ctx;
    gate_bytes_t f[GI_FRAMES_MAX];
    gi_frames_view(frames, 0, f);
    sim_conn_t *c = s_router(w, socket, f[0]);
    if (!c)
        return EHOSTUNREACH;
    if (c->out.n >= SIM_HWM)
        return EAGAIN;
    sim_msg_t *m = s_copy(frames, 1);
    gi_frames_close(frames);
    sim_tell(w, c, c->up ? "<-" : "<- (nobody there)", m);
    if (c->up)
        s_on_its_way(w, &c->out, m);
    else
        free(m); /* the broker does not know yet */
    return 0;
}

/* ---- connections ----------------------------------------------------------- */
/* The broker's core is not told of newcomers (gi_broker_core_newcomer): a
 * successor under a worker's chosen name hears what the former one is asked, and
 * would drain with it (told of them, seed 6652 shows it). */
void sim_connect(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    sim_conn_t *c = w->conn;
    self->connect_ms = INT64_MAX;
    while (c < w->conn + SIM_CONNS && c->fd)
        c++;
    if (c == w->conn + SIM_CONNS) { /* all linger: later */
        self->connect_ms = w->now + 100;
        return;
    }
    for (unsigned i = 0; i < SIM_CONNS; i++)
        if (w->conn[i].fd && strcmp(w->conn[i].id, self->id) == 0)
            w->conn[i].router = false;
    *c = (sim_conn_t){.fd = ++w->next_fd,
                      .node = node,
                      .up = true,
                      .router = true,
                      .closed_ms = INT64_MAX};
    strcpy(c->id, self->id);
    sim_tell(w, c, "connected", NULL);
    self->conn = c;
    self->heard_ms = w->now;
    if (sim_is_client(node))
        sim_client_up(w, node);
    else
        sim_worker_up(w, node);
    while (self->waiting.first)
        s_on_its_way(w, &c->in, s_take(&self->waiting));
}

void sim_cut(sim_world_t *w, unsigned node, int64_t delay_ms) {
    sim_node_t *self = &w->node[node];
    sim_conn_t *c = self->conn;
    if (!c)
        return;
    w->n_lost += c->in.n + c->out.n;
    sim_queue_clear(&c->in);
    sim_queue_clear(&c->out);
    c->up = false;
    c->closed_ms = w->now + delay_ms;
    self->conn = NULL;
    if (sim_is_client(node))
        sim_client_cut(w, node);
    else
        sim_worker_cut(w, node);
}

static void s_hear(sim_world_t *w, sim_conn_t *c, sim_msg_t *m) {
    gi_frames_t frames;
    sim_tell(w, c, "->", m);
    frames.n = 0;
    gi_frames_add(&frames, c->id, strlen(c->id));
    for (unsigned i = 0; i < m->n; i++)
        gi_frames_add(&frames, m->f[i].data, m->f[i].size);
    free(m);
    gi_broker_core_message(w->core,
                           sim_is_client(c->node) ? SIM_FRONT : SIM_BACK,
                           &frames, c->fd, w->now);
}

static void s_tell(sim_world_t *w, sim_conn_t *c, sim_msg_t *m) {
    w->node[c->node].heard_ms = w->now;
    if (sim_is_client(c->node))
        sim_client_message(w, c->node, m);
    else
        sim_worker_message(w, c->node, m);
    free(m);
}

static void s_closed(sim_world_t *w, sim_conn_t *c) {
    unsigned socket = sim_is_client(c->node) ? SIM_FRONT : SIM_BACK;
    int fd = c->fd;
    sim_tell(w, c, "closed", NULL);
    *c = (sim_conn_t){0};
    gi_broker_core_closed(w->core, socket, fd, w->now);
}

static bool s_thawed(sim_world_t *w, sim_conn_t *c) {
    if (c->dies && c->thaw_ms <= w->now) {
        c->dies = false;
        w->node[c->node].connect_ms = w->now + 100;
        sim_cut(w, c->node, 0);
    }
    return c->up && c->thaw_ms <= w->now;
}

static bool s_reads(const sim_world_t *w, const sim_conn_t *c) {
    const sim_node_t *node = &w->node[c->node];
    return node->alive && node->stalled_ms <= w->now && node->busy_ms <= w->now;
}

bool sim_net_work(sim_world_t *w) {
    bool worked = false;
    for (unsigned i = 0; i < SIM_CONNS; i++) {
        sim_conn_t *c = &w->conn[i];
        if (!c->fd)
            continue;
        if (s_thawed(w, c)) {
            if (c->in.first && c->in.first->at <= w->now) {
                s_hear(w, c, s_take(&c->in));
                worked = true;
            }
            if (c->up && s_reads(w, c) && c->out.first &&
                c->out.first->at <= w->now) {
                s_tell(w, c, s_take(&c->out));
                worked = true;
            }
        }
        if (c->fd && c->closed_ms <= w->now) {
            s_closed(w, c);
            worked = true;
        }
    }
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (w->node[i].alive && !w->node[i].conn &&
            w->node[i].connect_ms <= w->now) {
            sim_connect(w, i);
            worked = true;
        }
    return worked;
}

static void s_sooner(int64_t *next, int64_t at) {
    if (at < *next)
        *next = at;
}

int64_t sim_net_next(const sim_world_t *w) {
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < SIM_CONNS; i++) {
        const sim_conn_t *c = &w->conn[i];
        if (!c->fd)
            continue;
        s_sooner(&next, c->closed_ms);
        if (c->dies)
            s_sooner(&next, c->thaw_ms);
        if (c->in.first)
            s_sooner(&next, c->in.first->at > c->thaw_ms ? c->in.first->at
                                                         : c->thaw_ms);
        if (c->out.first && w->node[c->node].alive) {
            const sim_node_t *node = &w->node[c->node];
            int64_t at = c->out.first->at, awake = node->stalled_ms;
            awake = awake > node->busy_ms ? awake : node->busy_ms;
            at = at > c->thaw_ms ? at : c->thaw_ms;
            s_sooner(&next, at > awake ? at : awake);
        }
    }
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (w->node[i].alive && !w->node[i].conn)
            s_sooner(&next, w->node[i].connect_ms);
    return next;
}

void sim_net_end(sim_world_t *w) {
    for (unsigned i = 0; i < SIM_CONNS; i++) {
        sim_queue_clear(&w->conn[i].in);
        sim_queue_clear(&w->conn[i].out);
    }
    for (unsigned i = 0; i < SIM_NODES; i++)
        sim_queue_clear(&w->node[i].waiting);
}
