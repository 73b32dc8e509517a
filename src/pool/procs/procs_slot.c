/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_slot.c -- a worker's process: from the zygote's fork to its burial, and
 * the next one in its place. A worker runs its jobs in order and finishes one
 * before it begins the next, so of a dead one's jobs only the front can have
 * been begun; all behind it go back to the queue untouched. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "sync/clock.h"
#include "sync/fd.h"
#include "sync/wait.h"
#include "base/mem.h"
#include "mail/logring.h"
#include "procs/procs_core.h"
#include "shared/rights.h"

#define GROUP (1u << 2) /* PIDFD_SIGNAL_PROCESS_GROUP */
#define SPAWN_AGAIN_MS 100
#define OUT_LINES 1024 /* lines of two bytes that are read at once */
#define HELD_MS 5000   /* then lines are lost, and counted */
#define SPAWNS_MAX 32  /* under way: more do not fit into the zygote's socket */

/* ---- life ---------------------------------------------------------------- */

gate_err_t gi_slot_new(gi_procs_t *p, gi_slot_t **out) {
    gi_slot_t *s = gi_mem_calloc(1, sizeof *s);
    if (!s)
        return gi_err(GATE_NOMEM, "no memory for a worker");
    s->pool = p;
    s->bell_fd = s->pidfd = s->out_fd = s->ctl_fd = s->shm.fd = -1;
    gate_err_t e = gi_shm_new(&s->shm, p->config.cells, p->config.lane_bytes);
    if (e) {
        gi_mem_free(s);
        return e;
    }
    s->outbox = gi_exchange_new("gate-outbox", GI_OUTBOX_UNITS);
    if (!s->outbox) {
        gi_slot_free(s);
        return gate_error()->code;
    }
    s->bell_fd = gi_wait_eventfd();
    s->jobs = gi_mem_calloc(s->shm.cells, sizeof *s->jobs);
    s->lane_end = gi_mem_calloc(s->shm.cells, sizeof *s->lane_end);
    if (s->bell_fd < 0)
        e = gi_err_errno("a worker's eventfd");
    else if (!s->jobs || !s->lane_end)
        e = gi_err(GATE_NOMEM, "no memory for a worker");
    if (e) {
        gi_slot_free(s);
        return e;
    }
    s->wanted = true;
    *out = s;
    return GATE_OK;
}

void gi_slot_free(gi_slot_t *s) {
    gi_fd_close(&s->pidfd);
    gi_fd_close(&s->out_fd);
    gi_fd_close(&s->ctl_fd);
    gi_fd_close(&s->bell_fd);
    gi_exchange_release(&s->outbox); /* before the counts go */
    gi_rsp_fini(&s->reader);
    gi_shm_fini(&s->shm);
    gi_mem_free(s->jobs);
    gi_mem_free(s->lane_end);
    gi_mem_free(s);
}

/* ---- birth --------------------------------------------------------------- */

static void s_reset(gi_slot_t *s) {
    gi_procs_t *p = s->pool;
    gi_shm_reset(&s->shm);
    s->shm.ctl->config = p->config; /* the last worker may have changed it */
    s->shm.ctl->config.cells = s->shm.cells;
    s->shm.ctl->config.lane_bytes = s->shm.lane_bytes;
    s->shm.ctl->config.number = s->index;
    s->shm.ctl->config.generation = s->generation;
    gi_options_follow(&s->shm.ctl->config);
    gi_exchange_count(s->outbox, s->shm.ctl->returned, s->shm.ctl->given);
    atomic_store(&s->shm.ctl->out_units, gi_exchange_grow(s->outbox, 0));
    s->outbox_stuck = false;
    gi_rsp_reset(&s->reader, &s->shm, s->outbox, p->result_max);
    s->head = s->front = s->tail = 0;
    s->lane_tail = s->lane_free = 0;
    s->in_flight = 0;
    s->n_done = s->rss_done = 0;
    s->doomed = s->stuck = s->quitting = s->was_ready = false;
    s->began_any = s->kill_again = false;
    s->reason = GI_R_NONE;
    s->status = -1;
    s->line_len = 0;
    s->held_ms = 0;
    s->dying_ms = s->quit_ms = 0;
}

static bool s_ask(gi_slot_t *s) {
    int out[2] = {-1, -1}, ctl[2] = {-1, -1};
    gi_zyg_msg_t m = {
        .kind = GI_ZYG_SPAWN, .slot = s->index, .generation = s->generation};
    bool ok = pipe2(out, O_CLOEXEC) == 0 && gi_fd_high_pair(out) &&
              fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 &&
              socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) == 0 &&
              gi_fd_high_pair(ctl);
    int fds[GI_WFD_COUNT] = {s->shm.fd,
                             s->bell_fd,
                             out[1],
                             ctl[1],
                             gi_exchange_fd(s->pool->inbox),
                             gi_exchange_fd(s->outbox)};
    ok = ok && gi_rights_send(s->pool->channel, &m, sizeof m, fds, GI_WFD_COUNT,
                              MSG_DONTWAIT);
    int error = errno;
    gi_fd_close(&out[1]);
    gi_fd_close(&ctl[1]);
    if (ok && gi_dispatch_watch(s->pool, out[0], GI_EP_OUT, s->index)) {
        s->out_fd = out[0];
        s->ctl_fd = ctl[0];
        return true;
    }
    gi_fd_close(&out[0]);
    gi_fd_close(&ctl[0]);
    errno = error;
    return false;
}

static int s_under_way(const gi_procs_t *p) {
    int n = 0;
    for (int i = 0; i < p->n_slots; i++)
        n += p->slots[i]->state == GI_S_STARTING;
    return n;
}

void gi_slot_spawn(gi_slot_t *s) {
    if (s_under_way(s->pool) >= SPAWNS_MAX) {
        s->state = GI_S_WAITING; /* an answer makes room */
        s->retry_ms = 0;
        return;
    }
    s->generation = ++s->pool->next_generation;
    s->state = GI_S_STARTING;
    if (s->hollow && !gi_shm_fill(&s->shm)) {
        gi_slot_failed(s, errno);
        return;
    }
    s->hollow = s->resting = false;
    s_reset(s);
    if (!s_ask(s))
        gi_slot_failed(s, errno);
}

void gi_slot_spawned(gi_slot_t *s, int pid, int pidfd) {
    s->pid = pid;
    s->pidfd = pidfd;
    s->spawned_ms = s->rss_ms = gi_clock_ms();
    s->state = GI_S_BORN;
    if (!gi_dispatch_watch(s->pool, pidfd, GI_EP_PIDFD, s->index))
        gi_slot_kill(s, GI_R_SPAWN); /* its exit report buries it */
}

void gi_slot_ready(gi_slot_t *s) {
    s->state = GI_S_UP;
    s->ready_ms = gi_clock_ms();
    gi_births_ready(s->pool);
}

/* ---- the next one ---------------------------------------------------------- */

static void s_schedule(gi_slot_t *s, int64_t pause_ms) {
    gi_procs_t *p = s->pool;
    bool wanted = s->wanted && !s->resting && !p->stopping && !p->lost;
    if (!wanted && !p->stopping) { /* none comes soon */
        gi_shm_hollow(&s->shm);
        gi_exchange_trim(s->outbox);
        s->hollow = true;
    }
    s->state = wanted ? GI_S_WAITING : GI_S_EMPTY;
    s->retry_ms = gi_clock_ms() + pause_ms;
    if (wanted && pause_ms == 0)
        gi_slot_spawn(s);
}

void gi_slot_failed(gi_slot_t *s, int error) {
    gi_procs_t *p = s->pool;
    char why[256];
    snprintf(why, sizeof why, "cannot be started: %s", strerror(error));
    gate_log(GATE_ERROR, "pool", "%s: worker %d %s", p->name, s->index, why);
    gi_fd_close(&s->out_fd);
    gi_fd_close(&s->ctl_fd);
    p->restarts[GI_R_SPAWN]++;
    gi_births_failed(p, false, why);
    s_schedule(s, p->births.backoff_ms ? p->births.backoff_ms : SPAWN_AGAIN_MS);
}

/* ---- death --------------------------------------------------------------- */

/* The whole group at once where the kernel can (6.9); else the worker, whose
 * end has the zygote kill the rest. Who may not (this process gave up its
 * rights) asks the zygote. */
void gi_slot_kill(gi_slot_t *s, gi_reason_t reason) {
    gi_zyg_msg_t m = {
        .kind = GI_ZYG_KILL, .slot = s->index, .generation = s->generation};
    s->reason = reason;
    s->quitting = true;
    if (s->pidfd < 0 ||
        syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, GROUP) == 0 ||
        syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0) == 0 ||
        errno == ESRCH || s->pool->channel < 0)
        return;
    if (!gi_rights_send(s->pool->channel, &m, sizeof m, NULL, 0, MSG_DONTWAIT))
        s->kill_again = true;
}

void gi_slot_quit(gi_slot_t *s, gi_reason_t reason) {
    if (s->quitting || (s->state != GI_S_UP && s->state != GI_S_BORN))
        return;
    gate_log(reason == GI_R_RESIZE || reason == GI_R_IDLE ? GATE_DEBUG
                                                          : GATE_INFO,
             "pool", "%s: worker %d leaves: %s", s->pool->name, (int)s->pid,
             reason == GI_R_JOBS   ? "it has done max_jobs"
             : reason == GI_R_AGE  ? "it has reached max_age_ms"
             : reason == GI_R_RSS  ? "it has reached max_rss_bytes"
             : reason == GI_R_IDLE ? "it had no job for idle_ms"
                                   : "the pool shrinks or ends");
    s->quitting = true;
    s->reason = reason;
    atomic_store(&s->shm.ctl->quit, 1);
    gi_shm_wake(&s->shm, GI_SLEEP_WORK);
}

/* It says itself that a job wrote over its memory, or closed its doorbell. */
static bool s_spoilt(const gi_slot_t *s) {
    return s->reason == GI_R_NONE && s->status >= 0 && WIFEXITED(s->status) &&
           WEXITSTATUS(s->status) == GI_EXIT_SPOILT;
}

static void s_describe(const gi_slot_t *s, char *out, size_t room) {
    if (s->reason == GI_R_CORRUPT)
        snprintf(out, room, "wrote nonsense into its memory (%s)",
                 s->reader.lie ? s->reader.lie : "a wrong answer");
    else if (s->reason == GI_R_ZYGOTE)
        snprintf(out, room, "died with its zygote");
    else if (s->status < 0)
        snprintf(out, room, "died");
    else if (s_spoilt(s))
        snprintf(out, room, "left: a job had spoilt it (status %d)",
                 GI_EXIT_SPOILT);
    else if (WIFSIGNALED(s->status))
        snprintf(out, room, "was killed by signal %d (%s)", WTERMSIG(s->status),
                 strsignal(WTERMSIG(s->status)));
    else
        snprintf(out, room, "exited with status %d", WEXITSTATUS(s->status));
}

/* What a job wrote over shows later, when another runs or its answer is read.
 * The only job that a worker ever had is to blame for its end; else those that
 * it had are suspects, and an innocent one is not one again and again. */
static void s_blame(gi_slot_t *s, gi_pjob_t *job, bool alone) {
    bool spoilt = s->reason == GI_R_CORRUPT || s_spoilt(s);
    s->began_any = true;
    if (spoilt && !alone) {
        job->doubts++;
        return;
    }
    job->kills++;
    if (s->reason == GI_R_NONE || spoilt)
        gi_poison_note(s->pool, job, gi_clock_ms());
}

/* A job that was begun: lost, or once more. */
static void s_lose(gi_slot_t *s, gi_pjob_t *job, const char *how, bool alone) {
    gi_procs_t *p = s->pool;
    bool queues = job->n_queues > 0; /* nobody could make fresh ones */
    gi_send_leave(s, job, true, gi_clock_ns());
    s_blame(s, job, alone);
    int ran = job->attempt - 1 + job->kills;
    if (job->cancel_asked)
        gi_pjob_fail(p, job, GATE_CANCELLED, "cancelled; its worker %s", how);
    else if (job->options.idempotent &&
             (job->kills >= GI_KILLS_MAX || job->doubts >= GI_DOUBTS_MAX))
        gi_pjob_fail(p, job, GATE_WORKERLOST,
                     "%s is quarantined: it has killed %d workers; the last, "
                     "%d, %s",
                     job->name, job->kills + job->doubts, (int)s->pid, how);
    else if (job->options.idempotent && !job->streamed && !queues && !p->lost &&
             !p->stopping && ran < job->options.max_attempts)
        gi_pjob_queue(p, job, true);
    else
        gi_pjob_fail(p, job, GATE_WORKERLOST,
                     "worker %d of pool %s %s while it ran %s", (int)s->pid,
                     p->name, how, job->name);
    if (job->state == GI_J_ENDED && !job->cancel_asked)
        p->worker_lost++;
}

/* Of a dead worker's jobs only the front can have been begun. When its memory
 * is not to be believed the front may be one whose answer was written over:
 * then the others that were begun are those whose claim says so. */
static bool s_ran(gi_slot_t *s, const gi_pjob_t *job, const gi_pjob_t *front) {
    uint64_t claim = atomic_load(gi_shm_claim(&s->shm, job->seq));
    if (s->reason != GI_R_CORRUPT)
        return job == front && gi_send_begun(s, job);
    return job == front || claim == GI_CLAIM(job->id, GI_RUNNING) ||
           claim == GI_CLAIM(job->id, GI_DONE);
}

/* The last first, so that the queue gets them back in order. */
static void s_settle(gi_slot_t *s, const char *how) {
    gi_pjob_t *front = s->doomed ? NULL : gi_send_front(s);
    bool alone = s->n_done == 0 && s->in_flight == 1;
    uint32_t mask = s->shm.cells - 1;
    for (uint32_t seq = s->tail; s->in_flight > 0;) {
        gi_pjob_t *job = s->jobs[--seq & mask];
        if (!job)
            continue;
        if (s_ran(s, job, front)) {
            s_lose(s, job, how, alone);
            continue;
        }
        s->jobs[seq & mask] = NULL;
        s->in_flight--;
        gi_pjob_queue(s->pool, job, true);
    }
}

/* It died before it had done anything; own says why, if it could. */
static void s_stillborn(gi_slot_t *s, const char *how) {
    char why[256], own[sizeof s->shm.own->why];
    memcpy(own, s->shm.own->why, sizeof own);
    own[sizeof own - 1] = 0;
    for (char *at = own; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    if (s->was_ready)
        snprintf(why, sizeof why, "%.120s while it had no job", how);
    else
        snprintf(why, sizeof why, "%.60s before it was ready%s%.120s", how,
                 *own                      ? ": "
                 : s->pool->config.init.at ? " (init)"
                                           : "",
                 own);
    gi_births_failed(s->pool, s->was_ready, why);
}

/* Whether its end says that the next one will fare no better. */
static bool s_useless(const gi_slot_t *s, bool clean) {
    return !clean && s->n_done == 0 && !s->began_any &&
           s->reason != GI_R_CANCEL && s->reason != GI_R_LIMIT &&
           s->reason != GI_R_ZYGOTE && s->reason != GI_R_RESIZE &&
           s->reason != GI_R_IDLE;
}

void gi_slot_bury(gi_slot_t *s) {
    char how[160];
    gi_procs_t *p = s->pool;
    bool clean = s->status <= 0 && s->in_flight == 0 && s->quitting &&
                 s->reason >= GI_R_JOBS && s->reason <= GI_R_IDLE;
    s_describe(s, how, sizeof how);
    if (!clean && s->reason != GI_R_CANCEL && s->reason != GI_R_RESIZE &&
        s->reason != GI_R_IDLE)
        gate_log(GATE_WARN, "pool", "%s: worker %d %s%s", p->name, (int)s->pid,
                 how, s->was_ready ? "" : " before it was ready");
    s_settle(s, how);
    if (s->reason == GI_R_NONE)
        s->reason =
            s->status >= 0 && WIFEXITED(s->status) ? GI_R_EXIT : GI_R_CRASH;
    memset(s->jobs, 0, s->shm.cells * sizeof *s->jobs);
    s->in_flight = 0;
    gi_fd_close(&s->pidfd);
    gi_fd_close(&s->out_fd);
    gi_fd_close(&s->ctl_fd);
    p->restarts[s->reason]++;
    bool useless = s_useless(s, clean);
    if (useless)
        s_stillborn(s, how);
    s_schedule(s, useless ? p->births.backoff_ms : 0);
}

/* ---- what it writes ------------------------------------------------------ */

/* What its gate_log said keeps its level. */
static void s_line(gi_slot_t *s) {
    char part[sizeof s->pool->name + 8];
    gate_level_t level = GATE_INFO;
    const char *text = s->line;
    s->line[s->line_len] = 0;
    snprintf(part, sizeof part, "worker.%s", s->pool->name);
    (void)gi_logring_parse(s->line, &level, &text);
    if (s->line_len)
        gate_log(level, part, "%d: %s", (int)s->pid, text);
    s->line_len = 0;
}

static void s_text(gi_slot_t *s, const char *data, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n' || s->line_len == sizeof s->line - 1)
            s_line(s);
        if (data[i] != '\n')
            s->line[s->line_len++] = data[i] ? data[i] : ' ';
    }
}

/* Nothing more is read while the log has no room: the worker waits, and no line
 * is lost; but not for a log that is stuck. */
static bool s_hold(gi_slot_t *s) {
    int64_t now = gi_clock_ms();
    if (gi_logring_room(OUT_LINES) ||
        (s->held_ms && now > s->held_ms + HELD_MS))
        return false;
    if (!s->held_ms) {
        s->held_ms = now;
        epoll_ctl(s->pool->epoll_fd, EPOLL_CTL_DEL, s->out_fd, NULL);
    }
    return true;
}

static void s_let_go(gi_slot_t *s) {
    if (s->held_ms && s->out_fd >= 0 && gi_logring_room(OUT_LINES)) {
        s->held_ms = 0;
        gi_dispatch_watch(s->pool, s->out_fd, GI_EP_OUT, s->index);
    }
}

bool gi_slot_output(gi_slot_t *s, bool last) {
    char data[2 * OUT_LINES];
    ssize_t n = 0;
    bool held = false;
    /* bounded, so that a worker that writes without end delays nobody */
    for (int i = 0; i < 32 && s->out_fd >= 0 && !(held = s_hold(s)); i++) {
        s_let_go(s);
        n = read(s->out_fd, data, sizeof data);
        if (n <= 0)
            break;
        s_text(s, data, (size_t)n);
    }
    if (held)
        return false;
    if (last) {
        s_line(s);
        s->held_ms = 0;
    }
    if (n == 0 && s->out_fd >= 0) /* its end: do not be told again */
        epoll_ctl(s->pool->epoll_fd, EPOLL_CTL_DEL, s->out_fd, NULL);
    return true;
}
