/* SPDX-License-Identifier: BSD-3-Clause */
/* client_huge.c -- huge answers (docs/wire.md, huge data). The actor inflates
 * nothing: it hands chunks on.
 *
 *   to a stream: into its queue; its reader inflates when it reads
 *   to a future: into a receiver's queue -> a helper thread inflates ->
 *                mail: credit, at last the whole value or why there is none
 *
 * Law: a receiver has one job at most; queue and flags are under its lock, join
 * and value are the job's; the future stays the actor's. */
#include <string.h>
#include "client_impl.h"
#include "codec.h"
#include "err.h"
#include "join.h"
#include "lock.h"
#include "mem.h"

#define S_STEP ((size_t)256 << 10)
#define S_TELL_BYTES ((size_t)256 << 10) /* credit is given back by so much */

typedef struct s_chunk {
    struct s_chunk *next;
    zmq_msg_t frame;
} s_chunk_t;

struct gi_chuge {
    gi_cmail_t mail;
    gi_job_t job;
    gi_ref_t refs; /* the pending's, the job's, the mail's */
    gate_client_t *client;
    gi_pending_t *pending; /* the mail has a reference */
    gi_lock_t lock;        /* of what follows, up to error */
    s_chunk_t *head, **tail;
    uint64_t queued;    /* bytes */
    bool working;       /* the job is under way */
    bool told;          /* the mail is under way */
    bool end;           /* END came: nothing follows what is queued */
    bool left;          /* the pending is done */
    size_t taken;       /* bytes inflated and not given back as credit */
    gate_err_t outcome; /* GATE_OK under way, GATE_EOS complete, else error */
    gi_error_t error;
    gi_join_t *join;
    gi_buf_t value;
};

/* ---- announcing -----------------------------------------------------------
 */
void gi_chuge_announce(const gate_client_t *self, gi_ext_t *ext) {
    ext->huge = true;
    ext->codecs = (gate_bytes_t){self->codecs, strlen(self->codecs)};
}

/* ---- a receiver's life ----------------------------------------------------
 */
static void s_free_queue(gi_chuge_t *h) {
    while (h->head) {
        s_chunk_t *c = h->head;
        h->head = c->next;
        zmq_msg_close(&c->frame);
        gi_mem_free(c);
    }
    h->tail = &h->head;
    h->queued = 0;
}

static void s_drop(gi_chuge_t *h) {
    if (!gi_ref_drop(&h->refs))
        return;
    s_free_queue(h);
    gi_join_destroy(&h->join);
    gi_buf_fini(&h->value);
    gi_error_fini(&h->error);
    gi_lock_fini(&h->lock);
    gi_mem_free(h);
}

void gi_chuge_leave(gi_pending_t *p) {
    gi_chuge_t *h = p->huge;
    if (!h)
        return;
    p->huge = NULL;
    p->client->n_huge--;
    gi_lock(&h->lock);
    h->left = true;
    s_free_queue(h);
    gi_unlock(&h->lock);
    s_drop(h);
}

/* The codec is named where the worker knows that we understand it. */
static gate_err_t s_join(gi_pending_t *p, const gi_ext_t *ext,
                         gi_join_t **out) {
    const gate_settings_t *settings = p->client->settings;
    char codec[64];
    snprintf(codec, sizeof codec, "%s", settings->huge_data_compress_module);
    if (ext->codecs.size && ext->codecs.size < sizeof codec) {
        memcpy(codec, ext->codecs.data, ext->codecs.size);
        codec[ext->codecs.size] = 0;
    }
    gi_join_options_t options = {
        .codec = codec,
        .max_bytes = p->stream ? 0 : (uint64_t)settings->huge_max_bytes,
        .ratio_max = (uint64_t)settings->huge_ratio_max};
    return gi_join_new(&options, out);
}

static gate_err_t s_receiver(gi_pending_t *p, gi_join_t *join) {
    gate_client_t *self = p->client;
    gi_chuge_t *h = gi_mem_calloc(1, sizeof *h);
    if (!h) {
        gi_join_destroy(&join);
        return gi_err(GATE_NOMEM, "no memory for a huge reply");
    }
    h->mail.kind = GI_CMAIL_HUGE;
    gi_ref_init(&h->refs);
    gi_lock_init(&h->lock);
    gi_error_init(&h->error);
    h->tail = &h->head;
    h->client = self;
    h->pending = p;
    h->join = join;
    p->huge = h;
    self->n_huge++;
    return GATE_OK;
}

/* ---- the stream's reader --------------------------------------------------
 */
static gate_err_t s_step(void *join, gate_bytes_t *in, bool end, void *out,
                         size_t *out_size) {
    gate_err_t e = end ? gi_join_end(join, out, out_size)
                       : gi_join_step(join, in, out, out_size);
    return !e && gi_join_saw_end(join) ? GATE_EOS : e;
}

static void s_step_destroy(void *arg) {
    gi_join_t *join = arg;
    gi_join_destroy(&join);
}

static const gi_inflate_t s_inflate_ops = {s_step, s_step_destroy};

/* ---- the job --------------------------------------------------------------
 */
/* Inflates what is in hand; end: no more input comes. */
static gate_err_t s_inflate(gi_chuge_t *h, gate_bytes_t in, bool end) {
    gate_err_t e;
    size_t room;
    do {
        if (!gi_buf_reserve(&h->value, S_STEP))
            return gi_err(GATE_NOMEM, "no memory for a huge reply");
        size_t n = room = h->value.room - h->value.size;
        e = s_step(h->join, &in, end, h->value.data + h->value.size, &n);
        h->value.size += n;
        room -= n;
    } while (!e && (end || in.size || room == 0));
    return e;
}

/* The next chunk; NULL: none, then *end says whether any follows. False: there
 * is nothing to do, and the job has ended. */
static bool s_take(gi_chuge_t *h, s_chunk_t **chunk, bool *end) {
    gi_lock(&h->lock);
    s_chunk_t *c = h->head;
    bool work = (c || h->end) && !h->left && !h->outcome;
    if (work && c) {
        h->head = c->next;
        if (!h->head)
            h->tail = &h->head;
        h->queued -= zmq_msg_size(&c->frame);
    }
    h->working = work;
    *chunk = work ? c : NULL;
    *end = !c;
    gi_unlock(&h->lock);
    return work;
}

/* True: the actor is to be told, by the caller. */
static bool s_settle(gi_chuge_t *h, gate_err_t e, size_t taken) {
    gi_lock(&h->lock);
    h->outcome = e;
    if (e && e != GATE_EOS)
        gi_error_set(&h->error, gate_error());
    h->taken += taken;
    bool tell =
        !h->left && !h->told && (e || !h->head || h->taken >= S_TELL_BYTES);
    h->told |= tell;
    gi_unlock(&h->lock);
    return tell;
}

static void s_tell(gi_chuge_t *h) {
    gi_ref_take(&h->refs);
    gi_ref_take(&h->pending->refs);
    if (gi_mailbox_push(h->client->mailbox, &h->mail, -1)) {
        gi_pending_drop(h->pending);
        s_drop(h);
    }
}

static void s_run(gi_job_t *job) {
    gi_chuge_t *h =
        (gi_chuge_t *)(void *)((char *)job - offsetof(gi_chuge_t, job));
    gate_client_t *self = h->client;
    s_chunk_t *c;
    bool end;
    while (s_take(h, &c, &end)) {
        gate_bytes_t in = {NULL, 0};
        if (c)
            in = (gate_bytes_t){zmq_msg_data(&c->frame),
                                zmq_msg_size(&c->frame)};
        bool tell = s_settle(h, s_inflate(h, in, end), in.size);
        if (c) {
            zmq_msg_close(&c->frame);
            gi_mem_free(c);
        }
        if (tell)
            s_tell(h);
    }
    s_drop(h);
    gi_latch_done(&self->inflating);
}

/* Sees to it that a job looks at the queue. */
static gate_err_t s_work(gi_chuge_t *h) {
    gi_lock(&h->lock);
    bool start = !h->working;
    h->working = true;
    gi_unlock(&h->lock);
    if (!start)
        return GATE_OK;
    gate_pool_t *pool = gi_runtime_helpers(h->client->rt);
    gate_err_t e = pool ? GATE_OK : gate_error()->code;
    if (!e) {
        h->job = (gi_job_t){.run = s_run};
        gi_ref_take(&h->refs);
        gi_latch_add(&h->client->inflating);
        e = gi_pool_run(pool, &h->job);
        if (e) {
            gi_latch_done(&h->client->inflating);
            s_drop(h);
            (void)gi_err(e, "no thread inflates a huge result: %s",
                         gate_err_text(e));
        }
    }
    if (e) {
        gi_lock(&h->lock);
        h->working = false;
        gi_unlock(&h->lock);
    }
    return e;
}

/* ---- the actor ------------------------------------------------------------
 */
static void s_complete(gi_pending_t *p, gi_chuge_t *h) {
    size_t size;
    void *data = gi_buf_take(&h->value, &size);
    p->client->stats.answers++;
    gi_future_complete_huge(p->future, data, size, gi_mem_free, data);
    p->future = NULL;
    gi_pending_done(p);
}

void gi_chuge_mail(gi_cmail_t *mail) {
    gi_chuge_t *h = (gi_chuge_t *)(void *)mail;
    gi_pending_t *p = h->pending;
    gi_lock(&h->lock);
    gate_err_t outcome = h->left ? GATE_OK : h->outcome;
    size_t taken = h->left ? 0 : h->taken;
    h->told = false;
    h->taken = 0;
    gi_unlock(&h->lock);
    if (outcome == GATE_EOS) {
        s_complete(p, h);
    } else if (outcome) {
        (void)gi_error_publish(&h->error);
        gi_pending_abort(p);
    } else if (taken) {
        gi_pending_credit(p, 0, taken);
    }
    gi_pending_drop(p);
    s_drop(h);
}

/* To a future the first chunks come uncalled for; what it may have beyond them
 * is shared by all that come in at a time (docs/extensions.md). */
static void s_open_window(gi_pending_t *p) {
    gate_client_t *self = p->client;
    size_t share =
        (size_t)self->settings->huge_window_bytes / (self->n_huge + 1);
    if (self->ext)
        gi_pending_credit(p, 0,
                          share > GI_HUGE_FIRST ? share - GI_HUGE_FIRST : 1);
}

static gate_err_t s_begin(gi_pending_t *p, const gate_bytes_t *body, size_t n) {
    gi_ext_t ext;
    gi_join_t *join = NULL;
    gi_ext_init(&ext);
    if (n > 2 && gi_ext_parse(body[2], &ext))
        return GATE_BADDATA;
    gate_err_t e = s_join(p, &ext, &join);
    if (e)
        return e;
    p->chunks = true;
    if (p->stream) {
        gi_stream_begin_huge(p->stream, &s_inflate_ops, join,
                             ext.huge_size < 0 ? UINT64_MAX
                                               : (uint64_t)ext.huge_size);
        return GATE_OK;
    }
    e = s_receiver(p, join);
    if (!e)
        s_open_window(p);
    return e;
}

static gate_err_t s_queue(gi_chuge_t *h, zmq_msg_t *frame) {
    uint64_t max = (uint64_t)h->client->settings->huge_max_bytes;
    s_chunk_t *c = gi_mem_alloc(sizeof *c);
    if (!c)
        return gi_err(GATE_NOMEM, "no memory for a huge reply");
    c->next = NULL;
    zmq_msg_init(&c->frame);
    zmq_msg_move(&c->frame, frame);
    gi_lock(&h->lock);
    *h->tail = c;
    h->tail = &c->next;
    h->queued += zmq_msg_size(&c->frame);
    bool over = h->queued > max;
    gi_unlock(&h->lock);
    return over ? gi_err(GATE_TOOBIG,
                         "a huge result of more than %llu compressed bytes",
                         (unsigned long long)max)
                : GATE_OK;
}

static void s_chunk(gi_pending_t *p, zmq_msg_t *frame) {
    if (p->stream) {
        gi_pending_push(p, frame);
        return;
    }
    gi_pending_alive(p);
    gate_err_t e = s_queue(p->huge, frame);
    if (!e)
        e = s_work(p->huge);
    if (e)
        gi_pending_abort(p);
}

static void s_end(gi_pending_t *p) {
    if (p->stream) {
        p->client->stats.answers++;
        gi_stream_end(p->stream);
        gi_pending_done(p);
        return;
    }
    gi_lock(&p->huge->lock);
    p->huge->end = true;
    gi_unlock(&p->huge->lock);
    if (s_work(p->huge))
        gi_pending_abort(p);
}

/* A Python broker sends the triple behind it, as if it were a chunk. */
static void s_exception(gi_pending_t *p, const gate_bytes_t *body, size_t n) {
    if (n > 2)
        gi_pending_exception(p, body[2]);
    else if (p->client->ext)
        gi_pending_exception(p, (gate_bytes_t){NULL, 0});
    else
        p->triple_follows = true;
}

void gi_chuge_message(gi_pending_t *p, zmq_msg_t *frames,
                      const gate_bytes_t *body, size_t n) {
    gi_body_kind_t kind = gi_rpc_body_kind(body, n);
    if (p->triple_follows) {
        gi_pending_exception(p, body[1]);
    } else if (kind == GI_BODY_HUGE_EXCEPTION) {
        s_exception(p, body, n);
    } else if (!p->chunks && s_begin(p, body, n)) {
        gi_pending_abort(p);
    } else if (kind == GI_BODY_CHUNK) {
        s_chunk(p, &frames[1]);
    } else {
        s_end(p);
    }
}
