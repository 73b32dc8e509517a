/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_stats.c -- what a supervisor and its children are at, in words. */
#include <gaterpc/value.h>
#include <string.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/pack.h"
#include "supervisor/supervisor_impl.h"

static const char *const s_states[] = {"waiting", "starting", "running",
                                       "stopping", "ended"};

const char *gate_child_state_text(gate_child_state_t state) {
    return (unsigned)state <= GATE_CHILD_ENDED ? s_states[state] : "?";
}

static void s_pack_child(const gate_supervisor_t *self, size_t i,
                         msgpack_packer *pk) {
    gi_pack_text(pk, self->child[i].is.name);
    msgpack_pack_map(pk, 3);
    gi_pack_str(pk, "state", gate_child_state_text(self->core.child[i].state));
    gi_pack_uint(pk, "restarts", self->core.child[i].restarts);
    gi_pack_text(pk, "error");
    if (self->core.child[i].last)
        gi_pack_text(pk, self->child[i].error.story.text);
    else
        msgpack_pack_nil(pk);
}

static void s_pack(const gate_supervisor_t *self, msgpack_packer *pk) {
    static const char *const strategies[] = {"one_for_one", "rest_for_one",
                                             "one_for_all"};
    uint64_t restarts = 0;
    for (size_t i = 0; i < self->core.n; i++)
        restarts += self->core.child[i].restarts;
    msgpack_pack_map(pk, 6);
    gi_pack_str(pk, "state",
                self->core.gave_up    ? "gave_up"
                : self->core.stopping ? "stopped"
                : self->started       ? "running"
                                      : "new");
    gi_pack_str(pk, "strategy", strategies[self->core.strategy]);
    gi_pack_uint(pk, "intensity", (uint64_t)self->core.intensity);
    gi_pack_uint(pk, "period_ms", (uint64_t)self->core.period_ms);
    gi_pack_uint(pk, "restarts", restarts);
    gi_pack_text(pk, "children");
    msgpack_pack_map(pk, self->core.n);
    for (size_t i = 0; i < self->core.n; i++)
        s_pack_child(self, i, pk);
}

gate_value_t *gate_supervisor_stats(gate_supervisor_t *self) {
    if (gi_err_null(self, "gate_supervisor_stats"))
        return NULL;
    gi_buf_t out = {0};
    msgpack_packer pk;
    gate_value_t *value = NULL;
    msgpack_packer_init(&pk, &out, gi_buf_write);
    gi_lock(&self->lock);
    s_pack(self, &pk);
    gi_unlock(&self->lock);
    gate_err_t e = out.failed
                       ? gi_err(GATE_NOMEM, "no memory for statistics")
                       : gate_value_decode(out.data, out.size, NULL, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}
