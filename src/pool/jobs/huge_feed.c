/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_feed.c -- the handler's half of a huge result: what its msgpack bytes
 * are, and that they are as many as were announced. Of a huge argument, which
 * huge_arg.c makes, the same by the same functions. */
#include "jobs/huge_feed.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/origin.h"
#include "value/mp.h"

#define S_LOOK_MS 100
#define S_ITEM_HEAD 6 /* ext 32: c9, size, type */
#define S_BEGIN_HEAD 9

/* ---- parts as items ------------------------------------------------------ */
static gate_err_t s_item(gate_call_t *call, char kind, const void *head,
                         size_t head_size, const void *data, size_t size) {
    gi_buf_t *out = &call->out;
    gate_err_t e = GATE_NOMEM;

    gi_buf_reset(out, 2 * GI_HUGE_PIECE);
    gi_mp_put_be(out, 0xc9, 1 + head_size + size, 4);
    gi_mp_put_byte(out, GI_EXT_HUGE);
    gi_mp_put_byte(out, (unsigned char)kind);
    gi_buf_append(out, head, head_size);
    gi_buf_append(out, data, size);
    call->streamed = true;
    if (!out->failed)
        e = call->ops->yield(call);
    else
        (void)gi_err(e, "%s: a part of a huge result", gate_call_method(call));
    gi_buf_reset(out, 2 * GI_HUGE_PIECE);
    return e;
}

static gate_err_t s_item_begin(gate_call_t *call,
                               const gi_huge_begin_t *begin) {
    unsigned char head[S_BEGIN_HEAD];

    head[0] = (unsigned char)begin->level;
    memcpy(head + 1, &begin->size, sizeof begin->size);
    return s_item(call, 'B', head, sizeof head, begin->codec,
                  strlen(begin->codec));
}

static gate_err_t s_item_put(gate_call_t *call, const void *data, size_t size) {
    return s_item(call, 'D', NULL, 0, data, size);
}

static gate_err_t s_item_end(gate_call_t *call, const gate_error_t *error) {
    if (!error)
        return s_item(call, 'E', NULL, 0, NULL, 0);
    gi_error_set(&call->error, error);
    return GATE_OK;
}

const gi_huge_ops_t gi_huge_by_items = {
    .begin = s_item_begin, .put = s_item_put, .end = s_item_end};

int gi_huge_item(const void *data, size_t size, gate_bytes_t *part) {
    const unsigned char *p = data;

    if (size <= S_ITEM_HEAD || p[0] != 0xc9 || p[5] != GI_EXT_HUGE)
        return 0;
    *part = (gate_bytes_t){p + S_ITEM_HEAD + 1, size - S_ITEM_HEAD - 1};
    return p[S_ITEM_HEAD];
}

bool gi_huge_item_begin(gate_bytes_t part, gi_huge_begin_t *out) {
    const unsigned char *p = part.data;
    size_t size = part.size - S_BEGIN_HEAD;

    if (part.size < S_BEGIN_HEAD || size >= sizeof out->codec)
        return false;
    out->level = p[0];
    memcpy(&out->size, p + 1, sizeof out->size);
    memcpy(out->codec, p + S_BEGIN_HEAD, size);
    out->codec[size] = 0;
    return true;
}

/* ---- what it will be ----------------------------------------------------- */
/* The first bytes of a bin or str of size bytes. */
size_t gi_huge_head(gate_huge_kind_t kind, uint64_t size,
                    unsigned char out[5]) {
    bool bin = kind == GATE_HUGE_BIN;
    unsigned width = size <= UINT8_MAX ? 1 : size <= UINT16_MAX ? 2 : 4;
    static const unsigned char first[2][5] = {{0, 0xd9, 0xda, 0, 0xdb},
                                              {0, 0xc4, 0xc5, 0, 0xc6}};

    if (kind == GATE_HUGE_PACKED)
        return 0;
    if (!bin && size < 32) {
        out[0] = (unsigned char)(0xa0 | size);
        return 1;
    }
    out[0] = first[bin][width];
    for (unsigned i = 0; i < width; i++)
        out[1 + i] = (unsigned char)(size >> (8 * (width - 1 - i)));
    return 1 + width;
}

typedef struct s_plan {
    const gi_huge_ops_t *ops;
    gi_huge_begin_t begin;
    unsigned char head[5];
    size_t n_head;
    uint64_t size; /* of the content; UINT64_MAX not known */
} s_plan_t;

static gate_err_t s_plan(gate_call_t *call, const gate_huge_options_t *options,
                         uint64_t size, s_plan_t *out) {
    static const gate_huge_options_t none = {0};
    const gate_huge_options_t *o = options ? options : &none;
    const char *codec = o->codec ? o->codec : "";
    const char *method = gate_call_method(call);

    if (!call->ops->huge)
        return gi_err(GATE_NOTIMPL,
                      "%s: nobody takes a huge result here: only the methods "
                      "of a service can give one",
                      method);
    if (call->huge || call->streamed || call->answered || call->packed)
        return gi_err(GATE_BADARG, "%s: a huge result after another answer",
                      method);
    if (strlen(codec) >= sizeof out->begin.codec)
        return gi_err(GATE_NOTIMPL, "%s: no codec %.40s...", method, codec);
    if (o->kind != GATE_HUGE_PACKED && size > UINT32_MAX)
        return gi_err(GATE_TOOBIG,
                      "%s: a bin or str has at most 4 GiB - 1 bytes", method);
    *out = (s_plan_t){.ops = call->ops->huge, .size = size};
    strcpy(out->begin.codec, codec);
    out->begin.level = o->level;
    out->n_head = gi_huge_head(o->kind, size, out->head);
    out->begin.size = size == UINT64_MAX ? size : size + out->n_head;
    return GATE_OK;
}

/* ---- life ---------------------------------------------------------------- */
gate_huge_t *gate_huge_new(gate_call_t *call,
                           const gate_huge_options_t *options) {
    static const gate_huge_options_t none = {0};
    const gate_huge_options_t *o = options ? options : &none;
    bool unknown = o->kind == GATE_HUGE_PACKED && !o->size;
    uint64_t size = unknown ? UINT64_MAX : o->size;
    s_plan_t plan;

    if (s_plan(call, options, size, &plan))
        return NULL;
    gate_huge_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        gi_err(GATE_NOMEM, "a huge result");
        return NULL;
    }
    *self = (gate_huge_t){.call = call, .ops = plan.ops, .left = plan.size};
    gate_err_t e = plan.ops->begin(call, &plan.begin);
    if (e) {
        gi_mem_free(self);
        return NULL;
    }
    call->huge = true;
    if (plan.n_head && plan.ops->put(call, plan.head, plan.n_head)) {
        /* nobody wants it: every put will say so */
    }
    return self;
}

static gate_err_t s_put_all(gate_call_t *call, const gi_huge_ops_t *ops,
                            const char *p, size_t size) {
    gate_err_t e = GATE_OK;

    for (size_t n; size && !e; p += n, size -= n) {
        n = size < GI_HUGE_PIECE ? size : GI_HUGE_PIECE;
        e = ops->put(call, p, n);
    }
    return e;
}

static gate_err_t s_put_source(gi_huge_source_t *source, const char *p,
                               size_t size) {
    gate_err_t e = GATE_OK;

    for (size_t n; size && !e; p += n, size -= n) {
        n = size < GI_HUGE_PIECE ? size : GI_HUGE_PIECE;
        e = gi_huge_source_put(source, p, n);
    }
    return e;
}

static gate_err_t s_put(gate_huge_t *self, const void *data, size_t size) {
    if (self->left != UINT64_MAX && size > self->left)
        return gi_err(GATE_BADARG,
                      "gate_huge_put: %zu bytes, of the size announced %llu "
                      "are left",
                      size, (unsigned long long)self->left);
    return self->source ? s_put_source(self->source, data, size)
                        : s_put_all(self->call, self->ops, data, size);
}

gate_err_t gate_huge_put(gate_huge_t *self, const void *data, size_t size) {
    if (gi_err_null(self, "gate_huge_put"))
        return GATE_BADARG;
    gate_err_t e = s_put(self, data, size);
    if (!e && self->left != UINT64_MAX)
        self->left -= size;
    if (e && !self->error.story.code)
        gi_error_set(&self->error, gate_error());
    return e;
}

gate_err_t gate_huge_flush(gate_huge_t *self) {
    if (gi_err_null(self, "gate_huge_flush"))
        return GATE_BADARG;
    return self->source ? gi_huge_source_flush(self->source)
                        : self->ops->put(self->call, "", 0);
}

static gate_err_t s_end(gate_huge_t **self_p, const gate_error_t *story) {
    gate_huge_t *self = *self_p;
    *self_p = NULL;
    gate_err_t e = GATE_OK;
    if (self->source)
        gi_huge_source_end(self->source, story);
    else
        e = self->ops->end(self->call, story);
    gi_huge_source_drop(&self->source);
    gi_error_fini(&self->error);
    gi_mem_free(self);
    return e;
}

gate_err_t gate_huge_end(gate_huge_t **self_p) {
    if (gi_err_null(self_p ? *self_p : NULL, "gate_huge_end"))
        return GATE_BADARG;
    uint64_t left = (*self_p)->left;
    gi_error_t error = {0};

    if (left == UINT64_MAX || !left)
        return s_end(self_p, NULL);
    gate_err_t e = gi_err(GATE_BADARG,
                          "gate_huge_end: %llu bytes of the size announced "
                          "are missing",
                          (unsigned long long)left);
    gi_error_set(&error, gate_error());
    if (s_end(self_p, &error.story)) {
        /* nobody waits for it any more */
    }
    (void)gi_error_publish(&error);
    gi_error_fini(&error);
    return e;
}

void gate_huge_fail(gate_huge_t **self_p, const char *cls, const char *text) {
    gi_error_t error = {0};

    if (!self_p || !*self_p)
        return;
    gi_error_story(&error, GATE_RAISED, cls, text, GI_BY_HANDLER);
    if (s_end(self_p, &error.story)) {
        /* nobody waits for it any more */
    }
    gi_error_fini(&error);
}

void gate_huge_destroy(gate_huge_t **self_p) {
    gate_huge_t *self = self_p ? *self_p : NULL;
    gi_error_t error = {0};

    if (!self)
        return;
    if (self->error.story.code)
        gi_error_set(&error, &self->error.story);
    else
        gi_error_story(&error, GATE_RAISED, "RuntimeError",
                       "the huge value was given up before its end", NULL);
    if (s_end(self_p, &error.story)) {
        /* nobody waits for it any more */
    }
    gi_error_fini(&error);
}

/* ---- whole --------------------------------------------------------------- */
/* Head and data by put, on this thread. */
static gate_err_t s_put_whole(gate_call_t *call, const s_plan_t *plan,
                              const void *data, size_t size) {
    gate_err_t e = plan->ops->begin(call, &plan->begin);

    if (e)
        return e;
    call->huge = true;
    if (plan->n_head)
        e = plan->ops->put(call, plan->head, plan->n_head);
    if (!e)
        e = s_put_all(call, plan->ops, data, size);
    if (!e)
        return plan->ops->end(call, NULL);
    gate_error_t story = *gate_error();
    if (plan->ops->end(call, &story)) {
        /* the first failure counts */
    }
    return e;
}

gate_err_t gate_huge_data(gate_call_t *call, const void *data, size_t size,
                          void (*release)(void *data),
                          const gate_huge_options_t *options) {
    /* release gets what it was given: the caller's own, writable */
    void *own = (void *)(uintptr_t)data;
    s_plan_t plan;
    gate_err_t e = s_plan(call, options, size, &plan);

    if (!e && plan.ops->keep) {
        e = plan.ops->keep(call, &plan.begin,
                           (gate_bytes_t){plan.head, plan.n_head},
                           (gate_bytes_t){data, size}, release);
        call->huge = !e;
        return e;
    }
    if (!e)
        e = s_put_whole(call, &plan, data, size);
    if (release)
        release(own);
    return e;
}

/* ---- from a descriptor --------------------------------------------------- */
/* True: there is something to read, or an end or failure to be told. */
static bool s_readable(int fd) {
    struct pollfd p = {fd, POLLIN, 0};

    return poll(&p, 1, S_LOOK_MS) > 0;
}

static gate_err_t s_read_some(gate_call_t *call, const gi_huge_ops_t *ops,
                              int fd, char *buf, uint64_t *left, bool *end) {
    size_t room = *left < GI_HUGE_PIECE ? (size_t)*left : GI_HUGE_PIECE;
    ssize_t n;

    if (gate_call_cancelled(call))
        return gi_err(GATE_CANCELLED, "the reader left");
    if (!s_readable(fd))
        return GATE_OK;
    n = read(fd, buf, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return GATE_OK;
    if (n < 0)
        return gi_err_errno("reading a huge result");
    *end = n == 0;
    if (*left != UINT64_MAX)
        *left -= (uint64_t)n;
    return n ? ops->put(call, buf, (size_t)n) : GATE_OK;
}

gate_err_t gi_huge_read(gate_call_t *call, const gi_huge_ops_t *ops, int fd,
                        uint64_t size) {
    char *buf = gi_mem_alloc(GI_HUGE_PIECE);
    gate_err_t e = buf ? GATE_OK : gi_err(GATE_NOMEM, "reading a huge result");
    bool end = false;

    while (!e && !end && size)
        e = s_read_some(call, ops, fd, buf, &size, &end);
    if (!e && size && size != UINT64_MAX)
        e = gi_err(GATE_SYSTEM, "a huge result's file is shorter than it was");
    gi_mem_free(buf);
    close(fd);
    return e;
}

static gate_err_t s_read_here(gate_call_t *call, const s_plan_t *plan, int fd) {
    gate_err_t e = plan->ops->begin(call, &plan->begin);

    if (e) {
        close(fd);
        return e;
    }
    call->huge = true;
    if (plan->n_head)
        e = plan->ops->put(call, plan->head, plan->n_head);
    if (e)
        close(fd);
    else
        e = gi_huge_read(call, plan->ops, fd, plan->size);
    if (!e)
        return plan->ops->end(call, NULL);
    gate_error_t story = *gate_error();
    if (plan->ops->end(call, &story)) {
        /* the first failure counts */
    }
    return e;
}

gate_err_t gate_huge_fd(gate_call_t *call, int fd,
                        const gate_huge_options_t *options) {
    gi_huge_file_t file;
    s_plan_t plan;
    gate_err_t e = gi_huge_file_look(fd, options, &file);

    if (!e && !file.content.data)
        e = s_plan(call, options, file.size, &plan);
    if (e || file.content.data)
        close(fd);
    if (e)
        return e;
    if (file.content.data)
        return gate_huge_data(call, file.content.data, file.content.size,
                              gi_mem_free, options);
    if (!plan.ops->read)
        return s_read_here(call, &plan, fd);
    call->huge = true;
    e = plan.ops->read(call, &plan.begin,
                       (gate_bytes_t){plan.head, plan.n_head}, fd, plan.size);
    call->huge = e == GATE_OK || e == GATE_KEPT;
    return e;
}
