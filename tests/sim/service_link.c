/* SPDX-License-Identifier: BSD-3-Clause */
/* service_link.c -- what a service says to its broker, by the real packers: one
 * message at a time, in order; what the connection does not take waits here. */
#include "service.h"

#include <stdlib.h>
#include <string.h>

void sim_link_begin(gi_frames_t *m, int command) {
    m->n = 0;
    gi_frames_add_const(m, GI_FRAME_EMPTY);
    gi_frames_add_const(m, GI_FRAME_WORKER_TAG);
    gi_frames_add_const(m, GI_FRAME_COMMAND + (unsigned)command);
}

/* False: it waits in our queue. To who is gone it goes nowhere. */
bool sim_link_send(sim_service_t *self, gi_frames_t *m) {
    sim_node_t *node = &self->w->node[self->node];
    if (!node->conn) {
        gi_frames_close(m);
        return true;
    }
    if (self->out.n || node->conn->in.n >= SIM_HWM) {
        sim_queue_put(&self->out, m);
        return false;
    }
    sim_send(self->w, self->node, m);
    return true;
}

bool sim_link_flush(sim_service_t *self) {
    sim_node_t *node = &self->w->node[self->node];
    bool any = false;
    while (self->out.first && node->conn && node->conn->in.n < SIM_HWM) {
        sim_queue_send(self->w, self->node, &self->out);
        any = true;
    }
    if (!any || self->out.first)
        return any;
    for (sim_scall_t *c = self->used; c; c = c->next)
        if (c->life.owner == &self->link)
            c->credit += c->life.unsent_items;
    gi_life_unblock_all(&self->core, &self->link);
    return true;
}

bool sim_link_is_full(const sim_service_t *self) { return self->out.n > 0; }

/* Nobody is asked any more who asked by a former connection. */
static bool s_answer_to(sim_scall_t *c, gi_frames_t *m) {
    if (!sim_scall_on_link(c->service, c))
        return false;
    sim_link_begin(m, GI_MDP_REPLY);
    gi_frames_add(m, c->client, c->client_size);
    gi_frames_add_const(m, GI_FRAME_EMPTY);
    gi_frames_add(m, c->id, c->id_size);
    return true;
}

void sim_link_item(sim_scall_t *c, unsigned item, bool *queued) {
    unsigned char data[2] = {0xcc, (unsigned char)item};
    gi_frames_t m;
    if (!s_answer_to(c, &m))
        return;
    gi_frames_add(&m, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
    gi_frames_add(&m, data, sizeof data);
    *queued = !sim_link_send(c->service, &m);
}

void sim_link_add_packed(gi_frames_t *m, gate_err_t e, gi_buf_t *packed) {
    if (e)
        abort(); /* no memory */
    gi_frames_add(m, packed->data, packed->size);
    gi_buf_fini(packed);
}

static void s_add_end(gi_frames_t *m, const gate_error_t *story) {
    gi_buf_t packed = {0};
    gi_frames_add(m, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
    if (!story) {
        gi_frames_add(m, GI_STREAM_END, strlen(GI_STREAM_END));
        return;
    }
    gi_frames_add(m, GI_STREAM_EXCEPTION, strlen(GI_STREAM_EXCEPTION));
    sim_link_add_packed(
        m,
        gi_rpc_pack_triple(&packed, story->cls, story->text, story->traceback),
        &packed);
}

void sim_link_add_single(gi_frames_t *m, const gate_error_t *story) {
    gi_buf_t packed = {0};
    if (story) {
        sim_link_add_packed(m,
                            gi_rpc_pack_exception(&packed, story->cls,
                                                  story->text,
                                                  story->traceback),
                            &packed);
        return;
    }
    unsigned char *room = gi_frames_room(m, GI_RPC_OK_OVERHEAD + 1);
    memcpy(room, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    room[sizeof gi_rpc_ok_prefix] = 7;
    memcpy(room + sizeof gi_rpc_ok_prefix + 1, gi_rpc_ok_suffix,
           sizeof gi_rpc_ok_suffix);
}

void sim_link_answer(sim_scall_t *c, const gate_error_t *story, bool streams) {
    gi_frames_t m;
    if (!story && c->does.stream && !c->life.cancelled &&
        c->life.sent != c->does.items)
        sim_fail(c->service->w, "call %u ends well after %u of %u items",
                 c->call, (unsigned)c->life.sent, c->does.items);
    if (!s_answer_to(c, &m))
        return;
    if (streams)
        s_add_end(&m, story);
    else
        sim_link_add_single(&m, story);
    sim_link_send(c->service, &m);
}
