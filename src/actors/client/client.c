/* SPDX-License-Identifier: BSD-3-Clause */
/* client.c -- the public face but for the calls: set up, connect, wait until it
 * is ready, destroy; counters, names of services. */
#include "client/client_impl.h"

#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include <gaterpc/log.h>
#include "sync/later.h"
#include "base/mem.h"
#include "huge/codec.h"
#include "net/reach.h"

/* ---- life ---------------------------------------------------------------- */
#define S_NAME "client"

static void s_set_text(gate_client_t *self, char **to, const char *text) {
    if (gi_builder_open(&self->builder, "set up"))
        gi_builder_stick(&self->builder, gi_login_set(to, text));
}

static void s_set_pair(gate_client_t *self, const char *what, char **to_a,
                       const char *a, char **to_b, const char *b) {
    if (gi_builder_open(&self->builder, "set up"))
        gi_builder_stick(&self->builder,
                         gi_login_pair(S_NAME, what, to_a, a, to_b, b));
}

void gate_client_identity(gate_client_t *self, const char *name) {
    if (gi_err_null(self, "gate_client_identity"))
        return;
    s_set_text(self, &self->is.login.identity, name);
}

void gate_client_plain(gate_client_t *self, const char *user,
                       const char *password) {
    if (gi_err_null(self, "gate_client_plain"))
        return;
    s_set_pair(self, GI_LOGIN_PLAIN, &self->is.login.user, user,
               &self->is.login.password, password);
}

void gate_client_curve(gate_client_t *self, const char *cert_file,
                       const char *server_cert_file) {
    if (gi_err_null(self, "gate_client_curve"))
        return;
    s_set_pair(self, GI_LOGIN_CURVE, &self->is.login.curve_cert, cert_file,
               &self->is.login.curve_server, server_cert_file);
}

void gate_client_plain_transport(gate_client_t *self, const char *user,
                                 const char *password) {
    if (gi_err_null(self, "gate_client_plain_transport"))
        return;
    s_set_pair(self, GI_LOGIN_PLAIN, &self->is.login.plain_user, user,
               &self->is.login.plain_password, password);
}

gate_client_t *gate_client_new(gate_runtime_t *rt) {
    if (gi_err_null(rt, "gate_client_new"))
        return NULL;
    gate_client_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        (void)gi_err(GATE_NOMEM, "no memory for a client");
        return NULL;
    }
    gi_ref_init(&self->refs);
    gi_builder_init(&self->builder, S_NAME);
    gi_gauge_init(&self->shared.in_flight);
    gi_gauge_init(&self->shared.lane);
    gi_latch_init(&self->shared.inflating);
    gi_lock_init(&self->shared.lock);
    gi_news_init(&self->shared.news);
    self->shared.ready_mail.kind = GI_CMAIL_READY;
    self->is.rt = gi_runtime_share(rt);
    self->is.settings = gi_runtime_settings(rt);
    self->is.reply_timeout_ms = gi_settings_reply_timeout_ms(self->is.settings);
    self->is.route =
        strcmp(self->is.settings->route, "local") == 0    ? GI_ROUTE_LOCAL
        : strcmp(self->is.settings->route, "broker") == 0 ? GI_ROUTE_BROKER
                                                          : GI_ROUTE_AUTO;
    gi_builder_stick(&self->builder, gi_login_defaults(&self->is.login, S_NAME,
                                                       self->is.settings));
    return self;
}

gate_client_t *gi_client_share(gate_client_t *self) {
    gi_ref_take(&self->refs);
    return self;
}

void gi_client_release(void *arg) {
    gate_client_t *self = arg;
    if (!gi_ref_drop(&self->refs))
        return;
    gi_actor_destroy(&self->is.actor);
    gi_service_release(self->bound.service);
    gi_latch_fini(&self->shared.inflating);
    gi_lock_fini(&self->shared.lock);
    gi_builder_fini(&self->builder);
    gi_login_fini(&self->is.login);
    gi_mem_free(self->is.endpoint);
    gi_runtime_release(self->is.rt);
    gi_mem_free(self);
}

static void s_end(void *arg) {
    gate_client_t *self = arg;
    gi_actor_stop(self->is.actor);
    gi_latch_wait(&self->shared.inflating);
    gi_client_release(self);
}

/* In a callback of its own it cannot wait for itself: another thread does. */
void gate_client_destroy(gate_client_t **self_p) {
    gate_client_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    if (gi_actor_foreign(self->is.actor))
        return; /* a child of fork(): it is the parent's */
    if (!gi_actor_own(self->is.actor)) {
        s_end(self);
        return;
    }
    gate_log(GATE_WARN, "client",
             "gate_client_destroy in a callback on the client's own thread: it "
             "ends when the callback has returned");
    if (!gi_later(s_end, self))
        gate_log(GATE_ERROR, "client",
                 "no thread to destroy a client: it "
                 "stays until the process ends");
}

gate_err_t gi_client_not_connected(const gate_client_t *self) {
    if (!self)
        return gi_err(GATE_BADARG, "client: it is NULL");
    return gi_err(GATE_CLOSED, "client: not connected: call "
                               "gate_client_connect first");
}

gate_err_t gate_client_connect(gate_client_t *self, const char *frontend) {
    if (!self)
        return gi_client_not_connected(self);
    gate_err_t e = gi_builder_error(&self->builder);
    if (e)
        return e;
    if (self->connected)
        return gi_err(GATE_BADARG, "client: connected already to %s",
                      self->is.endpoint ? self->is.endpoint : "this runtime");
    if (!frontend && self->is.route == GI_ROUTE_BROKER)
        return gi_err(GATE_BADARG,
                      "client: route = broker, but no broker was named");
    if (frontend && (e = gi_reach_check("client", frontend)))
        return e;
    e = gate_runtime_start(self->is.rt);
    if (!e)
        e = gi_codec_check(self->is.settings->huge_data_compress_module,
                           self->is.settings->huge_data_compress_level);
    if (!e && frontend)
        e = gi_login_set(&self->is.endpoint, frontend);
    if (e)
        return e;
    if (frontend) {
        self->is.broker =
            gi_registry_owner(gi_runtime_registry(self->is.rt), frontend);
        if (!self->is.broker)
            self->is.broker = self;
        e = gi_actor_new(&gi_client_ops, self,
                         (size_t)self->is.settings->mailbox_max,
                         &self->is.actor);
    }
    self->connected = self->builder.over = !e;
    return e;
}

void gi_client_trouble_now(gate_client_t *self, char *text, size_t room) {
    gi_lock(&self->shared.lock);
    snprintf(text, room, "%s", self->shared.trouble);
    gi_unlock(&self->shared.lock);
}

static gate_err_t s_no_broker(gate_client_t *self, int64_t timeout_ms) {
    char why[400];
    gi_client_trouble_now(self, why, sizeof why);
    if (*why && timeout_ms == 0)
        return gi_err(GATE_TIMEOUT, "%s", why);
    if (*why)
        return gi_err(GATE_TIMEOUT, "%s (waited %lld ms)", why,
                      (long long)timeout_ms);
    return gi_err(GATE_TIMEOUT, "no broker answers at %s within %lld ms",
                  self->is.endpoint, (long long)timeout_ms);
}

/* The rule is the actor's: it is asked each time that it has news. */
gate_err_t gate_client_ready(gate_client_t *self, int64_t timeout_ms) {
    if (!self || !self->connected)
        return gi_client_not_connected(self);
    if (!self->is.actor)
        return GATE_OK;
    int64_t end = timeout_ms < 0 ? INT64_MAX : gi_clock_deadline_ms(timeout_ms);
    for (;;) {
        gi_buf_t out = {0};
        unsigned seen = gi_news_read(&self->shared.news);
        gate_err_t e = gi_actor_command(self->is.actor, "READY", NULL, &out);
        bool yes = !e && out.size && *out.data == '1';
        gi_buf_fini(&out);
        if (e || yes)
            return e;
        if (!gi_news_wait(&self->shared.news, seen, end))
            return s_no_broker(self, timeout_ms);
    }
}

gate_value_t *gate_client_stats(gate_client_t *self) {
    if (!self) {
        (void)gi_client_not_connected(self);
        return NULL;
    }
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    gate_err_t e = gi_actor_command(self->is.actor, "STATS", NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, NULL, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}

/* ---- names --------------------------------------------------------------- */
static gate_err_t s_local_names(gate_client_t *self, gate_value_t **names) {
    gi_buf_t packed = {0};
    *names = NULL;
    if (gi_registry_names(gi_runtime_registry(self->is.rt), self->is.broker,
                          &packed))
        *names = gate_value_new_(gate_raw(packed.data, packed.size));
    else
        (void)gi_err(GATE_NOMEM, "the names of the services");
    gi_buf_fini(&packed);
    return *names ? GATE_OK : gate_error()->code;
}

gate_err_t gate_client_services(gate_client_t *self, gate_value_t **names) {
    char method[300];
    if (!self || !self->connected)
        return gi_client_not_connected(self);
    if (!names)
        return gi_err(GATE_BADARG,
                      "gate_client_services: where the names go is "
                      "NULL");
    if (!self->is.actor)
        return s_local_names(self, names);
    snprintf(method, sizeof method, "%s.get_services",
             gi_settings_internal(self->is.settings));
    return gate_client_call_(self, method, gate_oval(names), NULL, 0);
}
