/* SPDX-License-Identifier: BSD-3-Clause */
/* The request ring of one worker against a model: random submissions (high and
 * normal, inline and in the lane), steps of an honest worker, answers read,
 * cancels, jobs taken back, limits that are due, and the worker's death between
 * any two steps. The sender, the claims, the reader, the limits and the burial
 * are the pool's own; only the process is played. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "mail/logring.h"
#include "value/mp.h"
#include "procs/procs_core.h"
#include "shared/rights.h"
#include "procs/worker.h"

enum { CELLS = 8, LANE = 16384, JOBS = 48, OPS = 60000 };

/* ---- the model ----------------------------------------------------------- */

/* How far the worker is with a job that it was sent. */
typedef enum s_step { SENT, RUNNING, DONE, ANSWERED } s_step_t;

typedef struct s_model {
    gi_pjob_t *job;
    uint32_t n;
    bool high, idempotent, cancelled;
    size_t size;
    s_step_t step;
    int kills, doubts;
} s_model_t;

typedef struct s_list {
    s_model_t *of[JOBS];
    int n;
} s_list_t;

static void s_insert(s_list_t *l, int at, s_model_t *m) {
    memmove(&l->of[at + 1], &l->of[at], (size_t)(l->n++ - at) * sizeof *l->of);
    l->of[at] = m;
}

static void s_erase(s_list_t *l, int at) {
    memmove(&l->of[at], &l->of[at + 1], (size_t)(--l->n - at) * sizeof *l->of);
}

static s_model_t s_models[JOBS];
static s_list_t s_free, s_waiting[2], s_sent; /* high, normal; in the ring */
static gi_procs_t s_pool;
static gi_slot_t *s_slot;
static gi_worker_t s_worker;
static int s_channel;
static unsigned s_seed;
static uint32_t s_n;
static struct {
    long ok, lost, cancelled, again, full, deaths[4], unbegun, wraps;
} s_seen;

static unsigned s_random(unsigned below) {
    s_seed = s_seed * 1103515245u + 12345u;
    return (s_seed >> 8) % below;
}

static s_list_t *s_queue_of(const s_model_t *m) {
    return &s_waiting[m->high ? 0 : 1];
}

/* ---- the process that is played ------------------------------------------ */

/* What the pool asked of its zygote is thrown away; the answer is ours. */
static void s_born(void) {
    gi_zyg_msg_t m;
    int fds[GI_WFD_COUNT], n = 0;
    cr_assert_eq(s_slot->state, GI_S_STARTING);
    cr_assert_gt(
        gi_rights_recv(s_channel, &m, sizeof m, fds, GI_WFD_COUNT, &n, 0), 0);
    while (n > 0)
        close(fds[--n]);
    gi_slot_spawned(s_slot, 1, eventfd(0, EFD_CLOEXEC));
    gi_slot_ready(s_slot);
    memset(&s_worker, 0, sizeof s_worker);
    s_worker.shm = s_slot->shm;
    s_worker.bell_fd = s_slot->bell_fd;
}

static void s_make_pool(void) {
    int pair[2];
    gi_log_levels(GATE_ERROR, ""); /* thousands of deaths */
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    memset(&s_pool, 0, sizeof s_pool);
    memset(&s_seen, 0, sizeof s_seen);
    s_free.n = s_waiting[0].n = s_waiting[1].n = s_sent.n = 0;
    s_channel = pair[1];
    s_pool.channel = pair[0];
    s_pool.epoll_fd = epoll_create1(0);
    s_pool.inbox = gi_exchange_new("inbox", 1);
    pthread_mutex_init(&s_pool.lock, NULL);
    pthread_cond_init(&s_pool.idle, NULL);
    strcpy(s_pool.name, "model");
    s_pool.settings = gi_settings_defaults();
    s_pool.config.cells = CELLS;
    s_pool.config.lane_bytes = LANE;
    s_pool.config.result_max = s_pool.result_max = 1 << 20;
    s_pool.options.queue_max = JOBS;
    s_pool.options.restart_max = 1 << 20;
    s_pool.births.times = calloc(1 << 20, sizeof *s_pool.births.times);
    s_pool.next_id = 1;
    s_pool.slots = &s_slot;
    cr_assert_eq(gi_slot_new(&s_pool, &s_slot), GATE_OK);
    s_pool.n_slots = s_pool.workers = 1;
    gi_send_pace(&s_pool, 1000);
    s_pool.depth = CELLS; /* more than it would: the ring shall be full */
    gi_slot_spawn(s_slot);
    s_born();
    for (int i = 0; i < JOBS; i++)
        s_insert(&s_free, s_free.n, &s_models[i]);
}

static void s_end_pool(void) {
    close(s_channel);
    close(s_pool.channel);
    close(s_pool.epoll_fd);
    gi_slot_free(s_slot);
    gi_exchange_release(&s_pool.inbox);
    gi_pjob_fini_all(&s_pool);
    free(s_pool.births.times);
}

/* ---- operations ---------------------------------------------------------- */

/* Which functions a worker would know by their addresses. */
__attribute__((constructor)) static void s_zygote(void) {
    if (gate_process_init() != GATE_OK)
        abort();
}

static gate_err_t s_fn(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

static void s_args(const s_model_t *m, unsigned char *out) {
    memset(out, (int)(m->n * 7), m->size);
    memcpy(out, &m->n, sizeof m->n);
}

/* As the pool fills the ring: high ones first, until the worker has its depth,
 * or a cell or the lane is full. */
static void s_fill(void) {
    gi_send_fill(&s_pool);
    while (s_slot->in_flight > s_sent.n) {
        s_list_t *from = &s_waiting[s_waiting[0].n ? 0 : 1];
        cr_assert_gt(from->n, 0);
        from->of[0]->step = SENT;
        cr_assert_eq(from->of[0]->job->slot, s_slot, "job %u was overtaken",
                     from->of[0]->n);
        s_insert(&s_sent, s_sent.n, from->of[0]);
        s_erase(from, 0);
    }
}

static void s_submit(void) {
    static const gi_sink_t sink;
    static const size_t sizes[] = {4, 40, 112, 113, 700, 3000, LANE / 2};
    unsigned char args[LANE];
    if (!s_free.n)
        return;
    s_model_t *m = s_free.of[s_free.n - 1];
    *m = (s_model_t){.n = s_n++,
                     .high = s_random(4) == 0,
                     .idempotent = s_random(2),
                     .size = sizes[s_random(7)] - s_random(4) % 3};
    if (m->size < sizeof m->n)
        m->size = sizeof m->n;
    s_args(m, args);
    gi_request_t r = {
        .fn = s_fn,
        .args = {args, m->size},
        .options = {.idempotent = m->idempotent,
                    .max_attempts = 100,
                    .priority = m->high ? GATE_HIGH : GATE_NORMAL},
        .deadline_ms = INT64_MAX,
        .sink = &sink};
    cr_assert_eq(gi_pjob_new(&s_pool, &r, &m->job), GATE_OK);
    gi_pjob_queue(&s_pool, m->job, false);
    s_free.n--;
    s_insert(s_queue_of(m), s_queue_of(m)->n, m);
    s_fill();
    s_seen.full += s_slot->tail - s_slot->head == CELLS;
}

/* The first that the worker has not answered; NULL: none. */
static s_model_t *s_current(void) {
    for (int i = 0; i < s_sent.n; i++)
        if (s_sent.of[i]->step != ANSWERED)
            return s_sent.of[i];
    return NULL;
}

static const unsigned char *s_payload(const gi_req_cell_t *cell) {
    cr_assert_neq(cell->where, GI_FD);
    return cell->where == GI_INLINE ? cell->data
                                    : s_worker.shm.req_lane + cell->at;
}

static void s_next_cell(void) {
    s_seen.wraps += ++s_worker.req_head % CELLS == 0;
    atomic_store(&s_worker.shm.own->req_head, s_worker.req_head);
}

/* Claims a job: it must be the model's next, with its arguments whole. */
static void s_begin(const gi_req_cell_t *cell, _Atomic uint64_t *word) {
    unsigned char args[LANE];
    s_model_t *m = s_current();
    uint64_t claim = GI_CLAIM(cell->id, GI_READY);
    if (!atomic_compare_exchange_strong(word, &claim,
                                        GI_CLAIM(cell->id, GI_RUNNING))) {
        cr_assert_eq(claim, GI_CLAIM(cell->id, GI_REVOKED));
        s_next_cell();
        return;
    }
    cr_assert_not_null(m, "a job that is not there was begun");
    cr_assert_eq(cell->id, m->job->id, "not job %u", m->n);
    cr_assert_eq(cell->args_len, m->size);
    cr_assert_eq(cell->attempt, (uint32_t)(m->kills + m->doubts) + 1);
    s_args(m, args);
    cr_assert_eq(memcmp(s_payload(cell), args, m->size), 0, "job %u", m->n);
    m->step = RUNNING;
    s_worker.id = cell->id;
}

/* One step of the worker. */
static void s_work(void) {
    if (atomic_load(&s_worker.shm.ctl->req_tail) == s_worker.req_head)
        return;
    gi_req_cell_t *cell = gi_shm_request(&s_worker.shm, s_worker.req_head);
    _Atomic uint64_t *word = gi_shm_claim(&s_worker.shm, s_worker.req_head);
    s_model_t *m = s_current();
    uint64_t now = atomic_load(word);
    if (now == GI_CLAIM(cell->id, GI_DONE) && (!m || m->step != DONE))
        s_next_cell(); /* its answer is out */
    else if (now == GI_CLAIM(cell->id, GI_RUNNING)) {
        atomic_store(word, GI_CLAIM(cell->id, GI_DONE));
        m->step = DONE;
    } else if (now == GI_CLAIM(cell->id, GI_DONE)) {
        unsigned char out[8] = {0xce};
        if (s_worker.rsp_tail - s_slot->reader.head >= CELLS - 1)
            return;
        memcpy(out + 1, &m->n, sizeof m->n);
        gi_worker_respond(&s_worker, GI_RSP_DONE, out, 5);
        m->step = ANSWERED;
    } else
        s_begin(cell, word);
}

static void s_release(s_list_t *from, int at) {
    s_model_t *m = from->of[at];
    gi_pjob_free(&s_pool, m->job);
    m->job = NULL;
    s_erase(from, at);
    s_insert(&s_free, s_free.n, m);
}

/* As s_batch of the dispatcher. */
static void s_read(void) {
    gi_rsp_read(&s_slot->reader);
    cr_assert_null(s_slot->reader.lie, "%s", s_slot->reader.lie);
    for (size_t i = 0; i < s_slot->reader.n; i++) {
        const gi_rsp_rec_t *rec = &s_slot->reader.recs[i];
        gi_pjob_t *front = gi_send_front(s_slot);
        s_model_t *m = s_sent.n ? s_sent.of[0] : NULL;
        cr_assert(m && front == m->job && rec->id == front->id);
        cr_assert_eq(m->step, ANSWERED);
        cr_assert_eq(memcmp(rec->data + 1, &m->n, sizeof m->n), 0);
        gi_send_leave(s_slot, front, false, gi_clock_ns());
        front->state = GI_J_ENDED;
        s_slot->n_done++;
        s_release(&s_sent, 0);
        s_seen.ok++;
    }
    cr_assert(gi_send_refresh(s_slot));
    if (atomic_load(&s_slot->shm.own->rsp_tail) == s_slot->reader.head)
        cr_assert_null(gi_send_doubt(s_slot), "%s", gi_send_doubt(s_slot));
}

/* What ended without an answer must be what the model says. */
static void s_ended(s_model_t *m, gate_err_t code) {
    gi_pjob_t *job = s_pool.ended.first;
    cr_assert(job && job == m->job && !job->next, "job %u has not ended", m->n);
    cr_assert_eq(job->error.story.code, code, "job %u: %s", m->n,
                 job->error.story.text);
    memset(&s_pool.ended, 0, sizeof s_pool.ended);
}

static void s_cancel(void) {
    s_list_t *from = s_random(2) ? &s_sent : &s_waiting[s_random(2)];
    if (!from->n)
        return;
    int at = (int)s_random((unsigned)from->n);
    s_model_t *m = from->of[at];
    if (from == &s_sent) {
        bool taken = gi_send_revoke(s_slot, m->job);
        cr_assert_eq(taken, m->step == SENT, "job %u", m->n);
        if (!taken)
            return;
    } else
        gi_pjob_unqueue(&s_pool, m->job);
    gi_pjob_fail(&s_pool, m->job, GATE_CANCELLED, "cancelled");
    s_ended(m, GATE_CANCELLED);
    s_release(from, at);
    s_seen.cancelled++;
}

/* The last that it was sent goes back to the front of its queue. */
static void s_take_back(void) {
    if (!s_sent.n)
        return;
    s_model_t *m = s_sent.of[s_sent.n - 1];
    bool taken = gi_send_revoke(s_slot, m->job);
    cr_assert_eq(taken, m->step == SENT);
    if (!taken)
        return;
    gi_pjob_queue(&s_pool, m->job, true);
    s_sent.n--;
    s_insert(s_queue_of(m), 0, m);
}

/* A limit of the front job that is due while it is not begun: nobody dies. */
static void s_due(void) {
    s_model_t *m = s_sent.n ? s_sent.of[0] : NULL;
    if (!m || m->step != SENT)
        return;
    m->job->kill_ms = 0;
    gi_limits_check(&s_pool, gi_clock_ms());
    cr_assert_not(s_slot->quitting, "killed for a job that was not begun");
    s_slot->stuck = false;
    s_erase(&s_sent, 0);
    s_insert(s_queue_of(m), 0, m);
    s_seen.unbegun++;
}

/* It has died so often that it is not run once more. */
static bool s_spent(const s_model_t *m) {
    return m->kills >= GI_KILLS_MAX || m->doubts >= GI_DOUBTS_MAX;
}

/* What a dead worker leaves: answers count, the one begun is lost or runs again
 * (not a third time), the others are as if never sent. One that says that a job
 * has spoilt it is no fault of the one begun, unless it never had another. */
static void s_die(void) {
    s_model_t *m = s_current(), *lost = NULL;
    s_seen.deaths[m ? (int)m->step : ANSWERED]++;
    s_read();
    s_slot->state = GI_S_DYING;
    s_slot->status = s_random(2) ? 9 : GI_EXIT_SPOILT << 8;
    bool guilty =
        s_slot->status == 9 || (s_slot->n_done == 0 && s_slot->in_flight == 1);
    gi_slot_bury(s_slot);
    for (int i = s_sent.n - 1; i >= 0; i--) {
        m = s_sent.of[i];
        bool begun = m->step != SENT;
        cr_assert(!begun || i == 0);
        *(guilty ? &m->kills : &m->doubts) += begun;
        if (begun && (!m->idempotent || s_spent(m))) {
            lost = m;
            continue;
        }
        s_insert(s_queue_of(m), 0, m);
        s_seen.again += begun;
    }
    s_sent.n = 0;
    cr_assert_eq(s_pool.ended.n, lost ? 1 : 0);
    if (lost) {
        s_list_t one = {.of = {lost}, .n = 1};
        s_ended(lost, GATE_WORKERLOST);
        s_release(&one, 0);
        s_seen.lost++;
    }
    s_born();
}

/* ---- the whole ----------------------------------------------------------- */

static void s_same_queue(const gi_jobq_t *q, const s_list_t *l) {
    int i = 0;
    cr_assert_eq(q->n, (size_t)l->n);
    for (const gi_pjob_t *job = q->first; job; job = job->next)
        cr_assert_eq(job, l->of[i++]->job);
    cr_assert_eq(i, l->n);
}

static void s_same(void) {
    s_same_queue(&s_pool.queue[0], &s_waiting[0]);
    s_same_queue(&s_pool.queue[1], &s_waiting[1]);
    cr_assert_eq(s_slot->in_flight, s_sent.n);
    cr_assert_eq(gi_send_front(s_slot), s_sent.n ? s_sent.of[0]->job : NULL);
    cr_assert_leq(s_slot->tail - s_slot->head, CELLS);
    cr_assert_eq(s_pool.n_jobs, (size_t)(JOBS - s_free.n));
    for (int i = 0; i < s_sent.n; i++)
        cr_assert_eq(gi_send_begun(s_slot, s_sent.of[i]->job),
                     s_sent.of[i]->step != SENT);
}

static void s_run(unsigned seed, unsigned submits, unsigned dies) {
    s_seed = seed;
    s_n = 0;
    s_make_pool();
    for (int i = 0; i < OPS; i++) {
        unsigned what = s_random(100);
        if (what < submits)
            s_submit();
        else if (what < 70)
            s_work();
        else if (what < 85)
            s_read();
        else if (what < 90)
            s_cancel();
        else if (what < 93)
            s_take_back();
        else if (what < 95)
            s_due();
        else if (s_random(100) < dies)
            s_die();
        else
            s_fill();
        s_same();
    }
    for (int i = 0; i < 100000 && s_free.n < JOBS; i++) {
        s_work();
        s_read();
        s_fill();
    }
    cr_assert_eq(s_free.n, JOBS, "%d jobs have not ended", JOBS - s_free.n);
    s_end_pool();
    cr_assert_eq((long)s_n, s_seen.ok + s_seen.lost + s_seen.cancelled);
}

Test(request_ring, as_the_model_says_mostly_full, .timeout = 120) {
    s_run(1, 30, 10);
    cr_assert_gt(s_seen.full, 100);
    cr_assert_gt(s_seen.wraps, 100);
    cr_assert_gt(s_seen.unbegun, 10);
}

Test(request_ring, as_the_model_says_mostly_empty, .timeout = 120) {
    s_run(2, 6, 5);
    cr_assert_gt(s_seen.ok, 1000);
    cr_assert_gt(s_seen.wraps, 100);
}

Test(request_ring, as_the_model_says_dying, .timeout = 120) {
    s_run(3, 20, 100);
    for (int i = SENT; i <= ANSWERED; i++)
        cr_assert_gt(s_seen.deaths[i], 20, "step %d", i);
    cr_assert_gt(s_seen.lost, 20);
    cr_assert_gt(s_seen.again, 20);
}
