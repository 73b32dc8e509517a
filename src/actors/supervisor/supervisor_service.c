/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_service.c -- a service as a supervisor's child: made, set up and
 * started anew each time; it has died when its actor does not answer or no
 * broker has had it for too long. */
#include <string.h>
#include "base/mem.h"
#include "base/err.h"
#include "runtime/runtime.h"
#include "service/service_direct.h"
#include "supervisor/supervisor_impl.h"

typedef struct s_service {
    gate_supervisor_t *supervisor;
    gate_runtime_t *rt; /* shared */
    gate_service_spec_t spec;
    char *name, *description, *backend; /* NULL: none */
    gate_service_t *service;            /* NULL while it does not run */
} s_service_t;

static void s_free(void *ctx) {
    s_service_t *self = ctx;
    gate_service_destroy(&self->service);
    gi_mem_free(self->name);
    gi_mem_free(self->description);
    gi_mem_free(self->backend);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

static gate_err_t s_start(void *ctx) {
    s_service_t *self = ctx;
    self->service = gate_service_new(self->rt, self->name);
    if (self->service == NULL)
        return GATE_NOMEM;
    if (self->description)
        gate_service_describe(self->service, self->description);
    gate_err_t e = self->spec.init ? self->spec.init(self->rt, self->service,
                                                     self->spec.ctx)
                                   : GATE_OK;
    if (!e)
        e = gate_service_start(self->service, self->backend);
    if (e)
        gate_service_destroy(&self->service);
    return e;
}

static gate_err_t s_check(void *ctx) {
    s_service_t *self = ctx;
    int64_t away_ms = 0;
    gate_err_t e = gi_service_away(self->service, &away_ms);
    if (!e && self->spec.unreachable_ms && away_ms > self->spec.unreachable_ms)
        e = gi_err(GATE_LOST, "service %s: no broker for %lld ms",
                   gate_service_name(self->service), (long long)away_ms);
    return e;
}

static bool s_ready(void *ctx) {
    return gate_service_ready(((s_service_t *)ctx)->service, 0) == GATE_OK;
}

/* What it runs is finished first when it is to come back: it may be well, and
 * only go with another. */
static void s_stop(void *ctx) {
    s_service_t *self = ctx;
    gate_err_t e = GATE_OK;
    if (!self->supervisor->ending)
        e = gate_service_drain(self->service,
                               gi_runtime_settings(self->rt)->drain_timeout_ms);
    (void)e; /* what is left ends with an error */
    gate_service_destroy(&self->service);
}

static bool s_copy(char **to, const char *text) {
    *to = text ? gi_mem_strdup(text) : NULL;
    return !text || *to;
}

void gate_supervisor_add_service(gate_supervisor_t *self,
                                 const gate_service_spec_t *spec) {
    if (gi_err_null(self, "gate_supervisor_add_service"))
        return;
    if (gi_err_null(spec, "gate_supervisor_add_service: the spec")) {
        gi_supervisor_stick(self, GATE_BADARG);
        return;
    }
    gate_runtime_t *rt = self->rt;
    s_service_t *ours = gi_mem_calloc(1, sizeof *ours);
    if (ours == NULL) {
        gi_supervisor_stick(self, gi_err(GATE_NOMEM, "no memory for a child"));
        return;
    }
    ours->spec = *spec;
    ours->supervisor = self;
    ours->rt = gi_runtime_share(rt);
    if (!s_copy(&ours->name, spec->name) ||
        !s_copy(&ours->description, spec->description) ||
        !s_copy(&ours->backend, spec->backend)) {
        s_free(ours);
        gi_supervisor_stick(self, gi_err(GATE_NOMEM, "no memory for a child"));
        return;
    }
    gi_supervised_t child = {.is = {.start = s_start,
                                    .check = s_check,
                                    .stop = s_stop,
                                    .ctx = ours,
                                    .restart = spec->restart},
                             .ready = s_ready,
                             .free = s_free};
    gi_supervisor_add(self, &child,
                      ours->name
                          ? ours->name
                          : gi_runtime_settings(rt)->service_default_name);
}
