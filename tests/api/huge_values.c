/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_values.c -- huge values as arguments: memory that is kept, files, pipes,
 * pieces fed by another thread; what they may not be; how they end. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

#define MIB ((size_t)1 << 20)
#define PLAIN ((int64_t)100000) /* the largest message in these tests */

static void s_nap(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000,
                                 .tv_nsec = ms % 1000 * 1000000L},
              NULL);
}

RIG_UNWATCHED static char *s_make(size_t n) {
    char *data = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)('a' + (i * i >> 5) % 26);
    data[n] = 0;
    return data;
}

RIG_UNWATCHED static uint64_t s_digest(const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t h = 1469598103934665603u ^ n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h >> 1;
}

/* ---- the service ---------------------------------------------------------*/
static gate_err_t digest(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, (int64_t)s_digest(data.data, data.size));
}

/* Of two values among small ones, by position and by name. */
static gate_err_t mixed(gate_call_t *call) {
    int64_t before, after;
    gate_bytes_t one, two;
    gate_err_t e =
        gate_args(call, &before, &one, &after, gate_named("two", &two));
    if (e)
        return e;
    return gate_return(call, (int64_t)(s_digest(one.data, one.size) ^
                                       s_digest(two.data, two.size)) +
                                 before + after);
}

static gate_err_t count(gate_call_t *call) {
    const msgpack_object *list;
    gate_err_t e = gate_args(call, &list);
    return e ? e : gate_return(call, (int64_t)list->via.array.size);
}

static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static const gate_method_t table[] = {GATE_METHOD(digest, .runs = GATE_THREAD),
                                      GATE_METHOD(mixed, .runs = GATE_THREAD),
                                      GATE_METHOD(count, .runs = GATE_THREAD),
                                      GATE_METHOD(add), GATE_END};

static gate_settings_t *s_settings(void) {
    gate_settings_t *s = rig_settings();
    gate_settings_set(s, "heartbeat", 1000);
    gate_settings_set(s, "reply_timeout", 30);
    gate_settings_set(s, "message_bytes_max", PLAIN);
    return s;
}

#define OVER(name, ways)                                       \
    static void s_##name(rig_t *rig, const char *way);         \
    Test(huge_values, name, .timeout = 120) {                  \
        for (int w = 0; w < ways; w++) {                       \
            rig_t rig;                                         \
            GATE_OWN(gate_settings) settings = s_settings();   \
            rig_up(&rig, (rig_way_t)w, settings, table, NULL); \
            s_##name(&rig, rig_name((rig_way_t)w));            \
            rig_down(&rig);                                    \
        }                                                      \
    }                                                          \
    static void s_##name(rig_t *rig, const char *way)
#define OVER_ALL(name) OVER(name, RIG_WAYS)

#define OK(call)                                                \
    do {                                                        \
        gate_err_t e_ = (call);                                 \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s: %s", way, #call, \
                     gate_error()->cls, gate_error()->text);    \
    } while (0)

#define FAILS(code, word, call)                                              \
    do {                                                                     \
        gate_err_t e_ = (call);                                              \
        cr_assert_eq(e_, code, "%s: %s: got %s (%s)", way, #call,            \
                     gate_err_name(e_), gate_error()->text);                 \
        cr_assert(strstr(gate_error()->text, word), "%s: %s: %s", way, word, \
                  gate_error()->text);                                       \
    } while (0)

/* ---- what it is made of --------------------------------------------------*/
static atomic_int s_released;

static void s_release(void *data) {
    free(data);
    s_released++;
}

static gate_huge_t *s_of_data(size_t n) {
    return gate_huge_arg_data(s_make(n), n, s_release, NULL);
}

static int s_file(size_t n) {
    char path[] = "/tmp/gate-huge-XXXXXX";
    int fd = mkstemp(path);
    char *data = s_make(n);
    unlink(path);
    cr_assert_eq(write(fd, "skip", 4), 4);
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    lseek(fd, 4, SEEK_SET);
    free(data);
    return fd;
}

typedef struct s_feeder {
    gate_huge_t *huge; /* or: */
    int fd;
    size_t n, stop_at; /* stop_at: it fails there */
    pthread_t thread;
    gate_err_t e;
} s_feeder_t;

static void *s_feed(void *arg) {
    s_feeder_t *f = arg;
    char *data = s_make(f->n);
    size_t step = 1;
    for (size_t at = 0; at < f->n && !f->e; step = step * 3 % 400009 + 1) {
        size_t size = f->n - at < step ? f->n - at : step;
        if (f->huge)
            f->e = gate_huge_put(f->huge, data + at, size);
        else if (write(f->fd, data + at, size) != (ssize_t)size)
            f->e = GATE_SYSTEM;
        at += size;
        if (f->stop_at && at >= f->stop_at)
            gate_huge_fail(&f->huge, "LookupError", "half way");
        if (f->stop_at && at >= f->stop_at)
            break;
    }
    free(data);
    if (f->huge && !f->e)
        f->e = gate_huge_end(&f->huge);
    gate_huge_destroy(&f->huge);
    if (f->fd >= 0)
        close(f->fd);
    return NULL;
}

static void s_begin(s_feeder_t *f) {
    cr_assert_eq(pthread_create(&f->thread, NULL, s_feed, f), 0);
}

static gate_err_t s_join(s_feeder_t *f) {
    pthread_join(f->thread, NULL);
    return f->e;
}

/* ---- as if its bytes had been given --------------------------------------*/
static void s_check(rig_t *rig, const char *way, gate_huge_t *huge, size_t n) {
    int64_t got;
    char *data = s_make(n);
    cr_assert(huge, "%s: %s", way, gate_error()->text);
    OK(gate_client_call(rig->client, "Test.digest", &got, huge));
    cr_assert_eq(got, (int64_t)s_digest(data, n), "%s: %zu", way, n);
    gate_huge_destroy(&huge);
    free(data);
}

OVER_ALL(kept_memory_and_files) {
    static const size_t n[] = {0,         1,        31,     (size_t)PLAIN,
                               128 << 10, MIB + 77, 6 * MIB};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        int before = s_released;
        s_check(rig, way, s_of_data(n[i]), n[i]);
        cr_assert_eq(s_released, before + 1, "%s: %zu", way, n[i]);
        s_check(rig, way, gate_huge_arg_fd(s_file(n[i]), NULL), n[i]);
    }
}

OVER(fed_and_pipes, RIG_REGISTRY) {
    static const size_t n[] = {0, 1, 500, 128 << 10, 20 * MIB + 5};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        char *data = s_make(n[i]);
        int64_t got;
        s_feeder_t f = {.n = n[i], .fd = -1};
        gate_huge_options_t options = {.size = n[i]};
        f.huge = gate_huge_arg_new(&options);
        GATE_OWN(gate_future)
        future = gate_client_start(rig->client, "Test.digest", f.huge);
        s_begin(&f);
        OK(gate_future_wait(future, 30000, &got));
        OK(s_join(&f));
        cr_assert_eq(got, (int64_t)s_digest(data, n[i]), "%s: %zu", way, n[i]);
        if (n[i]) {
            int ends[2];
            cr_assert_eq(pipe(ends), 0);
            f = (s_feeder_t){.n = n[i], .fd = ends[1]};
            s_begin(&f);
            s_check(rig, way, gate_huge_arg_fd(ends[0], &options), n[i]);
            OK(s_join(&f));
        }
        free(data);
    }
}

OVER(among_others, RIG_REGISTRY) {
    int64_t got;
    char *one = s_make(3 * MIB), *two = s_make(700);
    int64_t want = (int64_t)(s_digest(one, 3 * MIB) ^ s_digest(two, 700)) + 12;
    GATE_OWN(gate_huge) a = s_of_data(3 * MIB);
    GATE_OWN(gate_huge) b = gate_huge_arg_fd(s_file(700), NULL);
    OK(gate_client_call(rig->client, "Test.mixed", &got, 5, a, 7,
                        gate_kw("two", b)));
    cr_assert_eq(got, want, "%s", way);
    /* one that is fed behind one that is at hand: neither holds the other up */
    s_feeder_t f = {.n = 3 * MIB, .fd = -1};
    f.huge = gate_huge_arg_new(&(gate_huge_options_t){.size = 3 * MIB});
    GATE_OWN(gate_huge) c = s_of_data(700);
    GATE_OWN(gate_future)
    future = gate_client_start(rig->client, "Test.mixed", 5, f.huge, 7,
                               gate_kw("two", c));
    s_begin(&f);
    OK(gate_future_wait(future, 30000, &got));
    OK(s_join(&f));
    cr_assert_eq(got, want, "%s", way);
    free(one);
    free(two);
}

Test(huge_values, kinds_and_codecs, .timeout = 60) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    const char *way = "ipc";
    rig_t rig;
    int64_t n;
    GATE_OWN(gate_settings) settings = s_settings();
    rig_up(&rig, RIG_IPC, settings, table, NULL);
    char *list = malloc(5 + MIB);
    memcpy(list, "\xdd\x00\x10\x00\x00", 5);
    memset(list + 5, 1, MIB);
    for (size_t i = 0; i < 5; i++) {
        GATE_OWN(gate_huge)
        h = gate_huge_arg_data(
            list, 5 + MIB, NULL,
            &(gate_huge_options_t){
                .codec = names[i], .level = 1, .kind = GATE_HUGE_PACKED});
        OK(gate_client_call(rig.client, "Test.count", &n, h));
        cr_assert_eq(n, (int64_t)MIB);
        GATE_OWN(gate_huge)
        text = gate_huge_arg_data(
            s_make(MIB), MIB, s_release,
            &(gate_huge_options_t){.codec = names[i], .kind = GATE_HUGE_STR});
        OK(gate_client_call(rig.client, "Test.digest", &n, text));
    }
    free(list);
    rig_down(&rig);
}

/* ---- what it may not be --------------------------------------------------*/
OVER(refused, RIG_REGISTRY) {
    int64_t got;
    GATE_OWN(gate_huge) once = s_of_data(3 * MIB);
    OK(gate_client_call(rig->client, "Test.digest", &got, once));
    FAILS(GATE_BADARG, "once",
          gate_client_call(rig->client, "Test.digest", &got, once));
    GATE_OWN(gate_huge) nested = s_of_data(10);
    FAILS(GATE_BADARG, "argument",
          gate_client_call(rig->client, "Test.digest", &got,
                           gate_list(1, nested)));
    GATE_OWN(gate_huge)
    idle = gate_huge_arg_new(&(gate_huge_options_t){.size = 10});
    FAILS(GATE_BADARG, "after the call", gate_huge_put(idle, "x", 1));
    GATE_OWN(gate_huge)
    odd = gate_huge_arg_data(s_make(MIB), MIB, s_release,
                             &(gate_huge_options_t){.codec = "snappy"});
    FAILS(GATE_NOTIMPL, "snappy",
          gate_client_call(rig->client, "Test.digest", &got, odd));
    cr_assert_null(
        gate_huge_arg_new(&(gate_huge_options_t){.kind = GATE_HUGE_PACKED}));
    cr_assert(strstr(gate_error()->text, "size"));
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_null(gate_huge_arg_fd(ends[0], NULL));
    close(ends[1]);
    cr_assert_null(gate_huge_arg_fd(-1, NULL));
    /* it is no result, and no value */
    GATE_OWN(gate_huge) h = s_of_data(10);
    cr_assert_null(gate_value_new(h));
}

Test(huge_values, without_a_broker, .timeout = 60) {
    const char *way = "registry";
    rig_t rig;
    int64_t got;
    GATE_OWN(gate_settings) settings = s_settings();
    rig_up(&rig, RIG_REGISTRY, settings, table, NULL);
    GATE_OWN(gate_huge)
    fed = gate_huge_arg_new(&(gate_huge_options_t){.size = 10});
    FAILS(GATE_NOTIMPL, "needs a broker",
          gate_client_call(rig.client, "Test.digest", &got, fed));
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

OVER(fails_half_way, RIG_REGISTRY) {
    int64_t got;
    s_feeder_t f = {.n = 8 * MIB, .fd = -1, .stop_at = 3 * MIB};
    f.huge = gate_huge_arg_new(&(gate_huge_options_t){.size = 8 * MIB});
    GATE_OWN(gate_future)
    future = gate_client_start(rig->client, "Test.digest", f.huge);
    s_begin(&f);
    FAILS(GATE_RAISED, "half way", gate_future_wait(future, 30000, &got));
    cr_assert_str_eq(gate_error()->cls, "LookupError");
    OK(s_join(&f));
    /* too few, too many, none at all */
    gate_huge_t *h = gate_huge_arg_new(&(gate_huge_options_t){.size = 8 * MIB});
    GATE_OWN(gate_future)
    few = gate_client_start(rig->client, "Test.digest", h);
    OK(gate_huge_put(h, "abc", 3));
    FAILS(GATE_BADARG, "missing", gate_huge_end(&h));
    FAILS(GATE_BADARG, "missing", gate_future_wait(few, 30000, &got));
    h = gate_huge_arg_new(&(gate_huge_options_t){.size = 2});
    GATE_OWN(gate_future)
    many = gate_client_start(rig->client, "Test.digest", h);
    FAILS(GATE_BADARG, "announced", gate_huge_put(h, "abc", 3));
    gate_huge_destroy(&h);
    FAILS(GATE_BADARG, "announced", gate_future_wait(many, 30000, &got));
    h = gate_huge_arg_new(&(gate_huge_options_t){.size = 2});
    GATE_OWN(gate_future)
    none = gate_client_start(rig->client, "Test.digest", h);
    gate_huge_destroy(&h);
    FAILS(GATE_RAISED, "given up", gate_future_wait(none, 30000, &got));
    /* a pipe whose writer ends too early */
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "abc", 3), 3);
    close(ends[1]);
    GATE_OWN(gate_huge)
    shorter =
        gate_huge_arg_fd(ends[0], &(gate_huge_options_t){.size = 9 * MIB});
    FAILS(GATE_SYSTEM, "too early",
          gate_client_call(rig->client, "Test.digest", &got, shorter));
    s_settles(rig, way);
    OK(gate_client_call(rig->client, "Test.add", &got, 1, 2));
}

OVER(the_call_ends_first, RIG_REGISTRY) {
    int64_t got;
    int before = s_released;
    for (int i = 0; i < 4; i++) {
        s_feeder_t f = {.n = 30 * MIB, .fd = -1};
        f.huge = gate_huge_arg_new(&(gate_huge_options_t){.size = f.n});
        GATE_OWN(gate_future)
        future = gate_client_start(rig->client, "Test.digest", f.huge);
        s_begin(&f);
        s_nap(i * 5);
        gate_future_cancel(future);
        gate_err_t e = s_join(&f);
        cr_assert(e == GATE_CANCELLED || !e, "%s: %s", way, gate_err_name(e));
        GATE_OWN(gate_huge) kept = s_of_data(30 * MIB);
        GATE_OWN(gate_huge) file = gate_huge_arg_fd(s_file(30 * MIB), NULL);
        GATE_OWN(gate_future)
        second = gate_client_start(rig->client, "Test.digest", kept);
        GATE_OWN(gate_future)
        third = gate_client_start(rig->client, "Test.digest", file);
        s_nap(i * 3);
        gate_future_cancel(second);
        gate_future_cancel(third);
    }
    s_settles(rig, way);
    for (int i = 0; i < 1000 && s_released < before + 4; i++)
        s_nap(5);
    cr_assert_eq(s_released, before + 4);
    /* a method that is not there, and a client that goes */
    s_feeder_t f = {.n = 30 * MIB, .fd = -1};
    f.huge = gate_huge_arg_new(&(gate_huge_options_t){.size = f.n});
    GATE_OWN(gate_future)
    future = gate_client_start(rig->client, "Test.nothing", f.huge);
    s_begin(&f);
    FAILS(GATE_NOMETHOD, "no method", gate_future_wait(future, 30000, &got));
    cr_assert_eq(s_join(&f), GATE_CANCELLED);
    f = (s_feeder_t){.n = 30 * MIB, .fd = -1};
    f.huge = gate_huge_arg_new(&(gate_huge_options_t){.size = f.n});
    GATE_OWN(gate_future)
    last = gate_client_start(rig->client, "Test.digest", f.huge);
    s_begin(&f);
    s_nap(5);
    gate_client_destroy(&rig->client);
    gate_err_t e = s_join(&f);
    cr_assert(e == GATE_CANCELLED || !e, "%s: %s", way, gate_err_name(e));
    s_settles(rig, way);
}

/* 20 at a time, from files: they share the threads that read and compress. */
OVER(twenty_at_a_time, RIG_REGISTRY) {
    enum { N = 20 };
    gate_future_t *f[N];
    gate_huge_t *h[N];
    char *data = s_make(2 * MIB);
    int64_t got, want = (int64_t)s_digest(data, 2 * MIB);
    for (int i = 0; i < N; i++) {
        h[i] = i % 2 ? gate_huge_arg_fd(s_file(2 * MIB), NULL)
                     : s_of_data(2 * MIB);
        f[i] = gate_client_start(rig->client, "Test.digest", h[i]);
    }
    OK(gate_client_call(rig->client, "Test.add", &got, 1, 2));
    for (int i = 0; i < N; i++) {
        OK(gate_future_wait(f[i], 60000, &got));
        cr_assert_eq(got, want, "%s: %d", way, i);
        gate_future_destroy(&f[i]);
        gate_huge_destroy(&h[i]);
    }
    free(data);
}
