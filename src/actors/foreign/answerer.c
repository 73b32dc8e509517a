/* SPDX-License-Identifier: BSD-3-Clause */
/* answerer.c -- methods whose calls are answered by another language: a handler
 * keeps the call and puts it into a list, which take packs.
 * Thread: the list is guarded; a call under way is whoever's has its ticket.
 * Law: each call is taken once and ended once. */
#include <gaterpc/foreign.h>

#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "jobs/call.h"
#include "sync/lock.h"
#include "sync/wait.h"
#include "value/mp.h"

enum {
    S_TAKE = 256,
    S_KEEP = 1 << 20,  /* bytes of the buffer that are kept from take to take */
    S_LOOK_EVERY = 16, /* takes: at who has left, while calls come */
    S_HEAD = 5,        /* of an array of 32 bits' length */
    S_ENTRY = 7
};

struct gate_ticket {
    gate_ticket_t *prev, *next; /* in waiting, or in taken */
    gate_call_t *call;
    bool left_told; /* its caller has left, and that was told */
};

typedef struct s_table {
    struct s_table *next;
    gate_method_t methods[2];
    char texts[];
} s_table_t;

typedef struct s_row {
    gate_ticket_t *first, *last;
} s_row_t;

struct gate_answerer {
    gi_lock_t lock;
    int fd;
    s_row_t waiting, taken;
    gi_buf_t out;
    size_t n; /* entries in out */
    unsigned takes;
    s_table_t *tables;
};

/* ---- rows of tickets ----------------------------------------------------- */
static void s_add(s_row_t *row, gate_ticket_t *t) {
    t->next = NULL;
    t->prev = row->last;
    if (row->last)
        row->last->next = t;
    else
        row->first = t;
    row->last = t;
}

static void s_remove(s_row_t *row, gate_ticket_t *t) {
    if (t->prev)
        t->prev->next = t->next;
    else
        row->first = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        row->last = t->prev;
}

/* ---- life ---------------------------------------------------------------- */
gate_answerer_t *gate_answerer_new(void) {
    gate_answerer_t *self = gi_mem_calloc(1, sizeof *self);
    if (self && (self->fd = gi_wait_eventfd()) >= 0) {
        gi_lock_init(&self->lock);
        return self;
    }
    gi_mem_free(self);
    (void)gi_err(GATE_NOMEM, "no memory or descriptor for an answerer");
    return NULL;
}

static void s_fail_all(s_row_t *row) {
    while (row->first) {
        gate_ticket_t *t = row->first;
        s_remove(row, t);
        gate_fail(&t->call, "RuntimeError", "the program that answers is gone");
        gi_mem_free(t);
    }
}

void gate_answerer_destroy(gate_answerer_t **self_p) {
    gate_answerer_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    s_fail_all(&self->waiting);
    s_fail_all(&self->taken);
    while (self->tables) {
        s_table_t *table = self->tables;
        self->tables = table->next;
        gi_mem_free(table);
    }
    close(self->fd);
    gi_lock_fini(&self->lock);
    gi_buf_fini(&self->out);
    gi_mem_free(self);
}

int gate_answerer_fd(const gate_answerer_t *self) { return self->fd; }

/* ---- methods ------------------------------------------------------------- */
/* On the service's actor. */
static gate_err_t s_arrive(gate_call_t *call) {
    gate_answerer_t *self = gate_call_ctx(call);
    gate_ticket_t *t = gi_mem_calloc(1, sizeof *t);
    if (!t)
        return gi_err(GATE_NOMEM, "no memory for a call");
    t->call = gate_call_keep(call);
    if (!t->call) {
        gi_mem_free(t);
        return gate_error()->code;
    }
    gi_lock(&self->lock);
    bool ring = !self->waiting.first;
    s_add(&self->waiting, t);
    gi_unlock(&self->lock);
    if (ring)
        gi_wait_ring(self->fd);
    return GATE_KEPT;
}

static const char *s_copy(char **to, const char *text) {
    if (!text)
        return NULL;
    char *at = *to;
    *to += strlen(text) + 1;
    return memcpy(at, text, strlen(text) + 1);
}

static size_t s_size(const char *text) { return text ? strlen(text) + 1 : 0; }

/* Where its calls run is the host program's own affair. */
__attribute__((constructor)) static void s_known(void) {
    gi_call_foreign = s_arrive;
}

gate_err_t gate_answerer_method(gate_answerer_t *self, gate_service_t *service,
                                const char *name, const char *signature,
                                const char *doc) {
    if (!name)
        return gi_err(GATE_BADARG, "gate_answerer_method: the name is NULL");
    s_table_t *table = gi_mem_calloc(1, sizeof *table + s_size(name) +
                                            s_size(signature) + s_size(doc));
    if (!table)
        return gi_err(GATE_NOMEM, "no memory for method %s", name);
    char *to = table->texts;
    gate_method_t *m = table->methods;
    m->name = s_copy(&to, name);
    m->signature = s_copy(&to, signature);
    m->doc = s_copy(&to, doc);
    m->fn = s_arrive;
    m->runs = GATE_INLINE;
    table->next = self->tables;
    self->tables = table;
    gate_service_methods(service, table->methods, self);
    return GATE_OK;
}

/* ---- taking -------------------------------------------------------------- */
static void s_put_text(gi_buf_t *out, const char *text) {
    gi_mp_put_str(out, text, strlen(text));
}

static void s_put_meta(gi_buf_t *out, const gate_call_t *call) {
    const char *key, *value;
    size_t n = 0;
    while (gate_call_meta_at(call, n, NULL))
        n++;
    gi_mp_put_map(out, n);
    for (size_t i = 0; i < n; i++) {
        key = gate_call_meta_at(call, i, &value);
        s_put_text(out, key);
        s_put_text(out, value);
    }
}

static void s_put_packed(gi_buf_t *out, gate_bytes_t packed,
                         unsigned char none) {
    if (packed.size)
        gi_buf_append(out, packed.data, packed.size);
    else
        gi_buf_append(out, &none, 1);
}

static void s_put_call(gi_buf_t *out, const gate_ticket_t *t) {
    const gate_call_t *call = t->call;
    int64_t left_ms = gate_call_time_left_ms(call);
    gi_mp_put_array(out, S_ENTRY);
    gi_mp_put_uint(out, (uintptr_t)t);
    s_put_text(out, gate_call_method(call));
    s_put_packed(out, call->args_packed, 0x90);
    s_put_packed(out, call->kwargs_packed, 0x80);
    s_put_text(out, gate_call_user(call));
    s_put_meta(out, call);
    if (left_ms == INT64_MAX)
        gi_mp_put_nil(out);
    else
        gi_mp_put_int(out, left_ms);
}

/* False: no memory, out is as before. */
static bool s_kept(gate_answerer_t *self, size_t before) {
    gi_buf_t *out = &self->out;
    if (!out->failed) {
        self->n++;
        return true;
    }
    out->size = before;
    out->failed = false;
    return false;
}

static void s_take_left(gate_answerer_t *self) {
    for (gate_ticket_t *t = self->taken.first; t; t = t->next) {
        size_t before = self->out.size;
        if (t->left_told || !gate_call_cancelled(t->call))
            continue;
        gi_mp_put_array(&self->out, 1);
        gi_mp_put_uint(&self->out, (uintptr_t)t);
        t->left_told = s_kept(self, before);
    }
}

static void s_take_waiting(gate_answerer_t *self) {
    gate_ticket_t *t;
    for (size_t n = 0; n < S_TAKE && (t = self->waiting.first); n++) {
        size_t before = self->out.size;
        s_put_call(&self->out, t);
        if (!s_kept(self, before))
            break;
        s_remove(&self->waiting, t);
        s_add(&self->taken, t);
    }
}

size_t gate_answerer_take(gate_answerer_t *self, gate_bytes_t *calls) {
    static const unsigned char head[S_HEAD] = {0xdd};
    if (gi_err_null(calls, "gate_answerer_take: where the calls go"))
        return 0;
    *calls = (gate_bytes_t){NULL, 0};
    gi_buf_reset(&self->out, S_KEEP);
    self->n = 0;
    if (!gi_buf_append(&self->out, head, sizeof head))
        return 0;
    gi_lock(&self->lock);
    if (!self->waiting.first || ++self->takes % S_LOOK_EVERY == 0)
        s_take_left(self);
    s_take_waiting(self);
    if (self->waiting.first)
        gi_wait_ring(self->fd); /* there are more */
    else
        gi_wait_hush(self->fd);
    gi_unlock(&self->lock);
    for (int i = 1; i < S_HEAD; i++)
        self->out.data[i] = (unsigned char)(self->n >> (8 * (S_HEAD - 1 - i)));
    *calls = (gate_bytes_t){self->out.data, self->out.size};
    return self->n;
}

/* ---- answering ----------------------------------------------------------- */
/* The ticket ends; gives its call. */
static gate_call_t *s_ended(gate_answerer_t *self, gate_ticket_t *t) {
    gate_call_t *call = t->call;
    gi_lock(&self->lock);
    s_remove(&self->taken, t);
    gi_unlock(&self->lock);
    gi_mem_free(t);
    return call;
}

void gate_answerer_return(gate_answerer_t *self, gate_ticket_t *ticket,
                          const void *msgpack, size_t size) {
    gate_call_t *call = s_ended(self, ticket);
    gate_finish_(&call, gate_raw(msgpack, size));
}

void gate_answerer_raise(gate_answerer_t *self, gate_ticket_t *ticket,
                         const char *cls, const char *text,
                         const char *traceback) {
    gate_call_t *call = s_ended(self, ticket);
    gi_call_fail(&call, cls, text, traceback);
}

gate_err_t gate_answerer_yield(gate_answerer_t *self, gate_ticket_t *ticket,
                               const void *msgpack, size_t size) {
    (void)self;
    return gate_yield_now_(ticket->call, gate_raw(msgpack, size));
}

void gate_answerer_end(gate_answerer_t *self, gate_ticket_t *ticket) {
    gate_call_t *call = s_ended(self, ticket);
    gate_end(&call);
}
