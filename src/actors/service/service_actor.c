/* SPDX-License-Identifier: BSD-3-Clause */
/* service_actor.c -- the service's shell. It reads as what it does on each
 * pass: mail, links, generators; handlers that are not short run elsewhere, so
 * heartbeats are answered whatever they do. */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "net/affinity.h"
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/pack.h"

/* Each takes two of the descriptors that an actor sleeps on. */
#define S_LINKS_MAX ((GI_ACTOR_FDS_MAX - 2) / 2)

/* ---- commands ------------------------------------------------------------ */
static gate_err_t s_connect(void *arg, const char *endpoint, gi_buf_t *out) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    (void)out;
    own->core.now_ms = gi_clock_ms();
    if (own->n_links + self->is.n_workers > S_LINKS_MAX)
        return gi_err(
            GATE_TOOBIG, "service %s: %zu connections and %u more: at most %d",
            self->is.name, own->n_links, self->is.n_workers, S_LINKS_MAX);
    own->n_links += self->is.n_workers;
    for (unsigned i = 0; i < self->is.n_workers; i++) {
        gate_err_t e = gi_link_new(self, endpoint, i);
        if (e)
            return e;
    }
    return GATE_OK;
}

/* The old connection stays for what is under way. */
gate_err_t gi_service_follow(gi_link_t *link) {
    gate_service_t *self = link->service;
    if (self->own->n_links + 1 > S_LINKS_MAX)
        return gi_err(GATE_TOOBIG, "service %s: too many connections",
                      self->is.name);
    gate_err_t e = gi_link_new(self, link->endpoint, link->number);
    self->own->n_links += !e;
    return e;
}

static void s_bury(gate_service_t *self) {
    for (gi_link_t **at = &self->own->links; *at;) {
        gi_link_t *link = *at;
        if (!gi_link_is_over(link)) {
            at = &link->next;
            continue;
        }
        *at = link->next;
        self->own->n_links--;
        gi_link_destroy(link);
    }
}

static gate_err_t s_say(gi_buf_t *out, bool yes) {
    gi_buf_append(out, yes ? "1" : "0", 1);
    return GATE_OK;
}

static gate_err_t s_ready(void *arg, const char *unused, gi_buf_t *out) {
    gate_service_t *self = arg;
    bool up = true;
    (void)unused;
    for (gi_link_t *link = self->own->links; link; link = link->next)
        up &= link->state == GI_LINK_UP;
    return s_say(out, up);
}

void gi_service_drain(gate_service_t *self) {
    if (self->own->core.draining)
        return;
    self->own->core.draining = true;
    for (gi_link_t *link = self->own->links; link; link = link->next)
        gi_link_announce(link);
}

static gate_err_t s_drain(void *arg, const char *unused, gi_buf_t *out) {
    (void)unused;
    (void)out;
    gi_service_drain(arg);
    return GATE_OK;
}

/* Drained: nothing under way, nothing to come; then every broker is told. */
static bool s_try_leave(gate_service_t *self) {
    gi_service_own_t *own = self->own;
    bool idle = own->core.n_live == 0 && own->core.n_waiting == 0;
    for (gi_link_t *link = own->links; link; link = link->next)
        idle &= link->out_n == 0 &&
                (!own->core.draining || gi_link_may_leave(link));
    if (idle && own->core.draining)
        for (gi_link_t *link = own->links; link; link = link->next)
            gi_link_leave(link);
    return idle;
}

static void s_tell_idle(gate_service_t *self) {
    bool idle = s_try_leave(self);
    if (idle && !self->own->idle)
        gi_news_tell(&self->shared.news);
    self->own->idle = idle;
}

static gate_err_t s_is_idle(void *arg, const char *unused, gi_buf_t *out) {
    (void)unused;
    return s_say(out, s_try_leave(arg));
}

static gate_err_t s_away(void *arg, const char *unused, gi_buf_t *out) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    int64_t away = gi_clock_ms() - own->reached_ms;
    bool up = !own->links || own->core.draining;
    (void)unused;
    for (gi_link_t *link = own->links; link; link = link->next)
        up |= link->state == GI_LINK_UP;
    if (up)
        away = 0;
    gi_buf_append(out, &away, sizeof away);
    return GATE_OK;
}

static void s_pack_methods(gate_service_t *self, msgpack_packer *pk) {
    gi_pack_text(pk, "methods");
    msgpack_pack_map(pk, self->is.methods.n);
    for (size_t i = 0; i < self->is.methods.n; i++) {
        const char *name = self->is.methods.all[i].m->name;
        gi_pack_text(pk, name);
        msgpack_pack_map(pk, 2);
        gi_pack_uint(pk, "calls", self->is.methods.all[i].counts.calls);
        gi_pack_uint(pk, "errors", self->is.methods.all[i].counts.errors);
    }
}

static gate_err_t s_stats(void *arg, const char *unused, gi_buf_t *out) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    msgpack_packer pk;
    (void)unused;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 12);
    gi_pack_uint(&pk, "calls", own->core.stats.calls);
    gi_pack_uint(&pk, "errors", own->core.stats.errors);
    gi_pack_uint(&pk, "refused",
                 own->core.stats.refused +
                     (uint64_t)gi_gauge_read(&self->shared.local_refused));
    gi_pack_uint(&pk, "cancelled", own->core.stats.cancelled);
    gi_pack_uint(&pk, "items", own->core.stats.items);
    gi_pack_uint(&pk, "huge", own->stats.huge);
    gi_pack_uint(&pk, "chunks", own->stats.chunks);
    gi_pack_uint(&pk, "dropped", own->stats.dropped);
    gi_pack_uint(&pk, "in_flight", own->core.n_live);
    gi_pack_uint(&pk, "waiting", own->core.n_waiting);
    gi_pack_uint(&pk, "local", (uint64_t)gi_gauge_read(&self->shared.local));
    s_pack_methods(self, &pk);
    return GATE_OK;
}

static const gi_command_t s_commands[] = {{"CONNECT", s_connect},
                                          {"READY", s_ready},
                                          {"DRAIN", s_drain},
                                          {"IDLE", s_is_idle},
                                          {"STATS", s_stats},
                                          {"AWAY", s_away},
                                          {NULL, NULL}};

/* ---- mail ---------------------------------------------------------------- */
#define S_OWNER(type, member, mail) \
    ((type *)(void *)((char *)(mail)-offsetof(type, member)))

bool gi_service_on_actor(const gate_service_t *self) {
    return gi_actor_thread() &&
           pthread_equal(self->shared.thread, pthread_self());
}

gate_err_t gi_service_post(gate_service_t *self, gi_smail_t *mail,
                           int64_t timeout_ms) {
    gi_service_own_t *own = self->own;
    if (!gi_service_on_actor(self))
        return gi_mailbox_push(self->is.mailbox, mail, timeout_ms);
    if (own->core.stopping)
        return GATE_CLOSED;
    mail->next = NULL;
    *own->mail_last = mail;
    own->mail_last = &mail->next;
    return GATE_OK;
}

static void s_credit(gi_scall_t *c) {
    gi_sstream_owed(c);
    gi_scall_free(c);
}

static void s_cancel(gi_scall_t *c) {
    gi_life_cancel(&c->life);
    gi_scall_free(c);
}

static void s_finished(gi_scall_t *c) {
    gi_life_finished(&c->life);
    gi_scall_free(c); /* the keeper's */
}

static void s_left(gi_sleft_t *left) {
    if (left->local->call)
        gi_life_cancel(&left->local->call->life);
    gi_future_drop(left->local->future);
    gi_mem_free(left);
}

/* Only to be awake: what is ready is pulled in this pass. */
static void s_ready_again(gate_service_t *self) {
    gi_lock(&self->shared.lock);
    self->shared.ready = false;
    gi_unlock(&self->shared.lock);
}

static inline void s_one(gi_smail_t *mail) {
    switch (mail->kind) {
    case GI_SMAIL_LOCAL:
        gi_scall_local(S_OWNER(gi_slocal_t, mail, mail));
        break;
    case GI_SMAIL_OPEN:
        gi_scall_open(S_OWNER(gi_scall_t, mail, mail));
        break;
    case GI_SMAIL_LEFT:
        s_left(S_OWNER(gi_sleft_t, mail, mail));
        break;
    case GI_SMAIL_RETURNED:
        gi_run_returned(S_OWNER(gi_scall_t, mail, mail));
        break;
    case GI_SMAIL_FINISHED:
        s_finished(S_OWNER(gi_scall_t, finish_mail, mail));
        break;
    case GI_SMAIL_JOBDONE:
        gi_sjob_done(S_OWNER(gi_sjob_t, mail, mail));
        break;
    case GI_SMAIL_ITEM:
        gi_sstream_item(S_OWNER(gi_sitem_t, mail, mail));
        break;
    case GI_SMAIL_BEGIN:
        gi_sfeed_begin(S_OWNER(gi_shuge_t, begin_mail, mail));
        break;
    case GI_SMAIL_PIECE:
        gi_sfeed_piece(S_OWNER(gi_sitem_t, mail, mail));
        break;
    case GI_SMAIL_END:
        gi_sfeed_end(S_OWNER(gi_shuge_t, end_mail, mail));
        break;
    case GI_SMAIL_ARGS:
        gi_sargs_news(S_OWNER(gi_scall_t, args_mail, mail));
        break;
    case GI_SMAIL_READY:
        s_ready_again(S_OWNER(gate_service_t, shared.ready_mail, mail));
        break;
    case GI_SMAIL_LOST:
        gi_sstream_lost(S_OWNER(gi_scall_t, lost_mail, mail));
        break;
    case GI_SMAIL_CREDIT:
        s_credit(S_OWNER(gi_scall_t, credit_mail, mail));
        break;
    case GI_SMAIL_CANCEL:
        s_cancel(S_OWNER(gi_scall_t, cancel_mail, mail));
        break;
    }
}

/* What handlers on this thread said to us; true: there was something. */
static bool s_own_mail(gate_service_t *self) {
    gi_service_own_t *own = self->own;
    bool any = own->mail != NULL;
    while (own->mail) {
        gi_smail_t *mail = own->mail;
        own->mail = mail->next;
        if (!own->mail)
            own->mail_last = &own->mail;
        s_one(mail);
    }
    return any;
}

/* Callers in this process are told of many answers at once; after every eighth
 * the clock says whether the first has waited so long. */
#define S_TELL_NS 50000

static void s_leave_room(gate_service_t *self) {
    gi_gauge_leave_n(&self->shared.local, (int64_t)self->own->n_left);
    self->own->n_left = 0;
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    gi_future_batch_t batch;
    own->core.now_ms = now_ms;
    gi_future_batch_begin(&batch, S_TELL_NS);
    for (size_t i = 0; i < n; i++) {
        s_one(items[i]);
        gi_service_core_check(&own->core);
    }
    if (own->mail)
        s_own_mail(self);
    gi_run_to_threads(self);
    s_leave_room(self);
    gi_future_batch_end(&batch);
}

/* ---- what the core wants done --------------------------------------------- */
static void s_give(gi_life_t *life, int64_t items, int64_t bytes) {
    const gi_scall_t *c = gi_scall_of(life);
    if (c->ticket)
        gi_pool_credit(c->pool, c->ticket, items > 0 ? (size_t)items : 0,
                       bytes > 0 ? (size_t)bytes : 0);
}

static void s_halt(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    atomic_store(&c->call.cancel, true);
    if (c->ticket)
        gi_pool_cancel(c->pool, c->ticket);
}

static gate_err_t s_last(gi_life_t *life) {
    return gi_call_take_last(&gi_scall_of(life)->call);
}

static void s_over(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    if (c->args_coming)
        gi_sargs_leave(c);
    /* while we still hold a reference: its reader takes one for each report */
    if (c->stream)
        gi_stream_release(&c->stream);
    if (!c->link && !c->left)
        gi_gauge_leave(&c->service->shared.local);
    c->left = true;
    gi_scall_free(c);
}

static const gi_life_ops_t s_life_ops = {.run = gi_run_call,
                                         .gather = gi_sargs_start,
                                         .look = gi_sargs_look,
                                         .submit = gi_sjob_submit,
                                         .pull = gi_sstream_pull,
                                         .may_pull = gi_sstream_may_pull,
                                         .unpull = gi_sstream_unpull,
                                         .send = gi_sstream_send,
                                         .give = s_give,
                                         .halt = s_halt,
                                         .last = s_last,
                                         .wants_bulk = gi_shuge_wants,
                                         .bulk = gi_shuge_go_on,
                                         .bulk_fail = gi_shuge_fail_call,
                                         .answer = gi_scall_answer_outcome,
                                         .cut = gi_scall_answer_cut,
                                         .list = gi_scall_list,
                                         .idle = gi_direct_idle,
                                         .over = s_over};

/* ---- the pass ------------------------------------------------------------ */
static gate_err_t s_start(void *arg) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    self->is.mailbox = gi_actor_mailbox(self->is.actor);
    gi_affinity_actor(self->is.settings);
    self->shared.thread = pthread_self();
    own->mail_last = &own->mail;
    own->born_ms = own->reached_ms = own->worked_ms = gi_clock_ms();
    gate_err_t e = gi_service_core_init(&own->core, self->is.name, &s_life_ops,
                                        own->reached_ms);
    own->core.limit = self->is.limit;
    own->core.call_max_ms = self->is.settings->service_call_max_ms;
    int64_t still = gi_settings_heartbeat_ms(self->is.settings);
    gi_arrivals_init(&own->arrivals,
                     gi_settings_huge_packed_max(self->is.settings),
                     still > 1000 ? still : 1000);
    return e;
}

/* With links that is at least every heartbeat: a longer gap means that this
 * process stood still, maybe with the whole machine, and what brokers sent is
 * still unread, or they stood still as well. They get their time anew. */
static void s_awake(gate_service_t *self, int64_t now_ms) {
    int64_t gap = now_ms - self->own->worked_ms;
    self->own->worked_ms = now_ms;
    if (gap > 2 * gi_settings_heartbeat_ms(self->is.settings))
        for (gi_link_t *link = self->own->links; link; link = link->next)
            link->heard_ms = now_ms;
}

static bool s_work(void *arg, int64_t now_ms) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    bool busy = false;
    own->core.now_ms = now_ms;
    s_awake(self, now_ms);
    for (gi_link_t *link = own->links; link; link = link->next) {
        busy |= gi_link_work(link);
        if (link->state == GI_LINK_UP)
            own->reached_ms = now_ms;
    }
    s_bury(self);
    busy |= gi_life_pull_all(&own->core);
    busy |= gi_shuge_pull(self);
    busy |= gi_service_core_tick(&own->core, now_ms);
    busy |= s_own_mail(self);
    gi_service_core_check(&own->core);
    gi_run_to_threads(self);
    s_leave_room(self);
    if (own->core.draining)
        s_tell_idle(self);
    gi_link_send_row(self);
    for (gi_link_t *link = own->links; link; link = link->next) {
        gi_sock_load(&link->sock, own->core.n_live);
        busy |= gi_sock_flush(&link->sock);
    }
    return busy;
}

static int64_t s_next(void *arg, int64_t now_ms) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    int64_t next = gi_service_core_next(&own->core), look = gi_shuge_next(self);
    (void)now_ms;
    next = look < next ? look : next;
    look = own->links
               ? own->worked_ms + gi_settings_heartbeat_ms(self->is.settings)
               : INT64_MAX;
    next = look < next ? look : next;
    for (gi_link_t *link = own->links; link; link = link->next) {
        int64_t due = gi_link_next(link);
        next = due < next ? due : next;
    }
    return next;
}

static void s_fds(void *arg, gi_polled_t *polled) {
    gate_service_t *self = arg;
    for (gi_link_t *link = self->own->links; link; link = link->next)
        gi_sock_poll(&link->sock, polled);
}

static bool s_calm(void *arg) {
    gate_service_t *self = arg;
    bool calm = false;
    for (gi_link_t *link = self->own->links; link; link = link->next)
        calm |= gi_sock_calm(&link->sock);
    return calm;
}

static bool s_there(void *arg) {
    gate_service_t *self = arg;
    const gi_link_t *link = self->own->links;
    while (link && !gi_sock_there(&link->sock))
        link = link->next;
    return link != NULL;
}

static void s_stop(void *arg) {
    gate_service_t *self = arg;
    gi_service_own_t *own = self->own;
    s_own_mail(self);
    gi_run_to_threads(self);
    gi_service_core_stop(&own->core);
    gi_run_to_threads(self);
    gi_link_send_row(self);
    while (own->links) {
        gi_link_t *link = own->links;
        own->links = link->next;
        gi_link_leave(link);
        gi_link_destroy(link);
    }
    gi_scall_free_all(self);
    gi_readers_free(self);
    gi_service_core_fini(&own->core);
    gi_mem_free(own->waiting);
    gi_news_tell(&self->shared.news);
}

const gi_actor_ops_t gi_service_ops = {.name = "gate-service",
                                       .commands = s_commands,
                                       .start = s_start,
                                       .stop = s_stop,
                                       .mail = s_mail,
                                       .work = s_work,
                                       .next = s_next,
                                       .fds = s_fds,
                                       .calm = s_calm,
                                       .there = s_there};
