/* SPDX-License-Identifier: BSD-3-Clause */
/* trust.c -- who is let in, by many threads at once: peers with the right and
 * the wrong passwords and keys come and go at three brokers (in-band ZAP, PLAIN
 * and CURVE of the transport) while the users file and the directory of keys
 * change, and a supervisor makes a service anew. The right ones always get in,
 * the wrong ones never. Under TSan: authority, keys, guess, zap, supervisor. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 12 /* of each peer, times GATE_SCALE */
#define GOOD 2    /* threads of a kind, at each broker */
#define BAD 2
#define IN_MS 20000
#define OUT_MS 60

typedef enum way { IN_BAND, PLAIN, CURVE, WAYS } way_t;

typedef struct world {
    char dir[64];
    gate_runtime_t *runtime;
    gate_zap_t *zap;
    gate_broker_t *broker[WAYS];
    gate_supervisor_t *supervisor;
    int rounds;
    atomic_int busy; /* peers that are not done yet */
    atomic_int wrong;
    atomic_size_t reloads, restarts;
} world_t;

typedef struct peer {
    world_t *w;
    way_t way;
    bool good;
    pthread_t thread;
} peer_t;

static void s_die(const char *what) {
    fprintf(stderr, "FAIL: %s: %s\n", what, gate_error()->text);
    exit(1);
}

static const char *s_path(const world_t *w, const char *name, char to[160]) {
    snprintf(to, 160, "%s/%s", w->dir, name);
    return to;
}

static void s_pause_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- files that change --------------------------------------------------- */
/* The same two users; how many comments there are is what changes. */
static void s_write_users(const world_t *w, int comments) {
    char at[160], fresh[160], hash[256];
    FILE *out = fopen(s_path(w, "fresh", fresh), "we");
    if (!out || gate_zap_hash("secret", hash, sizeof hash))
        s_die("users");
    while (comments-- > 0)
        fputs("# a comment\n", out);
    fprintf(out, "ann:%s\nbob:%s\n", hash, hash);
    if (fclose(out) || rename(fresh, s_path(w, "users", at)))
        s_die("users");
}

/* A stranger's key comes and goes; ann's stays. */
static void s_change_keys(const world_t *w, bool there) {
    char from[160], to[160];
    s_path(w, "bob", from);
    s_path(w, "allow/bob", to);
    if (there ? link(from, to) : unlink(to))
        s_die("keys");
}

static void *s_files(void *arg) {
    world_t *w = arg;
    for (int n = 1; atomic_load(&w->busy) > 0; n++) {
        s_write_users(w, n % 7);
        s_change_keys(w, n % 2);
        gate_supervisor_failed(w->supervisor, "Made", GATE_LOST);
        gate_value_t *stats = gate_supervisor_stats(w->supervisor);
        gate_value_destroy(&stats);
        atomic_fetch_add(&w->reloads, 1);
        s_pause_ms(100);
    }
    return NULL;
}

/* ---- peers --------------------------------------------------------------- */
static void s_credentials(const peer_t *self, gate_client_t *client) {
    char cert[160], server[160];
    const char *user = self->good ? "ann" : "eve";
    switch (self->way) {
    case IN_BAND:
        gate_client_plain(client, user, "secret");
        break;
    case PLAIN:
        gate_client_plain_transport(client, user, "secret");
        break;
    case CURVE:
    case WAYS:
        gate_client_curve(client, s_path(self->w, user, cert),
                          s_path(self->w, "server", server));
    }
}

static void s_visit(peer_t *self) {
    GATE_OWN(gate_client) client = gate_client_new(self->w->runtime);
    GATE_OWN(gate_value) names = NULL;
    if (!client)
        s_die("client");
    s_credentials(self, client);
    if (gate_client_connect(
            client, gate_broker_frontend(self->w->broker[self->way], 0)))
        s_die("connect");
    gate_err_t e = gate_client_ready(client, self->good ? IN_MS : OUT_MS);
    if (!e)
        e = gate_client_services(client, &names);
    if (self->good != (e == GATE_OK)) {
        fprintf(stderr, "way %d, %s: %s: %s\n", (int)self->way,
                self->good ? "right" : "wrong", gate_err_name(e),
                gate_error()->text);
        atomic_fetch_add(&self->w->wrong, 1);
    }
}

static void *s_peer(void *arg) {
    peer_t *self = arg;
    for (int i = 0; i < self->w->rounds; i++)
        s_visit(self);
    atomic_fetch_sub(&self->w->busy, 1);
    return NULL;
}

/* ---- the world ----------------------------------------------------------- */
static gate_err_t seven(gate_call_t *call) { return gate_return(call, 7); }

static const gate_method_t s_methods[] = {GATE_METHOD(seven), GATE_END};

static gate_err_t s_init(gate_runtime_t *runtime, gate_service_t *service,
                         void *ctx) {
    world_t *w = ctx;
    (void)runtime;
    atomic_fetch_add(&w->restarts, 1);
    gate_service_plain(service, "ann", "secret");
    gate_service_methods(service, s_methods, NULL);
    return GATE_OK;
}

static void s_make_files(world_t *w) {
    static const char *const names[] = {"server", "ann", "bob", "eve"};
    char path[160], to[160];
    strcpy(w->dir, "/tmp/gate-trust-XXXXXX");
    if (!mkdtemp(w->dir) || mkdir(s_path(w, "allow", path), 0700))
        s_die("directory");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (gate_curve_keygen(s_path(w, names[i], path), names[i]))
            s_die("keygen");
    if (link(s_path(w, "ann", path), s_path(w, "allow/ann", to)))
        s_die("link");
    s_write_users(w, 0);
}

static void s_make_runtime(world_t *w) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", "broker");
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "mdp_heartbeat_interval", 2000);
    gate_settings_set(settings, "supervise_intensity", 10000);
    gate_settings_set(settings, "supervise_backoff_ms", 5);
    gate_settings_set(settings, "supervise_backoff_max_ms", 20);
    w->runtime = gate_runtime_new(settings);
    if (!w->runtime)
        s_die("runtime");
}

static void s_make_brokers(world_t *w) {
    char a[160], b[160];
    w->zap = gate_zap_new(w->runtime, "tcp://127.0.0.1:*");
    gate_zap_plain_file(w->zap, s_path(w, "users", a));
    if (gate_zap_start(w->zap))
        s_die("zap");
    for (int way = 0; way < WAYS; way++) {
        gate_broker_t *broker = w->broker[way] = gate_broker_new(w->runtime);
        gate_broker_bind(broker, "tcp://127.0.0.1:*");
        gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
        if (way == IN_BAND)
            gate_broker_use_zap(broker, gate_zap_endpoint(w->zap), "global");
        else if (way == PLAIN)
            gate_broker_plain(broker, s_path(w, "users", a));
        else
            gate_broker_curve(broker, s_path(w, "server", a),
                              s_path(w, "allow", b));
        if (gate_broker_start(broker))
            s_die("broker");
    }
}

static void s_supervise(world_t *w) {
    const gate_service_spec_t spec = {
        .name = "Made",
        .backend = gate_broker_backend(w->broker[IN_BAND], 0),
        .init = s_init,
        .ctx = w};
    w->supervisor = gate_supervisor_new(w->runtime, NULL);
    gate_supervisor_add_service(w->supervisor, &spec);
    if (gate_supervisor_start(w->supervisor))
        s_die("supervisor");
}

static void s_end(world_t *w) {
    char command[128];
    gate_supervisor_destroy(&w->supervisor);
    for (int way = 0; way < WAYS; way++)
        gate_broker_destroy(&w->broker[way]);
    gate_zap_destroy(&w->zap);
    gate_runtime_destroy(&w->runtime);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    if (system(command))
        s_die(command);
}

int main(void) {
    static world_t w;
    static peer_t peers[WAYS * (GOOD + BAD)];
    const char *scale = getenv("GATE_SCALE");
    pthread_t files;
    size_t n = 0;
    w.rounds = (int)(ROUNDS * (scale ? atof(scale) : 1)) + 2;
    unsetenv("GATE_SCALE");
    unsetenv("GATE_LONG");
    unsetenv("GATE_SLOW");
    s_make_files(&w);
    s_make_runtime(&w);
    s_make_brokers(&w);
    s_supervise(&w);
    atomic_store(&w.busy, WAYS * (GOOD + BAD));
    if (pthread_create(&files, NULL, s_files, &w))
        s_die("thread");
    for (int way = 0; way < WAYS; way++)
        for (int i = 0; i < GOOD + BAD; i++, n++) {
            peers[n] = (peer_t){.w = &w, .way = (way_t)way, .good = i < GOOD};
            if (pthread_create(&peers[n].thread, NULL, s_peer, &peers[n]))
                s_die("thread");
        }
    for (size_t i = 0; i < n; i++)
        pthread_join(peers[i].thread, NULL);
    pthread_join(files, NULL);
    printf("%zu peers, %d visits each, %zu times other files, %zu services "
           "made\n",
           n, w.rounds, atomic_load(&w.reloads), atomic_load(&w.restarts));
    int wrong = atomic_load(&w.wrong);
    s_end(&w);
    return wrong > 0;
}
