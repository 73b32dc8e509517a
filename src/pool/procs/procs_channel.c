/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_channel.c -- what the zygote says: a worker was born, could not be, has
 * ended; and the zygote's own end. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "sync/clock.h"
#include "procs/procs_core.h"
#include "shared/rights.h"

void gi_channel_dead(gi_slot_t *s) {
    if (s->state != GI_S_UP && s->state != GI_S_BORN)
        return;
    s->was_ready = s->state == GI_S_UP;
    s->state = GI_S_DYING;
    s->dying_ms = gi_clock_ms();
    if (s->pidfd >= 0)
        epoll_ctl(s->pool->epoll_fd, EPOLL_CTL_DEL, s->pidfd, NULL);
}

/* Its workers die with it (PR_SET_PDEATHSIG). Where late forks are allowed a
 * new one is made; else the pool is lost and says so. */
static void s_zygote_lost(gi_procs_t *p) {
    close(p->channel);
    p->channel = -1;
    if (p->stopping)
        return;
    int channel = -1;
    if (gi_zygote_attach(p->settings->process_late_fork, &channel) == GATE_OK &&
        gi_dispatch_watch(p, channel, GI_EP_CHANNEL, 0)) {
        p->channel = channel;
        gate_log(GATE_WARN, "pool",
                 "%s: the zygote died; another took its place", p->name);
    } else {
        p->lost = true;
        pthread_cond_broadcast(&p->idle);
        gate_log(GATE_ERROR, "pool",
                 "%s: the zygote died: no worker can be started any more; "
                 "restart this process, or set process_late_fork",
                 p->name);
    }
    p->restarts[GI_R_ZYGOTE]++;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state == GI_S_STARTING)
            gi_slot_failed(s, EPIPE);
        if (s->state == GI_S_UP || s->state == GI_S_BORN)
            gi_slot_kill(s, GI_R_ZYGOTE); /* its pidfd tells when */
        if (p->lost && s->state == GI_S_WAITING)
            s->state = GI_S_EMPTY;
    }
}

static void s_spawned(gi_procs_t *p, const gi_zyg_msg_t *m, int pidfd) {
    gi_slot_t *s = p->slots[m->slot];
    bool ours = s->state == GI_S_STARTING && s->generation == m->generation;
    bool born = m->kind == GI_ZYG_SPAWNED;
    if (ours && born && pidfd >= 0) {
        gi_slot_spawned(s, m->pid, pidfd);
        return;
    }
    if (born) { /* we cannot watch it: no descriptor for its pidfd */
        gi_zyg_msg_t end = *m;
        end.kind = GI_ZYG_KILL;
        gi_rights_send(p->channel, &end, sizeof end, NULL, 0, MSG_DONTWAIT);
    }
    if (pidfd >= 0)
        close(pidfd);
    if (ours)
        gi_slot_failed(s, m->status ? m->status : EMFILE);
}

static void s_message(gi_procs_t *p, const gi_zyg_msg_t *m, int pidfd) {
    if (m->slot < 0 || m->slot >= p->n_slots)
        return;
    gi_slot_t *s = p->slots[m->slot];
    if (m->kind != GI_ZYG_EXITED)
        s_spawned(p, m, pidfd);
    else if (s->generation == m->generation) {
        s->status = m->status;
        gi_channel_dead(s);
    }
}

void gi_channel_read(gi_procs_t *p) {
    for (;;) {
        gi_zyg_msg_t m;
        int pidfd = -1, n;
        if (p->channel < 0)
            return;
        ssize_t rc = gi_rights_recv(p->channel, &m, sizeof m, &pidfd, 1, &n,
                                    MSG_DONTWAIT);
        if (rc < 0 && errno == EAGAIN)
            return;
        pthread_mutex_lock(&p->lock);
        if (rc == sizeof m)
            s_message(p, &m, n ? pidfd : -1);
        else
            s_zygote_lost(p);
        gi_send_fill(p);
        pthread_mutex_unlock(&p->lock);
        if (rc != sizeof m)
            return;
    }
}
