/* SPDX-License-Identifier: BSD-3-Clause */
/* client_trouble.c -- why the broker does not answer, for those whose time is
 * over: the actor says it, any thread may read it. */
#include "client/client_impl.h"

#include <string.h>

static void s_describe(gate_client_t *self, char *text, size_t room) {
    char why[128];
    *text = 0;
    switch (self->trouble) {
    case GI_TROUBLE_NONE:
        break;
    case GI_TROUBLE_AWAY:
        gi_reach_why(&self->reach, self->endpoint, why, sizeof why);
        snprintf(text, room, "no broker at %s: %s", self->endpoint, why);
        break;
    case GI_TROUBLE_LOST:
        gi_reach_why(&self->reach, self->endpoint, why, sizeof why);
        snprintf(text, room, "the broker at %s was lost: %s", self->endpoint,
                 why);
        break;
    case GI_TROUBLE_SILENT:
        snprintf(text, room,
                 "the broker at %s is connected and answers nothing: it waits "
                 "for its authentication service, or drops what comes %s (a "
                 "Python broker does)",
                 self->endpoint,
                 self->user ? "with a wrong user or password"
                            : "without a user and a password");
        break;
    case GI_TROUBLE_REFUSED:
        snprintf(text, room, "%s", self->refused.story.text);
    }
}

void gi_client_trouble(gate_client_t *self, gi_trouble_t trouble) {
    char text[sizeof self->trouble_text];
    self->trouble = trouble;
    s_describe(self, text, sizeof text);
    gi_lock(&self->trouble_lock);
    memcpy(self->trouble_text, text, sizeof text);
    gi_unlock(&self->trouble_lock);
    gi_news_tell(&self->news);
}

void gi_client_trouble_text(gate_client_t *self, char *text, size_t room) {
    gi_lock(&self->trouble_lock);
    snprintf(text, room, "%s", self->trouble_text);
    gi_unlock(&self->trouble_lock);
}

void gi_client_late_text(const gi_pending_t *p, char *text, size_t room) {
    gate_client_t *self = p->client;
    char why[sizeof self->trouble_text] = "";
    int size = p->service_size < 200 ? (int)p->service_size : 200;
    const char *name = (const char *)p->data;
    long long ms = p->timeout_ms;
    if (p->state == GI_PENDING_UNSENT || self->trouble == GI_TROUBLE_SILENT ||
        p->unheard)
        gi_client_trouble_text(self, why, sizeof why);
    if (p->unheard)
        snprintf(text, room, "no answer from %.*s: %s", size, name,
                 *why ? why : "the broker was replaced before it said a word");
    else
        snprintf(text, room,
                 p->stream ? "a stream of %.*s was not read for %lld ms%s%s"
                 : p->chunks && !p->deadline_travels
                     ? "no chunk of a huge result from %.*s within %lld ms%s%s"
                     : "no answer from %.*s within %lld ms%s%s",
                 size, name, ms, *why ? ": " : "", why);
}
