/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem_lives.c -- see nomem.c: what is set up before it starts: brokers and
 * their peers with certificates, passwords and files, supervisors, the ZAP
 * service, settings, the log, and the end by a signal. */
#include "nomem.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHORT_MS nomem_wait_ms()
#define PATHS 12

struct world {
    gate_runtime_t *runtime;
    gate_zap_t *zap;
    char dir[64], path[PATHS][128];
    int n_paths;
};

static gate_err_t s_of(gate_value_t *value) {
    gate_err_t e = value ? GATE_OK : GATE_NOMEM;
    gate_value_destroy(&value);
    return e;
}

/* In the test's directory; the last twelve are valid. */
static const char *s_path(world_t *w, const char *name) {
    char *path = w->path[w->n_paths++ % PATHS];
    snprintf(path, sizeof w->path[0], "%s/%s", w->dir, name);
    return path;
}

static void s_write(const char *path, const char *text) {
    FILE *out = fopen(path, "we");
    if (!out || fputs(text, out) < 0 || fclose(out))
        nomem_die(path, 0, GATE_SYSTEM);
}

/* ---- a service ----------------------------------------------------------- */
static gate_err_t seven(gate_call_t *call) { return gate_return(call, 7); }

static const gate_method_t s_methods[] = {GATE_METHOD(seven), GATE_END};

static gate_err_t s_seven(gate_client_t *client, const char *method) {
    int64_t got = -1;
    gate_err_t e =
        gate_client_call(client, method, &got, gate_timeout_ms(SHORT_MS));
    if (!e && got != 7)
        nomem_die("a wrong answer", (long)got, e);
    return e;
}

/* ---- a broker and its peers, each with what lets it in ------------------- */
typedef enum trust { BARE, IN_BAND, BY_CURVE, BY_PLAIN } trust_t;

static gate_broker_t *s_broker(world_t *w, trust_t trust) {
    gate_broker_t *broker = gate_broker_new(w->runtime);
    if (!broker)
        return NULL;
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    gate_broker_methods(broker, s_methods, NULL);
    if (trust == IN_BAND)
        gate_broker_use_zap(broker, gate_zap_endpoint(w->zap), "global");
    if (trust == BY_CURVE)
        gate_broker_curve(broker, s_path(w, "server"), s_path(w, "allow"));
    if (trust == BY_PLAIN)
        gate_broker_plain(broker, s_path(w, "users"));
    return broker;
}

static gate_err_t s_serve(world_t *w, gate_broker_t *broker, trust_t trust,
                          gate_service_t **out) {
    gate_service_t *service = *out = gate_service_new(w->runtime, "L");
    if (!service)
        return GATE_NOMEM;
    gate_service_describe(service, "lives");
    gate_service_identity(service, "nomem");
    gate_service_limit(service, 10);
    gate_service_workers(service, 2);
    gate_service_default_runs(service, GATE_THREAD, NULL);
    gate_service_methods(service, s_methods, NULL);
    if (trust == IN_BAND)
        gate_service_plain(service, "ann", "secret");
    if (trust == BY_CURVE)
        gate_service_curve(service, s_path(w, "ann"), s_path(w, "server"));
    if (trust == BY_PLAIN)
        gate_service_plain_transport(service, "ann", "secret");
    gate_err_t e = gate_service_start(service, gate_broker_backend(broker, 0));
    return e ? e : gate_service_ready(service, SHORT_MS);
}

static gate_err_t s_ask(world_t *w, gate_broker_t *broker, trust_t trust) {
    GATE_OWN(gate_client) client = gate_client_new(w->runtime);
    if (!client)
        return GATE_NOMEM;
    gate_client_identity(client, "nomem");
    if (trust == IN_BAND)
        gate_client_plain(client, "ann", "secret");
    if (trust == BY_CURVE)
        gate_client_curve(client, s_path(w, "ann"), s_path(w, "server"));
    if (trust == BY_PLAIN)
        gate_client_plain_transport(client, "ann", "secret");
    gate_err_t e = gate_client_connect(client, gate_broker_frontend(broker, 0));
    e = e ? e : gate_client_ready(client, SHORT_MS);
    e = e ? e : s_seven(client, "L.seven");
    return e ? e : s_seven(client, "Gate.seven");
}

static gate_err_t s_peers(world_t *w, trust_t trust) {
    gate_service_t *service = NULL;
    gate_broker_t *broker = s_broker(w, trust);
    gate_err_t e = broker ? gate_broker_start(broker) : GATE_NOMEM;
    e = e ? e : s_serve(w, broker, trust, &service);
    e = e ? e : s_ask(w, broker, trust);
    e = e ? e : gate_broker_drain(broker, 1000);
    gate_service_destroy(&service);
    gate_broker_destroy(&broker);
    return e;
}

static gate_err_t s_bare(world_t *w) { return s_peers(w, BARE); }
static gate_err_t s_in_band(world_t *w) { return s_peers(w, IN_BAND); }
static gate_err_t s_by_curve(world_t *w) { return s_peers(w, BY_CURVE); }
static gate_err_t s_by_plain(world_t *w) { return s_peers(w, BY_PLAIN); }

static gate_err_t s_two_brokers(world_t *w) {
    gate_broker_t *a = s_broker(w, BARE), *b = s_broker(w, BARE);
    gate_service_t *service = NULL;
    gate_err_t e = a && b ? gate_broker_start(a) : GATE_NOMEM;
    e = e ? e : gate_broker_start(b);
    e = e ? e : s_serve(w, a, BARE, &service);
    e = e ? e : gate_service_attach(service, gate_broker_backend(b, 0));
    e = e ? e : gate_service_ready(service, SHORT_MS);
    e = e ? e : s_ask(w, b, BARE);
    gate_service_destroy(&service);
    gate_broker_destroy(&b);
    gate_broker_destroy(&a);
    return e;
}

/* The second takes over the first one's listeners. */
static gate_err_t s_hand_over(world_t *w) {
    gate_broker_t *old = s_broker(w, BARE), *new = s_broker(w, BARE);
    gate_err_t e = old && new ? GATE_OK : GATE_NOMEM;
    if (!e) {
        gate_broker_uplink(old, "");
        gate_broker_hand_over(old, s_path(w, "next"));
        gate_broker_hand_over(new, s_path(w, "next"));
        e = gate_broker_start(old);
    }
    if (!e && gate_broker_uplink_name(old))
        e = GATE_BADDATA;
    e = e ? e : gate_broker_start(new);
    for (int i = 0; !e && !gate_broker_is_replaced(old); i++)
        e = i < 5000 ? (gate_err_t)usleep(1000) : GATE_TIMEOUT;
    gate_broker_destroy(&old);
    gate_broker_destroy(&new);
    return e;
}

/* ---- the ZAP service ----------------------------------------------------- */
static gate_err_t s_check(void *ctx, const gate_zap_request_t *request) {
    (void)ctx;
    return strcmp(request->user, "bob") ? GATE_REFUSED : GATE_OK;
}

static gate_err_t s_zap_life(world_t *w) {
    gate_zap_t *zap = gate_zap_new(w->runtime, "tcp://127.0.0.1:*");
    gate_err_t e = GATE_NOMEM;
    if (zap) {
        gate_zap_plain(zap, "global", "ann", "secret");
        gate_zap_plain_file(zap, s_path(w, "users"));
        gate_zap_check(zap, s_check, NULL);
        gate_zap_allow(zap, "127.0.0.1");
        gate_zap_deny(zap, "127.0.0.2");
        e = gate_zap_start(zap);
        e = e ? e : s_of(gate_zap_stats(zap));
    }
    gate_zap_destroy(&zap);
    return e;
}

static gate_err_t s_hash(world_t *w) {
    char out[256];
    (void)w;
    return gate_zap_hash("secret", out, sizeof out);
}

static gate_err_t s_password(world_t *w) {
    char out[GATE_PASSWORD_MAX + 1];
    const char *file = s_path(w, "password");
    FILE *f = fopen(file, "w");
    if (!f || fchmod(fileno(f), 0600) < 0 || fputs("secret\n", f) < 0 ||
        fclose(f) != 0)
        return GATE_SYSTEM;
    gate_err_t e = gate_password_read(file, NULL, out);
    unlink(file);
    return e;
}

static gate_err_t s_keygen(world_t *w) {
    const char *file = s_path(w, "fresh"), *both = s_path(w, "fresh_secret");
    gate_err_t e = gate_curve_keygen(file, "fresh");
    unlink(file);
    unlink(both);
    return e;
}

/* ---- supervisors --------------------------------------------------------- */
static gate_err_t s_child_start(void *ctx) {
    (void)ctx;
    return GATE_OK;
}

static gate_err_t s_init(gate_runtime_t *runtime, gate_service_t *service,
                         void *ctx) {
    (void)runtime;
    gate_service_methods(service, s_methods, ctx);
    return GATE_OK;
}

static gate_err_t s_supervise(gate_supervisor_t *top, gate_supervisor_t **sub) {
    const gate_child_t child = {.name = "child", .start = s_child_start};
    const gate_service_spec_t service = {.name = "Kept", .init = s_init};
    gate_supervisor_add(*sub, &child);
    gate_supervisor_add_service(top, &service);
    gate_supervisor_add_supervisor(top, "below", sub);
    gate_err_t e = gate_supervisor_start(top);
    e = e ? e : gate_supervisor_ready(top, SHORT_MS);
    if (!e)
        gate_supervisor_failed(top, "Kept", GATE_LOST);
    e = e ? e : gate_supervisor_check(top);
    e = e ? e : gate_supervisor_over(top) ? GATE_CLOSED : GATE_OK;
    return e ? e : s_of(gate_supervisor_stats(top));
}

static gate_err_t s_supervisor(world_t *w) {
    const gate_supervisor_options_t quick = {
        .intensity = 1000, .backoff_ms = 1, .backoff_max_ms = 2};
    gate_supervisor_t *top = gate_supervisor_new(w->runtime, &quick);
    gate_supervisor_t *sub = gate_supervisor_new(w->runtime, &quick);
    gate_err_t e = top && sub ? s_supervise(top, &sub) : GATE_NOMEM;
    gate_supervisor_destroy(&sub);
    gate_supervisor_destroy(&top);
    return e;
}

/* ---- settings, values, the log ------------------------------------------- */
static gate_err_t s_object_hook(void *ctx, msgpack_object *map,
                                msgpack_zone *zone) {
    (void)ctx, (void)map;
    return msgpack_zone_malloc(zone, 16) ? GATE_OK : GATE_NOMEM;
}

static void s_each(void *ctx, const char *name, const char *type,
                   const char *value, const char *doc) {
    *(size_t *)ctx += strlen(name) + strlen(type) + strlen(value) + strlen(doc);
}

static void s_one(void *ctx, const gate_setting_t *one) {
    *(size_t *)ctx += strlen(one->usual) + strlen(one->source);
}

static gate_err_t s_settings(world_t *w) {
    const gate_hooks_t hooks = {.object_hook = s_object_hook};
    gate_settings_t *settings = gate_settings_new();
    GATE_OWN(gate_value) value = NULL;
    const char *name = NULL;
    size_t all = 0;
    if (!settings)
        return GATE_NOMEM;
    gate_settings_hooks(settings, hooks);
    gate_err_t e = gate_settings_load(settings, s_path(w, "zpl"));
    gate_settings_set(settings, "access", "allow * *");
    e = e ? e : gate_settings_check(settings);
    e = e ? e : gate_settings_get(settings, "service_default_name", &name);
    gate_settings_each(settings, s_each, &all);
    gate_settings_list(settings, s_one, &all);
    e = e ? e
          : gate_value_decode("\x81\xa1"
                              "a\x01",
                              4, settings, &value);
    gate_settings_destroy(&settings);
    if (!e && (!all || strcmp(gate_value_object(value) ? "y" : "n", "y")))
        nomem_die("settings", (long)all, e);
    return e;
}

/* Variables of all sizes. */
static gate_err_t s_sizes(world_t *w) {
    GATE_OWN(gate_value) value = gate_value_new_(gate_int(7));
    unsigned a = 0;
    float b = 0;
    int16_t c = 0;
    uint16_t d = 0;
    int8_t f = 0;
    uint8_t g = 0;
    (void)w;
    if (!value)
        return gate_error()->code;
    gate_err_t e = gate_value_read_(value, "", gate_ouint(&a));
    e = e ? e : gate_value_read_(value, "", gate_of32(&b));
    e = e ? e : gate_value_read_(value, "", gate_oi16(&c));
    e = e ? e : gate_value_read_(value, "", gate_ou16(&d));
    e = e ? e : gate_value_read_(value, "", gate_oi8(&f));
    e = e ? e : gate_value_read_(value, "", gate_ou8(&g));
    if (!e && (int)a + (int)b + c + d + f + g != 6 * 7)
        nomem_die("sizes", (long)a, e);
    return e;
}

static gate_err_t s_value(world_t *w) {
    GATE_OWN(gate_value)
    value = gate_value_new_(gate_map(gate_kw("a", "text")));
    char *text = NULL, *json = NULL;
    (void)w;
    if (!value)
        return GATE_NOMEM;
    gate_err_t e = gate_value_bytes(value).size ? GATE_OK : GATE_BADDATA;
    e = e ? e : gate_value_read(value, "a", &text);
    if (!e && strcmp(text, "text"))
        nomem_die(text, 0, e);
    free(text);
    json = e ? NULL : gate_value_json(value);
    e = e ? e : json ? GATE_OK : GATE_NOMEM;
    free(json);
    return e;
}

static gate_err_t s_dict(world_t *w) {
    gate_dict_t *dict = gate_dict_new(2, NULL);
    void *got = NULL;
    if (!dict)
        return GATE_NOMEM;
    gate_err_t e = gate_dict_set(dict, (gate_bytes_t){"k", 1}, w, 0);
    e = e ? e : gate_dict_get(dict, (gate_bytes_t){"k", 1}, &got, 0);
    if (!e && (got != w || gate_dict_size(dict) ||
               gate_dict_has(dict, (gate_bytes_t){"k", 1})))
        nomem_die("dict", 0, e);
    gate_dict_destroy(&dict);
    return e;
}

static void s_sink(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    (void)ctx, (void)level, (void)part, (void)text;
}

static gate_err_t s_log(world_t *w) {
    (void)w;
    gate_log_sink(s_sink, NULL);
    for (int i = 0; i < 3; i++)
        gate_log(GATE_ERROR, "nomem", "line %d", i);
    bool out = gate_log_flush(5000);
    gate_log_sink(NULL, NULL);
    return out ? GATE_OK : GATE_TIMEOUT;
}

/* ---- the end ------------------------------------------------------------- */
static gate_err_t s_wait(world_t *w) {
    GATE_OWN(gate_runtime)
    runtime = gate_runtime_new(gate_runtime_settings(w->runtime));
    GATE_OWN(gate_service)
    service = runtime ? gate_service_new(runtime, "W") : NULL;
    if (!service)
        return GATE_NOMEM;
    gate_service_methods(service, s_methods, NULL);
    gate_err_t e = gate_service_start(service, NULL);
    if (e)
        return e;
    e = gate_runtime_reload(runtime);
    if (e)
        return e;
    raise(SIGTERM); /* blocked: it is taken inside */
    return gate_runtime_wait(runtime) ? GATE_SYSTEM : GATE_OK;
}

static const step_t s_all[] = {
    {"broker and peers", s_bare, 7},
    {"in-band", s_in_band, 13},
    {"curve", s_by_curve, 13},
    {"plain", s_by_plain, 97},
    {"two brokers", s_two_brokers, 7},
    {"hand over", s_hand_over, 25},
    {"zap life", s_zap_life, 7},
    {"hash", s_hash, 0},
    {"keygen", s_keygen, 0},
    {"password", s_password, 0},
    {"supervisor", s_supervisor, 5},
    {"settings file", s_settings, 0},
    {"variables of all sizes", s_sizes, 0},
    {"value", s_value, 0},
    {"dict", s_dict, 0},
    {"log", s_log, 0},
    {"wait", s_wait, 7},
};

/* ---- the world ----------------------------------------------------------- */
static gate_runtime_t *s_runtime(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", "broker");
    gate_settings_set(settings, "threads", 2);
    gate_settings_set(settings, "mdp_heartbeat_interval", 100);
    gate_settings_set(settings, "drain_timeout_ms", 500);
    gate_settings_set(settings, "log_level", "silent");
    return gate_runtime_new(settings);
}

static void s_files(world_t *w) {
    char line[300] = "ann:";
    gate_err_t e = gate_curve_keygen(s_path(w, "server"), NULL);
    e = e ? e : gate_curve_keygen(s_path(w, "ann"), "ann");
    e = e ? e : gate_zap_hash("secret", line + 4, sizeof line - 4);
    strcat(line, "\n");
    s_write(s_path(w, "users"), line);
    s_write(s_path(w, "zpl"), "threads = 3\nzap_users = users\n");
    if (e || mkdir(s_path(w, "allow"), 0700) ||
        link(s_path(w, "ann"), s_path(w, "allow/ann")))
        nomem_die("files", 0, e);
}

static void s_begin(world_t *w) {
    strcpy(w->dir, "/tmp/gate-nomem-XXXXXX");
    if (!mkdtemp(w->dir))
        nomem_die(w->dir, 0, GATE_SYSTEM);
    s_files(w);
    w->runtime = s_runtime();
    w->zap = gate_zap_new(w->runtime, "tcp://127.0.0.1:*");
    gate_zap_plain(w->zap, "*", "ann", "secret");
    gate_err_t e = gate_zap_start(w->zap);
    if (e)
        nomem_die("world", 0, e);
}

static void s_end(world_t *w) {
    char command[128];
    gate_zap_destroy(&w->zap);
    gate_runtime_destroy(&w->runtime);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    if (system(command))
        nomem_die(command, 0, GATE_SYSTEM);
}

int main(int argc, char **argv) {
    static world_t w;
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, NULL); /* of all threads */
    nomem_init();
    s_begin(&w);
    nomem_run(&w, s_all, sizeof s_all / sizeof *s_all, argc, argv);
    s_end(&w);
    return 0;
}
