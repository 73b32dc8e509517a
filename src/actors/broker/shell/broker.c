/* SPDX-License-Identifier: BSD-3-Clause */
/* broker.c -- the public face: building a broker reads as a list, the first
 * mistake comes out of start; what is asked of a running one goes to its actor
 * as a command. */
#include "broker/shell/broker_impl.h"

#include <gaterpc/client.h>
#include <gaterpc/log.h>
#include <gaterpc/monitor.h>
#include <stdio.h>
#include <string.h>
#include "sync/clock.h"
#include "base/mem.h"
#include "base/err.h"
#include "net/reach.h"
#include "runtime/given.h"
#include "runtime/registry.h"
#include "security/zap_impl.h"

#define S_PART "broker"
#define S_MAILBOX 64 /* nobody posts here; commands come by the pipe */
#define S_MAILBOX_UPLINK 16384

/* ---- building one -------------------------------------------------------- */
static void s_stick(gate_broker_t *self, gate_err_t e) {
    if (e && !self->stuck.story.code)
        gi_error_set(&self->stuck, gate_error());
}

static bool s_building(gate_broker_t *self, const char *what) {
    if (self->actor) {
        s_stick(self, gi_err(GATE_BADARG, "broker: %s after start", what));
        gate_log(GATE_WARN, S_PART, "%s: without effect", gate_error()->text);
    }
    return self->actor == NULL;
}

gate_err_t gi_broker_add_endpoint(gate_broker_t *self, unsigned side,
                                  const char *asked,
                                  gi_broker_endpoint_t **out) {
    gi_broker_endpoint_t **at = &self->sides[side].endpoints;
    gi_broker_endpoint_t *p = gi_mem_calloc(1, sizeof *p);
    if (p == NULL)
        return gi_err(GATE_NOMEM, "broker: no memory");
    p->listener = GI_LISTENER_NONE;
    strcpy(p->asked, asked);
    while (*at)
        at = &(*at)->next;
    *out = *at = p;
    return GATE_OK;
}

static void s_add(gate_broker_t *self, gi_broker_side_name_t side,
                  const char *endpoint) {
    gi_broker_endpoint_t *p;
    if (endpoint == NULL || strlen(endpoint) >= GI_BROKER_ENDPOINT_MAX)
        s_stick(self, gi_err(GATE_BADARG,
                             "broker: an endpoint has 1 to %d "
                             "bytes",
                             GI_BROKER_ENDPOINT_MAX - 1));
    else if (gi_reach_check("broker", endpoint))
        s_stick(self, gate_error()->code);
    else
        s_stick(self, gi_broker_add_endpoint(self, side, endpoint, &p));
}

static void s_begin_drain(void *ctx);
static void s_reload(void *ctx);
static bool s_is_idle(void *ctx);
static bool s_is_left(void *ctx);

gate_broker_t *gate_broker_new(gate_runtime_t *rt) {
    if (gi_err_null(rt, "gate_broker_new"))
        return NULL;
    gate_broker_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL) {
        gi_err(GATE_NOMEM, "no memory for a broker");
        return NULL;
    }
    self->rt = gi_runtime_share(rt);
    self->settings = gi_runtime_settings(rt);
    self->drainable = (gi_drainable_t){.self = self,
                                       .begin = s_begin_drain,
                                       .reload = s_reload,
                                       .idle = s_is_idle,
                                       .told = s_is_left};
    gi_handover_init(&self->handover);
    gi_error_init(&self->stuck);
    gi_lock_init(&self->lock);
    gi_news_init(&self->news);
    snprintf(self->inside, sizeof self->inside, "inproc://gate-broker-%p",
             (void *)self);
    if (self->settings->broker_zap)
        gate_broker_use_zap(self, self->settings->broker_zap, NULL);
    if (self->settings->broker_plain_users)
        gate_broker_plain(self, self->settings->broker_plain_users);
    if (self->settings->broker_curve_cert)
        gate_broker_curve(self, self->settings->broker_curve_cert,
                          self->settings->broker_curve_allow);
    if (self->settings->broker_handover)
        gate_broker_hand_over(self, self->settings->broker_handover);
    return self;
}

void gate_broker_bind(gate_broker_t *self, const char *frontend) {
    if (gi_err_null(self, "gate_broker_bind"))
        return;
    if (s_building(self, "bind"))
        s_add(self, GI_FRONT, frontend);
}

void gate_broker_bind_backend(gate_broker_t *self, const char *backend) {
    if (gi_err_null(self, "gate_broker_bind_backend"))
        return;
    if (s_building(self, "bind_backend"))
        s_add(self, GI_BACK, backend);
}

void gate_broker_methods(gate_broker_t *self, const gate_method_t *table,
                         void *ctx) {
    if (gi_err_null(self, "gate_broker_methods"))
        return;
    if (gi_err_null(table, "gate_broker_methods: the table")) {
        s_stick(self, GATE_BADARG);
        return;
    }
    gi_broker_methods_t **at = &self->methods;
    if (!s_building(self, "methods"))
        return;
    gi_broker_methods_t *m = gi_mem_alloc(sizeof *m);
    if (m == NULL) {
        s_stick(self, gi_err(GATE_NOMEM, "broker: no memory"));
        return;
    }
    *m = (gi_broker_methods_t){NULL, table, ctx};
    while (*at)
        at = &(*at)->next;
    *at = m;
}

static bool s_given(gate_broker_t *self, const char *what, const char *text) {
    gate_err_t e = gi_given("broker", what, text);
    s_stick(self, e);
    return !e;
}

static void s_set_text(gate_broker_t *self, char **to, const char *text) {
    char *copy = text ? gi_mem_strdup(text) : NULL;
    if (text && copy == NULL)
        s_stick(self, gi_err(GATE_NOMEM, "broker: no memory"));
    gi_mem_free(*to);
    *to = copy;
}

void gate_broker_use_zap(gate_broker_t *self, const char *zap_endpoint,
                         const char *domain) {
    if (gi_err_null(self, "gate_broker_use_zap"))
        return;
    char standard[GI_BROKER_ENDPOINT_MAX];
    if (!s_building(self, "use_zap"))
        return;
    if (zap_endpoint == NULL) {
        gate_err_t e =
            gi_zap_endpoint(self->settings, standard, sizeof standard);
        s_stick(self, e);
        if (e)
            return;
        zap_endpoint = standard;
    }
    if (!s_given(self, "ZAP service", zap_endpoint))
        return;
    s_set_text(self, &self->zap, zap_endpoint);
    s_set_text(self, &self->zap_domain,
               domain ? domain : self->settings->zap_default_domain);
}

void gate_broker_curve(gate_broker_t *self, const char *cert_file,
                       const char *allowed_dir) {
    if (gi_err_null(self, "gate_broker_curve"))
        return;
    if (!s_building(self, "curve") ||
        !s_given(self, "certificate file", cert_file) ||
        !s_given(self, "directory of allowed keys, or \"*\" for any",
                 allowed_dir))
        return;
    s_set_text(self, &self->curve_cert, cert_file);
    s_set_text(self, &self->curve_allowed, allowed_dir);
}

void gate_broker_plain(gate_broker_t *self, const char *users_file) {
    if (gi_err_null(self, "gate_broker_plain"))
        return;
    if (s_building(self, "plain") && s_given(self, "users file", users_file))
        s_set_text(self, &self->plain_users, users_file);
}

void gate_broker_uplink(gate_broker_t *self, const char *urls) {
    if (gi_err_null(self, "gate_broker_uplink"))
        return;
    if (s_building(self, "uplink"))
        s_set_text(self, &self->urls, urls ? urls : "");
}

void gate_broker_hand_over(gate_broker_t *self, const char *path) {
    if (gi_err_null(self, "gate_broker_hand_over"))
        return;
    if (s_building(self, "hand_over"))
        s_set_text(self, &self->handover.path, path);
}

/* ---- life ---------------------------------------------------------------- */
/* Settings about who gets in that this broker would not look at. */
static gate_err_t s_check_doors(const gate_broker_t *self) {
    const gate_settings_t *s = self->settings;
    if (gi_settings_is_set(s, "broker_curve_allow") && !self->curve_cert)
        return gi_err(GATE_BADARG,
                      "broker_curve_allow is set, but no certificate "
                      "(broker_curve_cert, gate_broker_curve): nobody's key "
                      "would be looked at");
    if ((s->zap_addr || s->zap_users) && !self->zap && !self->plain_users)
        return gi_err(GATE_BADARG,
                      "%s is set, but this broker asks no ZAP service "
                      "(broker_zap, gate_broker_use_zap) and has no users "
                      "(broker_plain_users): everybody would get in",
                      s->zap_addr ? "zap_addr" : "zap_users");
    return GATE_OK;
}

static gate_err_t s_check(gate_broker_t *self) {
    const gate_settings_t *s = self->settings;
    if (self->actor)
        return gi_err(GATE_CLOSED, "broker: started already");
    if (!self->sides[GI_BACK].endpoints && s->worker_addr)
        s_add(self, GI_BACK, s->worker_addr);
    if (self->curve_cert && self->plain_users)
        return gi_err(GATE_BADARG, "broker: a connection speaks CURVE or "
                                   "PLAIN, not both");
    if (s->gate_cluster_name)
        gate_log(GATE_WARN, S_PART,
                 "gate_cluster_name = %s: Python's Gate clusters are not "
                 "available in this build; the broker runs on its own",
                 s->gate_cluster_name);
    return self->stuck.story.code ? gi_error_publish(&self->stuck)
                                  : s_check_doors(self);
}

/* Calls of this runtime may skip the sockets when both ends are attached here.
 */
static gate_err_t s_register(gate_broker_t *self) {
    gi_registry_t *registry = gi_runtime_registry(self->rt);
    gate_err_t e = gi_registry_endpoint(registry, self->inside, self);
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++)
        for (gi_broker_endpoint_t *p = self->sides[i].endpoints; p && !e;
             p = p->next)
            e = gi_registry_endpoint(registry, p->bound, self);
    return e;
}

static void s_halt(gate_broker_t *self) {
    gi_registry_endpoints_gone(gi_runtime_registry(self->rt), self);
    gi_runtime_remove(self->rt, &self->drainable);
    gi_broker_uplink_stop(self->uplink);
    gi_actor_destroy(&self->actor);
    gi_broker_uplink_free(&self->uplink);
}

gate_err_t gate_broker_start(gate_broker_t *self) {
    if (gi_err_null(self, "gate_broker_start"))
        return GATE_BADARG;
    gate_err_t e = gate_runtime_start(self->rt);
    if (!e)
        e = s_check(self);
    if (!e)
        e = gi_broker_uplink_make(
            self->settings, self->urls ? self->urls : self->settings->uplink,
            &self->uplink);
    if (!e)
        e = gi_actor_new(&gi_broker_actor_ops, self,
                         self->uplink ? S_MAILBOX_UPLINK : S_MAILBOX,
                         &self->actor);
    if (e) {
        gi_broker_uplink_free(&self->uplink);
        return e;
    }
    self->drainable.actor = self->actor;
    gi_runtime_add(self->rt, &self->drainable);
    if (self->uplink)
        e = gi_broker_uplink_start(self->uplink, gi_actor_mailbox(self->actor));
    if (!e)
        e = s_register(self);
    if (e)
        s_halt(self);
    return e;
}

static void s_free_lists(gate_broker_t *self) {
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        while (self->sides[i].endpoints) {
            gi_broker_endpoint_t *next = self->sides[i].endpoints->next;
            gi_mem_free(self->sides[i].endpoints);
            self->sides[i].endpoints = next;
        }
    }
    while (self->methods) {
        gi_broker_methods_t *next = self->methods->next;
        gi_mem_free(self->methods);
        self->methods = next;
    }
}

void gate_broker_destroy(gate_broker_t **self_p) {
    gate_broker_t *self = self_p ? *self_p : NULL;
    if (self == NULL)
        return;
    *self_p = NULL;
    gate_client_destroy(&self->client);
    if (self->actor)
        s_halt(self);
    s_free_lists(self);
    gi_mem_free(self->zap);
    gi_mem_free(self->zap_domain);
    gi_mem_free(self->curve_cert);
    gi_mem_free(self->curve_allowed);
    gi_mem_free(self->plain_users);
    gi_mem_free(self->urls);
    gi_handover_fini(&self->handover);
    gi_error_fini(&self->stuck);
    gi_lock_fini(&self->lock);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

/* ---- asking one ---------------------------------------------------------- */
static const char *s_endpoint(const gate_broker_t *self,
                              gi_broker_side_name_t side, size_t i) {
    const gi_broker_endpoint_t *p = self->sides[side].endpoints;
    while (p && i-- > 0)
        p = p->next;
    return p && p->bound[0] ? p->bound : NULL;
}

const char *gate_broker_frontend(const gate_broker_t *self, size_t i) {
    if (gi_err_null(self, "gate_broker_frontend"))
        return "";
    return s_endpoint(self, GI_FRONT, i);
}

const char *gate_broker_backend(const gate_broker_t *self, size_t i) {
    if (gi_err_null(self, "gate_broker_backend"))
        return "";
    return s_endpoint(self, GI_BACK, i);
}

const char *gate_broker_uplink_name(const gate_broker_t *self) {
    return self->uplink ? gi_broker_uplink_name(self->uplink) : NULL;
}

static gate_client_t *s_new_client(gate_broker_t *self) {
    if (gi_actor_command(self->actor, "INSIDE", NULL, NULL) != GATE_OK)
        return NULL;
    gate_client_t *client = gate_client_new(self->rt);
    if (client && self->zap)
        gate_client_plain(client, GI_BROKER_SELF, self->password);
    if (client && gate_client_connect(client, self->inside) != GATE_OK)
        gate_client_destroy(&client);
    return client;
}

gate_client_t *gate_broker_client(gate_broker_t *self) {
    if (gi_err_null(self, "gate_broker_client"))
        return NULL;
    gi_lock(&self->lock);
    gate_client_t *client = self->client;
    gi_unlock(&self->lock);
    if (client)
        return client;
    client = s_new_client(self);
    gi_lock(&self->lock); /* two may have made one: the first one stays */
    gate_client_t *spare = self->client ? client : NULL;
    if (self->client == NULL)
        self->client = client;
    client = self->client;
    gi_unlock(&self->lock);
    gate_client_destroy(&spare);
    return client;
}

static gate_value_t *s_ask(gate_broker_t *self, const char *command) {
    if (gi_err_null(self, "a broker that is asked for its numbers"))
        return NULL;
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    gate_err_t e = gi_actor_command(self->actor, command, NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, self->settings, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}

gate_value_t *gate_broker_stats(gate_broker_t *self) {
    return s_ask(self, "STATS");
}

gate_value_t *gate_monitor_snapshot(gate_broker_t *broker) {
    return s_ask(broker, "OBSERVE");
}

static void s_reload(void *ctx) {
    gate_broker_t *self = ctx;
    if (gi_actor_command(self->actor, "RULES", NULL, NULL) != GATE_OK)
        gate_log(GATE_ERROR, S_PART, "the new access rules: %s",
                 gate_error()->text);
}

/* ---- draining ------------------------------------------------------------ */
static void s_begin_drain(void *ctx) {
    gate_broker_t *self = ctx;
    if (gi_actor_command(self->actor, "DRAIN", NULL, NULL) != GATE_OK)
        gate_log(GATE_WARN, S_PART, "cannot drain: %s", gate_error()->text);
}

/* A broker that does not answer has nothing to wait for either. */
static bool s_is_idle(void *ctx) {
    gate_broker_t *self = ctx;
    gi_buf_t out = {0};
    gate_err_t e = gi_actor_command(self->actor, "IDLE", NULL, &out);
    bool idle = e || (out.size && out.data[0] == '1');
    gi_buf_fini(&out);
    return idle;
}

static bool s_is_left(void *ctx) { return gate_broker_is_replaced(ctx); }

bool gate_broker_is_replaced(const gate_broker_t *self) {
    if (gi_err_null(self, "gate_broker_is_replaced"))
        return false;
    return gi_gauge_read(&self->handover.left) > 0;
}

/* True: it is idle within the time. The rule is the actor's: it is asked each
 * time that it has news. */
static bool s_await_idle(gate_broker_t *self, int64_t deadline_ms) {
    unsigned seen = gi_news_read(&self->news);
    while (!s_is_idle(self)) {
        if (!gi_news_wait(&self->news, seen, deadline_ms))
            return false;
        seen = gi_news_read(&self->news);
    }
    return true;
}

gate_err_t gate_broker_drain(gate_broker_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_broker_drain"))
        return GATE_BADARG;
    gate_err_t e = gi_actor_command(self->actor, "DRAIN", NULL, NULL);
    if (!e && !s_await_idle(self, gi_clock_deadline_ms(timeout_ms)))
        return gi_err(GATE_TIMEOUT,
                      "broker: calls are still in flight after %lld ms",
                      (long long)timeout_ms);
    return e ? e : gi_actor_command(self->actor, "DISMISS", NULL, NULL);
}
