/* SPDX-License-Identifier: BSD-3-Clause */
/* worker_job.c -- one job: claim it, run it, answer. The claim decides every
 * race with the parent: a job that was revoked is not run, one that was doomed
 * does not answer. */
#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "sync/clock.h"
#include "jobs/huge_feed.h"
#include "mail/logring.h"
#include "procs/procs_fn.h"
#include "shared/queue.h"
#include "shared/rights.h"
#include "procs/worker.h"
#include "procs/zygote.h"

#define PARTS_NS 100000 /* of inputs that were thought to take half of it */
#define IDLE_OUT ((size_t)4 << 20) /* not kept for the next job */

/* ---- what the handler may ask for ---------------------------------------- */

static gi_worker_t *s_of(gate_call_t *call) {
    return (gi_worker_t *)(void *)call;
}

static bool s_credit(const gi_worker_t *self) {
    return (self->items < atomic_load(&self->cell->items) &&
            self->bytes < atomic_load(&self->cell->bytes)) ||
           atomic_load(&self->cell->cancel);
}

static gate_err_t s_yield(gate_call_t *call) {
    gi_worker_t *self = s_of(call);
    gi_worker_wait(self, s_credit, GI_SLEEP_CREDIT);
    if (atomic_load(&self->cell->cancel))
        return gi_err(GATE_CANCELLED, "the reader left or the call was "
                                      "cancelled");
    self->items++;
    self->bytes += call->out.size;
    gi_worker_respond(self, GI_RSP_ITEM, call->out.data, call->out.size);
    gi_worker_ring(self); /* an item is news, whatever waits behind it */
    return GATE_OK;
}

static bool s_cancelled(gate_call_t *call) {
    return atomic_load(&s_of(call)->cell->cancel) != 0;
}

static gate_err_t s_queue(void *ctx, const msgpack_object *object,
                          gate_queue_t **to) {
    gi_worker_t *self = s_of(ctx);
    size_t index;
    if (!gi_queue_read_ref(object, &index) || index >= (size_t)self->n_queues ||
        !self->queues[index])
        return gi_err(GATE_BADARG, "the argument is not a queue");
    *to = gi_queue_share(self->queues[index]);
    return GATE_OK;
}

/* One frame as "object(symbol+offset)"; the program, whose name was overwritten
 * by the title, by its file. What addr2line wants is the last number. */
static size_t s_frame(void *at, char *out, size_t room) {
    char self[256];
    Dl_info info;
    if (!dladdr(at, &info) || !info.dli_fname)
        return (size_t)snprintf(out, room, "  [%p]\n", at);
    const char *object = strrchr(info.dli_fname, '/');
    ssize_t n = object ? 0 : readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if (!object)
        object = strrchr(self, '/');
    return (size_t)snprintf(out, room, "  %s(%s) [0x%tx]\n",
                            object ? object + 1 : "?",
                            info.dli_sname ? info.dli_sname : "",
                            (const char *)at - (const char *)info.dli_fbase);
}

/* From the raise down to the handler: the frames below it are ours. */
static void s_traceback(gate_call_t *call, char *out, size_t room) {
    void *frames[24];
    size_t at = 0;
    if (s_of(call)->settings.secure)
        return;
    int n = backtrace(frames, 24);
    for (int i = 2; i < n && at < room; i++)
        at += s_frame(frames[i], out + at, room - at);
}

static const gi_call_ops_t s_ops = {.yield = s_yield,
                                    .cancelled = s_cancelled,
                                    .queue = s_queue,
                                    .refer = gi_worker_refer,
                                    .lend = gi_worker_lend,
                                    .traceback = s_traceback};

/* Of a job whose caller takes parts of a huge result. */
static const gi_call_ops_t s_huge_ops = {.yield = s_yield,
                                         .cancelled = s_cancelled,
                                         .queue = s_queue,
                                         .traceback = s_traceback,
                                         .huge = &gi_huge_by_items};

/* ---- descriptors --------------------------------------------------------- */

/* Those of this job; those of jobs that were revoked since are closed. */
static int s_receive_fds(gi_worker_t *self, int *fds) {
    uint64_t id = 0;
    int n;
    for (;;) {
        ssize_t rc = gi_rights_recv(self->ctl_fd, &id, sizeof id, fds,
                                    GI_WORKER_FDS, &n, 0);
        if (rc <= 0)
            _exit(0); /* the parent let go of us */
        if (id == self->id)
            return n;
        while (n > 0)
            close(fds[--n]);
    }
}

static void s_open_queues(gi_worker_t *self, const int *fds, int n) {
    self->n_queues = n;
    for (int i = 0; i < n; i++)
        if (gi_queue_open(fds[i], &self->settings, &self->queues[i]))
            self->queues[i] = NULL; /* refused when it is asked for */
}

static void s_close_queues(gi_worker_t *self) {
    for (int i = 0; i < self->n_queues; i++)
        gate_queue_destroy(&self->queues[i]);
    self->n_queues = 0;
}

/* The payload's first byte; *mapped is to be unmapped after the job. */
static const unsigned char *
s_payload(gi_worker_t *self, const gi_req_cell_t *cell, void **mapped) {
    int fds[GI_WORKER_FDS], n = 0, first = 0;
    if (cell->where == GI_FD || cell->n_queues)
        n = s_receive_fds(self, fds);
    if (cell->where == GI_FD && n > 0) {
        first = 1;
        *mapped =
            mmap(NULL, (size_t)cell->at, PROT_READ, MAP_SHARED, fds[0], 0);
        close(fds[0]);
    }
    s_open_queues(self, fds + first, n - first);
    if (cell->where == GI_INLINE)
        return cell->data;
    if (cell->where == GI_LANE)
        return self->shm.req_lane + cell->at;
    return *mapped == MAP_FAILED ? NULL : *mapped;
}

/* ---- the job ------------------------------------------------------------- */

static const char *s_string(const unsigned char **p, size_t len) {
    const char *s = len ? (const char *)*p : "";
    *p += len;
    return s;
}

/* The call as the cell has it, and its function. */
static gate_err_t s_begin(gi_worker_t *self, const gi_req_cell_t *cell,
                          const unsigned char *p, gate_fn **out) {
    gate_call_t *call = &self->call;
    uintptr_t fn;
    call->method = s_string(&p, cell->name_len);
    gi_logring_speak_for(call->method);
    call->user = s_string(&p, cell->user_len);
    call->meta = (gate_bytes_t){p, cell->meta_len};
    p += cell->meta_len;
    const char *object = s_string(&p, cell->object_len);
    call->args_packed = (gate_bytes_t){p, cell->args_len};
    p += cell->args_len;
    call->kwargs_packed = (gate_bytes_t){p, cell->kwargs_len};
    memcpy(self->runs, p + cell->kwargs_len, cell->n_runs * sizeof *self->runs);
    call->args_huge = !(cell->takes & GI_TAKES_PLAIN);
    call->ctx = self->ctx;
    call->deadline_ms = cell->deadline_ms;
    call->attempt = (int)cell->attempt;
    gate_err_t e = gi_fn_resolve(object, cell->fn, &fn);
    if (e) {
        gi_error_set(&call->error, gate_error());
        return e;
    }
    union {
        uintptr_t at;
        gate_fn *fn;
    } address = {fn}; /* data and code pointers are one size here */
    *out = address.fn;
    return GATE_OK;
}

static gate_err_t s_invoke(gi_worker_t *self, const gi_req_cell_t *cell,
                           const unsigned char *p) {
    gate_fn *fn;
    gate_err_t e = s_begin(self, cell, p, &fn);
    return e ? e : gi_call_invoke(&self->call, fn);
}

/* What a job has overwritten cannot be trusted by those behind it: the parent
 * gives them to another worker. */
static void s_corrupt(void) __attribute__((noreturn));
static void s_corrupt(void) {
    fprintf(stderr, "a job wrote over its worker's memory\n");
    _exit(GI_EXIT_SPOILT);
}

static void s_too_big(const gi_worker_t *self) {
    (void)gi_err(GATE_TOOBIG,
                 "a result of %zu bytes: more than huge_max_bytes "
                 "(%zu bytes in all)",
                 self->call.out.size, (size_t)self->config.result_max);
}

static void s_kept(void) {
    (void)gi_err(GATE_NOTIMPL, "a job in a worker process cannot be kept");
}

static void s_answer_error(gi_worker_t *self, const gate_error_t *story) {
    unsigned char out[16384];
    size_t size = gi_shm_error_pack(story, out, sizeof out);
    gi_worker_respond(self, GI_RSP_ERROR, out, size);
}

static void s_answer(gi_worker_t *self, gate_err_t e) {
    gate_call_t *call = &self->call;
    if (e == GATE_OK && call->streamed)
        gi_worker_respond(self, GI_RSP_EOS, NULL, 0);
    else if (e == GATE_OK && call->lent)
        gi_worker_respond_lent(self, self->lent_size);
    else if (e == GATE_OK && call->out.size <= self->config.result_max)
        gi_worker_respond(self, GI_RSP_DONE, call->out.data, call->out.size);
    else if (e == GATE_OK) {
        s_too_big(self);
        s_answer_error(self, gate_error());
    } else if (e == GATE_KEPT) {
        s_kept();
        s_answer_error(self, gate_error());
    } else
        s_answer_error(self, &call->error.story);
}

/* ---- several inputs ------------------------------------------------------ */

static gate_err_t s_no_yield(gate_call_t *call) {
    (void)call;
    return gi_err(GATE_BADARG, "a mapped function must not yield");
}

static const gi_call_ops_t s_part_ops = {
    .yield = s_no_yield, .cancelled = s_cancelled, .traceback = s_traceback};

static void s_answer_part(gi_worker_t *self, gate_err_t e) {
    gate_call_t *call = &self->call;
    unsigned char out[16384];
    if (e == GATE_OK && !call->streamed &&
        call->out.size <= self->config.result_max) {
        gi_worker_respond(self, GI_RSP_PART, call->out.data, call->out.size);
        return;
    }
    if (e == GATE_OK && call->streamed)
        (void)gi_err(GATE_BADARG, "a mapped function must not yield");
    else if (e == GATE_OK)
        s_too_big(self);
    else if (e == GATE_KEPT)
        s_kept();
    size_t size = gi_shm_error_pack(
        e == GATE_OK || e == GATE_KEPT ? gate_error() : &call->error.story, out,
        sizeof out);
    gi_worker_respond(self, GI_RSP_FAULT, out, size);
}

static gate_err_t s_stopped(gi_worker_t *self) {
    self->inputs_left = 0;
    gi_error_story(&self->call.error, GATE_CANCELLED, NULL, "cancelled", NULL);
    return GATE_CANCELLED;
}

/* Each answers for itself before the next is begun. What is left after a while,
 * since some took longer than was thought, the parent gets back: others may be
 * idle. An error is why none of the rest is run. */
static gate_err_t s_parts(gi_worker_t *self, const gi_req_cell_t *cell,
                          const unsigned char *p) {
    gate_call_t *call = &self->call;
    gate_fn *fn;
    gate_err_t e = s_begin(self, cell, p, &fn);
    const char *args = call->args_packed.data, *ends = call->kwargs_packed.data;
    const gate_bytes_t meta = call->meta;
    int64_t began_ns = self->began_ns;
    uint32_t from = 0, to;
    if (e)
        return e;
    for (uint32_t i = 0; i < cell->n_inputs; i++, from = to) {
        if (i > 0 && self->ended_ns - began_ns > PARTS_NS)
            break;
        if (atomic_load(&self->cell->cancel))
            return s_stopped(self);
        memcpy(&to, ends + i * sizeof to, sizeof to);
        gi_call_reset(call);
        call->meta = meta;
        call->args_huge = true;
        call->args_packed = (gate_bytes_t){args + from, to - from};
        self->inputs_left = cell->n_inputs - 1 - i;
        s_answer_part(self, gi_call_invoke(call, fn));
        self->began_ns = self->ended_ns;
    }
    self->inputs_left = 0;
    self->began_ns = began_ns;
    self->unclocked = 0;
    self->brief = false; /* the clock is read: all of it is told */
    gi_call_reset(call);
    call->streamed = true;
    return GATE_OK;
}

/* From READY to RUNNING; false: it was revoked. Any other claim means that an
 * earlier job wrote where it should not have. */
static bool s_claim(gi_worker_t *self, _Atomic uint64_t *word) {
    uint64_t claim = GI_CLAIM(self->id, GI_READY);
    if (atomic_compare_exchange_strong(word, &claim,
                                       GI_CLAIM(self->id, GI_RUNNING)))
        return true;
    if (claim != GI_CLAIM(self->id, GI_REVOKED))
        s_corrupt();
    return false;
}

static void s_done(gi_worker_t *self, _Atomic uint64_t *word) {
    uint64_t claim = GI_CLAIM(self->id, GI_RUNNING);
    if (atomic_compare_exchange_strong(word, &claim,
                                       GI_CLAIM(self->id, GI_DONE)))
        return;
    if (claim != GI_CLAIM(self->id, GI_DOOMED))
        s_corrupt();
    for (;;) /* the kill is on its way */
        pause();
}

void gi_worker_job(gi_worker_t *self) {
    gi_req_cell_t *cell = gi_shm_request(&self->shm, self->req_head);
    _Atomic uint64_t *word = gi_shm_claim(&self->shm, self->req_head);
    self->id = cell->id; /* the parent's, which no job can write over */
    if (!s_claim(self, word))
        return;
    void *mapped = NULL;
    gate_err_t e;
    self->cell = cell;
    self->items = self->bytes = 0;
    if (!self->ended_ns)
        self->ended_ns = gi_clock_ns();
    self->began_ns = self->ended_ns;
    gi_call_reset(&self->call);
    self->call.ops = cell->n_inputs                  ? &s_part_ops
                     : (cell->takes & GI_TAKES_HUGE) ? &s_huge_ops
                                                     : &s_ops;
    const unsigned char *payload = s_payload(self, cell, &mapped);
    if (payload)
        e = (cell->n_inputs ? s_parts : s_invoke)(self, cell, payload);
    else {
        e = gi_err(GATE_NOMEM, "no memory for the arguments");
        gi_error_set(&self->call.error, gate_error());
    }
    s_done(self, word);
    s_answer(self, e);
    s_close_queues(self);
    gi_logring_speak_for(NULL);
    if (self->call.out.room >= IDLE_OUT)
        gi_call_reset(&self->call); /* the next job may be long in coming */
    if (mapped && mapped != MAP_FAILED)
        munmap(mapped, (size_t)cell->at);
}
