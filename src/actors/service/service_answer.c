/* SPDX-License-Identifier: BSD-3-Clause */
/* service_answer.c -- the ends of a call: its answer, its refusal, its
 * deadline. */
#include "service/service_impl.h"

#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include <gaterpc/log.h>
#include "base/mem.h"
#include "base/moment.h"

/* ---- answering ----------------------------------------------------------- */
static gi_frames_t *s_about(gi_scall_t *c, int command) {
    gi_link_t *link = c->link;
    if (!link || c->orphan || c->epoch != link->epoch || !link->sock.raw)
        return NULL;
    gi_frames_t *out = gi_link_begin(link, command);
    gi_frames_share(out, &c->client_id);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_share(out, &c->request_id);
    return out;
}

gi_frames_t *gi_scall_answer(gi_scall_t *c) { return s_about(c, GI_MDP_REPLY); }

gi_frames_t *gi_scall_control(gi_scall_t *c) { return s_about(c, GI_MDP_EXT); }

static void s_write_ok(unsigned char *to, const gi_buf_t *value) {
    memcpy(to, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    to += sizeof gi_rpc_ok_prefix;
    memcpy(to, value->data, value->size);
    memcpy(to + value->size, gi_rpc_ok_suffix, sizeof gi_rpc_ok_suffix);
}

/* The whole body of a single reply, packed behind the out buffer's value. */
static void s_reply_wire(gi_scall_t *c, const unsigned char *body,
                         size_t size) {
    const gi_buf_t *value = &c->call.out;
    gi_frames_t *out = gi_scall_answer(c);
    if (!out) {
        c->service->stats.dropped++;
        return;
    }
    unsigned char *room = NULL;
    if (body) {
        gi_frames_add(out, body, size);
    } else if ((room = gi_frames_room(out, value->size + GI_RPC_OK_OVERHEAD))) {
        s_write_ok(room, value);
    } else {
        c->service->stats.dropped++;
        gi_frames_close(out);
        return;
    }
    gi_link_send(c->link);
}

gate_future_t *gi_scall_take_future(gi_scall_t *c) {
    c->held = c->future;
    c->future = NULL;
    if (c->held)
        gi_future_hold(c->held);
    return c->held;
}

static void s_release_service(void *service) { gi_service_release(service); }

void gi_scall_own_future(gi_scall_t *c) {
    gi_future_own(c->future, s_release_service, gi_service_share(c->service));
}

/* The last that happens to the call: short and plain results lie in the
 * future's block and are read there, longer ones go as they lie. A result that
 * a broker would have brought huge is not measured as a plain one either. */
static void s_reply_future(gi_scall_t *c) {
    const gi_buf_t *value = &c->call.out;
    gate_future_t *future = c->future;
    size_t size = value->size;
    if (size <= GI_FUTURE_SMALL &&
        gi_future_complete_plain(future, value->data, size))
        return;
    gi_scall_own_future(c);
    if (size <= GI_FUTURE_SMALL) {
        gi_future_complete_copy(future, value->data, size);
        return;
    }
    bool huge = (int64_t)size > c->service->settings->huge_plain_max;
    void *data = gi_buf_take(&c->call.out, &size);
    if (huge)
        gi_future_complete_huge(future, data, size, gi_mem_free, data);
    else
        gi_future_complete_packed(future, data, size, gi_mem_free, data);
}

static void s_reply_stream(gi_scall_t *c) {
    const gi_buf_t *value = &c->call.out;
    size_t size = value->size + GI_RPC_OK_OVERHEAD;
    if ((int64_t)value->size > c->service->settings->huge_plain_max) {
        void *data = gi_buf_take(&c->call.out, &size);
        gi_stream_push_huge(c->stream, data, size, gi_mem_free, data);
        return;
    }
    unsigned char *body = gi_mem_alloc(size);
    if (!body) {
        (void)gi_err(GATE_NOMEM, "no memory for a reply");
        gi_stream_fail(c->stream, gate_error());
        return;
    }
    s_write_ok(body, value);
    gi_stream_push_reply(c->stream, body, size, gi_mem_free, body);
}

/* As a Python peer prints it; a handler in C has no more to tell than where. */
static const char *s_traceback(gi_scall_t *c) {
    const char *name = c->service->name, *method = c->call.method;
    size_t room = strlen(name) + (method ? strlen(method) : 0) + 32;
    char *text = method ? gi_arena_alloc(&c->call.arena, room) : NULL;
    if (text)
        snprintf(text, room, "  File \"%s\", in %s\n", name, method);
    return text ? text : "";
}

gate_error_t gi_scall_story(gi_scall_t *c, gate_err_t outcome) {
    gate_error_t story = c->call.error.story;
    if (!story.code)
        story = (gate_error_t){outcome, gi_err_class(outcome),
                               gate_err_text(outcome), ""};
    if (c->service->settings->secure)
        story.traceback = "";
    else if (c->link && (!story.traceback || !*story.traceback))
        story.traceback = s_traceback(c);
    return story;
}

gate_error_t gi_scall_as_remote(const gate_error_t *story) {
    gate_error_t same = *story;
    same.code = gi_err_of_class(story->cls);
    return same;
}

void gi_scall_answer_error(gi_scall_t *c, const gate_error_t *story) {
    gate_service_t *self = c->service;
    if (!c->link) {
        gate_error_t same = gi_scall_as_remote(story);
        if (c->future)
            gi_future_fail(gi_scall_take_future(c), &same);
        else if (c->stream)
            gi_stream_fail(c->stream, &same);
        return;
    }
    gi_buf_reset(&self->scratch, GI_SCALL_KEEP_BYTES);
    if (!gi_rpc_pack_exception(&self->scratch, story->cls, story->text,
                               story->traceback))
        s_reply_wire(c, self->scratch.data, self->scratch.size);
}

/* ---- the deadline -------------------------------------------------------- */
#define S_GRACE_MS 100  /* a caller elsewhere has a clock of its own */
#define S_LOOK_MS 60000 /* between looks at a stream that may stay unread */
#define S_LOG_MS 1000   /* between lines about late calls */

static int64_t s_limit(const gi_scall_t *c) {
    return c->service->settings->service_call_max_ms;
}

/* A stream has no deadline: its reader times each item. Elsewhere it is one when
 * something went out. */
static bool s_is_stream(const gi_scall_t *c) {
    return c->stream || (c->link && c->sent);
}

/* When nothing of a stream has gone out for too long. */
static int64_t s_quiet_until(const gi_scall_t *c) {
    return s_limit(c) ? gi_time_after(c->quiet_ms, s_limit(c)) : GI_NEVER;
}

static void s_arm(gi_scall_t *c, int64_t at) {
    if (at != GI_NEVER)
        gi_wheel_arm(c->service->wheel, &c->timer, at);
}

void gi_scall_arm(gi_scall_t *c) {
    if (c->stream)
        s_arm(c, c->service->now_ms);
    else if (c->call.deadline_ms != GI_NEVER)
        s_arm(c, gi_time_after(c->call.deadline_ms, c->link ? S_GRACE_MS : 0));
    else
        s_arm(c, s_quiet_until(c));
}

/* Items of a local stream that nobody reads; look again when it could be. */
static bool s_is_read(gi_scall_t *c, int64_t *look_ms) {
    int64_t idle = gi_stream_idle_ms(c->stream, c->service->now_ms);
    int64_t wait =
        c->item_timeout_ms < 0 ? S_LOOK_MS : c->item_timeout_ms - idle;
    *look_ms = gi_time_after(c->service->now_ms, wait > 10 ? wait : 10);
    return c->item_timeout_ms < 0 || idle < c->item_timeout_ms;
}

/* One line tells of many. */
static void s_log_late(gi_scall_t *c, const char *text) {
    gate_service_t *self = c->service;
    self->n_late++;
    if (self->late_ms && self->now_ms - self->late_ms < S_LOG_MS)
        return;
    gate_log(GATE_WARN, "service", "%s%s (%llu calls since the last line)",
             text,
             c->state == GI_SCALL_KEPT && !c->away
                 ? "; whoever keeps the call has not ended it"
             : c->away ? "; it still runs"
                       : "",
             (unsigned long long)self->n_late);
    self->late_ms = self->now_ms;
    self->n_late = 0;
}

static void s_too_late(gi_scall_t *c, const char *what, int64_t ms) {
    char text[256];
    gate_error_t story = {GATE_TIMEOUT, gi_err_class(GATE_TIMEOUT), text, ""};
    snprintf(text, sizeof text, "%s.%s: %s %lld ms", c->service->name,
             c->method_name, what, (long long)ms);
    s_log_late(c, text);
    gi_scall_cut(c, &story);
}

static void s_look(gi_scall_t *c) {
    int64_t look = GI_NEVER, now = c->service->now_ms;
    gi_sstream_owed(c);
    if (c->stream && !s_is_read(c, &look)) {
        s_too_late(c, "its stream was not read for", c->item_timeout_ms);
        return;
    }
    if (c->sent != c->looked)
        c->quiet_ms = now;
    c->looked = c->sent;
    if (s_quiet_until(c) <= now)
        s_too_late(c, "nothing of its stream went out for", s_limit(c));
    else
        s_arm(c, look < s_quiet_until(c) ? look : s_quiet_until(c));
}

static void s_expire(gi_scall_t *c) {
    if (c->state == GI_SCALL_ARRIVING)
        gi_sargs_look(c);
    else if (s_is_stream(c))
        s_look(c);
    else if (c->local)
        s_too_late(c, "no answer within", c->item_timeout_ms);
    else
        s_too_late(c, "no answer within", c->service->now_ms - c->begun_ms);
}

bool gi_scall_expire(gate_service_t *self) {
    gi_timer_t *timer;
    bool any = false;
    while ((timer = gi_wheel_expire(self->wheel, self->now_ms))) {
        s_expire((gi_scall_t *)(void *)((char *)timer -
                                        offsetof(gi_scall_t, timer)));
        any = true;
    }
    return any;
}

#define S_FAR 1024 /* more than a batch of mail ends */

/* Its answer goes to a waiting future: out of everything before that, since who
 * has the answer may ask again at once and counts on the room. */
static void s_end_local(gi_scall_t *c) {
    gate_service_t *self = c->service;
    c->local->call = NULL;
    c->left = true;
    if (gi_gauge_read(&self->local) + S_FAR < self->settings->local_max)
        self->n_left++; /* no room is short: all at once, after the batch */
    else
        gi_gauge_leave(&self->local);
    s_reply_future(c);
    c->future = NULL;
}

/* Out of all tables; the runner's reference goes as well unless a pool has it:
 * so does what its handler may still be writing. */
static void s_finish(gi_scall_t *c) {
    gate_service_t *self = c->service;
    bool away = c->away;
    if (!away)
        gi_sstream_stop(c);
    /* while we still hold a reference: its reader takes one for each report */
    gi_stream_release(&c->stream);
    gi_scall_unlist(c);
    if (!c->link && !c->left)
        gi_gauge_leave(&self->local);
    c->left = true;
    c->state = GI_SCALL_DONE;
    if (!away)
        gi_scall_free(c);
}

/* Before its answer goes out: who has that may ask for the numbers. */
static void s_count(gi_scall_t *c, bool failed) {
    gate_service_t *self = c->service;
    self->stats.calls++;
    self->stats.errors += failed;
    if (c->method) {
        c->method->calls++;
        c->method->errors += failed;
    }
}

void gi_scall_close(gi_scall_t *c, gate_err_t outcome) {
    s_count(c, outcome != GATE_OK);
    s_finish(c);
}

void gi_scall_end(gi_scall_t *c, gate_err_t outcome) {
    bool streams =
        c->streaming || c->call.streamed || c->state == GI_SCALL_GENERATING;
    if (outcome == GATE_EOS)
        outcome = GATE_OK;
    if (c->huge || (!outcome && !streams && gi_shuge_wants(c))) {
        gi_shuge_go_on(c, outcome);
        return;
    }
    gate_error_t story = {0};
    if (outcome)
        story = gi_scall_story(c, outcome);
    s_count(c, outcome != GATE_OK);
    if (streams)
        gi_sstream_end(c, outcome ? &story : NULL);
    else if (outcome)
        gi_scall_answer_error(c, &story);
    else if (c->link)
        s_reply_wire(c, NULL, 0);
    else if (c->future)
        s_end_local(c);
    else if (c->stream)
        s_reply_stream(c);
    s_finish(c);
}

void gi_scall_cut(gi_scall_t *c, const gate_error_t *story) {
    gate_error_t told = *story;
    if (c->state == GI_SCALL_WAITING)
        gi_scall_unqueue(c);
    atomic_store(&c->call.cancel, true);
    gi_credit_cancel(&c->credit);
    if (c->ticket)
        gi_pool_cancel(c->pool, c->ticket);
    s_count(c, true);
    if (c->service->settings->secure)
        told.traceback = "";
    if (c->future)
        gi_future_fail(gi_scall_take_future(c), &told);
    else if (c->stream)
        gi_stream_fail(c->stream, &told);
    if (c->huge)
        gi_shuge_fail(c->huge, &told); /* else it was told */
    else if (c->link && (c->streaming || c->state == GI_SCALL_GENERATING))
        gi_sstream_end(c, &told);
    else if (c->link)
        gi_scall_answer_error(c, &told);
    s_finish(c);
}

void gi_scall_refuse(gi_scall_t *c, gate_err_t code, const char *cls,
                     const char *text) {
    c->service->stats.refused++;
    gi_error_story(&c->call.error, code, cls, text, NULL);
    gi_scall_end(c, code);
}
