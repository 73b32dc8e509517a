/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_threads.c -- the memory that a worker shares with its parent, with
 * threads standing in for processes, so that ThreadSanitizer sees both sides:
 * the real worker loop, the real sender and reader of answers; two submitters,
 * jobs taken back at random, results inline, in the lane and lent. Nothing here
 * looks by itself from time to time, as the pool does: a wake-up that is lost
 * hangs and is reported. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "value/mp.h"
#include "procs/procs_core.h"
#include "sync/wait.h"
#include "check.h"

#define SLOTS 2
#define WINDOW 40
#define CELLS 32
#define LANE ((uint64_t)256 << 10)
#define HANG_MS 20000

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* ---- jobs ---------------------------------------------------------------- */

/* How many bytes job n answers with: mostly few, some more than the lane takes
 * at once, some lent. */
static size_t s_size(long n) {
    return n % 64 == 0 ? 150000 : n % 8 == 0 ? 3000 : (size_t)(n % 90);
}
static bool s_lends(long n) { return n % 32 == 5; }

static gate_err_t work(gate_call_t *call) {
    static const char zeros[150000];
    void *out;
    long n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    if (!s_lends(n))
        return gate_return(call, ((gate_bytes_t){zeros, s_size(n)}));
    e = gate_return_shared(call, 70000, &out);
    if (!e)
        memcpy(out, &n, sizeof n);
    return e;
}

typedef struct job {
    gi_pjob_t job; /* first */
    long n;
} job_t;

static gi_procs_t s_pool;
static gi_slot_t *s_slots[SLOTS];
static gi_worker_t s_workers[SLOTS];
static pthread_cond_t s_room = PTHREAD_COND_INITIALIZER;
static job_t s_jobs[WINDOW], *s_free[WINDOW], *s_back[WINDOW];
static size_t s_n_free, s_n_back;
static long s_next, s_total, s_ended, s_revoked;

static void s_prepare(job_t *job) {
    static const gi_sink_t sink;
    gi_buf_t args = {0};
    job->n = s_next++;
    gi_mp_put_array(&args, 1);
    gi_mp_put_int(&args, job->n);
    memset(&job->job, 0, sizeof job->job);
    memcpy(job->job.small, args.data, args.size);
    job->job.data = job->job.small;
    job->job.size = job->job.args_len = (uint32_t)args.size;
    gate_fn *fn = work;
    uintptr_t at;
    memcpy(&at, &fn, sizeof at);
    job->job.fn_at = at;
    job->job.sink = &sink;
    job->job.deadline_ms = INT64_MAX;
    gi_buf_fini(&args);
}

/* ---- submitters ---------------------------------------------------------- */

static void s_wait_room(void) {
    int64_t until = gi_wait_deadline(HANG_MS);
    while (s_n_free == 0 && s_next < s_total)
        CHECK(gi_wait_cond(&s_room, &s_pool.lock, until),
              "no answer: %ld of %ld ended", s_ended, s_next);
}

/* False: all are sent. */
static bool s_submit(void) {
    pthread_mutex_lock(&s_pool.lock);
    s_wait_room();
    bool more = s_next < s_total;
    gi_slot_t *slot = NULL;
    if (more) {
        job_t *job = s_free[--s_n_free];
        s_prepare(job);
        slot = gi_send_pick(&s_pool);
        if (!slot || !gi_send(slot, &job->job)) {
            s_back[s_n_back++] = job; /* the dispatcher's to send */
            slot = NULL;
        }
    }
    pthread_mutex_unlock(&s_pool.lock);
    if (slot)
        gi_shm_wake(&slot->shm, GI_SLEEP_WORK);
    return more;
}

static void *s_submitter(void *arg) {
    while (s_submit())
        ;
    return arg;
}

/* ---- the dispatcher ------------------------------------------------------ */

static void s_answered(gi_slot_t *slot, const gi_rsp_rec_t *rec) {
    gi_pjob_t *front = gi_send_front(slot);
    CHECK(front && front->id == rec->id, "an answer to %llu",
          (unsigned long long)rec->id);
    job_t *job = (job_t *)(void *)front;
    CHECK(rec->kind == GI_RSP_DONE, "job %ld failed: %.40s", job->n,
          (const char *)rec->data + 16);
    if (rec->run) {
        long n;
        memcpy(&n, gi_run_data(rec->run), sizeof n);
        CHECK(s_lends(job->n) && n == job->n, "job %ld got %ld", job->n, n);
        gi_run_release(rec->run);
    } else if (!s_lends(job->n)) {
        size_t n = s_size(job->n);
        CHECK(rec->size == n + (n < 256     ? 2
                                : n < 65536 ? 3
                                            : 5),
              "job %ld: %zu bytes", job->n, rec->size);
    }
    gi_send_leave(slot, front, false, gi_clock_ns());
    s_ended++;
    s_free[s_n_free++] = job;
    pthread_cond_broadcast(&s_room);
}

static bool s_read(gi_slot_t *slot) {
    gi_rsp_reader_t *r = &slot->reader;
    gi_rsp_read(r);
    CHECK(!r->lie, "%s", r->lie);
    pthread_mutex_lock(&s_pool.lock);
    for (size_t i = 0; i < r->n; i++)
        s_answered(slot, &r->recs[i]);
    CHECK(gi_send_refresh(slot), "a head that cannot be");
    pthread_mutex_unlock(&s_pool.lock);
    uint32_t wanted = atomic_load(&slot->shm.own->out_wanted);
    if (wanted > atomic_load(&slot->shm.ctl->out_units))
        atomic_store(&slot->shm.ctl->out_units,
                     gi_exchange_grow(slot->outbox, wanted));
    return r->n > 0;
}

/* Takes the last job of a slot back, if it was not begun; sends what waits. */
static void s_shuffle(unsigned *seed) {
    pthread_mutex_lock(&s_pool.lock);
    gi_slot_t *slot = s_slots[s_random(seed) % SLOTS];
    gi_pjob_t *last = slot->in_flight && s_random(seed) % 4 == 0
                          ? slot->jobs[(slot->tail - 1) & (slot->shm.cells - 1)]
                          : NULL;
    if (last && gi_send_revoke(slot, last)) {
        s_back[s_n_back++] = (job_t *)(void *)last;
        s_revoked++;
    }
    while (s_n_back > 0) {
        slot = gi_send_pick(&s_pool);
        if (!slot || !gi_send(slot, &s_back[s_n_back - 1]->job))
            break;
        s_n_back--;
        gi_shm_wake(&slot->shm, GI_SLEEP_WORK);
    }
    pthread_mutex_unlock(&s_pool.lock);
}

/* As the pool's, but for its ticks. */
static void s_sleep(void) {
    struct pollfd fds[SLOTS];
    uint64_t rung;
    bool any = false;
    for (int i = 0; i < SLOTS; i++) {
        fds[i] = (struct pollfd){s_slots[i]->bell_fd, POLLIN, 0};
        atomic_store(&s_slots[i]->shm.own->parent_sleeping, 1);
        any |= atomic_load(&s_slots[i]->shm.own->rsp_tail) !=
               s_slots[i]->reader.head;
    }
    pthread_mutex_lock(&s_pool.lock);
    any |= s_n_back > 0 || s_ended == s_total;
    bool idle = s_n_free == WINDOW;
    pthread_mutex_unlock(&s_pool.lock);
    int n = any ? 1 : poll(fds, SLOTS, idle ? 1 : HANG_MS);
    CHECK(n > 0 || idle, "a wake-up was lost: %ld of %ld ended", s_ended,
          s_next);
    for (int i = 0; i < SLOTS; i++) {
        atomic_store(&s_slots[i]->shm.own->parent_sleeping, 0);
        if (fds[i].revents && read(fds[i].fd, &rung, sizeof rung) < 0)
            continue;
    }
}

static void s_dispatch(void) {
    unsigned seed = 5;
    for (;;) {
        bool moved = false;
        for (int i = 0; i < SLOTS; i++)
            moved |= s_read(s_slots[i]);
        s_shuffle(&seed);
        if (s_ended == s_total)
            return;
        if (!moved)
            s_sleep();
    }
}

/* ---- workers ------------------------------------------------------------- */

static void *s_worker(void *arg) {
    gi_worker_t *self = arg;
    gi_worker_loop(self);
    gi_call_fini(&self->call);
    return arg;
}

static void s_born(int i) {
    gi_slot_t *slot = s_slots[i] = calloc(1, sizeof *slot);
    gi_worker_t *w = &s_workers[i];
    CHECK(slot && gi_shm_new(&slot->shm, CELLS, LANE) == GATE_OK, "memory");
    slot->pool = &s_pool;
    slot->state = GI_S_UP;
    slot->reason = GI_R_NONE;
    slot->ctl_fd = -1;
    slot->bell_fd = gi_wait_eventfd();
    slot->jobs = calloc(CELLS, sizeof *slot->jobs);
    slot->lane_end = calloc(CELLS, sizeof *slot->lane_end);
    slot->outbox = gi_exchange_new("outbox", GI_OUTBOX_UNITS);
    gi_exchange_count(slot->outbox, slot->shm.ctl->returned,
                      slot->shm.ctl->given);
    gi_rsp_reset(&slot->reader, &slot->shm, slot->outbox, 1 << 20);
    w->shm = slot->shm;
    w->config = s_pool.config;
    w->settings = *gi_settings_defaults();
    w->bell_fd = slot->bell_fd;
    w->inbox_fd = w->ctl_fd = -1;
    w->outbox_fd = gi_exchange_fd(slot->outbox);
    gi_call_init(&w->call, NULL, NULL, &w->settings);
}

static void s_buried(int i) {
    gi_slot_t *slot = s_slots[i];
    gi_exchange_release(&slot->outbox);
    gi_rsp_fini(&slot->reader);
    gi_shm_fini(&slot->shm);
    close(slot->bell_fd);
    free(slot->jobs);
    free(slot->lane_end);
    free(slot);
}

int main(void) {
    pthread_t workers[SLOTS], submitters[2];
    const char *scale = getenv("GATE_SCALE");
    s_total = (long)(100000 * (scale ? atof(scale) : 1));
    s_total *= getenv("GATE_LONG") ? 20 : 1;
    pthread_mutex_init(&s_pool.lock, NULL);
    gi_wait_cond_init(&s_room);
    s_pool.next_id = 1;
    s_pool.config.cells = CELLS;
    s_pool.config.lane_bytes = LANE;
    s_pool.config.result_max = 1 << 20;
    s_pool.config.spin_ns = 12000;
    gi_send_pace(&s_pool, 3000);
    s_pool.slots = s_slots;
    for (int i = 0; i < SLOTS; i++)
        s_born(i);
    s_pool.n_slots = SLOTS;
    for (int i = 0; i < WINDOW; i++)
        s_free[s_n_free++] = &s_jobs[i];
    for (int i = 0; i < SLOTS; i++)
        pthread_create(&workers[i], NULL, s_worker, &s_workers[i]);
    for (int i = 0; i < 2; i++)
        pthread_create(&submitters[i], NULL, s_submitter, NULL);
    s_dispatch();
    for (int i = 0; i < 2; i++)
        pthread_join(submitters[i], NULL);
    for (int i = 0; i < SLOTS; i++) {
        atomic_store(&s_slots[i]->shm.ctl->quit, 1);
        gi_shm_wake(&s_slots[i]->shm, GI_SLEEP_WORK);
        pthread_join(workers[i], NULL);
        s_buried(i);
    }
    printf("ok: %ld jobs, each ended once, %ld taken back\n", s_ended,
           s_revoked);
    return 0;
}
