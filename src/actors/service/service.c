/* SPDX-License-Identifier: BSD-3-Clause */
/* service.c -- the public face: building a service reads as a list, the first
 * mistake comes out of start. The struct is counted, since kept calls and
 * callers of the same process may outlive destroy by a moment. */
#include "service/service_impl.h"

#include <gaterpc/log.h>
#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/identity.h"
#include "base/mem.h"
#include "huge/codec.h"
#include "net/reach.h"

/* ---- setters ------------------------------------------------------------- */
static void s_stick(gate_service_t *self, gate_err_t e) {
    gi_builder_stick(&self->builder, e);
}

static void s_set_text(gate_service_t *self, char **to, const char *text) {
    s_stick(self, gi_login_set(to, text));
}

static bool s_stopped_only(gate_service_t *self, const char *what) {
    return gi_builder_open(&self->builder, what);
}

static void s_set_pair(gate_service_t *self, const char *what, char **to_a,
                       const char *a, char **to_b, const char *b) {
    char whose[300];
    snprintf(whose, sizeof whose, "service %s", self->is.name);
    s_stick(self, gi_login_pair(whose, what, to_a, a, to_b, b));
}

void gate_service_describe(gate_service_t *self, const char *text) {
    if (gi_err_null(self, "gate_service_describe"))
        return;
    if (!s_stopped_only(self, "describe"))
        return;
    if (text && strchr(text, ':'))
        s_stick(self,
                gi_err(GATE_BADARG, "service %s: no ':' in a description: %s",
                       self->is.name, text));
    s_set_text(self, &self->is.description, text ? text : "");
}

void gate_service_identity(gate_service_t *self, const char *name) {
    if (gi_err_null(self, "gate_service_identity"))
        return;
    if (s_stopped_only(self, "identity"))
        s_set_text(self, &self->is.login.identity, name);
}

void gate_service_plain(gate_service_t *self, const char *user,
                        const char *password) {
    if (gi_err_null(self, "gate_service_plain"))
        return;
    if (s_stopped_only(self, "credentials"))
        s_set_pair(self, GI_LOGIN_PLAIN, &self->is.login.user, user,
                   &self->is.login.password, password);
}

void gate_service_plain_transport(gate_service_t *self, const char *user,
                                  const char *password) {
    if (gi_err_null(self, "gate_service_plain_transport"))
        return;
    if (s_stopped_only(self, "plain_transport"))
        s_set_pair(self, GI_LOGIN_PLAIN, &self->is.login.plain_user, user,
                   &self->is.login.plain_password, password);
}

void gate_service_curve(gate_service_t *self, const char *cert_file,
                        const char *server_cert_file) {
    if (gi_err_null(self, "gate_service_curve"))
        return;
    if (s_stopped_only(self, "certificates"))
        s_set_pair(self, GI_LOGIN_CURVE, &self->is.login.curve_cert, cert_file,
                   &self->is.login.curve_server, server_cert_file);
}

void gate_service_limit(gate_service_t *self, int max_calls) {
    if (gi_err_null(self, "gate_service_limit"))
        return;
    if (max_calls < 0)
        s_stick(self, gi_err(GATE_BADARG,
                             "service %s: a limit of %d calls: 0 or more",
                             self->is.name, max_calls));
    else if (s_stopped_only(self, "limit"))
        self->is.limit = max_calls ? max_calls : self->is.settings->message_max;
}

void gate_service_workers(gate_service_t *self, int n) {
    if (gi_err_null(self, "gate_service_workers"))
        return;
    if (n < 1 || n > 64)
        s_stick(self, gi_err(GATE_BADARG, "service %s: %d workers: 1 to 64",
                             self->is.name, n));
    else if (s_stopped_only(self, "workers"))
        self->is.n_workers = (unsigned)n;
}

void gate_service_default_runs(gate_service_t *self, gate_runs_t runs,
                               gate_pool_t *pool) {
    if (gi_err_null(self, "gate_service_default_runs"))
        return;
    if (!s_stopped_only(self, "default_runs"))
        return;
    if (runs < GATE_DEFAULT || runs > GATE_CUSTOM)
        s_stick(self, gi_err(GATE_BADARG,
                             "service %s: default_runs: %d is no place to run",
                             self->is.name, (int)runs));
    if (runs == GATE_CUSTOM && !pool)
        s_stick(self, gi_err(GATE_BADARG,
                             "service %s: default_runs: a custom pool, and "
                             "which is not said",
                             self->is.name));
    self->is.default_runs = runs == GATE_DEFAULT ? GATE_INLINE : runs;
    self->is.default_pool = pool;
}

static gate_err_t s_add_method(gate_service_t *self, const gate_method_t *m,
                               void *ctx) {
    if (!*m->name)
        return gi_err(GATE_BADARG, "service %s: a method's name is empty",
                      self->is.name);
    if (!m->fn)
        return gi_err(GATE_BADARG, "service %s: method %s has no function",
                      self->is.name, m->name);
    if (m->runs < GATE_DEFAULT || m->runs > GATE_CUSTOM)
        return gi_err(GATE_BADARG,
                      "service %s: method %s: .runs = %d is no place to run",
                      self->is.name, m->name, (int)m->runs);
    if (m->runs == GATE_CUSTOM && !m->pool)
        return gi_err(GATE_BADARG,
                      "service %s: method %s runs on a custom pool: name it "
                      "in .pool",
                      self->is.name, m->name);
    if (self->is.methods.n == self->is.methods.room) {
        size_t room = self->is.methods.room ? 2 * self->is.methods.room : 16;
        gi_smethod_t *grown =
            gi_mem_realloc(self->is.methods.all, room * sizeof *grown);
        if (!grown)
            return gi_err(GATE_NOMEM, "service %s: no memory", self->is.name);
        self->is.methods.all = grown;
        self->is.methods.room = room;
    }
    self->is.methods.all[self->is.methods.n++] =
        (gi_smethod_t){.m = m, .name_size = strlen(m->name), .ctx = ctx};
    return GATE_OK;
}

void gate_service_methods(gate_service_t *self, const gate_method_t *table,
                          void *ctx) {
    if (gi_err_null(self, "gate_service_methods"))
        return;
    if (gi_err_null(table, "gate_service_methods: the table")) {
        s_stick(self, GATE_BADARG);
        return;
    }
    if (!s_stopped_only(self, "methods"))
        return;
    for (; table->name; table++)
        s_stick(self, s_add_method(self, table, ctx));
}

/* ---- life ---------------------------------------------------------------- */
static bool s_idle(void *arg) {
    gate_service_t *self = arg;
    gi_buf_t out = {0};
    bool idle = gi_actor_command(self->is.actor, "IDLE", NULL, &out) ||
                (out.size && *out.data == '1');
    gi_buf_fini(&out);
    return idle;
}

static bool s_told(void *arg) {
    return gi_gauge_read(&((gate_service_t *)arg)->shared.told) > 0;
}

static void s_begin_drain(void *arg) {
    gate_service_t *self = arg;
    gate_err_t e = gi_actor_command(self->is.actor, "DRAIN", NULL, NULL);
    (void)e; /* a stopped service is drained */
}

gate_service_t *gate_service_new(gate_runtime_t *rt, const char *name) {
    if (gi_err_null(rt, "gate_service_new"))
        return NULL;
    gate_service_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || !gi_service_own_new(self)) {
        gi_mem_free(self);
        (void)gi_err(GATE_NOMEM, "no memory for a service");
        return NULL;
    }
    gi_ref_init(&self->refs);
    gi_builder_init(&self->builder, "service");
    gi_latch_init(&self->shared.away);
    gi_lock_init(&self->shared.lock);
    self->shared.ready_mail.kind = GI_SMAIL_READY;
    gi_gauge_init(&self->shared.local);
    gi_gauge_init(&self->shared.told);
    gi_news_init(&self->shared.news);
    gi_gauge_init(&self->shared.local_refused);
    self->is.rt = gi_runtime_share(rt);
    self->is.settings = gi_runtime_settings(rt);
    self->is.limit = self->is.settings->message_max;
    self->is.n_workers = 1;
    gi_random(&self->is.life, sizeof self->is.life);
    self->is.life &= INT64_MAX;
    self->is.default_runs = GATE_INLINE;
    s_set_text(self, &self->is.name,
               name ? name : self->is.settings->service_default_name);
    self->is.name_size = self->is.name ? strlen(self->is.name) : 0;
    s_set_text(self, &self->is.description, "gaterpc service");
    self->builder.name = self->is.name;
    s_stick(self,
            gi_login_defaults(&self->is.login, "service", self->is.settings));
    if (!self->is.name) {
        gi_service_release(self);
        return NULL;
    }
    if (!*self->is.name || strchr(self->is.name, ':'))
        s_stick(self, gi_err(GATE_BADARG,
                             "a service's name is not empty and has no ':': "
                             "\"%s\"",
                             self->is.name));
    gate_service_methods(self, gi_service_builtin, NULL);
    return self;
}

gate_service_t *gi_service_share(gate_service_t *self) {
    gi_ref_take(&self->refs);
    return self;
}

void gi_service_release(gate_service_t *self) {
    if (!self || !gi_ref_drop(&self->refs))
        return;
    gi_actor_destroy(&self->is.actor);
    gi_builder_fini(&self->builder);
    gi_login_fini(&self->is.login);
    gi_latch_fini(&self->shared.away);
    gi_lock_fini(&self->shared.lock);
    gi_service_own_free(self);
    gi_mem_free(self->is.name);
    gi_mem_free(self->is.description);
    gi_mem_free(self->is.methods.all);
    gi_mem_free(self->is.methods.hash);
    gi_mem_free(self->is.idempotent);
    gi_runtime_release(self->is.rt);
    gi_mem_free(self);
}

/* In a handler or job of its own: all of those are waited for. */
static gate_err_t s_not_inside(const gate_service_t *self, const char *what) {
    if (!self->is.actor ||
        !(gi_service_on_actor(self) || gi_call_works_for(self)))
        return GATE_OK;
    gate_err_t e = gi_err(GATE_WOULDBLOCK,
                          "%s in a handler of service %s would wait for itself",
                          what, self->is.name);
    gate_log(GATE_ERROR, "service", "%s", gate_error()->text);
    return e;
}

void gate_service_destroy(gate_service_t **self_p) {
    gate_service_t *self = self_p ? *self_p : NULL;
    if (!self || s_not_inside(self, "gate_service_destroy"))
        return;
    *self_p = NULL;
    if (gi_actor_foreign(self->is.actor))
        return; /* a child of fork(): it is the parent's */
    if (self->is.actor) {
        gi_runtime_remove(self->is.rt, &self->shared.drainable);
        gi_registry_service_gone(gi_runtime_registry(self->is.rt), self);
        gi_actor_stop(self->is.actor);
        gi_latch_wait(&self->shared.away);
    }
    gi_service_release(self);
}

gate_err_t gate_service_start(gate_service_t *self, const char *backend) {
    if (gi_err_null(self, "gate_service_start"))
        return GATE_BADARG;
    gi_registry_t *registry = gi_runtime_registry(self->is.rt);
    gate_err_t e = gi_builder_error(&self->builder);
    if (e)
        return e;
    if (self->is.actor)
        return gi_err(GATE_BADARG, "service %s runs already", self->is.name);
    e = gate_runtime_start(self->is.rt);
    if (!e)
        e = gi_codec_check(self->is.settings->huge_data_compress_module,
                           self->is.settings->huge_data_compress_level);
    if (!e)
        e = gi_service_build_table(self);
    if (!e)
        e = gi_service_begin_processes(self);
    if (!e && backend)
        self->is.broker = gi_registry_owner(registry, backend);
    if (!e && backend && !self->is.broker)
        self->is.broker = self; /* a broker elsewhere: nobody here shares it */
    if (!e)
        e = gi_actor_new(&gi_service_ops, self,
                         (size_t)self->is.settings->mailbox_max,
                         &self->is.actor);
    if (e)
        return e;
    self->builder.over = true;
    if (backend)
        e = gate_service_attach(self, backend);
    if (!e)
        e = gi_registry_service(registry,
                                &(gi_registered_t){.service = self,
                                                   .name = self->is.name,
                                                   .broker = self->is.broker,
                                                   .share = gi_service_share});
    if (e) {
        gi_actor_stop(self->is.actor);
        gi_actor_destroy(&self->is.actor);
        self->builder.over = false;
        return e;
    }
    self->shared.drainable = (gi_drainable_t){.self = self,
                                              .begin = s_begin_drain,
                                              .idle = s_idle,
                                              .told = s_told,
                                              .actor = self->is.actor};
    gi_runtime_add(self->is.rt, &self->shared.drainable);
    return GATE_OK;
}

gate_err_t gate_service_attach(gate_service_t *self, const char *backend) {
    if (!self || !backend)
        return gi_err(GATE_BADARG, "%s to be attached is NULL",
                      self ? "the endpoint" : "the service");
    gate_err_t e = gi_reach_check(self->is.name, backend);
    if (e)
        return e;
    return gi_actor_command(self->is.actor, "CONNECT", backend, NULL);
}

/* The rule is the actor's: it is asked each time that it has news. */
static gate_err_t s_until(gate_service_t *self, const char *command,
                          int64_t timeout_ms, const char *what) {
    int64_t end = timeout_ms < 0 ? INT64_MAX : gi_clock_deadline_ms(timeout_ms);
    for (;;) {
        gi_buf_t out = {0};
        unsigned seen = gi_news_read(&self->shared.news);
        gate_err_t e = gi_actor_command(self->is.actor, command, NULL, &out);
        bool yes = !e && out.size && *out.data == '1';
        gi_buf_fini(&out);
        if (e || yes)
            return e;
        if (!gi_news_wait(&self->shared.news, seen, end))
            return gi_err(GATE_TIMEOUT, "service %s: %s within %lld ms",
                          self->is.name, what, (long long)timeout_ms);
    }
}

gate_err_t gi_service_away(gate_service_t *self, int64_t *ms) {
    gi_buf_t out = {0};
    gate_err_t e = gi_actor_command(self->is.actor, "AWAY", NULL, &out);
    if (!e && out.size == sizeof *ms)
        memcpy(ms, out.data, sizeof *ms);
    gi_buf_fini(&out);
    return e;
}

gate_err_t gate_service_ready(gate_service_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_service_ready"))
        return GATE_BADARG;
    return s_until(self, "READY", timeout_ms, "no broker registered it");
}

gate_err_t gate_service_drain(gate_service_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_service_drain"))
        return GATE_BADARG;
    gate_err_t e = s_not_inside(self, "gate_service_drain");
    if (!e)
        e = gi_actor_command(self->is.actor, "DRAIN", NULL, NULL);
    return e ? e : s_until(self, "IDLE", timeout_ms, "calls did not end");
}

const char *gate_service_name(const gate_service_t *self) {
    if (gi_err_null(self, "gate_service_name"))
        return "";
    return self->is.name;
}

gate_value_t *gate_service_stats(gate_service_t *self) {
    if (gi_err_null(self, "gate_service_stats"))
        return NULL;
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    gate_err_t e = gi_actor_command(self->is.actor, "STATS", NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, NULL, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}

bool gi_service_is(const gate_service_t *self, gate_bytes_t name) {
    return self->is.name_size == name.size &&
           memcmp(self->is.name, name.data, name.size) == 0;
}
