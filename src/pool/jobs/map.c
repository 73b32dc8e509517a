/* SPDX-License-Identifier: BSD-3-Clause */
/* map.c -- one function over many inputs, on any kind of pool: a map's life,
 * its inputs, which are packed as they are taken, its reader's side, and how it
 * waits for room. */
#include "jobs/map.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "sync/clock.h"
#include "sync/later.h"

#define S_ROOM_MS 100 /* until it is asked again whether the map is over */

/* ---- life ---------------------------------------------------------------- */
static void s_free_early(gi_map_t *self) {
    size_t i;

    for (i = 0; self->early && i < GI_MAP_WINDOW; i++) {
        if (self->early[i].data && self->early[i].failed)
            gi_error_fini((gi_error_t *)(void *)self->early[i].data);
        gi_mem_free(self->early[i].data);
    }
    gi_mem_free(self->early);
}

void gi_map_drop(gi_map_t *self) {
    gi_map_try_t *try;

    if (!gi_ref_drop(&self->ref))
        return;
    while ((try = self->redo) != NULL) {
        self->redo = try->next;
        gi_map_run_free(try);
    }
    s_free_early(self);
    gi_pool_shared_release(self->pool);
    gi_mem_free(self->ends);
    gi_buf_fini(&self->packed);
    gi_error_fini(&self->error);
    gi_error_fini(&self->end_error);
    pthread_cond_destroy(&self->still);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self);
}

/* ---- inputs -------------------------------------------------------------- */
static gate_err_t s_nomem(void) {
    return gi_err(GATE_NOMEM, "the inputs of a map");
}

/* An input that packs to an array is the args; anything else their only one. */
static gate_err_t s_pack_input(gi_buf_t *packed,
                               const gate_settings_t *settings,
                               const gate_arg_t *input) {
    static const unsigned char one = 0x91; /* fixarray of 1 */
    gate_arg_t plain = *input;
    size_t at = packed->size;
    unsigned char first;
    gate_err_t e;

    plain.kw = NULL;
    gi_buf_append(packed, &one, 1);
    e = gi_arg_pack(packed, &plain, settings);
    if (e != GATE_OK)
        return e;
    if (packed->failed)
        return s_nomem();
    first = packed->data[at + 1];
    if ((first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd) {
        memmove(packed->data + at, packed->data + at + 1,
                packed->size - at - 1);
        packed->size--;
    }
    return GATE_OK;
}

static gate_err_t s_pack_inputs(gi_map_t *self, const gate_arg_t *inputs) {
    gate_err_t e = GATE_OK;
    size_t i;

    if (self->more.ordered)
        self->early = gi_mem_calloc(GI_MAP_WINDOW, sizeof *self->early);
    if (!self->more.next)
        self->ends = gi_mem_alloc((self->n + 1) * sizeof *self->ends);
    if ((!self->more.next && !self->ends) ||
        (self->more.ordered && !self->early))
        return s_nomem();
    for (i = 0; !self->more.next && i < self->n && e == GATE_OK; i++) {
        e = s_pack_input(&self->packed, self->settings, &inputs[i]);
        self->ends[i] = self->packed.size;
    }
    return e;
}

static gi_map_try_t *s_try_new(gi_map_t *self, size_t n) {
    gi_map_try_t *try = gi_mem_calloc(1, sizeof *try + n * sizeof try->ends[0]);

    if (!try)
        (void)s_nomem();
    else {
        try->map = self;
        try->index = self->submitted;
        try->n = n;
    }
    return try;
}

/* Inputs that were packed when the map began. */
static void s_copied(gi_map_t *self, gi_map_try_t *try) {
    size_t from = try->index ? self->ends[try->index - 1] : 0, i;

    try->data = self->packed.data + from;
    for (i = 0; i < try->n; i++)
        try->ends[i] = (uint32_t)(self->ends[try->index + i] - from);
}

/* What the generator gives; what it gave before an end or an error comes
 * first, so that is told the next time. */
static gate_err_t s_pull(gi_map_t *self, gi_map_try_t *try) {
    gi_buf_t packed = {0};
    gate_err_t e = GATE_OK;
    size_t i = 0;

    while (e == GATE_OK && i < try->n) {
        gate_arg_t input = gate_null(NULL);

        e = self->more.next(self->more.ctx, &input);
        if (e == GATE_OK)
            e = s_pack_input(&packed, self->settings, &input);
        else if (e != GATE_EOS && gate_error()->code != e)
            (void)gi_err(e, "the generator of a map: %s", gate_err_text(e));
        if (e == GATE_OK)
            try->ends[i++] = (uint32_t)packed.size;
    }
    try->n = i;
    try->data = try->own = packed.data;
    if (e != GATE_OK) {
        self->ended = e;
        gi_error_set(&self->end_error, gate_error());
    }
    return i ? GATE_OK : e;
}

/* Told once, behind the last input that there was. */
static gi_map_try_t *s_no_more(gi_map_t *self) {
    pthread_mutex_lock(&self->mutex);
    self->n = self->submitted;
    pthread_mutex_unlock(&self->mutex);
    if (self->ended == GATE_EOS)
        gi_err_story(GATE_OK, NULL, NULL, NULL);
    else
        (void)gi_error_publish(&self->end_error);
    return NULL;
}

gi_map_try_t *gi_map_take(gi_map_t *self, size_t n) {
    gi_map_try_t *try;

    if (self->ended != GATE_OK)
        return s_no_more(self);
    try = s_try_new(self, n);
    if (!try)
        return NULL;
    if (!self->more.next) {
        s_copied(self, try);
    } else if (s_pull(self, try) != GATE_OK) {
        gi_map_run_free(try);
        return s_no_more(self);
    }
    return try;
}

/* ---- the reader's side --------------------------------------------------- */
static void s_credit(void *ctx, size_t items, size_t bytes) {
    gi_map_t *self = ctx;

    gi_ref_take(&self->ref);
    pthread_mutex_lock(&self->mutex);
    self->unread -= items;
    self->waiting_bytes -= bytes;
    pthread_mutex_unlock(&self->mutex);
    gi_map_run(self, true);
    gi_map_drop(self);
}

static void s_stop(void *ctx) {
    gi_map_t *self = ctx;

    gi_ref_take(&self->ref);
    pthread_mutex_lock(&self->mutex);
    self->over = self->stopping = true;
    pthread_mutex_unlock(&self->mutex);
    gi_map_run_cancel(self);
    gi_map_run(self, false);
    gi_map_drop(self);
}

/* ---- making one ---------------------------------------------------------- */
static gate_err_t s_check(const gate_map_more_t *more, const gate_arg_t *inputs,
                          size_t n) {
    if (more->next && (inputs || n))
        return gi_err(GATE_BADARG,
                      "a map's inputs come from next or from an array, not "
                      "from both");
    if (!more->next && !inputs && n)
        return gi_err(GATE_BADARG, "%zu inputs of a map, but no array", n);
    if (more->chunk < 0)
        return gi_err(GATE_BADARG,
                      "chunk is %d: inputs of one job at most, 1 or more, or 0 "
                      "for as many as take about 50 us",
                      more->chunk);
    if (more->timeout_ms < -1)
        return gi_err(GATE_BADARG,
                      "timeout_ms is %lld: a time in ms, or 0 or -1 for none",
                      (long long)more->timeout_ms);
    return GATE_OK;
}

static void s_options(gi_map_t *self, gate_pool_t *pool, size_t n,
                      const gate_map_more_t *more) {
    const gate_job_options_t *job;

    self->more = *more;
    if (more->job)
        self->job = *more->job;
    job = &self->job;
    self->more.job = NULL; /* the caller's */
    self->n = more->next ? SIZE_MAX : n;
    self->deadline_ms = more->timeout_ms > 0
                            ? gi_time_add(gi_clock_ms(), more->timeout_ms)
                            : INT64_MAX;
    self->chunks = more->chunk != 1 && !job->soft_ms && !job->hard_ms &&
                   !job->idempotent && gi_pool_chunks(pool);
    if (more->chunk == 0 || more->chunk > GI_INPUTS_MAX)
        self->more.chunk = more->chunk ? GI_INPUTS_MAX : GI_MAP_CHUNK;
    self->chunk = 1;
}

static gi_map_t *s_map_new(gate_pool_t *pool, gate_fn *fn) {
    static const gi_stream_ops_t ops = {.credit = s_credit, .stop = s_stop};
    gi_map_t *self = gi_mem_calloc(1, sizeof *self);
    gi_stream_options_t options = {
        .timeout_ms = -1,
        .max_items = GI_MAP_WINDOW,
        .report_bytes = GI_MAP_BYTES / 16,
        .ops = &ops,
        .ctx = self,
        .release_owner = gi_pool_shared_release,
        .owner = gi_pool_share(pool),
        .results = true,
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
    self->settings = pool->settings;
    self->fn = fn;
    self->fail_at = SIZE_MAX;
    self->tries.next = self->tries.prev = &self->tries;
    gi_error_init(&self->error);
    gi_error_init(&self->end_error);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->still, NULL);
    gi_ref_init(&self->ref);
    gi_ref_take(&self->ref);
    return self;
}

gate_err_t gate_pool_map_more(gate_pool_t *self, gate_fn *fn,
                              const gate_arg_t *inputs, size_t n,
                              const gate_map_more_t *more,
                              gate_stream_t **results) {
    gate_map_more_t known = {0};
    gate_stream_t *reader;
    gi_map_t *map;
    gate_err_t e;

    if (gi_err_null(self, "gate_pool_map") ||
        gi_err_null(fn ? self : NULL, "gate_pool_map: the function") ||
        gi_err_null(results, "gate_pool_map: where the results go"))
        return GATE_BADARG;
    if (more)
        memcpy(&known, more,
               more->size < sizeof known ? more->size : sizeof known);
    e = s_check(&known, inputs, n);
    if (e != GATE_OK)
        return e;
    map = s_map_new(self, fn);
    if (!map)
        return GATE_NOMEM;
    s_options(map, self, n, &known);
    reader = map->stream;
    e = s_pack_inputs(map, inputs);
    if (e == GATE_OK) {
        gi_map_run(map, true);
        *results = reader;
    } else {
        gi_stream_release(&map->stream);
        gate_stream_destroy(&reader);
        gi_map_drop(map); /* the producer side's */
    }
    gi_map_drop(map);
    return e;
}

gate_err_t gate_pool_map(gate_pool_t *self, gate_fn *fn,
                         const gate_arg_t *inputs, size_t n, bool ordered,
                         gate_stream_t **results) {
    const gate_map_more_t more = {.size = sizeof more, .ordered = ordered};

    return gate_pool_map_more(self, fn, inputs, n, &more, results);
}

/* ---- a pool that others have filled, with nothing of the map's own under way
 * whose end could wake it: a thread waits for room ------------------------ */
/* False: not yet, look again. */
static bool s_has_room(gi_map_t *self) {
    static const struct timespec pause = {.tv_nsec = 5000000};
    gate_pool_t *pool = gi_pool_enter(self->pool);
    gate_err_t e = GATE_OK;

    if (!pool)
        return true; /* the next submission says so */
    if (pool->ops->room)
        e = pool->ops->room(pool, S_ROOM_MS);
    gi_pool_leave(self->pool);
    if (!pool->ops->room)
        nanosleep(&pause, NULL);
    return e != GATE_TIMEOUT;
}

static bool s_is_over(gi_map_t *self) {
    bool over;

    pthread_mutex_lock(&self->mutex);
    over = self->over;
    pthread_mutex_unlock(&self->mutex);
    return over;
}

static void s_room_thread(void *map) {
    gi_map_t *self = map;

    while (!s_is_over(self) && !s_has_room(self))
        ;
    pthread_mutex_lock(&self->mutex);
    self->waiting = false;
    pthread_mutex_unlock(&self->mutex);
    gi_map_run(self, false);
    gi_map_drop(self);
}

void gi_map_room_wait(gi_map_t *self) {
    gi_ref_take(&self->ref);
    if (gi_later(s_room_thread, self))
        return;
    pthread_mutex_lock(&self->mutex);
    self->waiting = false;
    gi_map_run_fail(self, self->redo ? self->redo->index : self->pushed,
                    gate_error());
    pthread_mutex_unlock(&self->mutex);
    gi_map_drop(self);
}
