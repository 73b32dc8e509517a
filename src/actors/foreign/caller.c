/* SPDX-License-Identifier: BSD-3-Clause */
/* caller.c -- calls of another language: a completion queue whose callbacks pack
 * what came behind each other, for one take.
 * Thread: one at a time. Law: each ticket has one entry, also when there was no
 * memory for it (then in a later take). */
#include <gaterpc/foreign.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "async/future.h"
#include "value/mp.h"

enum {
    S_TAKE = 256,
    S_KEEP = 1 << 20, /* bytes of a buffer that are kept from take to take */
    S_HEAD = 5        /* of an array of 32 bits' length */
};

struct gate_ticket {
    gate_caller_t *caller;
    gate_ticket_t *prev, *next; /* all of the caller's */
    gate_ticket_t *told;        /* the next one of that list */
    gate_future_t *future;      /* held, so that it can be cancelled */
};

struct gate_caller {
    gate_client_t *client;
    gate_cq_t *cq;
    gate_ticket_t *all;
    gate_ticket_t *told;    /* had their entries: freed by the next take */
    gate_ticket_t *starved; /* no memory for their entries */
    gi_buf_t out;
    size_t n;           /* entries in out */
    gate_value_t *last; /* of call: what it gave borrows from it */
};

/* ---- life ---------------------------------------------------------------- */
gate_caller_t *gate_caller_new(gate_client_t *client) {
    if (gi_err_null(client, "gate_caller_new"))
        return NULL;
    gate_caller_t *self = gi_mem_calloc(1, sizeof *self);
    if (self)
        self->cq = gate_cq_new();
    if (self && self->cq) {
        self->client = client;
        return self;
    }
    gi_mem_free(self);
    (void)gi_err(GATE_NOMEM, "no memory or descriptor for a caller");
    return NULL;
}

static void s_free(gate_ticket_t *t) {
    if (t->prev)
        t->prev->next = t->next;
    else
        t->caller->all = t->next;
    if (t->next)
        t->next->prev = t->prev;
    if (t->future)
        gi_future_drop(t->future);
    gi_mem_free(t);
}

void gate_caller_destroy(gate_caller_t **self_p) {
    gate_caller_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    gate_cq_destroy(&self->cq); /* no callback runs from here on */
    while (self->all)
        s_free(self->all);
    gate_value_destroy(&self->last);
    gi_buf_fini(&self->out);
    gi_mem_free(self);
}

int gate_caller_fd(const gate_caller_t *self) { return gate_cq_fd(self->cq); }

/* ---- arguments ----------------------------------------------------------- */
enum { S_FEW = 8 };

/* args, kwargs, the deadline and more as one list. */
typedef struct s_list {
    gate_arg_t few[S_FEW], *all;
    size_t n;
} s_list_t;

static gate_err_t s_list(s_list_t *list, gate_bytes_t args, gate_bytes_t kwargs,
                         int64_t timeout_ms, const gate_arg_t *more, size_t n) {
    list->all = list->few;
    list->n = 0;
    if (n && gi_err_null(more, "gate_caller: more arguments"))
        return GATE_BADARG;
    if (n > S_FEW - 3)
        list->all = gi_mem_alloc((n + 3) * sizeof *list->all);
    if (!list->all)
        return gi_err(GATE_NOMEM, "no memory for a call");
    if (args.size)
        list->all[list->n++] = gate_spread(args.data, args.size);
    if (kwargs.size)
        list->all[list->n++] = gate_spread(kwargs.data, kwargs.size);
    if (timeout_ms >= 0)
        list->all[list->n++] = gate_timeout_ms(timeout_ms);
    for (size_t i = 0; i < n; i++)
        list->all[list->n++] = more[i];
    return GATE_OK;
}

static void s_list_free(s_list_t *list) {
    if (list->all != list->few)
        gi_mem_free(list->all);
}

/* ---- answers ------------------------------------------------------------- */
static void s_put_text(gi_buf_t *out, const char *text) {
    gi_mp_put_str(out, text, strlen(text));
}

static void s_put_error(gi_buf_t *out, const gate_error_t *story) {
    gi_mp_put_array(out, 3);
    s_put_text(out, story->cls);
    s_put_text(out, story->text);
    s_put_text(out, story->traceback);
}

/* What a hook replaced has no bytes: it is packed again. */
static void s_put_value(gi_buf_t *out, const gate_value_t *value) {
    gate_bytes_t packed = gate_value_bytes(value);
    msgpack_packer pk;
    if (packed.size) {
        gi_buf_append(out, packed.data, packed.size);
        return;
    }
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_object(&pk, *gate_value_object(value));
}

static bool s_entry(gate_caller_t *self, const gate_ticket_t *ticket,
                    gate_err_t e, const gate_value_t *value) {
    gi_buf_t *out = &self->out;
    size_t before = out->size;
    gi_mp_put_array(out, 3);
    gi_mp_put_uint(out, (uintptr_t)ticket);
    gi_mp_put_uint(out, (uint64_t)e);
    if (e)
        s_put_error(out, gate_error());
    else
        s_put_value(out, value);
    if (!out->failed) {
        self->n++;
        return true;
    }
    out->size = before;
    out->failed = false;
    return false;
}

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    gate_ticket_t *t = ctx;
    gate_caller_t *self = t->caller;
    gate_ticket_t **list =
        s_entry(self, t, e, value) ? &self->told : &self->starved;
    t->told = *list;
    *list = t;
}

static void s_feed_starved(gate_caller_t *self) {
    gate_ticket_t *t;
    while ((t = self->starved)) {
        gate_err_t e = gi_err(GATE_NOMEM, "no memory for the answer");
        if (!s_entry(self, t, e, NULL))
            return;
        self->starved = t->told;
        t->told = self->told;
        self->told = t;
    }
}

/* Room for the head, which is known at the end. */
static bool s_begin(gate_caller_t *self) {
    static const unsigned char head[S_HEAD] = {0xdd};
    gi_buf_reset(&self->out, S_KEEP);
    self->n = 0;
    return gi_buf_append(&self->out, head, sizeof head);
}

static gate_bytes_t s_whole(gate_caller_t *self) {
    for (int i = 1; i < S_HEAD; i++)
        self->out.data[i] = (unsigned char)(self->n >> (8 * (S_HEAD - 1 - i)));
    return (gate_bytes_t){self->out.data, self->out.size};
}

size_t gate_caller_take(gate_caller_t *self, int64_t timeout_ms,
                        gate_bytes_t *answers) {
    if (gi_err_null(answers, "gate_caller_take: where the answers go"))
        return 0;
    gate_ticket_t *next;
    for (gate_ticket_t *t = self->told; t; t = next) {
        next = t->told;
        s_free(t);
    }
    self->told = NULL;
    *answers = (gate_bytes_t){NULL, 0};
    if (!s_begin(self))
        return 0;
    s_feed_starved(self);
    if (self->n || !timeout_ms)
        gate_cq_dispatch(self->cq, S_TAKE);
    else
        gate_cq_wait(self->cq, S_TAKE, timeout_ms);
    *answers = s_whole(self);
    return self->n;
}

/* ---- calls --------------------------------------------------------------- */
static gate_ticket_t *s_ticket(gate_caller_t *self) {
    gate_ticket_t *t = gi_mem_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->caller = self;
    t->next = self->all;
    if (t->next)
        t->next->prev = t;
    self->all = t;
    return t;
}

gate_ticket_t *gate_caller_start(gate_caller_t *self, const char *method,
                                 const void *args, size_t args_size,
                                 const void *kwargs, size_t kwargs_size,
                                 int64_t timeout_ms, const gate_arg_t *more,
                                 size_t n) {
    s_list_t list;
    gate_ticket_t *t = s_ticket(self);
    if (!t ||
        s_list(&list, (gate_bytes_t){args, args_size},
               (gate_bytes_t){kwargs, kwargs_size}, timeout_ms, more, n)) {
        if (t)
            s_free(t);
        else
            (void)gi_err(GATE_NOMEM, "no memory for a call");
        return NULL;
    }
    gate_future_t *future =
        gate_client_start_(self->client, method, list.all, list.n);
    s_list_free(&list);
    gi_future_hold(future);
    t->future = future;
    gate_future_then(&future, self->cq, s_done, t);
    return t;
}

void gate_caller_cancel(gate_caller_t *self, gate_ticket_t *ticket) {
    (void)self;
    if (!gi_err_null(ticket, "gate_caller_cancel: the ticket"))
        gate_future_cancel(ticket->future);
}

gate_err_t gate_caller_call(gate_caller_t *self, const char *method,
                            const void *args, size_t args_size,
                            const void *kwargs, size_t kwargs_size,
                            int64_t timeout_ms, const gate_arg_t *more,
                            size_t n, gate_bytes_t *result) {
    s_list_t list;
    if (gi_err_null(result, "gate_caller_call: where the result goes"))
        return GATE_BADARG;
    gate_err_t e =
        s_list(&list, (gate_bytes_t){args, args_size},
               (gate_bytes_t){kwargs, kwargs_size}, timeout_ms, more, n);
    if (e)
        return e;
    gate_value_destroy(&self->last);
    e = gate_client_call_(self->client, method, gate_oval(&self->last),
                          list.all, list.n);
    s_list_free(&list);
    if (e)
        return e;
    *result = gate_value_bytes(self->last);
    if (result->size)
        return GATE_OK;
    gi_buf_reset(&self->out, S_KEEP);
    s_put_value(&self->out, self->last);
    *result = (gate_bytes_t){self->out.data, self->out.size};
    return self->out.failed ? gi_err(GATE_NOMEM, "no memory for the answer")
                            : GATE_OK;
}

/* ---- streams ------------------------------------------------------------- */
gate_err_t gate_caller_open(gate_caller_t *self, const char *method,
                            const void *args, size_t args_size,
                            const void *kwargs, size_t kwargs_size,
                            int64_t timeout_ms, const gate_arg_t *more,
                            size_t n, gate_stream_t **stream) {
    s_list_t list;
    gate_err_t e =
        s_list(&list, (gate_bytes_t){args, args_size},
               (gate_bytes_t){kwargs, kwargs_size}, timeout_ms, more, n);
    if (e)
        return e;
    e = gate_client_open_(self->client, method, stream, list.all, list.n);
    s_list_free(&list);
    return e;
}

static gate_err_t s_next(gate_stream_t *stream, bool wait,
                         gate_value_t **item) {
    return wait ? gate_stream_next_(stream, gate_oval(item))
                : gate_stream_try_(stream, gate_oval(item));
}

gate_err_t gate_caller_items(gate_caller_t *self, gate_stream_t *stream,
                             bool wait, size_t max, gate_bytes_t *items) {
    gate_err_t e = s_begin(self) ? GATE_OK : GATE_NOMEM;
    while (!e && self->n < max && self->out.size < S_KEEP) {
        gate_value_t *item = NULL;
        e = s_next(stream, wait && !self->n, &item);
        if (!e) {
            s_put_value(&self->out, item);
            self->n++;
        }
        gate_value_destroy(&item);
        if (self->out.failed)
            e = GATE_NOMEM;
    }
    if (e == GATE_NOMEM)
        return gi_err(e, "no memory for the items of a stream");
    if (!self->n)
        return e;
    *items = s_whole(self);
    return GATE_OK;
}
