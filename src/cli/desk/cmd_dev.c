/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_dev.c -- gate dev: a broker, the demo service and the monitor's page in one
 * process, for a first look and for trying one's own services against. Like serve
 * it forks the zygote first of all. Nothing of it is for others: it binds loopback
 * unless told otherwise. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/peer.h"
#ifdef GATE_HAVE_MONITOR
#include "monitor/monitor.h"
#endif

#include <stdlib.h>
#include <string.h>

static const gi_usage_t s_usage = {
    "dev [OPTION]...",
    "A broker, the service Demo and a page that shows them, in one process, "
    "for a\n"
    "first look. Prints one line 'ready frontend=EP backend=EP service=Demo\n"
    "[monitor=URL]'; what to try next goes to standard error. Services of "
    "your\n"
    "own may join at its backend. ^C or SIGTERM ends it."};

enum { S_READY_MS = 30000 };
#define S_SERVICE "Demo"

typedef struct s_args {
    const char *config, *frontend, *backend, *monitor;
    bool bare;
} s_args_t;

#ifdef GATE_HAVE_MONITOR
#define S_PAGE "127.0.0.1:9464"
#else
#define S_PAGE NULL
#endif

#ifdef GATE_HAVE_MONITOR
typedef gi_monitor_t s_page_t;
#else
typedef struct s_page s_page_t;
#endif

typedef struct s_dev {
    gate_runtime_t *runtime;
    gate_broker_t *broker;
    gate_service_t *demo;
    s_page_t *page;
} s_dev_t;

/* ---- the page ----------------------------------------------------------------- */
#ifdef GATE_HAVE_MONITOR
static int s_start_page(s_dev_t *self, const char *addr) {
    gate_client_t *client = addr ? gate_broker_client(self->broker) : NULL;
    if (addr && !client)
        return gi_peer_fail(GATE_NOMEM, false);
    if (addr)
        self->page = gi_monitor_start(addr, client,
                                      gate_runtime_settings(self->runtime));
    return addr && !self->page ? GI_EXIT_USAGE : GI_EXIT_OK;
}

static void s_stop_page(s_dev_t *self) { gi_monitor_stop(&self->page); }

static const char *s_url(const s_dev_t *self) {
    return self->page ? gi_monitor_url(self->page) : NULL;
}
#else
static int s_start_page(s_dev_t *self, const char *addr) {
    (void)self;
    return addr ? gi_opts_fail(&s_usage, "built without libmicrohttpd: no "
                                         "--monitor")
                : GI_EXIT_OK;
}

static void s_stop_page(s_dev_t *self) { (void)self; }

static const char *s_url(const s_dev_t *self) {
    (void)self;
    return NULL;
}
#endif

/* ---- start, tell, wait ----------------------------------------------------------- */
static gate_err_t s_start_demo(s_dev_t *self) {
    self->demo = gate_service_new(self->runtime, S_SERVICE);
    if (!self->demo)
        return GATE_NOMEM;
    gi_demo_methods(self->demo);
    gate_err_t e =
        gate_service_start(self->demo, gate_broker_backend(self->broker, 0));
    if (!e)
        e = gate_service_ready(self->demo, S_READY_MS);
    return e ? e : gate_runtime_ready(self->runtime, S_READY_MS);
}

static int s_start(s_dev_t *self, const s_args_t *args) {
    self->runtime = gi_peer_runtime(args->config);
    if (!self->runtime)
        return GI_EXIT_USAGE;
    self->broker = gate_broker_new(self->runtime);
    if (!self->broker)
        return gi_peer_fail(GATE_NOMEM, false);
    gate_broker_bind(self->broker,
                     args->frontend ? args->frontend : GI_FRONTEND);
    gate_broker_bind_backend(self->broker,
                             args->backend ? args->backend
                                           : gi_peer_backend(self->runtime));
    gate_err_t e = gate_broker_start(self->broker);
    if (!e)
        e = s_start_demo(self);
    return e ? gi_peer_fail(e, false) : s_start_page(self, args->monitor);
}

static bool s_is_usual(const char *frontend) {
    return strcmp(frontend, GI_FRONTEND) == 0;
}

/* What one would type next, as it is to be typed. */
static void s_hint(const s_dev_t *self) {
    const char *front = gate_broker_frontend(self->broker, 0);
    FILE *to = stderr; /* the ready line is alone on stdout */
    char where[300] = "";
    if (!s_is_usual(front))
        snprintf(where, sizeof where, "--broker %s ", front);
    fprintf(to,
            "In another terminal:\n"
            "  gate inspect %s" S_SERVICE "\n"
            "  gate call %s" S_SERVICE ".add 2 3\n"
            "  gate call %s" S_SERVICE ".gen 3\n"
            "  gate top %s\n",
            where, where, where, where);
    if (s_url(self))
        fprintf(to, "In a browser: %s\n", s_url(self));
    fprintf(to, "Services of your own join at %s. ^C ends this.\n",
            gate_broker_backend(self->broker, 0));
}

static void s_tell(const s_dev_t *self) {
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    if (!to)
        return;
    fprintf(to, "ready frontend=%s backend=%s service=" S_SERVICE,
            gate_broker_frontend(self->broker, 0),
            gate_broker_backend(self->broker, 0));
    fprintf(to, "%s%s\n", s_url(self) ? " monitor=" : "",
            s_url(self) ? s_url(self) : "");
    if (!fclose(to))
        gi_main_ready(line);
    free(line);
    s_hint(self);
}

static int s_run(const s_args_t *args) {
    s_dev_t self = {0};
    gi_interrupt_stay(); /* the zygote has a mask of its own */
    gate_err_t e = gate_process_init();
    if (e && e != GATE_NOTIMPL)
        return gi_peer_fail(e, false);
    int code = s_start(&self, args);
    if (!code) {
        s_tell(&self);
        code = gate_runtime_wait(self.runtime);
    }
    s_stop_page(&self);
    gate_service_destroy(&self.demo);
    gate_broker_destroy(&self.broker);
    gate_runtime_destroy(&self.runtime);
    return code;
}

int gi_dev_main(int argc, char **argv) {
    s_args_t args = {.monitor = S_PAGE};
    const gi_opt_t table[] = {
        {"config", GI_OPT_TEXT, &args.config, "FILE", "settings (ZPL)"},
        {"frontend", GI_OPT_TEXT, &args.frontend, "EP",
         "for clients (" GI_FRONTEND ")"},
        {"backend", GI_OPT_TEXT, &args.backend, "EP",
         "for services (" GI_BACKEND ")"},
        {"monitor", GI_OPT_TEXT, &args.monitor, "ADDR",
         "the page is at PORT, ADDRESS:PORT or unix:PATH (127.0.0.1:9464)"},
        {"no-monitor", GI_OPT_FLAG, &args.bare, NULL, "no page"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (args.bare)
        args.monitor = NULL;
    return code < 0 ? s_run(&args) : code;
}
