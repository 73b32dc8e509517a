/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_args.c -- arguments larger than a message may be, over every transport:
 * given as if they had come plain, refused in every way. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "rig.h"

#define MIB ((size_t)1 << 20)
#define PLAIN ((int64_t)100000) /* the largest message in these tests */

static void s_nap(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000,
                                 .tv_nsec = ms % 1000 * 1000000L},
              NULL);
}

/* ---- data ----------------------------------------------------------------*/
RIG_UNWATCHED static unsigned char s_letter(size_t i, char kind) {
    uint64_t r = (i / 8 + 1) * 0x9e3779b97f4a7c15u;
    r ^= r >> 29;
    r *= 0xbf58476d1ce4e5b9u;
    if (kind == 'z')
        return 0;
    if (kind == 'r')
        return (unsigned char)(r >> 8 * (i % 8));
    return (unsigned char)"{'n': 1234567, 's': 'xy'}"[i % 24];
}

RIG_UNWATCHED static char *s_make(size_t n, char kind) {
    char *data = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)s_letter(i, kind);
    data[n] = 0;
    return data;
}

RIG_UNWATCHED static uint64_t s_digest(const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t h = 1469598103934665603u ^ n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* ---- the service ---------------------------------------------------------*/
static gate_err_t digest(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    if (e)
        return e;
    return gate_return(call, (int64_t)(s_digest(data.data, data.size) >> 1));
}

/* A str by keyword beside small arguments: their sizes. */
static gate_err_t sizes(gate_call_t *call) {
    int64_t a;
    const char *text = "";
    gate_bytes_t more = {NULL, 0};
    gate_err_t e = gate_args(call, &a, gate_kwopt("text", &text),
                             gate_kwopt("more", &more));
    return e ? e : gate_return(call, a + (int64_t)(strlen(text) + more.size));
}

static gate_err_t back(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, data);
}

static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t nap(gate_call_t *call) {
    int64_t ms;
    gate_err_t e = gate_args(call, &ms);
    if (!e)
        s_nap((int)ms);
    return e ? e : gate_return(call, ms);
}

static const gate_method_t table[] = {GATE_METHOD(digest, .runs = GATE_THREAD),
                                      {.name = "idigest", .fn = digest},
                                      GATE_METHOD(sizes, .runs = GATE_THREAD),
                                      GATE_METHOD(back, .runs = GATE_THREAD),
                                      GATE_METHOD(add),
                                      GATE_METHOD(nap, .runs = GATE_THREAD),
                                      GATE_END};

static gate_settings_t *s_settings(void) {
    gate_settings_t *s = rig_settings();
    gate_settings_set(s, "heartbeat", 1000);
    gate_settings_set(s, "reply_timeout", 30);
    gate_settings_set(s, "message_bytes_max", PLAIN);
    return s;
}

#define OVER_ALL(name)                                         \
    static void s_##name(rig_t *rig, const char *way);         \
    Test(huge_args, name, .timeout = 120) {                    \
        for (int w = 0; w < RIG_WAYS; w++) {                   \
            rig_t rig;                                         \
            GATE_OWN(gate_settings) settings = s_settings();   \
            rig_up(&rig, (rig_way_t)w, settings, table, NULL); \
            s_##name(&rig, rig_name((rig_way_t)w));            \
            rig_down(&rig);                                    \
        }                                                      \
    }                                                          \
    static void s_##name(rig_t *rig, const char *way)

#define OK(call)                                                \
    do {                                                        \
        gate_err_t e_ = (call);                                 \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s: %s", way, #call, \
                     gate_error()->cls, gate_error()->text);    \
    } while (0)

#define FAILS(code, class, word, call)                                       \
    do {                                                                     \
        gate_err_t e_ = (call);                                              \
        cr_assert_eq(e_, code, "%s: %s: got %s (%s)", way, #call,            \
                     gate_err_name(e_), gate_error()->text);                 \
        cr_assert_str_eq(gate_error()->cls, class, "%s: %s: %s", way, #call, \
                         gate_error()->text);                                \
        cr_assert(strstr(gate_error()->text, word), "%s: %s: %s", way, word, \
                  gate_error()->text);                                       \
    } while (0)

/* ---- as if they had come plain -------------------------------------------*/
static void s_sent(rig_t *rig, const char *way, const char *method, size_t n,
                   char kind) {
    char *data = s_make(n, kind);
    int64_t got;
    OK(gate_client_call(rig->client, method, &got, gate_bin(data, n)));
    cr_assert_eq(got, (int64_t)(s_digest(data, n) >> 1), "%s: %s %zu %c", way,
                 method, n, kind);
    free(data);
}

OVER_ALL(kinds_and_sizes) {
    static const size_t n[] = {(size_t)PLAIN - 10, (size_t)PLAIN,
                               128 << 10,          MIB,
                               3 * MIB + 1,        16 * MIB};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        s_sent(rig, way, "Test.digest", n[i], 'j');
        s_sent(rig, way, "Test.idigest", n[i], 'r');
        s_sent(rig, way, "Test.digest", n[i], 'z');
    }
}

OVER_ALL(keywords_come_huge_too) {
    char *text = s_make(2 * MIB, 'j');
    int64_t n;
    OK(gate_client_call(rig->client, "Test.sizes", &n, 7,
                        gate_kw("text", text)));
    cr_assert_eq(n, 7 + 2 * (int64_t)MIB);
    OK(gate_client_call(rig->client, "Test.sizes", &n, 7, gate_kw("text", text),
                        gate_kw("more", gate_bin(text, MIB))));
    cr_assert_eq(n, 7 + 3 * (int64_t)MIB);
    free(text);
}

OVER_ALL(there_and_back) {
    char *data = s_make(20 * MIB, 'r');
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t b;
    OK(gate_client_call(rig->client, "Test.back", &value,
                        gate_bin(data, 20 * MIB)));
    OK(gate_value_read(value, "", &b));
    cr_assert(b.size == 20 * MIB && !memcmp(b.data, data, b.size), "%s", way);
    free(data);
}

/* Together they share a window; small calls go on meanwhile. */
OVER_ALL(twenty_at_a_time) {
    enum { N = 20 };
    gate_future_t *f[N];
    char *data[N];
    int64_t got;
    for (int i = 0; i < N; i++) {
        data[i] = s_make(2 * MIB + (size_t)i, i % 2 ? 'r' : 'j');
        f[i] = gate_client_start(rig->client, "Test.digest",
                                 gate_bin(data[i], 2 * MIB + (size_t)i));
    }
    OK(gate_client_call(rig->client, "Test.add", &got, 1, 2));
    cr_assert_eq(got, 3);
    for (int i = 0; i < N; i++) {
        OK(gate_future_wait(f[i], 60000, &got));
        cr_assert_eq(got,
                     (int64_t)(s_digest(data[i], 2 * MIB + (size_t)i) >> 1));
        gate_future_destroy(&f[i]);
        free(data[i]);
    }
}

Test(huge_args, every_codec, .timeout = 120) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    for (size_t i = 0; i < 5; i++) {
        rig_t rig;
        GATE_OWN(gate_settings) settings = s_settings();
        gate_settings_set(settings, "huge_data_compress_module", names[i]);
        rig_up(&rig, RIG_IPC, settings, table, NULL);
        s_sent(&rig, names[i], "Test.digest", 2 * MIB, 'j');
        s_sent(&rig, names[i], "Test.digest", 8 * MIB, 'z');
        rig_down(&rig);
    }
}

/* The service takes one call at a time: who waits sends nothing yet. */
Test(huge_args, they_wait_for_room, .timeout = 60) {
    const char *way = "tcp";
    rig_t rig;
    int64_t got;
    GATE_OWN(gate_settings) settings = s_settings();
    gate_settings_set(settings, "message_max", 4);
    rig_up(&rig, RIG_TCP, settings, table, NULL);
    char *data = s_make(5 * MIB, 'r');
    gate_future_t *f[4];
    for (int i = 0; i < 4; i++)
        f[i] = i % 2 ? gate_client_start(rig.client, "Test.nap", 200)
                     : gate_client_start(rig.client, "Test.digest",
                                         gate_bin(data, 5 * MIB));
    for (int i = 0; i < 4; i++) {
        OK(gate_future_wait(f[i], 30000, &got));
        gate_future_destroy(&f[i]);
    }
    free(data);
    rig_down(&rig);
}

/* ---- refused -------------------------------------------------------------*/
Test(huge_args, above_huge_max_bytes_at_once, .timeout = 60) {
    const char *way = "ipc";
    rig_t rig;
    int64_t sum;
    GATE_OWN(gate_settings) settings = s_settings();
    gate_settings_set(settings, "huge_max_bytes", 4 * (int64_t)MIB);
    rig_up(&rig, RIG_IPC, settings, table, NULL);
    char *data = s_make(5 * MIB, 'r');
    FAILS(GATE_RAISED, "ValueError", "huge_max_bytes",
          gate_client_call(rig.client, "Test.digest", &sum,
                           gate_bin(data, 5 * MIB)));
    FAILS(GATE_NOMETHOD, "AttributeError", "no method",
          gate_client_call(rig.client, "Test.nothing", &sum,
                           gate_bin(data, 3 * MIB)));
    FAILS(GATE_RAISED, "TypeError", "",
          gate_client_call(rig.client, "Test.add", &sum,
                           gate_bin(data, 3 * MIB)));
    free(data);
    OK(gate_client_call(rig.client, "Test.add", &sum, 1, 2));
    rig_down(&rig);
}

/* ---- ends ----------------------------------------------------------------*/
static void s_settles(rig_t *rig, const char *way) {
    int64_t left = 1;
    for (int i = 0; i < 2000 && left; i++) {
        GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
        OK(gate_value_read(stats, "in_flight", &left));
        s_nap(5);
    }
    cr_assert_eq(left, 0, "%s: %d calls still in flight", way, (int)left);
}

OVER_ALL(the_caller_leaves) {
    char *data = s_make(16 * MIB, 'r');
    for (int i = 0; i < 5; i++) {
        GATE_OWN(gate_future)
        f = gate_client_start(rig->client, "Test.digest",
                              gate_bin(data, 16 * MIB));
        s_nap(i * 10);
        gate_future_cancel(f);
    }
    s_settles(rig, way);
    s_sent(rig, way, "Test.digest", 2 * MIB, 'j');
    GATE_OWN(gate_future)
    f = gate_client_start(rig->client, "Test.digest", gate_bin(data, 16 * MIB));
    s_nap(20);
    gate_client_destroy(&rig->client);
    s_settles(rig, way);
    free(data);
}

OVER_ALL(the_service_stops) {
    char *data = s_make(16 * MIB, 'r');
    GATE_OWN(gate_future)
    f = gate_client_start(rig->client, "Test.digest", gate_bin(data, 16 * MIB));
    int64_t got;
    s_nap(15);
    gate_service_destroy(&rig->service);
    gate_err_t e = gate_future_wait(f, 20000, &got);
    cr_assert(e == GATE_OK || e == GATE_WORKERLOST || e == GATE_CANCELLED ||
                  e == GATE_NOSERVICE,
              "%s: %s: %s", way, gate_err_name(e), gate_error()->text);
    free(data);
}
