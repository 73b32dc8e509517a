/* SPDX-License-Identifier: BSD-3-Clause */
/* map.c -- one function over many inputs, on any kind of pool.
 *
 * At most S_WINDOW inputs are between "submitted" and "read": under way in the
 * pool, waiting for their turn (ordered), or in the stream. The same in bytes:
 * what waits and what those under way will probably bring stay below S_BYTES,
 * or one input alone is under way. The reader's credit and each end of a job
 * pump: submit what the window allows. One thread pumps at a time; others leave
 * a note, so that an executor which runs jobs at once makes no recursion.
 *
 * Law: the mutex is never held while the pool or the stream's user is called;
 * gi_stream_push is called with it held, which keeps the items in order. */
#include "jobs/submit.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "sync/ref.h"
#include "wire/rpc.h"
#include "async/stream.h"

#define S_WINDOW 256
#define S_BYTES ((size_t)64 << 20)
#define S_BLIND 16 /* under way before the size of any result is known */

typedef struct s_map s_map_t;

typedef struct s_try { /* one input under way */
    struct s_try *next, *prev;
    s_map_t *map;
    size_t index;
    gi_ticket_t ticket; /* 0 until submit has returned */
} s_try_t;

typedef struct s_result {
    char *data; /* NULL: not there yet */
    size_t size;
} s_result_t;

struct s_map {
    gi_ref_t ref; /* the starter's, the stream's producer side, one per try */
    gi_pool_shared_t *pool; /* entered for each use: it may have gone */
    gate_fn *fn;
    gate_stream_t *stream; /* producer's side */
    pthread_mutex_t mutex; /* of everything below */
    bool ordered;
    bool pumping, again;         /* somebody pumps; and shall look once more */
    bool over;                   /* ended or failed: nothing more is pushed */
    bool stopping;               /* nothing more is submitted */
    size_t n, submitted, pushed; /* inputs; pushed: results in the stream */
    size_t under_way;
    size_t unread;        /* in the stream */
    size_t waiting_bytes; /* of results, in the stream or before */
    size_t usual;   /* size of a result: the largest of late; 0: unknown */
    s_try_t tries;  /* ring of those under way */
    size_t fail_at; /* ordered: the lowest index that failed; SIZE_MAX */
    gi_error_t error;
    s_result_t *early; /* ordered: results of index % S_WINDOW */
    gi_buf_t packed;   /* all inputs as args arrays */
    size_t *ends;      /* where each ends in packed */
};

/* ---- life ---------------------------------------------------------------- */
static void s_drop(s_map_t *self) {
    size_t i;

    if (!gi_ref_drop(&self->ref))
        return;
    for (i = 0; self->early && i < S_WINDOW; i++)
        gi_mem_free(self->early[i].data);
    gi_pool_shared_release(self->pool);
    gi_mem_free(self->early);
    gi_mem_free(self->ends);
    gi_buf_fini(&self->packed);
    gi_error_fini(&self->error);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self);
}

/* An input that packs to an array is the args; anything else their only one. */
static gate_err_t s_pack_input(s_map_t *self, const gate_settings_t *settings,
                               const gate_arg_t *input) {
    static const unsigned char one = 0x91; /* fixarray of 1 */
    gate_arg_t plain = *input;
    size_t at = self->packed.size;
    unsigned char first;
    gate_err_t e;

    plain.kw = NULL;
    gi_buf_append(&self->packed, &one, 1);
    e = gi_arg_pack(&self->packed, &plain, settings);
    if (e != GATE_OK)
        return e;
    if (self->packed.failed)
        return gi_err(GATE_NOMEM, "the inputs of a map");
    first = self->packed.data[at + 1];
    if ((first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd) {
        memmove(self->packed.data + at, self->packed.data + at + 1,
                self->packed.size - at - 1);
        self->packed.size--;
    }
    return GATE_OK;
}

static gate_err_t s_pack_inputs(s_map_t *self, const gate_settings_t *settings,
                                const gate_arg_t *inputs) {
    gate_err_t e = GATE_OK;
    size_t i;

    self->ends = gi_mem_alloc((self->n + 1) * sizeof *self->ends);
    if (self->ordered)
        self->early = gi_mem_calloc(S_WINDOW, sizeof *self->early);
    if (!self->ends || (self->ordered && !self->early))
        return gi_err(GATE_NOMEM, "the inputs of a map");
    for (i = 0; i < self->n && e == GATE_OK; i++) {
        e = s_pack_input(self, settings, &inputs[i]);
        self->ends[i] = self->packed.size;
    }
    return e;
}

/* ---- results, with the mutex held ---------------------------------------- */
/* Ends the stream, regularly or not. */
static void s_over(s_map_t *self, const gate_error_t *story) {
    if (self->over)
        return;
    self->over = self->stopping = true;
    if (story)
        gi_stream_fail(self->stream, story);
    else
        gi_stream_end(self->stream);
}

static void s_push(s_map_t *self, char *data, size_t size, size_t index) {
    gate_err_t e;

    if (self->over) {
        gi_mem_free(data);
        return;
    }
    self->pushed++;
    self->unread++;
    e = gi_stream_push(self->stream, data, size, gi_mem_free, data, index);
    if (e != GATE_OK) {
        gate_error_t story = {e, gi_err_class(e), gate_err_text(e), ""};

        s_over(self, &story);
    }
}

/* Pushes the results whose turn has come. */
static void s_push_in_order(s_map_t *self) {
    s_result_t *next;

    while (!self->over && self->pushed < self->fail_at &&
           (next = &self->early[self->pushed % S_WINDOW])->data) {
        char *data = next->data;

        next->data = NULL;
        s_push(self, data, next->size, self->pushed);
    }
    if (self->pushed == self->fail_at)
        s_over(self, &self->error.story);
}

static void s_failed(s_map_t *self, size_t index, const gate_error_t *err) {
    if (index >= self->fail_at)
        return;
    self->fail_at = index;
    self->stopping = true;
    gi_error_set(&self->error, err);
    if (!self->ordered)
        s_over(self, err);
}

static void s_note_size(s_map_t *self, size_t size) {
    self->waiting_bytes += size;
    if (size > self->usual)
        self->usual = size;
    else
        self->usual -= (self->usual - size) / 8;
}

static void s_store(s_map_t *self, size_t index, char *data, size_t size) {
    s_result_t *place;

    s_note_size(self, size);
    if (!self->ordered) {
        s_push(self, data, size, index);
        return;
    }
    place = &self->early[index % S_WINDOW];
    place->data = data;
    place->size = size;
}

/* ---- under way ----------------------------------------------------------- */
static void s_unlink(s_try_t *try) {
    try->prev->next = try->next;
    try->next->prev = try->prev;
}

/* Cancels what is still under way. Tickets are collected first: the pool must
 * not be called with the mutex. */
static void s_cancel_rest(s_map_t *self) {
    gi_ticket_t tickets[S_WINDOW];
    gate_pool_t *pool;
    size_t n = 0, i;
    s_try_t *try;

    pthread_mutex_lock(&self->mutex);
    for (try = self->tries.next; try != &self->tries && n < S_WINDOW;
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

static bool s_bytes_open(const s_map_t *self) {
    size_t next = self->under_way + 1;

    if (self->waiting_bytes >= S_BYTES)
        return false;
    if (!self->usual)
        return next <= S_BLIND;
    return next == 1 || self->usual <= (S_BYTES - self->waiting_bytes) / next;
}

static bool s_window_open(const s_map_t *self) {
    size_t behind =
        self->ordered ? self->submitted - self->pushed : self->under_way;

    return !self->stopping && self->submitted < self->n &&
           behind + self->unread < S_WINDOW && s_bytes_open(self);
}

static void s_pump(s_map_t *self);

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    static const gate_error_t a_stream = {
        GATE_BADARG, "TypeError", "a mapped function must not yield", ""};
    static const gate_error_t nomem = {GATE_NOMEM, "MemoryError",
                                       "no memory for a result", ""};
    s_try_t *try = ctx;
    s_map_t *self = try->map;
    char *copy = err ? NULL : gi_mem_dup(data, size);
    bool stopping;

    if (!err && !copy)
        err = &nomem;
    else if (err && err->code == GATE_EOS)
        err = &a_stream;
    pthread_mutex_lock(&self->mutex);
    self->under_way--;
    s_unlink(try);
    if (err)
        s_failed(self, try->index, err);
    else
        s_store(self, try->index, copy, size);
    if (self->ordered)
        s_push_in_order(self);
    stopping = self->stopping;
    pthread_mutex_unlock(&self->mutex);
    gi_mem_free(try);
    if (stopping)
        s_cancel_rest(self);
    s_pump(self);
    s_drop(self);
}

static gate_err_t s_submit(s_map_t *self, s_try_t *try, gi_ticket_t *ticket) {
    static const gi_sink_t sink = {.done = s_done};
    size_t start = try->index ? self->ends[try->index - 1] : 0;
    gi_request_t request = {
        .fn = self->fn,
        .name = gi_pool_fn_name(self->fn),
        .args = {self->packed.data + start, self->ends[try->index] - start},
        .deadline_ms = INT64_MAX,
        .sink = &sink,
        .ctx = try,
    };
    gate_pool_t *pool = gi_pool_enter(self->pool);
    gate_err_t e;

    if (!pool)
        return gi_err(GATE_CLOSED, "the pool of a map was destroyed");
    e = gi_pool_submit(pool, &request, ticket);
    gi_pool_leave(self->pool);
    return e;
}

/* A refused submit. A queue that some of ours were in is tried again: when one
 * of them ends, or at once if all have ended meanwhile. */
static void s_refused(s_map_t *self, s_try_t *try, gate_err_t e, bool alone) {
    bool stopping;

    pthread_mutex_lock(&self->mutex);
    self->under_way--;
    s_unlink(try);
    self->submitted--; /* only the one who pumps counts it up: it is the last */
    if (e != GATE_BUSY || alone)
        s_failed(self, try->index, gate_error());
    else if (!self->under_way)
        self->again = true;
    if (self->ordered)
        s_push_in_order(self);
    stopping = self->stopping;
    pthread_mutex_unlock(&self->mutex);
    gi_mem_free(try);
    if (stopping)
        s_cancel_rest(self);
    s_drop(self);
}

/* Ticket of a try that may be over by now (then it is not in the ring). */
static void s_note_ticket(s_map_t *self, size_t index, gi_ticket_t ticket) {
    bool stopping;
    s_try_t *try;

    pthread_mutex_lock(&self->mutex);
    for (try = self->tries.prev; try != &self->tries; try = try->prev)
        if (try->index == index) {
            try->ticket = ticket;
            break;
        }
    stopping = self->stopping;
    pthread_mutex_unlock(&self->mutex);
    if (stopping)
        s_cancel_rest(self);
}

/* The next input; false: it could not be submitted. */
static bool s_next(s_map_t *self) {
    s_try_t *try = gi_mem_calloc(1, sizeof *try);
    gi_ticket_t ticket = 0;
    gate_err_t e;
    size_t index;
    bool alone;

    pthread_mutex_lock(&self->mutex);
    if (!try) {
        gi_err(GATE_NOMEM, "a map");
        s_failed(self, self->submitted, gate_error());
        if (self->ordered)
            s_push_in_order(self);
        pthread_mutex_unlock(&self->mutex);
        return false;
    }
    try->map = self;
    index = try->index = self->submitted++;
    try->next = &self->tries;
    try->prev = self->tries.prev;
    self->tries.prev->next = try;
    self->tries.prev = try;
    alone = self->under_way++ == 0;
    gi_ref_take(&self->ref);
    pthread_mutex_unlock(&self->mutex);
    e = s_submit(self, try, &ticket);
    if (e == GATE_OK)
        s_note_ticket(self, index, ticket);
    else
        s_refused(self, try, e, alone);
    return e == GATE_OK;
}

/* Ends the stream when all is delivered and gives up the producer's side when
 * nothing is under way. With the mutex held; the stream to release, or NULL. */
static gate_stream_t *s_finish(s_map_t *self) {
    gate_stream_t *stream = self->stream;

    if (!self->over && !self->stopping && self->pushed == self->n)
        s_over(self, NULL);
    if (!self->over || self->under_way)
        return NULL;
    self->stream = NULL;
    return stream;
}

static void s_pump(s_map_t *self) {
    gate_stream_t *stream;

    pthread_mutex_lock(&self->mutex);
    if (self->pumping) {
        self->again = true;
        pthread_mutex_unlock(&self->mutex);
        return;
    }
    self->pumping = true;
    do {
        bool going = true;

        self->again = false;
        while (going && s_window_open(self)) {
            pthread_mutex_unlock(&self->mutex);
            going = s_next(self);
            pthread_mutex_lock(&self->mutex);
        }
    } while (self->again);
    self->pumping = false;
    stream = self->stream ? s_finish(self) : NULL;
    pthread_mutex_unlock(&self->mutex);
    if (!stream)
        return;
    gi_stream_release(&stream);
    s_drop(self); /* the producer side's */
}

/* ---- the reader's side --------------------------------------------------- */
static void s_credit(void *ctx, size_t items, size_t bytes) {
    s_map_t *self = ctx;

    gi_ref_take(&self->ref);
    pthread_mutex_lock(&self->mutex);
    self->unread -= items;
    self->waiting_bytes -= bytes;
    pthread_mutex_unlock(&self->mutex);
    s_pump(self);
    s_drop(self);
}

static void s_stop(void *ctx) {
    s_map_t *self = ctx;

    gi_ref_take(&self->ref);
    pthread_mutex_lock(&self->mutex);
    self->over = self->stopping = true;
    pthread_mutex_unlock(&self->mutex);
    s_cancel_rest(self);
    s_pump(self);
    s_drop(self);
}

static s_map_t *s_map_new(gate_pool_t *pool, gate_fn *fn, size_t n,
                          bool ordered) {
    static const gi_stream_ops_t ops = {.credit = s_credit, .stop = s_stop};
    s_map_t *self = gi_mem_calloc(1, sizeof *self);
    gi_stream_options_t options = {
        .timeout_ms = -1,
        .max_items = S_WINDOW,
        .report_bytes = S_BYTES / 16,
        .ops = &ops,
        .ctx = self,
        .release_owner = gi_pool_shared_release,
        .owner = gi_pool_share(pool),
    };

    if (self)
        self->stream = gi_stream_new(pool->settings, &options);
    if (!self || !self->stream) {
        gi_pool_shared_release(options.owner);
        gi_mem_free(self);
        gi_err(GATE_NOMEM, "a map");
        return NULL;
    }
    self->pool = gi_pool_share(pool);
    self->fn = fn;
    self->n = n;
    self->ordered = ordered;
    self->fail_at = SIZE_MAX;
    self->tries.next = self->tries.prev = &self->tries;
    gi_error_init(&self->error);
    pthread_mutex_init(&self->mutex, NULL);
    gi_ref_init(&self->ref);
    gi_ref_take(&self->ref);
    return self;
}

gate_err_t gate_pool_map(gate_pool_t *self, gate_fn *fn,
                         const gate_arg_t *inputs, size_t n, bool ordered,
                         gate_stream_t **results) {
    s_map_t *map = s_map_new(self, fn, n, ordered);
    gate_stream_t *reader;
    gate_err_t e;

    if (!map)
        return GATE_NOMEM;
    reader = map->stream;
    e = s_pack_inputs(map, self->settings, inputs);
    if (e == GATE_OK) {
        s_pump(map);
        *results = reader;
    } else {
        gi_stream_release(&map->stream);
        gate_stream_destroy(&reader);
        s_drop(map); /* the producer side's */
    }
    s_drop(map);
    return e;
}
