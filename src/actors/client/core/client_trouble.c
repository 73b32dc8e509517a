/* SPDX-License-Identifier: BSD-3-Clause */
/* client_trouble.c -- why the broker does not answer, for those whose time is
 * over. */
#include "client/core/client_state.h"
#include "wire/rpc.h"

#include <stdio.h>
#include <string.h>

void gi_client_trouble_text(const gi_client_core_t *self, char *text,
                            size_t room) {
    const char *at = self->is.endpoint;
    const char *why = *self->why ? self->why : self->nobody;
    *text = 0;
    switch (self->trouble) {
    case GI_TROUBLE_NONE:
        break;
    case GI_TROUBLE_AWAY:
        snprintf(text, room, "no broker at %s: %s", at, why);
        break;
    case GI_TROUBLE_LOST:
        snprintf(text, room, "the broker at %s was lost: %s", at, why);
        break;
    case GI_TROUBLE_SILENT:
        snprintf(text, room,
                 "the broker at %s is connected and answers nothing: it waits "
                 "for its authentication service, or drops what comes %s (a "
                 "Python broker does)%s",
                 at,
                 self->is.login->user ? "with a wrong user or password"
                                      : "without a user and a password",
                 self->is.login->identity
                     ? ", or another client has our identity"
                     : "");
        break;
    case GI_TROUBLE_REFUSED:
        snprintf(text, room, "%s", self->refused.story.text);
    }
}

void gi_client_trouble(gi_client_core_t *self, gi_trouble_t trouble) {
    char text[400];
    self->trouble = trouble;
    gi_client_trouble_text(self, text, sizeof text);
    self->effects->trouble(self->ctx, text);
}

/* Service.method; the service alone when the method is not to be read. */
static void s_whose(const gi_ccall_t *call, char *text, size_t room) {
    gate_bytes_t func = {call->body, call->body ? call->request.func_size : 0};
    gate_bytes_t method = {"", 0};
    if (func.size == 0 || gi_rpc_parse_func(func, &method))
        method = (gate_bytes_t){"", 0};
    snprintf(text, room, "%.*s%s%.*s",
             (int)(call->service.size < 200 ? call->service.size : 200),
             (const char *)call->service.data, method.size ? "." : "",
             (int)(method.size < 200 ? method.size : 200),
             (const char *)method.data);
}

void gi_client_late_text(const gi_client_core_t *self, const gi_ccall_t *call,
                         char *text, size_t room) {
    char why[400] = "", name[402];
    s_whose(call, name, sizeof name);
    long long ms = call->timeout_ms;
    if (call->state == GI_CCALL_UNSENT || call->unheard || !self->link.ready)
        gi_client_trouble_text(self, why, sizeof why);
    if (call->unheard)
        snprintf(text, room, "no answer from %s: %s%s", name,
                 *why ? why : "the broker was replaced before it said a word",
                 *why || !self->is.login->identity
                     ? ""
                     : ", or another client has our identity");
    else
        snprintf(text, room,
                 call->stream && ms
                     ? "a stream of %s was not read for %lld ms%s%s"
                 : call->chunks && !call->deadline_travels
                     ? "no chunk of a huge result from %s within %lld ms%s%s"
                     : "no answer from %s within %lld ms%s%s",
                 name, ms, *why ? ": " : "", why);
}
