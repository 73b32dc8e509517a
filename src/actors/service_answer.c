/* SPDX-License-Identifier: BSD-3-Clause */
/* service_answer.c -- the ends of a call: its answer, its refusal, its
 * deadline. */
#include "service_impl.h"

#include <stdio.h>
#include <string.h>
#include "err.h"
#include "mem.h"

/* ---- answering
 * ---------------------------------------------------------------- */
static gi_frames_t *s_about(gi_scall_t *c, int command) {
    gi_link_t *link = c->link;
    if (!link || c->orphan || c->epoch != link->epoch || !link->sock.raw)
        return NULL;
    gi_frames_t *out = gi_link_begin(link, command);
    zmq_msg_init(&out->f[out->n]);
    zmq_msg_copy(&out->f[out->n++], &c->client_id);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    zmq_msg_init(&out->f[out->n]);
    zmq_msg_copy(&out->f[out->n++], &c->request_id);
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
    if (body) {
        gi_frames_add(out, body, size);
    } else if (zmq_msg_init_size(&out->f[out->n],
                                 value->size + GI_RPC_OK_OVERHEAD) == 0) {
        s_write_ok(zmq_msg_data(&out->f[out->n++]), value);
    } else {
        c->service->stats.dropped++;
        gi_frames_close(out);
        return;
    }
    gi_link_send(c->link);
}

/* By value as well, but not measured as a plain reply: what would come huge
 * from elsewhere comes from here too. */
static void s_reply_local_huge(gi_scall_t *c) {
    size_t size;
    void *data = gi_buf_take(&c->call.out, &size);
    if (c->future)
        gi_future_complete_huge(c->future, data, size, gi_mem_free, data);
    else if (c->stream)
        gi_stream_push_huge(c->stream, data, size, gi_mem_free, data);
    else
        gi_mem_free(data);
    c->future = NULL;
}

static void s_reply_local(gi_scall_t *c) {
    const gi_buf_t *value = &c->call.out;
    if ((int64_t)value->size > c->service->settings->huge_plain_max) {
        s_reply_local_huge(c);
        return;
    }
    size_t size = value->size + GI_RPC_OK_OVERHEAD;
    unsigned char *body = gi_mem_alloc(size);
    if (!body) {
        (void)gi_err(GATE_NOMEM, "no memory for a reply");
        if (c->future)
            gi_future_fail(c->future, gate_error());
        else if (c->stream)
            gi_stream_fail(c->stream, gate_error());
        c->future = NULL;
        return;
    }
    s_write_ok(body, value);
    if (c->future)
        gi_future_complete_reply(c->future, body, size, gi_mem_free, body);
    else if (c->stream)
        gi_stream_push_reply(c->stream, body, size, gi_mem_free, body);
    else
        gi_mem_free(body);
    c->future = NULL;
}

gate_error_t gi_scall_story(gi_scall_t *c, gate_err_t outcome) {
    gate_error_t story = c->call.error.story;
    if (!story.code)
        story = (gate_error_t){outcome, gi_err_class(outcome),
                               gate_err_text(outcome), ""};
    if (c->service->settings->secure)
        story.traceback = "";
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
            gi_future_fail(c->future, &same);
        else if (c->stream)
            gi_stream_fail(c->stream, &same);
        c->future = NULL;
        return;
    }
    gi_buf_reset(&self->scratch, GI_SCALL_KEEP_BYTES);
    if (!gi_rpc_pack_exception(&self->scratch, story->cls, story->text,
                               story->traceback))
        s_reply_wire(c, self->scratch.data, self->scratch.size);
}

/* A stream has no deadline: its reader times each item. Here only one that
 * nobody reads is found; look again when it could be. */
static bool s_is_read(gi_scall_t *c) {
    gate_service_t *self = c->service;
    int64_t idle = gi_stream_idle_ms(c->stream, self->now_ms);
    if (c->item_timeout_ms < 0 || idle < c->item_timeout_ms) {
        int64_t wait =
            c->item_timeout_ms < 0 ? 60000 : c->item_timeout_ms - idle;
        gi_wheel_arm(self->wheel, &c->timer,
                     self->now_ms + (wait > 10 ? wait : 10));
        return true;
    }
    return false;
}

static void s_expire(gi_scall_t *c) {
    gate_service_t *self = c->service;
    char text[256];
    gate_error_t story = {GATE_TIMEOUT, gi_err_class(GATE_TIMEOUT), text, ""};
    if (c->stream && s_is_read(c))
        return;
    if (c->state == GI_SCALL_ARRIVING) {
        gi_sargs_look(c);
        return;
    }
    snprintf(text, sizeof text,
             c->stream ? "%s.%s: its stream was not read for %lld ms"
                       : "%s.%s: no answer within %lld ms",
             self->name, c->method_name, (long long)c->item_timeout_ms);
    if (c->future)
        gi_future_fail(c->future, &story);
    else if (c->stream)
        gi_stream_fail(c->stream, &story);
    c->future = NULL;
    gi_scall_cancel(c);
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

/* Out of all tables; the runner's reference goes as well. */
static void s_finish(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gi_sstream_stop(c);
    /* while we still hold a reference: its reader takes one for each report */
    gi_stream_release(&c->stream);
    gi_scall_unlist(c);
    if (!c->link)
        gi_gauge_leave(&self->local);
    c->state = GI_SCALL_DONE;
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
    else
        s_reply_local(c);
    s_finish(c);
}

void gi_scall_refuse(gi_scall_t *c, gate_err_t code, const char *cls,
                     const char *text) {
    c->service->stats.refused++;
    gi_error_story(&c->call.error, code, cls, text, NULL);
    gi_scall_end(c, code);
}
