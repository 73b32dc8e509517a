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

/* ---- life ---------------------------------------------------------------- */
static void s_set_text(gate_client_t *self, char **to, const char *text) {
    char *copy = text ? gi_mem_strdup(text) : NULL;
    gate_err_t e = GATE_OK;
    if (text && !copy)
        e = gi_err(GATE_NOMEM, "client: no memory");
    else if (self->connected)
        e = gi_err(GATE_BADARG, "client: set up after connect");
    if (e) {
        gi_mem_free(copy);
        if (!self->stuck.story.code)
            gi_error_set(&self->stuck, gate_error());
        if (self->connected)
            gate_log(GATE_WARN, "client", "%s: without effect",
                     gate_error()->text);
        return;
    }
    gi_mem_free(*to);
    *to = copy;
}

/* Half a pair, or none by a variable that was not set, would be sent as no
 * credentials, and CURVE would be none. */
static void s_set_both(gate_client_t *self, const char *what, char **to_a,
                       const char *a, char **to_b, const char *b) {
    if (!a || !b) {
        (void)gi_err(GATE_BADARG, "client: %s: both are needed, %s is NULL",
                     what, a ? "the second" : "the first");
        if (!self->stuck.story.code)
            gi_error_set(&self->stuck, gate_error());
        return;
    }
    s_set_text(self, to_a, a);
    s_set_text(self, to_b, b);
}

void gate_client_identity(gate_client_t *self, const char *name) {
    s_set_text(self, &self->identity, name);
}

void gate_client_plain(gate_client_t *self, const char *user,
                       const char *password) {
    s_set_both(self, "user and password", &self->user, user, &self->password,
               password);
}

void gate_client_curve(gate_client_t *self, const char *cert_file,
                       const char *server_cert_file) {
    s_set_both(self, "our certificate and the server's", &self->curve_cert,
               cert_file, &self->curve_server, server_cert_file);
}

void gate_client_plain_transport(gate_client_t *self, const char *user,
                                 const char *password) {
    s_set_both(self, "user and password", &self->plain_user, user,
               &self->plain_password, password);
}

gate_client_t *gate_client_new(gate_runtime_t *rt) {
    gate_client_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        (void)gi_err(GATE_NOMEM, "no memory for a client");
        return NULL;
    }
    gi_ref_init(&self->refs);
    gi_error_init(&self->stuck);
    gi_error_init(&self->refused);
    gi_gauge_init(&self->in_flight);
    gi_gauge_init(&self->local_calls);
    gi_latch_init(&self->inflating);
    gi_lock_init(&self->ready_lock);
    gi_lock_init(&self->trouble_lock);
    gi_news_init(&self->news);
    self->ready_mail.kind = GI_CMAIL_READY;
    self->rt = gi_runtime_share(rt);
    self->settings = gi_runtime_settings(rt);
    self->reply_timeout_ms = gi_settings_reply_timeout_ms(self->settings);
    self->route = strcmp(self->settings->route, "local") == 0 ? GI_ROUTE_LOCAL
                  : strcmp(self->settings->route, "broker") == 0
                      ? GI_ROUTE_BROKER
                      : GI_ROUTE_AUTO;
    if (self->settings->zap_plain_default_user)
        gate_client_plain(self, self->settings->zap_plain_default_user,
                          self->settings->zap_plain_default_password);
    if (self->settings->curve_cert)
        gate_client_curve(self, self->settings->curve_cert,
                          self->settings->curve_server);
    if (self->settings->plain_user)
        gate_client_plain_transport(self, self->settings->plain_user,
                                    self->settings->plain_password);
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
    gi_actor_destroy(&self->actor);
    gi_service_release(self->bound);
    gi_latch_fini(&self->inflating);
    gi_lock_fini(&self->ready_lock);
    gi_lock_fini(&self->trouble_lock);
    gi_error_fini(&self->stuck);
    gi_error_fini(&self->refused);
    gi_buf_fini(&self->scratch);
    gi_mem_free(self->identity);
    gi_mem_free(self->user);
    gi_mem_free(self->password);
    gi_mem_free(self->plain_user);
    gi_mem_free(self->plain_password);
    gi_mem_free(self->curve_cert);
    gi_mem_free(self->curve_server);
    gi_mem_free(self->endpoint);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

static void s_end(void *arg) {
    gate_client_t *self = arg;
    gi_actor_stop(self->actor);
    gi_latch_wait(&self->inflating);
    gi_client_release(self);
}

/* In a callback of its own it cannot wait for itself: another thread does. */
void gate_client_destroy(gate_client_t **self_p) {
    gate_client_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    if (gi_actor_foreign(self->actor))
        return; /* a child of fork(): it is the parent's */
    if (!gi_actor_own(self->actor)) {
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
    if (self->stuck.story.code)
        return gi_error_publish(&self->stuck);
    if (self->connected)
        return gi_err(GATE_BADARG, "client: connected already to %s",
                      self->endpoint ? self->endpoint : "this runtime");
    if (!frontend && self->route == GI_ROUTE_BROKER)
        return gi_err(GATE_BADARG,
                      "client: route = broker, but no broker was named");
    gate_err_t e = gate_runtime_start(self->rt);
    if (e)
        return e;
    if (frontend) {
        s_set_text(self, &self->endpoint, frontend);
        if (self->stuck.story.code)
            return gi_error_publish(&self->stuck);
        self->broker =
            gi_registry_owner(gi_runtime_registry(self->rt), frontend);
        if (!self->broker)
            self->broker = self;
        e = gi_actor_new(&gi_client_ops, self,
                         (size_t)self->settings->mailbox_max, &self->actor);
    }
    self->connected = !e;
    return e;
}

static gate_err_t s_no_broker(gate_client_t *self, int64_t timeout_ms) {
    char why[300];
    gi_client_trouble_text(self, why, sizeof why);
    if (*why)
        return gi_err(GATE_TIMEOUT, "%s (waited %lld ms)", why,
                      (long long)timeout_ms);
    return gi_err(GATE_TIMEOUT, "no broker answers at %s within %lld ms",
                  self->endpoint, (long long)timeout_ms);
}

/* The rule is the actor's: it is asked each time that it has news. */
gate_err_t gate_client_ready(gate_client_t *self, int64_t timeout_ms) {
    if (!self || !self->connected)
        return gi_client_not_connected(self);
    if (!self->actor)
        return GATE_OK;
    int64_t end = timeout_ms < 0 ? INT64_MAX : gi_clock_deadline_ms(timeout_ms);
    for (;;) {
        gi_buf_t out = {0};
        unsigned seen = gi_news_read(&self->news);
        gate_err_t e = gi_actor_command(self->actor, "READY", NULL, &out);
        bool yes = !e && out.size && *out.data == '1';
        gi_buf_fini(&out);
        if (e || yes)
            return e;
        if (!gi_news_wait(&self->news, seen, end))
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
    gate_err_t e = gi_actor_command(self->actor, "STATS", NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, NULL, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}

/* ---- names --------------------------------------------------------------- */
static gate_err_t s_local_names(gate_client_t *self, gate_value_t **names) {
    gi_buf_t packed = {0};
    *names = NULL;
    if (gi_registry_names(gi_runtime_registry(self->rt), &packed))
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
    if (!self->actor)
        return s_local_names(self, names);
    snprintf(method, sizeof method, "%s.get_services",
             gi_settings_internal(self->settings));
    return gate_client_call_(self, method, gate_oval(names), NULL, 0);
}
