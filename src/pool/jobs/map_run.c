/* SPDX-License-Identifier: BSD-3-Clause */
/* map_run.c -- what a map submits, and what comes back. The reader's credit and
 * each end of a job pump: submit what the window allows. One thread pumps at a
 * time; others leave a note, so that an executor which runs jobs at once makes
 * no recursion. A generator is called by the reader alone, whose waiting is
 * what the window is for.
 *
 * A job is a row of inputs when they are short: as many as take GI_MAP_CHUNK_NS
 * by what the last ones took. Each is answered on its own, so a worker's death
 * costs the one that it was at; those behind it, and those that a job had no
 * time for, are submitted again. */
#include "jobs/map.h"

#include <string.h>

#include "base/mem.h"

void gi_map_run_free(gi_map_try_t *try) {
    gi_mem_free(try->own);
    gi_mem_free(try);
}

/* ---- results, with the mutex held ---------------------------------------- */
/* Ends the stream, regularly or not. */
static void s_over(gi_map_t *self, const gate_error_t *story) {
    if (self->over)
        return;
    self->over = self->stopping = true;
    if (story)
        gi_stream_fail(self->stream, story);
    else
        gi_stream_end(self->stream);
}

static void s_free_error(void *error) {
    gi_error_fini(error);
    gi_mem_free(error);
}

static void s_push(gi_map_t *self, const gi_map_result_t *r, size_t index) {
    gate_err_t e;

    if (self->over) {
        (r->failed ? s_free_error : gi_mem_free)(r->data);
        return;
    }
    self->pushed++;
    self->unread++;
    e = r->failed
            ? gi_stream_push_error(self->stream,
                                   (const gi_error_t *)(const void *)r->data,
                                   s_free_error, r->data, index)
            : gi_stream_push(self->stream, r->data, r->size, gi_mem_free,
                             r->data, index);
    if (e != GATE_OK) {
        gate_error_t story = {e, gi_err_class(e), gate_err_text(e), ""};

        s_over(self, &story);
    }
}

/* Pushes the results whose turn has come. */
static void s_push_in_order(gi_map_t *self) {
    gi_map_result_t *next;

    while (!self->over && self->pushed < self->fail_at &&
           (next = &self->early[self->pushed % GI_MAP_WINDOW])->data) {
        gi_map_result_t result = *next;

        next->data = NULL;
        s_push(self, &result, self->pushed);
    }
    if (self->pushed == self->fail_at)
        s_over(self, &self->error.story);
}

/* The map ends there. */
static void s_failed(gi_map_t *self, size_t index, const gate_error_t *err) {
    if (index >= self->fail_at)
        return;
    self->fail_at = index;
    self->stopping = true;
    gi_error_set(&self->error, err);
    if (!self->more.ordered)
        s_over(self, err);
}

/* The map ends there, with the mutex held. */
void gi_map_run_fail(gi_map_t *self, size_t index, const gate_error_t *err) {
    s_failed(self, index, err);
    if (self->more.ordered)
        s_push_in_order(self);
}

static void s_note_size(gi_map_t *self, size_t size) {
    self->waiting_bytes += size;
    if (size > self->usual)
        self->usual = size;
    else
        self->usual -= (self->usual - size) / 8;
}

static void s_store(gi_map_t *self, size_t index, const gi_map_result_t *r) {
    if (!r->failed)
        s_note_size(self, r->size);
    if (self->more.ordered)
        self->early[index % GI_MAP_WINDOW] = *r;
    else
        s_push(self, r, index);
}

/* The outcome of one input. */
static void s_outcome(gi_map_t *self, size_t index, gi_map_result_t *r,
                      const gate_error_t *err) {
    self->under_way--;
    if (r->data)
        s_store(self, index, r);
    else
        s_failed(self, index, err);
    if (self->more.ordered)
        s_push_in_order(self);
}

/* A copy of the bytes, or of the error when those are results as well; NULL
 * data: err ends the map. */
static gi_map_result_t s_result(const gi_map_t *self, const void *data,
                                size_t size, const gate_error_t **err) {
    static const gate_error_t nomem = {GATE_NOMEM, "MemoryError",
                                       "no memory for a result", ""};
    gi_map_result_t r = {.size = size, .failed = *err != NULL};
    gi_error_t *error = NULL;

    if (!*err) {
        r.data = gi_mem_dup(data, size);
    } else if (self->more.errors) {
        error = gi_mem_calloc(1, sizeof *error);
        if (error)
            gi_error_set(error, *err);
        r.data = (char *)error;
        r.size = 0;
    }
    if (!r.data && !*err)
        *err = &nomem;
    return r;
}

/* ---- under way ----------------------------------------------------------- */
static void s_link(gi_map_t *self, gi_map_try_t *try) {
    try->next = &self->tries;
    try->prev = self->tries.prev;
    self->tries.prev->next = try;
    self->tries.prev = try;
}

static void s_unlink(gi_map_try_t *try) {
    try->prev->next = try->next;
    try->next->prev = try->prev;
}

/* Cancels what is still under way. Tickets are collected first: the pool must
 * not be called with the mutex. */
void gi_map_run_cancel(gi_map_t *self) {
    gi_ticket_t tickets[GI_MAP_WINDOW];
    gate_pool_t *pool;
    size_t n = 0, i;
    gi_map_try_t *try;

    pthread_mutex_lock(&self->mutex);
    for (try = self->tries.next; try != &self->tries && n < GI_MAP_WINDOW;
         try = try->next)
        if (self->over || try->index > self->fail_at)
            tickets[n++] = try->ticket;
    pthread_mutex_unlock(&self->mutex);
    if (!n || !(pool = gi_pool_enter(self->pool)))
        return;
    for (i = 0; i < n; i++)
        gi_pool_cancel(pool, tickets[i]);
    gi_pool_leave(self->pool);
}

/* What it has no outcome of is submitted again, first of all, unless the map
 * ends before it; with the mutex held. Takes. */
static void s_again(gi_map_t *self, gi_map_try_t *try) {
    size_t left = try->n - try->n_done, from, i;

    self->under_way -= left;
    try->index += try->n_done;
    if (!left || self->over || try->index >= self->fail_at) {
        gi_map_run_free(try);
        return;
    }
    from = try->n_done ? try->ends[try->n_done - 1] : 0;
    for (i = 0; i < left; i++)
        try->ends[i] = (uint32_t)(try->ends[try->n_done + i] - from);
    try->data += from;
    try->n = left;
    try->n_done = 0;
    try->ticket = 0;
    try->next = self->redo;
    self->redo = try;
}

/* ---- what a job answers -------------------------------------------------- */
static void s_part(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    gi_map_try_t *try = ctx;
    gi_map_t *self = try->map;
    gi_map_result_t r = s_result(self, data, size, &err);

    pthread_mutex_lock(&self->mutex);
    s_outcome(self, try->index + try->n_done++, &r, err);
    pthread_mutex_unlock(&self->mutex);
}

/* The next job has twice as many inputs at most. */
static void s_took(void *ctx, int64_t run_ns) {
    gi_map_try_t *try = ctx;
    gi_map_t *self = try->map;
    size_t fit;

    pthread_mutex_lock(&self->mutex);
    fit = (size_t)GI_MAP_CHUNK_NS * try->n_done / (size_t)(run_ns + 1);
    if (fit > 2 * self->chunk)
        fit = 2 * self->chunk;
    if (fit > (size_t)self->more.chunk)
        fit = (size_t)self->more.chunk;
    self->chunk = fit ? fit : 1;
    pthread_mutex_unlock(&self->mutex);
}

/* err is of the input after the last that was answered, or of all that are
 * left. */
static void s_end(gi_map_t *self, gi_map_try_t *try, const gate_error_t *err,
                  bool all) {
    while (try->n_done < try->n) {
        gi_map_result_t r = s_result(self, NULL, 0, &err);

        pthread_mutex_lock(&self->mutex);
        s_outcome(self, try->index + try->n_done++, &r, err);
        pthread_mutex_unlock(&self->mutex);
        if (!all)
            return;
    }
}

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    static const gate_error_t a_stream = {
        GATE_BADARG, "TypeError", "a mapped function must not yield", ""};
    gi_map_try_t *try = ctx;
    gi_map_t *self = try->map;
    bool stopping;

    if (!err)
        s_part(try, data, size, NULL);
    else if (err->code != GATE_EOS)
        s_end(self, try, err, err->code != GATE_WORKERLOST);
    else if (!self->chunks)
        s_end(self, try, &a_stream, true);
    pthread_mutex_lock(&self->mutex);
    s_unlink(try);
    s_again(self, try);
    stopping = self->stopping;
    pthread_mutex_unlock(&self->mutex);
    if (stopping)
        gi_map_run_cancel(self);
    gi_map_run(self, false);
    gi_map_drop(self);
}

/* ---- submitting ---------------------------------------------------------- */
static gate_err_t s_submit(gi_map_t *self, gi_map_try_t *try,
                           gi_ticket_t *ticket) {
    static const gi_sink_t sink = {
        .done = s_done, .part = s_part, .took = s_took};
    gi_request_t request = {
        .fn = self->fn,
        .name = gi_pool_fn_name(self->fn),
        .args = {try->data, try->ends[try->n - 1]},
        .options = self->job,
        .deadline_ms = self->deadline_ms,
        .sink = &sink,
        .ctx = try,
    };
    gate_pool_t *pool = gi_pool_enter(self->pool);
    gate_err_t e;

    if (self->chunks) {
        request.n_inputs = (unsigned)try->n;
        request.kwargs =
            (gate_bytes_t){try->ends, try->n * sizeof try->ends[0]};
    }
    if (!pool)
        return gi_err(GATE_CLOSED, "the pool of a map was destroyed");
    e = gi_pool_submit(pool, &request, ticket);
    gi_pool_leave(self->pool);
    return e;
}

/* Ticket of a try that may be over by now (then it is not in the ring). */
static void s_note_ticket(gi_map_t *self, size_t index, gi_ticket_t ticket) {
    bool stopping;
    gi_map_try_t *try;

    pthread_mutex_lock(&self->mutex);
    for (try = self->tries.prev; try != &self->tries; try = try->prev)
        if (try->index == index) {
            try->ticket = ticket;
            break;
        }
    stopping = self->stopping;
    pthread_mutex_unlock(&self->mutex);
    if (stopping)
        gi_map_run_cancel(self);
}

/* A queue that is full is tried again: when a job of ours ends, or when a
 * thread that waits for room has found it. Any other refusal is these inputs'
 * end. */
static void s_refused(gi_map_t *self, gi_map_try_t *try, gate_err_t e) {
    bool stopping, wait;

    if (e != GATE_BUSY)
        s_end(self, try, gate_error(), true);
    pthread_mutex_lock(&self->mutex);
    s_unlink(try);
    s_again(self, try);
    stopping = self->stopping;
    wait = self->redo && e == GATE_BUSY && !self->under_way && !self->waiting;
    self->waiting |= wait;
    pthread_mutex_unlock(&self->mutex);
    if (stopping)
        gi_map_run_cancel(self);
    if (wait)
        gi_map_room_wait(self);
}

/* ---- what the window allows, with the mutex held -------------------------- */
static size_t s_bytes_allow(const gi_map_t *self) {
    size_t most;

    if (self->waiting_bytes >= GI_MAP_BYTES)
        return 0;
    most = self->usual ? (GI_MAP_BYTES - self->waiting_bytes) / self->usual
                       : GI_MAP_BLIND;
    if (most <= self->under_way)
        return self->usual && !self->under_way;
    return most - self->under_way;
}

/* How many inputs the next job may have; 0: none now. */
static size_t s_allowed(const gi_map_t *self) {
    size_t behind =
        self->more.ordered ? self->submitted - self->pushed : self->under_way;
    size_t used = behind + self->unread, left = self->n - self->submitted;
    size_t n = s_bytes_allow(self);

    if (self->stopping || !left || used >= GI_MAP_WINDOW)
        return 0;
    if (n > GI_MAP_WINDOW - used)
        n = GI_MAP_WINDOW - used;
    if (!self->chunks)
        return n > 0;
    if (n > self->chunk)
        n = self->chunk;
    if (n > left / 8 + 1) /* the last ones for all workers */
        n = left / 8 + 1;
    return n;
}

/* ---- pumping ------------------------------------------------------------- */
/* Under way before it is submitted: it may be over then. */
static void s_begin(gi_map_t *self, gi_map_try_t *try) {
    s_link(self, try);
    self->under_way += try->n;
    gi_ref_take(&self->ref);
}

/* There are no more inputs, or no memory for them: that is told. */
static void s_no_input(gi_map_t *self) {
    pthread_mutex_lock(&self->mutex);
    if (gate_error()->code != GATE_OK)
        gi_map_run_fail(self, self->submitted, gate_error());
    pthread_mutex_unlock(&self->mutex);
}

/* The next job; false: there is none, or no room for it. */
static bool s_next(gi_map_t *self, size_t n, bool redo) {
    gi_map_try_t *try = redo ? NULL : gi_map_take(self, n);
    gi_ticket_t ticket = 0;
    size_t index;
    gate_err_t e;

    if (!redo && !try) {
        s_no_input(self);
        return false;
    }
    pthread_mutex_lock(&self->mutex);
    if (redo) {
        try = self->redo;
        self->redo = try->next;
    } else
        self->submitted += try->n;
    index = try->index;
    s_begin(self, try);
    pthread_mutex_unlock(&self->mutex);
    e = s_submit(self, try, &ticket);
    if (e == GATE_OK)
        s_note_ticket(self, index, ticket);
    else {
        s_refused(self, try, e);
        gi_map_drop(self);
    }
    return e != GATE_BUSY;
}

/* Ends the stream when all is delivered and gives up the producer's side when
 * nothing is under way. With the mutex held; the stream to release, or NULL. */
static gate_stream_t *s_finish(gi_map_t *self) {
    gate_stream_t *stream = self->stream;

    if (!self->over && !self->stopping && self->pushed == self->n)
        s_over(self, NULL);
    if (!self->over || self->under_way || self->waiting)
        return NULL;
    self->stream = NULL;
    return stream;
}

/* Whether something is to be submitted again; what the map ends before is
 * not. */
static bool s_any_again(gi_map_t *self) {
    gi_map_try_t *try;

    while ((try = self->redo) != NULL && try->index >= self->fail_at) {
        self->redo = try->next;
        gi_map_run_free(try);
    }
    return try && !self->over;
}

/* With the mutex held, but for the jobs themselves. */
static void s_submit_all(gi_map_t *self, bool reader) {
    bool going = true;

    while (going) {
        bool redo = s_any_again(self);
        size_t n = redo ? 1 : s_allowed(self);

        if (!n || (!redo && self->more.next && !reader))
            return;
        pthread_mutex_unlock(&self->mutex);
        going = s_next(self, n, redo);
        pthread_mutex_lock(&self->mutex);
    }
}

/* False: another thread pumps, and was left a note. A reader whose generator
 * nobody else may call waits for it. */
static bool s_begin_pump(gi_map_t *self, bool reader) {
    bool own = self->pumping && pthread_equal(self->pumper, pthread_self());

    while (self->pumping && reader && self->more.next && !own)
        pthread_cond_wait(&self->still, &self->mutex);
    if (self->pumping) {
        self->again = true;
        return false;
    }
    self->pumping = true;
    self->pumper = pthread_self();
    return true;
}

void gi_map_run(gi_map_t *self, bool reader) {
    gate_stream_t *stream;

    pthread_mutex_lock(&self->mutex);
    if (!s_begin_pump(self, reader)) {
        pthread_mutex_unlock(&self->mutex);
        return;
    }
    do {
        self->again = false;
        s_submit_all(self, reader);
    } while (self->again);
    self->pumping = false;
    pthread_cond_broadcast(&self->still);
    stream = self->stream ? s_finish(self) : NULL;
    pthread_mutex_unlock(&self->mutex);
    if (!stream)
        return;
    gi_stream_release(&stream);
    gi_map_drop(self); /* the producer side's */
}
