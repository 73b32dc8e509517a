/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_health.c -- what keeps a pool from working, and who is told.
 *
 * A worker that dies with a job costs that job and is replaced at once. One
 * that dies before it has begun any is a failed birth: more than restart_max of
 * those in restart_period_ms delay the next ones (degraded), and when none
 * comes up for BROKEN_MS the pool is broken: what waits ends, what comes is
 * refused, all with "did not run", so that somebody else can do it. Births go
 * on at the delayed pace, and the first worker that is ready ends it.
 *
 * A function whose last restart_max runs have all killed their workers is
 * refused by its name for restart_period_ms; then one run may show that it is
 * well again. */
#include <stdio.h>
#include <string.h>
#include <gaterpc/log.h>
#include "base/utf8.h"
#include "sync/clock.h"
#include "procs/procs_core.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define BROKEN_DEATHS 3
#define BROKEN_MS 1000

const char *gi_health_state(const gi_procs_t *p) {
    return p->lost              ? "lost"
           : p->births.broken   ? "broken"
           : p->births.degraded ? "degraded"
           : p->closed          ? "closed"
                                : "running";
}

size_t gi_health_each(const gi_procs_t *p, gi_health_each_t *to) {
    int64_t now_ns = gi_clock_ns();
    size_t n = 0;
    for (int i = 0; i < p->n_slots && n < GI_HEALTH_EACH; i++) {
        gi_slot_t *s = p->slots[i];
        const gi_pjob_t *front = s->doomed ? NULL : gi_send_front(s);
        bool runs = front && gi_send_begun(s, front);
        const char *state = s->state == GI_S_UP         ? runs ? "run" : "idle"
                            : s->state == GI_S_STARTING ? "new"
                            : s->state == GI_S_BORN     ? "new"
                                                        : "dead";
        if (s->state == GI_S_EMPTY && !s->wanted)
            continue;
        gate_arg_t *of = to->of[n];
        of[0] = gate_int(s->state == GI_S_UP ? s->pid : 0);
        of[1] = gate_str(state);
        of[2] = gate_int(runs ? (now_ns - s->front_ns) / 1000000 : 0);
        of[3] = gate_uint(s->n_done);
        bool named = runs && gi_utf8_valid(front->name, strlen(front->name));
        strcpy(to->names[n], named ? front->name : "");
        of[4] = gate_str(to->names[n]);
        to->all[n++] = gate_list_(of, 5);
    }
    return n;
}

void gi_health_refuse(gi_procs_t *p, gate_err_t code, const char *why) {
    for (int i = 0; i < 3; i++)
        for (gi_pjob_t *job; (job = p->queue[i].first) != NULL;) {
            gi_pjob_unqueue(p, job);
            gi_pjob_fail(p, job, code, "%s did not run: %s", job->name, why);
            p->worker_lost++;
        }
}

/* ---- lies ---------------------------------------------------------------- */

void gi_health_condemn(gi_slot_t *s, const char *lie) {
    s->reader.lie = lie;
    if (!s->doomed)
        gi_slot_kill(s, GI_R_CORRUPT);
}

/* What a worker that wrote over its own memory could leave behind: a job that
 * nobody works at. The answers are looked at after the head, which moves after
 * they were published. */
void gi_health_judge(gi_slot_t *s) {
    if (s->state != GI_S_UP || s->doomed || s->reader.lie)
        return;
    const char *lie = NULL;
    if (!gi_send_refresh(s))
        lie = "a ring position that cannot be";
    else if (atomic_load(&s->shm.own->rsp_tail) == s->reader.head)
        lie = gi_send_doubt(s);
    if (lie)
        gi_health_condemn(s, lie);
}

/* ---- births -------------------------------------------------------------- */

bool gi_births_any_up(const gi_procs_t *p) {
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i]->state == GI_S_UP && !p->slots[i]->doomed)
            return true;
    return false;
}

/* The pace: many failed births in a short time delay the next. */
static void s_pace(gi_procs_t *p, int64_t now) {
    gi_births_t *b = &p->births;
    size_t max = (size_t)p->options.restart_max;
    int64_t oldest = b->times[b->n % max];
    b->times[b->n++ % max] = now;
    if (b->n <= max || now - oldest > p->options.restart_period_ms) {
        b->backoff_ms = 0;
        return;
    }
    b->backoff_ms = b->backoff_ms ? b->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (b->backoff_ms > BACKOFF_MAX_MS)
        b->backoff_ms = BACKOFF_MAX_MS;
    if (!b->degraded)
        gate_log(GATE_ERROR, "pool",
                 "%s: degraded: more than %zu workers died within %lld ms "
                 "before they had begun a job; restarts are delayed",
                 p->name, max, (long long)p->options.restart_period_ms);
    b->degraded = true;
}

void gi_births_failed(gi_procs_t *p, bool ready, const char *why) {
    gi_births_t *b = &p->births;
    int64_t now = gi_clock_ms();
    s_pace(p, now);
    if (ready)
        return;
    if (b->failed++ == 0)
        b->since_ms = now;
    snprintf(b->why, sizeof b->why, "%s", why);
}

void gi_births_ready(gi_procs_t *p) {
    gi_births_t *b = &p->births;
    if (b->broken)
        gate_log(GATE_INFO, "pool", "%s: a worker has come up again", p->name);
    b->broken = false;
    b->failed = 0;
    pthread_cond_broadcast(&p->idle);
}

static int64_t s_recover(gi_procs_t *p, int64_t now) {
    gi_births_t *b = &p->births;
    size_t max = (size_t)p->options.restart_max;
    int64_t well =
        gi_time_add(b->times[(b->n - 1) % max], p->options.restart_period_ms);
    if (b->broken || now < well + b->backoff_ms)
        return b->broken ? INT64_MAX : well + b->backoff_ms;
    b->degraded = false;
    b->backoff_ms = 0;
    gate_log(GATE_INFO, "pool", "%s: workers live again", p->name);
    return INT64_MAX;
}

int64_t gi_births_check(gi_procs_t *p, int64_t now) {
    gi_births_t *b = &p->births;
    int64_t next = b->degraded ? s_recover(p, now) : INT64_MAX;
    int64_t due = b->since_ms + BROKEN_MS;
    if (b->broken || b->failed < BROKEN_DEATHS || gi_births_any_up(p))
        return next;
    if (now < due)
        return due < next ? due : next;
    b->broken = true;
    gate_log(GATE_ERROR, "pool",
             "%s: broken: no worker comes up, for %lld ms; the last one %s; "
             "jobs are refused until one does",
             p->name, (long long)(now - b->since_ms), b->why);
    pthread_cond_broadcast(&p->idle); /* whoever waits for it to be ready */
    return next;
}

/* ---- functions ----------------------------------------------------------- */

static gi_poison_t *s_poison(gi_procs_t *p, uintptr_t fn) {
    for (int i = 0; i < GI_POISONS; i++)
        if (p->poison[i].fn == fn)
            return &p->poison[i];
    return NULL;
}

void gi_poison_clear(gi_procs_t *p, uintptr_t fn) {
    gi_poison_t *f = p->n_poison ? s_poison(p, fn) : NULL;
    if (!f)
        return;
    memset(f, 0, sizeof *f);
    p->n_poison--;
}

/* A free entry, or that of the fewest deaths. */
static gi_poison_t *s_entry(gi_procs_t *p) {
    gi_poison_t *least = &p->poison[0];
    for (int i = 0; i < GI_POISONS; i++) {
        if (!p->poison[i].fn) {
            p->n_poison++;
            return &p->poison[i];
        }
        if (p->poison[i].deaths < least->deaths)
            least = &p->poison[i];
    }
    return least;
}

/* One that waits to run again is lost; the others have not run, and may elsewhere. */
static void s_refuse(gi_procs_t *p, gi_pjob_t *job, const gi_poison_t *f) {
    bool ran = job->attempt > 1 || job->kills > 0;
    gi_pjob_unqueue(p, job);
    gi_pjob_fail(p, job, ran ? GATE_WORKERLOST : GATE_BUSY,
                 "%s%s is refused: its last %d runs have killed their workers",
                 ran ? "" : "it did not run: ", job->name, f->deaths);
    p->worker_lost += ran;
}

static void s_end_queued(gi_procs_t *p, const gi_poison_t *f) {
    for (int i = 0; i < 3; i++)
        for (gi_pjob_t *job = p->queue[i].first, *next; job; job = next) {
            next = job->next;
            if (job->fn_here == f->fn)
                s_refuse(p, job, f);
        }
}

void gi_poison_note(gi_procs_t *p, const gi_pjob_t *job, int64_t now) {
    gi_poison_t *f = s_poison(p, job->fn_here);
    if (!f) {
        f = s_entry(p);
        *f = (gi_poison_t){.fn = job->fn_here};
    }
    if (++f->deaths < p->options.restart_max)
        return;
    if (f->until_ms <= now)
        gate_log(GATE_ERROR, "pool",
                 "%s: %s is refused for %lld ms: its last %d runs have killed "
                 "their workers",
                 p->name, job->name, (long long)p->options.restart_period_ms,
                 f->deaths);
    f->until_ms = gi_time_add(now, p->options.restart_period_ms);
    s_end_queued(p, f);
}

gate_err_t gi_poison_ask(gi_procs_t *p, uintptr_t fn, const char *name) {
    gi_poison_t *f = p->n_poison ? s_poison(p, fn) : NULL;
    int64_t now = f && f->until_ms ? gi_clock_ms() : 0;
    if (!f || !f->until_ms)
        return GATE_OK;
    if (now >= f->until_ms) { /* one run may show that it is well again */
        f->until_ms = gi_time_add(now, p->options.restart_period_ms);
        return GATE_OK;
    }
    return gi_err(GATE_BUSY,
                  "it did not run: %s is refused: its last %d runs have killed "
                  "their workers; it is tried again in %lld ms",
                  name ? name : "the function", f->deaths,
                  (long long)(f->until_ms - now));
}
