/* SPDX-License-Identifier: BSD-3-Clause */
#include "runtime/builder.h"

#include <gaterpc/log.h>

void gi_builder_init(gi_builder_t *self, const char *part) {
    *self = (gi_builder_t){.part = part};
    gi_error_init(&self->stuck);
}

void gi_builder_fini(gi_builder_t *self) { gi_error_fini(&self->stuck); }

void gi_builder_stick(gi_builder_t *self, gate_err_t e) {
    if (e && !self->stuck.story.code)
        gi_error_set(&self->stuck, gate_error());
}

bool gi_builder_open(gi_builder_t *self, const char *step) {
    if (!self->over)
        return true;
    gi_builder_stick(self, gi_err(GATE_BADARG, "%s%s%s: %s after start",
                                  self->part, self->name ? " " : "",
                                  self->name ? self->name : "", step));
    gate_log(GATE_WARN, self->part, "%s: without effect", gate_error()->text);
    return false;
}

gate_err_t gi_builder_error(const gi_builder_t *self) {
    return self->stuck.story.code ? gi_error_publish(&self->stuck) : GATE_OK;
}
