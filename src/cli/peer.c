/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.c -- flags to a connected client; errors to exit codes. */
#include "cli/peer.h"
#include "text/clean.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { S_CONNECT_MS = 3000, S_LOOK_MS = 20 };

int gi_auth_check(gi_auth_t *auth, const char *config,
                  const gi_usage_t *usage) {
    if (auth->plain_user && auth->curve_cert)
        return gi_opts_fail(usage, "a connection speaks PLAIN or CURVE: "
                                   "--plain-user or --curve-cert");
    if (!auth->curve_cert != !auth->curve_server)
        return gi_opts_fail(usage,
                            "--curve-cert and --curve-server go together");
    int code = gi_credential_get(&auth->password, auth->user, "password",
                                 config, usage);
    return code >= 0
               ? code
               : gi_credential_get(&auth->plain_password, auth->plain_user,
                                   "plain-password", config, usage);
}

/* ---- which broker ----------------------------------------------------------- */
static const char *s_env(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *s_field(const gi_peer_t *self, const char *field) {
    return gi_contexts_get(self->auth.contexts, self->context, field);
}

/* What options did not say. A user brings his own password. */
static void s_fill(gi_peer_t *self) {
    gi_auth_t *auth = &self->auth;
    self->broker = s_field(self, "broker");
    if (!self->config)
        self->config = s_field(self, "config");
    if (!auth->user) {
        auth->user = s_field(self, "user");
        if (!auth->password.word && !auth->password.file)
            auth->password.file = s_field(self, "password-file");
    }
    if (auth->plain_user || auth->curve_cert || auth->curve_server)
        return;
    auth->curve_cert = s_field(self, "curve-cert");
    auth->curve_server = s_field(self, "curve-server");
    auth->plain_user = s_field(self, "plain-user");
    if (!auth->plain_password.word && !auth->plain_password.file)
        auth->plain_password.file = s_field(self, "plain-password-file");
}

/* -1, or 2 after saying why. */
static int s_use(gi_peer_t *self, const gi_usage_t *usage) {
    self->auth.contexts = gi_contexts_open(false);
    if (!self->auth.contexts)
        return GI_EXIT_USAGE;
    if (!self->context)
        self->context = s_env("GATE_CONTEXT");
    if (!self->context)
        self->context = gi_contexts_used(self->auth.contexts);
    if (self->context && !gi_contexts_has(self->auth.contexts, self->context))
        return gi_opts_fail(usage, "no context '%s': gate context list",
                            self->context);
    if (self->context)
        s_fill(self);
    return -1;
}

int gi_peer_check(gi_peer_t *self, const gi_usage_t *usage) {
    int code = -1;
    if (self->broker && self->context)
        return gi_opts_fail(usage, "--broker or --context, not both");
    if (!self->broker && !self->context)
        self->broker = s_env("GATE_BROKER");
    if (!self->broker)
        code = s_use(self, usage);
    if (!self->broker)
        self->broker = GI_FRONTEND;
    return code >= 0 ? code : gi_auth_check(&self->auth, self->config, usage);
}

void gi_peer_forget(gi_auth_t *auth) {
    gi_contexts_close(&auth->contexts);
    gi_credential_fini(&auth->password);
    gi_credential_fini(&auth->plain_password);
}

gate_settings_t *gi_peer_settings(const char *config) {
    gate_settings_t *settings = gate_settings_new();
    if (settings && config && gate_settings_load(settings, config)) {
        gate_perror(config);
        gate_settings_destroy(&settings);
    }
    return settings;
}

gate_runtime_t *gi_peer_runtime(const char *config) {
    GATE_OWN(gate_settings) settings = gi_peer_settings(config);
    return gi_peer_runtime_of(settings);
}

gate_runtime_t *gi_peer_runtime_of(gate_settings_t *settings) {
    if (!settings)
        return NULL;
    gate_runtime_t *runtime = gate_runtime_new(settings);
    if (!runtime || gate_runtime_start(runtime)) {
        gate_perror("gate");
        gate_runtime_destroy(&runtime);
    }
    return runtime;
}

const char *gi_peer_backend(const gate_runtime_t *runtime) {
    const char *endpoint = NULL;
    if (gate_settings_get(gate_runtime_settings(runtime), "worker_addr",
                          &endpoint) ||
        !endpoint)
        return GI_BACKEND;
    return endpoint;
}

/* Nothing listens there, and that is known: to wait helps only whoever has just
 * started it. */
static bool s_nobody_listens(void) {
    const char *text = gate_error()->text;
    return strstr(text, strerror(ECONNREFUSED)) ||
           strstr(text, "no such socket");
}

/* GATE_TIMEOUT: gate_error() says why; *waited_ms 0: it did not wait. */
static gate_err_t s_await(const gi_peer_t *self, int64_t *waited_ms) {
    int64_t most_ms = self->wait_ms ? self->wait_ms : S_CONNECT_MS, ms = 0;
    for (;;) {
        int64_t step = most_ms - ms < S_LOOK_MS ? most_ms - ms : S_LOOK_MS;
        gate_err_t e = gate_client_ready(self->client, step);
        if (e == GATE_TIMEOUT)
            e = gate_client_ready(self->client, 0);
        ms += step;
        bool at_once = !self->wait_ms && s_nobody_listens();
        if (e != GATE_TIMEOUT || at_once || ms >= most_ms) {
            *waited_ms = at_once ? 0 : ms;
            return e;
        }
    }
}

/* Unreachable, whatever the code of the wait. */
static void s_no_broker(const gi_peer_t *self, int64_t waited_ms) {
    char waited[64] = "";
    if (waited_ms)
        snprintf(waited, sizeof waited, " (waited %lld ms)",
                 (long long)waited_ms);
    fprintf(stderr, "ServiceUnAvailableError: %s%s%s%s\n", gate_error()->text,
            waited, self->context ? "; as said by the context " : "",
            self->context ? self->context : "");
}

int gi_peer_connect(gi_peer_t *self) {
    if (!self->runtime)
        self->runtime = gi_peer_runtime(self->config);
    if (!self->runtime)
        return GI_EXIT_USAGE;
    self->client = gate_client_new(self->runtime);
    if (!self->client)
        return gi_peer_fail(GATE_NOMEM, false);
    if (self->auth.user)
        gate_client_plain(self->client, self->auth.user,
                          self->auth.password.word);
    if (self->auth.curve_cert)
        gate_client_curve(self->client, self->auth.curve_cert,
                          self->auth.curve_server);
    if (self->auth.plain_user)
        gate_client_plain_transport(self->client, self->auth.plain_user,
                                    self->auth.plain_password.word);
    gate_err_t e = gate_client_connect(self->client, self->broker);
    if (e)
        gi_peer_fail(e, false); /* no endpoint at all: our input */
    return e ? GI_EXIT_USAGE : GI_EXIT_OK;
}

int gi_peer_open(gi_peer_t *self) {
    int code = gi_peer_connect(self);
    if (code)
        return code;
    int64_t waited_ms = 0;
    gate_err_t e = s_await(self, &waited_ms);
    if (e == GATE_TIMEOUT) {
        s_no_broker(self, waited_ms);
        return GI_EXIT_GONE;
    }
    return e ? gi_peer_fail(e, false) : GI_EXIT_OK;
}

void gi_peer_close(gi_peer_t *self) {
    gate_client_destroy(&self->client);
    gate_runtime_destroy(&self->runtime);
    gi_peer_forget(&self->auth);
}

/* A peer's own TypeError is an answer, not bad input on our side. */
static int s_exit(gate_err_t e, bool remote) {
    int code = gate_exit_code(e);
    return remote && code == GI_EXIT_USAGE ? GI_EXIT_REMOTE : code;
}

static void s_tell(FILE *to, const gate_error_t *error) {
    bool colour = isatty(STDERR_FILENO);
    fprintf(to, "%s", colour ? "\033[1;31m" : "");
    gi_clean_put(to, error->cls, strlen(error->cls), false);
    fprintf(to, "%s: ", colour ? "\033[0m" : "");
    gi_clean_put(to, error->text, strlen(error->text), true);
    fputc('\n', to);
    size_t n = strlen(error->traceback);
    gi_clean_put(to, error->traceback, n, true);
    if (n && error->traceback[n - 1] != '\n')
        fputc('\n', to);
}

/* In one write, since stderr has no buffer and may be others' too. */
int gi_peer_fail(gate_err_t e, bool remote) {
    char *text = NULL;
    size_t size = 0;
    FILE *whole = open_memstream(&text, &size);
    s_tell(whole ? whole : stderr, gate_error());
    if (whole && fclose(whole) == 0)
        fwrite(text, 1, size, stderr);
    free(text);
    return s_exit(e, remote);
}
