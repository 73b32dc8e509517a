/* SPDX-License-Identifier: BSD-3-Clause */
/* service_answer.c -- how a call is answered: towards its broker, into its
 * future or stream. Which answer, and when, is the core's to say. */
#include "service/service_own.h"
#include "service/service_run.h"

#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/origin.h"

/* ---- answering ----------------------------------------------------------- */
static gi_frames_t *s_about(gi_scall_t *c, int command) {
    gi_link_t *link = c->link;
    if (!gi_scall_has_caller(c) || !link->sock.raw)
        return NULL;
    gi_frames_t *out = gi_link_send_begin(link, command);
    gi_frames_add(out, c->client_id.data, c->client_id.size);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add(out, c->request_id.data, c->request_id.size);
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
        c->service->own->stats.dropped++;
        return;
    }
    unsigned char *room = NULL;
    if (body) {
        gi_frames_add(out, body, size);
    } else if ((room = gi_frames_room(out, value->size + GI_RPC_OK_OVERHEAD))) {
        s_write_ok(room, value);
    } else {
        c->service->own->stats.dropped++; /* and it is said so */
    }
    if (gi_service_trace_on(c))
        gi_service_trace_add(c, out);
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
    bool huge = (int64_t)size > c->service->is.settings->huge_plain_max;
    void *data = gi_buf_take(&c->call.out, &size);
    if (huge)
        gi_future_complete_huge(future, data, size, gi_mem_free, data);
    else
        gi_future_complete_packed(future, data, size, gi_mem_free, data);
}

static void s_reply_stream(gi_scall_t *c) {
    const gi_buf_t *value = &c->call.out;
    size_t size = value->size + GI_RPC_OK_OVERHEAD;
    if ((int64_t)value->size > c->service->is.settings->huge_plain_max) {
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

#define S_IN "  in " /* of gi_call_raised */

/* As a Python peer prints it; a handler in C has no more to tell than where. */
static const char *s_traceback(gi_scall_t *c) {
    const char *name = c->service->is.name, *method = c->call.method;
    size_t room = strlen(name) + (method ? strlen(method) : 0) + 32;
    char *text = method ? gi_arena_alloc(&c->call.arena, room) : NULL;
    if (text)
        snprintf(text, room, "  File \"%s\", in %s\n", name, method);
    return text ? text : GI_BY_HANDLER;
}

/* What a caller may see of it: where a handler raised, in its form. */
static const char *s_where(gi_scall_t *c, const char *traceback) {
    bool handler = gi_origin_of(traceback) == GI_ORIGIN_HANDLER;
    if (!handler)
        return traceback;
    if (c->service->is.settings->secure)
        return GI_BY_HANDLER;
    return strncmp(traceback, S_IN, strlen(S_IN)) == 0 ? s_traceback(c)
                                                       : traceback;
}

gate_error_t gi_scall_story(gi_scall_t *c, gate_err_t outcome) {
    gate_error_t story = c->call.error.story;
    if (!story.code)
        story = (gate_error_t){outcome, gi_err_class(outcome),
                               gate_err_text(outcome), ""};
    story.traceback = s_where(c, story.traceback);
    return story;
}

gate_error_t gi_scall_as_remote(const gate_error_t *story) {
    gate_error_t same = *story;
    same.code = gi_origin_code(story->cls, story->traceback);
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
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    if (!gi_rpc_pack_exception(&self->own->scratch, story->cls, story->text,
                               story->traceback))
        s_reply_wire(c, self->own->scratch.data, self->own->scratch.size);
}

#define S_FAR 1024 /* more than a batch of mail ends */

/* Its answer goes to a waiting future: out of everything before that, since who
 * has the answer may ask again at once and counts on the room. */
static void s_end_local(gi_scall_t *c) {
    gate_service_t *self = c->service;
    c->local->call = NULL;
    c->left = true;
    if (gi_gauge_read(&self->shared.local) + S_FAR <
        self->is.settings->local_max)
        self->own
            ->n_left++; /* no room is short: all at once, after the batch */
    else
        gi_gauge_leave(&self->shared.local);
    s_reply_future(c);
    c->future = NULL;
}

/* ---- of the core --------------------------------------------------------- */
static void s_result(gi_scall_t *c) {
    if (c->link)
        s_reply_wire(c, NULL, 0);
    else if (c->future)
        s_end_local(c);
    else if (c->stream)
        s_reply_stream(c);
}

static void s_failure(gi_scall_t *c, gate_err_t outcome, bool streams) {
    gate_error_t story = gi_scall_story(c, outcome);
    if (streams)
        gi_sstream_end(c, &story);
    else
        gi_scall_answer_error(c, &story);
}

void gi_scall_answer_outcome(gi_life_t *life, gate_err_t outcome,
                             bool streams) {
    gi_scall_t *c = gi_scall_of(life);
    if (c->trace.told)
        gi_service_trace_tell(c);
    if (outcome)
        s_failure(c, outcome, streams);
    else if (streams)
        gi_sstream_end(c, NULL);
    else
        s_result(c);
}

/* One who is here gets the very story. */
void gi_scall_answer_cut(gi_life_t *life, const gate_error_t *story,
                         bool streams) {
    gi_scall_t *c = gi_scall_of(life);
    if (c->trace.told)
        gi_service_trace_tell(c);
    gate_error_t told = *story;
    told.traceback = s_where(c, told.traceback);
    if (c->future)
        gi_future_fail(gi_scall_take_future(c), &told);
    else if (c->stream)
        gi_stream_fail(c->stream, &told);
    if (c->huge)
        gi_shuge_fail(c->huge, &told); /* unless it was told */
    else if (c->link && streams)
        gi_sstream_end(c, &told);
    else if (c->link)
        gi_scall_answer_error(c, &told);
}
