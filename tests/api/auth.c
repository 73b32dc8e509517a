/* SPDX-License-Identifier: BSD-3-Clause */
/* auth.c -- trust through the public face: CURVE, in-band PLAIN with our ZAP
 * service, the user in the handler, access rules with and without sockets. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

#define MUST(call)                                                      \
    do {                                                                \
        gate_err_t e_ = (call);                                         \
        cr_assert_eq(e_, GATE_OK, "%s: %s", #call, gate_error()->text); \
    } while (0)

static gate_err_t who(gate_call_t *call) {
    return gate_return(call, gate_call_user(call));
}

static gate_err_t two(gate_call_t *call) { return gate_return(call, 2); }

static const gate_method_t s_table[] = {
    GATE_METHOD(who),
    GATE_METHOD(two),
    {.name = "who_thread", .fn = who, .runs = GATE_THREAD},
    GATE_END};

/* ---- a place for files --------------------------------------------------- */
static char s_dir[64];

static const char *s_path(const char *name) {
    static char paths[8][128];
    static int n;
    char *path = paths[n++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", s_dir, name);
    return path;
}

static void s_open_dir(void) {
    strcpy(s_dir, "/tmp/gate-auth-XXXXXX");
    cr_assert_not_null(mkdtemp(s_dir));
}

static void s_close_dir(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", s_dir);
    cr_assert_eq(system(command), 0);
}

static void s_write(const char *path, const char *text) {
    FILE *out = fopen(path, "we");
    cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
}

/* ---- a broker, a service, and clients that come and go ------------------- */
typedef struct world {
    gate_settings_t *settings;
    gate_runtime_t *rt;
    gate_zap_t *zap;
    gate_broker_t *broker;
    gate_service_t *service;
} world_t;

static void s_begin(world_t *w) {
    *w = (world_t){.settings = rig_settings()};
    s_open_dir();
    gate_settings_set(w->settings, "route", "broker");
    gate_settings_set(w->settings, "heartbeat", 1000);
    gate_settings_set(w->settings, "zap_reply_timeout", 1); /* < liveness */
}

static void s_runtime(world_t *w) {
    w->rt = gate_runtime_new(w->settings);
    w->broker = gate_broker_new(w->rt);
    gate_broker_bind(w->broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(w->broker, "tcp://127.0.0.1:*");
    w->service = gate_service_new(w->rt, "Test");
    gate_service_methods(w->service, s_table, NULL);
}

static void s_pause(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void s_serve(world_t *w) {
    MUST(gate_service_start(w->service, gate_broker_backend(w->broker, 0)));
    MUST(gate_service_ready(w->service, 3000));
    s_pause(50); /* the broker has learnt that the worker is one of ours */
}

static void s_end(world_t *w) {
    gate_service_destroy(&w->service);
    gate_broker_destroy(&w->broker);
    gate_zap_destroy(&w->zap);
    gate_runtime_destroy(&w->rt);
    gate_settings_destroy(&w->settings);
    s_close_dir();
}

static int64_t s_counter(world_t *w, const char *name) {
    int64_t n = -1;
    gate_value_t *stats = gate_broker_stats(w->broker);
    MUST(gate_value_read(stats, name, &n));
    gate_value_destroy(&stats);
    return n;
}

/* ---- CURVE --------------------------------------------------------------- */
static gate_client_t *s_curve_client(world_t *w, const char *cert,
                                     const char *server) {
    gate_client_t *client = gate_client_new(w->rt);
    gate_client_curve(client, s_path(cert), s_path(server));
    MUST(gate_client_connect(client, gate_broker_frontend(w->broker, 0)));
    return client;
}

static void s_copy(const char *from, const char *to) {
    char command[300];
    snprintf(command, sizeof command, "cp %s %s", s_path(from), s_path(to));
    cr_assert_eq(system(command), 0);
}

static void s_curve_world(world_t *w) {
    s_begin(w);
    MUST(gate_curve_keygen(s_path("server"), NULL));
    MUST(gate_curve_keygen(s_path("ann"), "ann"));
    MUST(gate_curve_keygen(s_path("anon"), NULL));
    MUST(gate_curve_keygen(s_path("eve"), "eve"));
    cr_assert_eq(mkdir(s_path("allow"), 0700), 0);
    s_copy("ann", "allow/ann.cert");
    s_copy("anon", "allow/anon.cert");
    s_runtime(w);
}

static void s_curve_up(world_t *w, const char *allow) {
    gate_broker_curve(w->broker, s_path("server"), allow);
    MUST(gate_broker_start(w->broker));
    gate_service_curve(w->service, s_path("ann"), s_path("server"));
    s_serve(w);
}

Test(curve, keygen) {
    struct stat st;
    s_open_dir();
    MUST(gate_curve_keygen(s_path("k"), "joe"));
    cr_assert_eq(stat(s_path("k_secret"), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_expect_eq(gate_curve_keygen(s_path("k"), NULL), GATE_SYSTEM);
    cr_expect(strstr(gate_error()->text, "exists already"));
    cr_expect_eq(gate_curve_keygen(s_path("no/k"), NULL), GATE_SYSTEM);
    s_close_dir();
}

Test(curve, keys_of_the_directory_alone) {
    world_t w;
    const char *user;
    s_curve_world(&w);
    s_curve_up(&w, s_path("allow"));
    gate_client_t *ann = s_curve_client(&w, "ann", "server");
    MUST(gate_client_ready(ann, 3000));
    MUST(gate_client_call(ann, "Test.who", &user));
    cr_expect_str_eq(user, "ann");
    MUST(gate_client_call(ann, "Test.who_thread", &user));
    cr_expect_str_eq(user, "ann");
    gate_client_t *anon = s_curve_client(&w, "anon", "server");
    MUST(gate_client_ready(anon, 3000));
    MUST(gate_client_call(anon, "Test.who", &user));
    cr_expect_eq(strlen(user), 40, "a key: %s", user);
    gate_client_t *eve = s_curve_client(&w, "eve", "server");
    cr_expect_eq(gate_client_ready(eve, 3000), GATE_REFUSED);
    s_copy("eve", "allow/eve.cert");
    for (int i = 0; i < 500 && gate_client_ready(eve, 0); i++)
        s_pause(10); /* it tries again by itself */
    MUST(gate_client_call(eve, "Test.who", &user));
    cr_expect_str_eq(user, "eve");
    gate_client_destroy(&ann);
    gate_client_destroy(&anon);
    gate_client_destroy(&eve);
    s_end(&w);
}

Test(curve, nobody_else_gets_through) {
    world_t w;
    s_curve_world(&w);
    s_curve_up(&w, s_path("allow"));
    gate_client_t *wrong = s_curve_client(&w, "ann", "eve"); /* server's key */
    cr_expect_neq(gate_client_ready(wrong, 3000), GATE_OK);
    gate_client_t *plain = gate_client_new(w.rt);
    MUST(gate_client_connect(plain, gate_broker_frontend(w.broker, 0)));
    cr_expect_neq(gate_client_ready(plain, 3000), GATE_OK);
    gate_client_destroy(&wrong);
    gate_client_destroy(&plain);
    s_end(&w);
}

Test(curve, any_key) {
    world_t w;
    const char *user;
    s_curve_world(&w);
    s_curve_up(&w, "*");
    gate_client_t *eve = s_curve_client(&w, "eve", "server");
    MUST(gate_client_ready(eve, 3000));
    MUST(gate_client_call(eve, "Test.who", &user));
    cr_expect_str_eq(user, "", "any key will do: it proves nobody");
    gate_client_destroy(&eve);
    s_end(&w);
}

Test(curve, files_that_are_none) {
    world_t w;
    s_curve_world(&w);
    s_write(s_path("junk"), "nothing of the kind\n");
    gate_broker_curve(w.broker, s_path("missing"), "*");
    cr_expect_eq(gate_broker_start(w.broker), GATE_SYSTEM);
    gate_broker_curve(w.broker, s_path("junk"), "*");
    cr_expect_eq(gate_broker_start(w.broker), GATE_BADDATA);
    gate_broker_curve(w.broker, s_path("server"), s_path("nodir"));
    cr_expect_eq(gate_broker_start(w.broker), GATE_SYSTEM);
    s_curve_up(&w, s_path("allow"));
    gate_broker_t *other = gate_broker_new(w.rt);
    gate_broker_curve(other, s_path("server"), s_path("junk"));
    gate_broker_bind(other, "tcp://127.0.0.1:*");
    cr_expect_eq(gate_broker_start(other), GATE_BADARG, "no directory");
    gate_broker_curve(other, s_path("server"), s_dir); /* of junk, too */
    MUST(gate_broker_start(other));
    gate_broker_destroy(&other);
    const char *certs[][2] = {{"missing", "server"},
                              {"ann", "missing"},
                              {"junk", "server"},
                              {"ann", "junk"},
                              {"allow/ann.cert", "server"}};
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        gate_client_t *c = gate_client_new(w.rt);
        gate_client_curve(c, s_path(certs[i][0]), s_path(certs[i][1]));
        gate_err_t e =
            gate_client_connect(c, gate_broker_frontend(w.broker, 0));
        cr_expect(e == GATE_SYSTEM || e == GATE_BADDATA, "%zu: %s", i,
                  gate_err_name(e));
        gate_client_destroy(&c);
    }
    gate_service_t *s = gate_service_new(w.rt, "Other");
    gate_service_curve(s, s_path("missing"), s_path("server"));
    cr_expect_eq(gate_service_start(s, gate_broker_backend(w.broker, 0)),
                 GATE_SYSTEM);
    gate_service_destroy(&s);
    s_end(&w);
}

/* A second broker beside w's, with its own idea of who may connect. */
static gate_broker_t *s_beside(world_t *w, const char *allow,
                               const char *users) {
    gate_broker_t *other = gate_broker_new(w->rt);
    if (allow)
        gate_broker_curve(other, s_path("server"), allow);
    if (users)
        gate_broker_plain(other, users);
    gate_broker_bind(other, "tcp://127.0.0.1:*");
    MUST(gate_broker_start(other));
    return other;
}

Test(curve, each_broker_has_its_own_directory) {
    world_t w;
    s_curve_world(&w);
    s_curve_up(&w, s_path("allow"));
    cr_assert_eq(mkdir(s_path("allow2"), 0700), 0);
    s_copy("eve", "allow2/eve");
    s_copy("eve", "allow2/eve_again"); /* the same key twice */
    s_copy("ann", "allow2/Ann");
    gate_broker_t *other = s_beside(&w, s_path("allow2"), NULL);
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "anon" : "eve";
        gate_client_t *c = gate_client_new(w.rt);
        gate_client_curve(c, s_path(who), s_path("server"));
        MUST(gate_client_connect(c, gate_broker_frontend(other, 0)));
        cr_expect_eq(gate_client_ready(c, i ? 300 : 3000),
                     i ? GATE_REFUSED : GATE_OK, "%s at the other", who);
        gate_client_destroy(&c);
        c = s_curve_client(&w, who, "server");
        cr_expect_eq(gate_client_ready(c, 3000), i ? GATE_OK : GATE_REFUSED,
                     "%s at the first", who);
        gate_client_destroy(&c);
    }
    gate_broker_destroy(&other);
    gate_client_t *ann = s_curve_client(&w, "ann", "server");
    MUST(gate_client_ready(ann, 3000));
    gate_client_destroy(&ann);
    s_end(&w);
}

/* ---- PLAIN by the transport ---------------------------------------------- */
static void s_users(const char *name, const char *user, const char *password,
                    const char *domain) {
    char hash[256], line[400];
    MUST(gate_zap_hash(password, hash, sizeof hash));
    snprintf(line, sizeof line, "# who\n%s:%s%s\n", user, hash, domain);
    s_write(s_path(name), line);
}

static gate_client_t *s_plain_client(world_t *w, const char *front,
                                     const char *user, const char *password) {
    gate_client_t *client = gate_client_new(w->rt);
    if (user)
        gate_client_plain_transport(client, user, password);
    MUST(gate_client_connect(client, front));
    return client;
}

static void s_plain_up(world_t *w) {
    s_begin(w);
    s_users("users", "ann", "secret", ":gate");
    s_runtime(w);
    gate_broker_plain(w->broker, s_path("users"));
    MUST(gate_broker_start(w->broker));
    gate_service_plain_transport(w->service, "ann", "secret");
    s_serve(w);
}

Test(plain_transport, users_of_the_file_alone) {
    world_t w;
    const char *user, *front;
    s_plain_up(&w);
    front = gate_broker_frontend(w.broker, 0);
    gate_client_t *ann = s_plain_client(&w, front, "ann", "secret");
    MUST(gate_client_ready(ann, 3000));
    MUST(gate_client_call(ann, "Test.who", &user));
    cr_expect_str_eq(user, "ann");
    gate_client_t *wrong = s_plain_client(&w, front, "ann", "guess");
    cr_expect_eq(gate_client_ready(wrong, 500), GATE_REFUSED);
    cr_expect(strstr(gate_error()->text, "password"), "%s", gate_error()->text);
    gate_client_t *none = s_plain_client(&w, front, NULL, NULL);
    cr_expect_neq(gate_client_ready(none, 3000), GATE_OK);
    gate_client_t *bob = s_plain_client(&w, front, "bob", "late");
    cr_expect_eq(gate_client_ready(bob, 3000), GATE_REFUSED);
    s_users("users", "bob", "late", ""); /* the file changes */
    for (int i = 0; i < 500 && gate_client_ready(bob, 0); i++)
        s_pause(10); /* it tries again by itself */
    MUST(gate_client_call(bob, "Test.who", &user));
    cr_expect_str_eq(user, "bob");
    gate_client_destroy(&ann);
    gate_client_destroy(&wrong);
    gate_client_destroy(&none);
    gate_client_destroy(&bob);
    s_end(&w);
}

Test(plain_transport, each_broker_has_its_own_users) {
    world_t w;
    s_plain_up(&w);
    s_users("users2", "ann", "other", "");
    gate_broker_t *other = s_beside(&w, NULL, s_path("users2"));
    const char *fronts[] = {gate_broker_frontend(w.broker, 0),
                            gate_broker_frontend(other, 0)};
    const char *passwords[] = {"secret", "other"};
    for (int f = 0; f < 2; f++)
        for (int p = 0; p < 2; p++) {
            gate_client_t *c =
                s_plain_client(&w, fronts[f], "ann", passwords[p]);
            cr_expect_eq(gate_client_ready(c, 3000),
                         f == p ? GATE_OK : GATE_REFUSED, "%d %d", f, p);
            gate_client_destroy(&c);
        }
    gate_broker_destroy(&other);
    s_end(&w);
}

Test(plain_transport, what_it_does_not_take) {
    world_t w;
    s_curve_world(&w);
    s_write(s_path("bad"), "ann=secret\n");
    gate_broker_plain(w.broker, s_path("bad"));
    cr_expect_eq(gate_broker_start(w.broker), GATE_BADDATA);
    gate_broker_plain(w.broker, s_path("missing"));
    cr_expect_eq(gate_broker_start(w.broker), GATE_SYSTEM);
    s_users("users", "ann", "secret", "");
    gate_broker_plain(w.broker, s_path("users"));
    gate_broker_curve(w.broker, s_path("server"), "*");
    cr_expect_eq(gate_broker_start(w.broker), GATE_BADARG);
    cr_expect(strstr(gate_error()->text, "not both"), "%s", gate_error()->text);
    s_end(&w);
}

/* Both layers: the transport says who connects, the message who sends it. */
Test(plain_transport, with_in_band_users_on_top) {
    world_t w;
    const char *user;
    s_begin(&w);
    s_users("users", "gate", "keeper", "");
    s_runtime(&w);
    w.zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain(w.zap, "*", "ann", "secret");
    MUST(gate_zap_start(w.zap));
    gate_broker_use_zap(w.broker, gate_zap_endpoint(w.zap), NULL);
    gate_broker_plain(w.broker, s_path("users"));
    MUST(gate_broker_start(w.broker));
    gate_service_plain_transport(w.service, "gate", "keeper");
    gate_service_plain(w.service, "ann", "secret");
    s_serve(&w);
    const char *front = gate_broker_frontend(w.broker, 0);
    gate_client_t *both = gate_client_new(w.rt);
    gate_client_plain(both, "ann", "secret");
    gate_client_plain_transport(both, "gate", "keeper");
    MUST(gate_client_connect(both, front));
    MUST(gate_client_ready(both, 3000));
    MUST(gate_client_call(both, "Test.who", &user));
    cr_expect_str_eq(user, "ann");
    gate_client_t *half = s_plain_client(&w, front, "gate", "keeper");
    cr_expect_eq(gate_client_ready(half, 1000), GATE_REFUSED);
    gate_client_destroy(&both);
    gate_client_destroy(&half);
    s_end(&w);
}

/* ---- in-band PLAIN ------------------------------------------------------- */
static void s_zap_up(world_t *w) {
    gate_zap_plain(w->zap, "*", "srv", "pw");
    MUST(gate_zap_start(w->zap));
    gate_broker_use_zap(w->broker, gate_zap_endpoint(w->zap), NULL);
    MUST(gate_broker_start(w->broker));
    gate_service_plain(w->service, "srv", "pw");
    s_serve(w);
}

static gate_err_t s_try(world_t *w, const char *user, const char *password,
                        const char *method, char *as) {
    const char *text = "";
    gate_client_t *client = gate_client_new(w->rt);
    if (user)
        gate_client_plain(client, user, password);
    MUST(gate_client_connect(client, gate_broker_frontend(w->broker, 0)));
    gate_err_t e = gate_client_ready(client, 3000);
    if (!e)
        e = gate_client_call(client, method, &text);
    if (!e && as)
        snprintf(as, 64, "%s", text);
    gate_client_destroy(&client);
    return e;
}

static gate_err_t s_callback(void *ctx, const gate_zap_request_t *request) {
    int *asked = ctx;
    ++*asked;
    if (request->identity.size != 16 || strcmp(request->domain, "gate"))
        return GATE_SYSTEM;
    return strcmp(request->password, "open sesame") ? GATE_REFUSED : GATE_OK;
}

Test(plain, users_and_callback) {
    world_t w;
    char user[64];
    int asked = 0;
    s_begin(&w);
    s_runtime(&w);
    w.zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain(w.zap, "*", "joe", "secret");
    gate_zap_plain(w.zap, "elsewhere", "jim", "secret");
    gate_zap_check(w.zap, s_callback, &asked);
    s_zap_up(&w);
    MUST(s_try(&w, "joe", "secret", "Test.who", user));
    cr_expect_str_eq(user, "joe");
    cr_expect_eq(s_try(&w, "joe", "Secret", "Test.who", NULL), GATE_REFUSED);
    cr_expect_str_eq(gate_error()->cls, "AccessDeniedError");
    cr_expect_eq(s_try(&w, NULL, NULL, "Test.who", NULL), GATE_REFUSED);
    cr_expect_eq(asked, 0);
    cr_expect_eq(s_try(&w, "jim", "secret", "Test.who", NULL), GATE_REFUSED);
    MUST(s_try(&w, "ali", "open sesame", "Test.who", user));
    cr_expect_str_eq(user, "ali");
    cr_expect(asked >= 2);
    cr_expect(s_counter(&w, "zap_refused") >= 2);
    /* the broker's own client needs no password */
    const char *text;
    MUST(gate_client_call(gate_broker_client(w.broker), "Test.who", &text));
    cr_expect_str_eq(text, "");
    s_end(&w);
}

Test(plain, users_of_a_file) {
    world_t w;
    char line[600], hash[256];
    s_begin(&w);
    s_runtime(&w);
    MUST(gate_zap_hash("one", hash, sizeof hash));
    snprintf(line, sizeof line, "# users\njoe:%s\njim:%s:elsewhere\n", hash,
             hash);
    s_write(s_path("users"), line);
    w.zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain_file(w.zap, s_path("users"));
    s_zap_up(&w);
    MUST(s_try(&w, "joe", "one", "Test.who", NULL));
    cr_expect_eq(s_try(&w, "joe", hash, "Test.who", NULL), GATE_REFUSED);
    cr_expect_eq(s_try(&w, "jim", "one", "Test.who", NULL), GATE_REFUSED);
    MUST(gate_zap_hash("two", hash, sizeof hash));
    snprintf(line, sizeof line, "joe:%s\n", hash);
    s_write(s_path("users"), line);
    cr_expect_eq(s_try(&w, "joe", "one", "Test.who", NULL), GATE_REFUSED);
    MUST(s_try(&w, "joe", "two", "Test.who", NULL));
    s_write(s_path("users"), "joe without a hash\n");
    MUST(s_try(&w, "joe", "two", "Test.who", NULL)); /* what was read holds */
    s_end(&w);
}

Test(plain, bad_set_ups) {
    world_t w;
    s_begin(&w);
    s_runtime(&w);
    gate_zap_t *zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain_file(zap, s_path("missing"));
    cr_expect_eq(gate_zap_start(zap), GATE_SYSTEM);
    gate_zap_destroy(&zap);
    s_write(s_path("bad"), "joe:plain text\n");
    zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain_file(zap, s_path("bad"));
    cr_expect_eq(gate_zap_start(zap), GATE_BADDATA);
    gate_zap_destroy(&zap);
    char line[2100]; /* what does not fit must not become the next line */
    memset(line, '#', sizeof line);
    strcpy(line + 2047, "joe:$1$salt$hash\n");
    s_write(s_path("bad"), line);
    zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain_file(zap, s_path("bad"));
    cr_expect_eq(gate_zap_start(zap), GATE_BADDATA);
    gate_zap_destroy(&zap);
    zap = gate_zap_new(w.rt, "nonsense");
    cr_expect_eq(gate_zap_start(zap), GATE_BADARG);
    gate_zap_destroy(&zap);
    s_end(&w);
}

Test(plain, an_outage_is_no_refusal) {
    world_t w;
    s_begin(&w);
    s_runtime(&w);
    w.zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain(w.zap, "*", "joe", "secret");
    s_zap_up(&w);
    char *endpoint = strdup(gate_zap_endpoint(w.zap));
    gate_client_t *client = gate_client_new(w.rt);
    gate_client_plain(client, "joe", "secret");
    gate_zap_destroy(&w.zap);
    MUST(gate_client_connect(client, gate_broker_frontend(w.broker, 0)));
    cr_expect_eq(gate_client_call(client, "Test.two", gate_onone(NULL)),
                 GATE_NOSERVICE);
    cr_expect_not_null(
        strstr(gate_error()->text, "authentication service does not answer"),
        "%s", gate_error()->text);
    w.zap = gate_zap_new(w.rt, endpoint);
    gate_zap_plain(w.zap, "*", "joe", "secret");
    gate_zap_plain(w.zap, "*", "srv", "pw");
    MUST(gate_zap_start(w.zap));
    gate_err_t e = GATE_NOSERVICE; /* the broker's socket finds it again */
    for (int i = 0; i < 20 && e; i++)
        e = gate_client_call(client, "Test.two", gate_onone(NULL));
    MUST(e);
    gate_client_destroy(&client);
    free(endpoint);
    s_end(&w);
}

/* Wrong passwords in a row while an honest client works: its calls go on. */
Test(plain, guessing_holds_nobody_up) {
    world_t w;
    s_begin(&w);
    s_runtime(&w);
    w.zap = gate_zap_new(w.rt, "tcp://127.0.0.1:*");
    gate_zap_plain(w.zap, "*", "joe", "secret");
    s_zap_up(&w);
    const char *scale = getenv("GATE_SCALE");
    int n = scale ? (int)(20000 * atof(scale)) : 2000, answers = 0;
    gate_client_t *joe = gate_client_new(w.rt), *eve = gate_client_new(w.rt);
    gate_client_plain(joe, "joe", "secret");
    gate_client_plain(eve, "joe", "guess");
    MUST(gate_client_connect(joe, gate_broker_frontend(w.broker, 0)));
    MUST(gate_client_connect(eve, gate_broker_frontend(w.broker, 0)));
    MUST(gate_client_ready(joe, 3000));
    gate_future_t *guesses[100];
    for (int i = 0; i < n; i += 100) {
        for (int j = 0; j < 100; j++)
            guesses[j] = gate_client_start(eve, "Test.two");
        MUST(gate_client_call(joe, "Test.two", gate_onone(NULL)));
        for (int j = 0; j < 100; j++) {
            gate_err_t e = gate_future_wait(guesses[j], 5000, gate_onone(NULL));
            answers += e == GATE_REFUSED;
            gate_future_destroy(&guesses[j]);
        }
    }
    cr_expect_eq(answers, n);
    cr_expect(s_counter(&w, "zap_asked") < 300, "asked %lld times",
              (long long)s_counter(&w, "zap_asked"));
    gate_client_destroy(&joe);
    gate_client_destroy(&eve);
    s_end(&w);
}

/* ---- rules --------------------------------------------------------------- */
Test(rules, hold_with_and_without_sockets) {
    for (rig_way_t way = 0; way < RIG_WAYS; way++) {
        rig_t rig;
        int64_t n;
        gate_settings_t *s = rig_settings();
        gate_settings_set(s, "local_user", "me");
        gate_settings_set(s, "access", "allow me Test.two; allow ann Test.who");
        rig_up(&rig, way, s, s_table, NULL);
        gate_settings_destroy(&s);
        bool known = way == RIG_INPROC || way == RIG_REGISTRY;
        gate_err_t e = gate_client_call(rig.client, "Test.two", &n);
        cr_expect_eq(e, known ? GATE_OK : GATE_REFUSED, "%s: %s", rig_name(way),
                     gate_err_name(e));
        e = gate_client_call(rig.client, "Test.who", gate_onone(NULL));
        cr_expect_eq(e, GATE_REFUSED, "%s: %s", rig_name(way),
                     gate_err_name(e));
        cr_expect_str_eq(gate_error()->cls, "AccessDeniedError");
        rig_down(&rig);
    }
}

Test(rules, bad_ones_come_out_of_start) {
    gate_settings_t *s = rig_settings();
    gate_settings_set(s, "access", "permit me Test.two");
    gate_runtime_t *rt = gate_runtime_new(s);
    cr_expect_eq(gate_runtime_start(rt), GATE_BADARG);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&s);
}

Test(rules, connections) {
    world_t w;
    gate_client_t *c[3];
    s_begin(&w);
    gate_settings_set(w.settings, "connections_max", 3);
    s_runtime(&w);
    MUST(gate_broker_start(w.broker));
    s_serve(&w);
    for (int i = 0; i < 3; i++) {
        c[i] = gate_client_new(w.rt);
        MUST(gate_client_connect(c[i], gate_broker_frontend(w.broker, 0)));
        gate_err_t e = gate_client_ready(c[i], 3000);
        cr_expect_eq(e, i < 2 ? GATE_OK : GATE_TIMEOUT, "%d", i);
    }
    cr_expect(s_counter(&w, "connections_refused") > 0);
    gate_client_destroy(&c[0]);
    MUST(gate_client_ready(c[2], 30000)); /* room again */
    gate_client_destroy(&c[1]);
    gate_client_destroy(&c[2]);
    s_end(&w);
}
