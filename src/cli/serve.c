/* SPDX-License-Identifier: BSD-3-Clause */
/* serve.c -- gate serve. The zygote is forked first of all, before any thread
 * and any dlopen; it costs next to nothing when no method runs on processes.
 * SIGTERM and SIGINT are blocked from then on: they are taken while waiting for
 * a broker here, and later by gate_runtime_wait. */
#include "cli.h"
#include "opts.h"
#include "peer.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const gi_usage_t s_usage = {
    "serve [OPTION]... (--demo | MODULE.so...)",
    "Runs services behind a broker, for which it waits. A module is a shared\n"
    "object that exports gate_module(); see examples/module.c. Prints\n"
    "'ready service=NAME[,NAME]' once all are registered. SIGTERM drains."};

enum { S_LOOK_MS = 200, S_SAY_MS = 1000 };

typedef struct s_args {
    const char *config, *backend;
    int64_t threads, processes; /* -1: the setting */
    bool demo;
    gi_auth_t auth;
    gi_words_t modules;
} s_args_t;

typedef struct s_serve {
    gate_runtime_t *runtime;
    const char *backend;
    gate_service_t **services;
    size_t n;
} s_serve_t;

/* ---- settings -------------------------------------------------------------
 */

static gate_runtime_t *s_runtime(const s_args_t *args) {
    GATE_OWN(gate_settings) settings = gi_peer_settings(args->config);
    if (!settings)
        return NULL;
    if (args->threads >= 0)
        gate_settings_set(settings, "threads", args->threads);
    if (args->processes >= 0)
        gate_settings_set(settings, "processes", args->processes);
    gate_runtime_t *runtime = gate_runtime_new(settings);
    if (!runtime || gate_runtime_start(runtime)) {
        gate_perror("gate serve");
        gate_runtime_destroy(&runtime);
    }
    return runtime;
}

/* ---- services -------------------------------------------------------------
 */

static const gate_module_t *s_module(const char *path) {
    char *real =
        realpath(path, NULL); /* dlopen searches bare names elsewhere */
    void *so = dlopen(real ? real : path, RTLD_NOW | RTLD_LOCAL);
    free(real);
    if (!so) {
        fprintf(stderr, "gate: %s\n", dlerror());
        return NULL;
    }
    gate_module_fn *describe;
    *(void **)&describe = dlsym(so, GATE_MODULE_SYMBOL);
    const gate_module_t *module = describe ? describe() : NULL;
    if (!module || module->abi != GATE_MODULE_ABI || !module->init) {
        fprintf(stderr, "gate: %s: no " GATE_MODULE_SYMBOL "() of ABI %d\n",
                path, GATE_MODULE_ABI);
        return NULL;
    }
    return module;
}

static gate_err_t s_init_demo(gate_runtime_t *runtime,
                              gate_service_t *service) {
    (void)runtime;
    gi_demo_methods(service);
    return GATE_OK;
}

static const gate_module_t s_demo = {
    GATE_MODULE_ABI, "Demo", "what examples and tests call", s_init_demo};

/* Starts one service; 0 or the exit code. */
static int s_start(s_serve_t *self, const gate_module_t *module,
                   const s_args_t *args) {
    gate_service_t *service = gate_service_new(self->runtime, module->name);
    if (!service)
        return gi_peer_fail(GATE_NOMEM, false);
    self->services[self->n++] = service;
    if (module->description)
        gate_service_describe(service, module->description);
    if (args->auth.user)
        gate_service_plain(service, args->auth.user, args->auth.password);
    if (args->auth.curve_cert)
        gate_service_curve(service, args->auth.curve_cert,
                           args->auth.curve_server);
    if (args->auth.plain_user)
        gate_service_plain_transport(service, args->auth.plain_user,
                                     args->auth.plain_password);
    gate_err_t e = module->init(self->runtime, service);
    if (!e)
        e = gate_service_start(service, self->backend);
    return e ? gi_peer_fail(e, false) : 0;
}

static int s_start_all(s_serve_t *self, const s_args_t *args) {
    int code = 0;
    self->services = calloc(args->modules.n + 1, sizeof *self->services);
    if (!self->services)
        return gi_peer_fail(GATE_NOMEM, false);
    if (args->demo)
        code = s_start(self, &s_demo, args);
    for (size_t i = 0; i < args->modules.n && !code; i++) {
        const gate_module_t *module = s_module(args->modules.items[i]);
        code = module ? s_start(self, module, args) : GI_EXIT_USAGE;
    }
    return code;
}

static void s_fini(s_serve_t *self) {
    for (size_t i = 0; i < self->n; i++)
        gate_service_destroy(&self->services[i]);
    free(self->services);
    gate_runtime_destroy(&self->runtime);
}

/* ---- waiting --------------------------------------------------------------
 */

static void s_stop_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

static bool s_asked_to_stop(void) {
    const struct timespec now = {0, 0};
    sigset_t stop;
    s_stop_signals(&stop);
    return sigtimedwait(&stop, NULL, &now) > 0;
}

/* Waits for the broker for ever; 0, the exit code, or -1: asked to stop. */
static int s_wait_ready(const s_serve_t *self) {
    int64_t waited_ms = 0;
    for (size_t i = 0; i < self->n;) {
        gate_err_t e = gate_service_ready(self->services[i], S_LOOK_MS);
        if (e && e != GATE_TIMEOUT)
            return gi_peer_fail(e, false);
        if (!e)
            i++;
        else if ((waited_ms += S_LOOK_MS) == S_SAY_MS)
            fprintf(stderr, "gate: waiting for a broker at %s\n",
                    self->backend);
        if (s_asked_to_stop())
            return -1;
    }
    return 0;
}

static void s_print_ready(const s_serve_t *self) {
    printf("ready service=");
    for (size_t i = 0; i < self->n; i++)
        printf("%s%s", i ? "," : "", gate_service_name(self->services[i]));
    printf("\n");
    fflush(stdout);
}

static int s_run(const s_args_t *args) {
    sigset_t stop;
    s_serve_t self = {0};
    gate_err_t e = gate_process_init();
    if (e && e != GATE_NOTIMPL)
        return gi_peer_fail(e, false);
    s_stop_signals(&stop);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    self.runtime = s_runtime(args);
    if (!self.runtime)
        return GI_EXIT_USAGE;
    self.backend =
        args->backend ? args->backend : gi_peer_backend(self.runtime);
    int code = s_start_all(&self, args);
    if (!code)
        code = s_wait_ready(&self);
    if (!code) {
        s_print_ready(&self);
        code = gate_runtime_wait(self.runtime);
    }
    s_fini(&self);
    return code < 0 ? GI_EXIT_OK : code;
}

int gi_serve_main(int argc, char **argv) {
    s_args_t args = {.threads = -1, .processes = -1};
    const gi_opt_t table[] = {
        {"config", GI_OPT_TEXT, &args.config, "FILE", "settings (ZPL)"},
        {"backend", GI_OPT_TEXT, &args.backend, "EP",
         "the broker's backend (" GI_BACKEND ")"},
        {"threads", GI_OPT_NUMBER, &args.threads, "N",
         "thread pool (max(4, cores))"},
        {"processes", GI_OPT_NUMBER, &args.processes, "N",
         "process pool (cores, when a method runs there)"},
        {"demo", GI_OPT_FLAG, &args.demo, NULL, "serve the demo service"},
        GI_AUTH_OPTS(args.auth),
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &args.modules);
    if (code < 0)
        code = args.demo || args.modules.n
                   ? gi_auth_check(&args.auth, &s_usage)
                   : gi_opts_fail(&s_usage, "serve what?");
    if (code < 0)
        code = s_run(&args);
    gi_words_fini(&args.modules);
    return code;
}
