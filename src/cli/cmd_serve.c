/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_serve.c -- gate serve. The zygote is forked first of all, before any thread
 * and any dlopen; it costs next to nothing when no method runs on processes.
 * Signals wait from then on (interrupt.h): they are taken while waiting for a broker
 * here, and later by gate_runtime_wait. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "cli/supervise.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "serve [OPTION]... (--demo | MODULE.so...)",
    "Runs services behind a broker, for which it waits. A module is a shared\n"
    "object that exports gate_module(); see examples/module.c. Prints\n"
    "'ready service=NAME[,NAME]' once all are registered. SIGTERM drains. A\n"
    "module that fails is tried again, as the supervise_... settings say; "
    "what\n"
    "this machine does not give at the start ends it. With --supervise the\n"
    "whole process is started again."};

enum { S_LOOK_MS = 200, S_SAY_MS = 1000 };
/* descriptors: of a service, of each worker process, of how many at least */
enum { S_FDS = 24, S_FDS_A_PROCESS = 6, S_PROCESSES = 2 };

typedef struct s_args {
    const char *config, *backend;
    int64_t threads, processes; /* -1: the setting */
    bool demo, supervise;
    gi_auth_t auth;
    gi_words_t modules;
} s_args_t;

/* What a child of the supervisor is made of. */
typedef struct s_served {
    const gate_module_t *module;
    const gi_auth_t *auth;
    bool refused; /* by the module itself, at the last start */
} s_served_t;

typedef struct s_serve {
    gate_runtime_t *runtime;
    const char *backend;
    gate_supervisor_t *supervisor;
    s_served_t *served;
    size_t n;
    int failed[2]; /* a pipe: a service could not be started */
    char *why; /* then, before it is written to; the supervisor's thread's */
} s_serve_t;

/* ---- settings ------------------------------------------------------------ */

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

/* ---- services ------------------------------------------------------------ */

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

/* Each time that the supervisor makes the service anew. */
static gate_err_t s_init(gate_runtime_t *runtime, gate_service_t *service,
                         void *ctx) {
    s_served_t *served = ctx;
    const gi_auth_t *auth = served->auth;
    if (auth->user)
        gate_service_plain(service, auth->user, auth->password.word);
    if (auth->curve_cert)
        gate_service_curve(service, auth->curve_cert, auth->curve_server);
    if (auth->plain_user)
        gate_service_plain_transport(service, auth->plain_user,
                                     auth->plain_password.word);
    gate_err_t e = served->module->init(runtime, service);
    served->refused = e;
    return e;
}

/* Of a start that failed: what the module says may change, so that it is tried
 * again. On the supervisor's thread, as s_init. */
static void s_event(void *ctx, const gate_child_event_t *event) {
    s_serve_t *self = ctx;
    bool refused = false;
    for (size_t i = 0; i < self->n; i++)
        refused |= self->served[i].refused;
    if (!event->error || event->gave_up || refused || self->why)
        return;
    self->why = strdup(gate_error()->text);
    if (write(self->failed[1], "", 1) < 0)
        perror("gate: pipe");
}

static bool s_has_failed(const s_serve_t *self) {
    char c;
    return read(self->failed[0], &c, 1) == 1;
}

static void s_add(s_serve_t *self, const gate_module_t *module,
                  const s_args_t *args) {
    s_served_t *served = &self->served[self->n++];
    *served = (s_served_t){module, &args->auth, false};
    const gate_service_spec_t spec = {.name = module->name,
                                      .description = module->description,
                                      .backend = self->backend,
                                      .init = s_init,
                                      .ctx = served};
    gate_supervisor_add_service(self->supervisor, &spec);
}

static int s_start_all(s_serve_t *self, const s_args_t *args) {
    self->served = calloc(args->modules.n + 1, sizeof *self->served);
    const gate_supervisor_options_t options = {.event = s_event, .ctx = self};
    self->supervisor = gate_supervisor_new(self->runtime, &options);
    if (!self->served || !self->supervisor)
        return gi_peer_fail(GATE_NOMEM, false);
    if (args->demo)
        s_add(self, &s_demo, args);
    for (size_t i = 0; i < args->modules.n; i++) {
        const gate_module_t *module = s_module(args->modules.items[i]);
        if (!module)
            return GI_EXIT_USAGE;
        s_add(self, module, args);
    }
    gate_err_t e = gate_supervisor_start(self->supervisor);
    if (e)
        gi_peer_fail(e, false);
    return e ? GI_EXIT_USAGE : GI_EXIT_OK;
}

static void s_fini(s_serve_t *self) {
    gate_supervisor_destroy(&self->supervisor);
    free(self->served);
    free(self->why);
    for (int i = 0; i < 2 && self->failed[0] >= 0; i++)
        close(self->failed[i]);
    gate_runtime_destroy(&self->runtime);
}

/* ---- waiting ------------------------------------------------------------- */

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

/* Waits for the broker for ever, and for a worker process where methods need
 * them; 0, the exit code, or -1: asked to stop. */
static int s_wait_ready(const s_serve_t *self) {
    gate_err_t e;
    int64_t waited_ms = 0;
    while ((e = gate_supervisor_ready(self->supervisor, S_LOOK_MS))) {
        if (e != GATE_TIMEOUT)
            return gi_peer_fail(e, false);
        if (s_has_failed(self)) {
            fprintf(stderr, "gate: %s\n", self->why ? self->why : "no memory");
            return GI_EXIT_USAGE;
        }
        if ((waited_ms += S_LOOK_MS) == S_SAY_MS)
            fprintf(stderr, "gate: waiting for a broker at %s\n",
                    self->backend);
        if (s_asked_to_stop())
            return -1;
    }
    while ((e = gate_runtime_ready(self->runtime, S_LOOK_MS))) {
        if (e != GATE_TIMEOUT) {
            gi_peer_fail(e, false);
            return GI_EXIT_USAGE;
        }
        if (s_asked_to_stop())
            return -1;
    }
    return s_asked_to_stop() ? -1 : 0;
}

static void s_print_ready(const s_serve_t *self) {
    const char *standard = "";
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    if (!to)
        return;
    gate_err_t e = gate_settings_get(gate_runtime_settings(self->runtime),
                                     "service_default_name", &standard);
    (void)e; /* it is there */
    fprintf(to, "ready service=");
    for (size_t i = 0; i < self->n; i++) {
        const char *name = self->served[i].module->name;
        fprintf(to, "%s%s", i ? "," : "", name ? name : standard);
    }
    fprintf(to, "\n");
    if (!fclose(to))
        gi_main_ready(line);
    free(line);
}

/* To the end: a signal, told to drain, or the supervisor gave up. */
static int s_wait_end(const s_serve_t *self) {
    int code = gate_runtime_wait(self->runtime);
    gate_err_t e = gate_supervisor_check(self->supervisor);
    if (e)
        gi_peer_fail(e, false);
    return code;
}

/* Without them services would start by halves, each part with an error of its
 * own. */
static bool s_room(const s_args_t *args) {
    int n = 0, fds[S_FDS + S_FDS_A_PROCESS * S_PROCESSES];
    int64_t processes = args->processes;
    if (processes < 0 || processes > S_PROCESSES)
        processes = S_PROCESSES;
    int needed = S_FDS + S_FDS_A_PROCESS * (int)processes;
    while (n < needed && (fds[n] = fcntl(0, F_DUPFD_CLOEXEC, 3)) >= 0)
        n++;
    bool room = n == needed;
    struct rlimit limit = {.rlim_cur = 0};
    int error = errno;
    getrlimit(RLIMIT_NOFILE, &limit);
    errno = error;
    if (!room)
        fprintf(stderr,
                "gate: %d descriptors are free, a service needs %d: %s (ulimit "
                "-n is %llu, %llu would do)\n",
                n, needed, strerror(errno), (unsigned long long)limit.rlim_cur,
                (unsigned long long)limit.rlim_cur + (unsigned)(needed - n));
    while (n)
        close(fds[--n]);
    return room;
}

static int s_run(const s_args_t *args) {
    s_serve_t self = {.failed = {-1, -1}};
    gi_interrupt_stay();
    if (!s_room(args))
        return GI_EXIT_USAGE;
    gate_err_t e = gate_process_init();
    if (e && e != GATE_NOTIMPL) {
        gi_peer_fail(e, false);
        return GI_EXIT_USAGE;
    }
    self.runtime = s_runtime(args);
    if (!self.runtime)
        return GI_EXIT_USAGE;
    self.backend =
        args->backend ? args->backend : gi_peer_backend(self.runtime);
    int code = GI_EXIT_USAGE;
    if (pipe2(self.failed, O_CLOEXEC | O_NONBLOCK) < 0)
        perror("gate: pipe");
    else
        code = s_start_all(&self, args);
    if (!code)
        code = s_wait_ready(&self);
    if (!code) {
        s_print_ready(&self);
        code = s_wait_end(&self);
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
        {"supervise", GI_OPT_FLAG, &args.supervise, NULL,
         "in a process of its own, started again when it dies"},
        GI_AUTH_OPTS(args.auth),
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &args.modules);
    if (code < 0)
        code = args.demo || args.modules.n
                   ? gi_auth_check(&args.auth, args.config, &s_usage)
                   : gi_opts_fail(&s_usage, "serve what?");
    if (code < 0)
        code = args.supervise
                   ? gi_supervise(args.config, &args.auth, argc, argv)
                   : s_run(&args);
    gi_peer_forget(&args.auth);
    gi_words_fini(&args.modules);
    return code;
}
