/* SPDX-License-Identifier: BSD-3-Clause */
/* huge.c -- huge results over inproc sockets, ipc, tcp and the registry: made
 * in every way, read whole and piece by piece, failing in every way. */
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

/* ---- data that is known at every offset: a pattern, again and again ------ */
#define PERIOD (MIB - 3)

static unsigned char s_letter(size_t i, const char *kind) {
    uint64_t r = (i / 8 + 1) * 0x9e3779b97f4a7c15u;
    r ^= r >> 29;
    r *= 0xbf58476d1ce4e5b9u;
    r ^= r >> 32;
    if (*kind == 'z')
        return 0;
    if (*kind == 'h')
        return (unsigned char)"0123456789abcdef"[r >> 8 * (i % 8) & 15];
    if (*kind == 'r')
        return (unsigned char)(r >> 8 * (i % 8));
    return (unsigned char)"{\"name\": \"value\", \"n\": 12}\n"[i % 27];
}

/* Made before there are threads. */
static unsigned char *s_patterns['z' + 1];

__attribute__((constructor)) static void s_make_patterns(void) {
    static const char *const kinds[] = {"json", "hex", "random", "zeros"};
    for (size_t k = 0; k < 4; k++) {
        unsigned char *p = malloc(PERIOD);
        for (size_t i = 0; i < PERIOD; i++)
            p[i] = s_letter(i, kinds[k]);
        s_patterns[(unsigned char)*kinds[k]] = p;
    }
}

/* As much as the pattern has from offset at on; at most n. */
static size_t s_part(size_t at, size_t n, const char *kind,
                     const unsigned char **out) {
    size_t left = PERIOD - at % PERIOD;
    *out = s_patterns[(unsigned char)*kind] + at % PERIOD;
    return n < left ? n : left;
}

static void s_fill(unsigned char *out, size_t n, size_t at, const char *kind) {
    const unsigned char *part;
    for (size_t size; n; out += size, at += size, n -= size) {
        size = s_part(at, n, kind, &part);
        memcpy(out, part, size);
    }
}

static unsigned char *s_make(size_t n, const char *kind) {
    unsigned char *data = malloc(n + 1);
    s_fill(data, n, 0, kind);
    return data;
}

static bool s_right(const void *data, size_t n, size_t at, const char *kind) {
    const unsigned char *p = data, *part;
    for (size_t size; n; p += size, at += size, n -= size) {
        size = s_part(at, n, kind, &part);
        if (memcmp(p, part, size) != 0)
            return false;
    }
    return true;
}

static void s_nap(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000,
                                 .tv_nsec = ms % 1000 * 1000000L},
              NULL);
}

/* ---- the service --------------------------------------------------------- */
static gate_err_t s_args(gate_call_t *call, int64_t *n, const char **kind,
                         const char **codec) {
    *kind = "json";
    return gate_args(call, n, gate_kwopt("kind", kind),
                     gate_kwopt("codec", codec));
}

static gate_err_t plain(gate_call_t *call) {
    int64_t n;
    const char *kind, *codec = NULL;
    gate_err_t e = s_args(call, &n, &kind, &codec);
    if (e)
        return e;
    unsigned char *data = s_make((size_t)n, kind);
    e = gate_return(call, gate_bin(data, (size_t)n));
    free(data);
    return e;
}

static gate_err_t kept(gate_call_t *call) {
    int64_t n;
    const char *kind, *codec = NULL;
    gate_err_t e = s_args(call, &n, &kind, &codec);
    if (e)
        return e;
    return gate_huge_data(call, s_make((size_t)n, kind), (size_t)n, free,
                          &(gate_huge_options_t){.codec = codec});
}

/* As a file that nobody else has. */
static gate_err_t file(gate_call_t *call) {
    char path[] = "/tmp/gate-huge-XXXXXX";
    int64_t n;
    const char *kind, *codec = NULL;
    gate_err_t e = s_args(call, &n, &kind, &codec);
    int fd = e ? -1 : mkstemp(path);
    if (fd < 0)
        return e ? e : gate_raise(call, "OSError", "no file");
    unlink(path);
    unsigned char *data = s_make((size_t)n, kind);
    bool ok = write(fd, data, (size_t)n) == (ssize_t)n;
    free(data);
    lseek(fd, 0, SEEK_SET);
    if (!ok) {
        close(fd);
        return gate_raise(call, "OSError", "disk full");
    }
    return gate_huge_fd(call, fd, &(gate_huge_options_t){.codec = codec});
}

typedef struct s_feed {
    gate_huge_t *huge;
    size_t n;
    char kind[16];
    int64_t fail_at, nap_at;
} s_feed_t;

/* Odd sizes, some of them larger than a block. */
static gate_err_t s_feed(s_feed_t *self) {
    gate_err_t e = GATE_OK;
    size_t step = 1;
    for (size_t at = 0; at < self->n && !e; step = step * 3 % 400009 + 1) {
        size_t size = self->n - at < step ? self->n - at : step;
        unsigned char *data = malloc(size);
        s_fill(data, size, at, self->kind);
        e = gate_huge_put(self->huge, data, size);
        free(data);
        at += size;
        if (!e && self->fail_at >= 0 && at >= (size_t)self->fail_at) {
            gate_huge_fail(&self->huge, "LookupError", "half way");
            return GATE_OK;
        }
        if (self->nap_at >= 0 && at >= (size_t)self->nap_at) {
            s_nap(300);
            self->nap_at = -1;
        }
    }
    if (!e)
        return gate_huge_end(&self->huge);
    gate_huge_destroy(&self->huge);
    return e;
}

static gate_err_t s_feed_args(gate_call_t *call, s_feed_t *feed) {
    int64_t n;
    const char *kind = "json", *codec = NULL;
    feed->fail_at = feed->nap_at = -1;
    gate_err_t e = gate_args(
        call, &n, gate_kwopt("kind", &kind), gate_kwopt("codec", &codec),
        gate_kwopt("fail", &feed->fail_at), gate_kwopt("nap", &feed->nap_at));
    if (e)
        return e;
    feed->n = (size_t)n;
    snprintf(feed->kind, sizeof feed->kind, "%s", kind);
    feed->huge = gate_huge_new(
        call, &(gate_huge_options_t){.codec = codec, .size = feed->n});
    return feed->huge ? GATE_OK : gate_error()->code;
}

static gate_err_t fed(gate_call_t *call) {
    s_feed_t feed;
    gate_err_t e = s_feed_args(call, &feed);
    return e ? e : s_feed(&feed);
}

static atomic_int s_n_threads; /* that feed */

static void *s_feed_thread(void *arg) {
    if (s_feed(arg)) {
        /* the reader left: the call was told */
    }
    free(arg);
    s_n_threads--;
    return NULL;
}

static gate_err_t elsewhere(gate_call_t *call) {
    pthread_t thread;
    s_feed_t *feed = malloc(sizeof *feed);
    gate_err_t e = s_feed_args(call, feed);
    if (e) {
        free(feed);
        return e;
    }
    s_n_threads++;
    if (pthread_create(&thread, NULL, s_feed_thread, feed))
        return gate_raise(call, "RuntimeError", "no thread");
    pthread_detach(thread);
    return GATE_KEPT;
}

static gate_err_t job(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    return gate_call_run(call, gate_runtime_threads(gate_call_runtime(call)),
                         fed, gate_int(n), NULL);
}

/* One list of n numbers, whose size in bytes nobody knows before. */
static gate_err_t packed(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    gate_huge_t *huge =
        gate_huge_new(call, &(gate_huge_options_t){.kind = GATE_HUGE_PACKED});
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, (size_t)n);
    for (int64_t i = 0; i < n && !e; i++) {
        msgpack_pack_int64(&pk, i);
        if (buf.size > 60000) {
            e = gate_huge_put(huge, buf.data, buf.size);
            msgpack_sbuffer_clear(&buf);
        }
    }
    if (!e)
        e = gate_huge_put(huge, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
    if (!e)
        return gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    return e;
}

/* A bin of n zeros as msgpack bytes: its size is not said. */
static gate_err_t zeros(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    gate_huge_t *huge =
        gate_huge_new(call, &(gate_huge_options_t){.kind = GATE_HUGE_PACKED});
    unsigned char *data = calloc(1, (size_t)n);
    unsigned char head[5] = {0xc6, (unsigned char)(n >> 24),
                             (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                             (unsigned char)n};
    e = gate_huge_put(huge, head, 5);
    if (!e)
        e = gate_huge_put(huge, data, (size_t)n);
    free(data);
    if (!e)
        return gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    return e;
}

static gate_err_t too_short(gate_call_t *call) {
    gate_huge_t *huge =
        gate_huge_new(call, &(gate_huge_options_t){.size = 2 * MIB});
    char *some = calloc(1, MIB);
    gate_err_t e = gate_huge_put(huge, some, MIB);
    free(some);
    if (!e)
        return gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    return e;
}

static gate_err_t too_long(gate_call_t *call) {
    gate_huge_t *huge = gate_huge_new(call, &(gate_huge_options_t){.size = 3});
    gate_err_t e = gate_huge_put(huge, "four", 4);
    gate_huge_destroy(&huge);
    return e;
}

static gate_err_t forgotten(gate_call_t *call) {
    gate_huge_t *huge = gate_huge_new(call, &(gate_huge_options_t){.size = 30});
    gate_err_t e = gate_huge_put(huge, "three", 5);
    if (e)
        return e;
    gate_huge_destroy(&huge);
    return GATE_OK;
}

static gate_err_t raises_after(gate_call_t *call) {
    gate_huge_t *huge = gate_huge_new(call, &(gate_huge_options_t){.size = 30});
    gate_huge_destroy(&huge);
    return gate_raise(call, "KeyError", "later");
}

static gate_err_t twice(gate_call_t *call) {
    gate_err_t e = gate_huge_data(call, "abc", 3, NULL, NULL);
    return e ? e : gate_return(call, 1);
}

static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t s_item(gate_call_t *call, void *state) {
    int *left = state;
    return (*left)-- ? gate_yield(call, 1) : GATE_EOS;
}

static gate_err_t items(gate_call_t *call) {
    int *left = malloc(sizeof *left);
    *left = 3;
    return gate_generate(call, s_item, left, free);
}

static const gate_method_t table[] = {
    GATE_METHOD(plain, .runs = GATE_THREAD),
    GATE_METHOD(kept, .runs = GATE_THREAD),
    {.name = "ikept", .fn = kept},
    GATE_METHOD(file, .runs = GATE_THREAD),
    {.name = "ifile", .fn = file},
    GATE_METHOD(fed, .runs = GATE_THREAD),
    {.name = "ifed", .fn = fed},
    GATE_METHOD(elsewhere, .runs = GATE_THREAD),
    {.name = "ielsewhere", .fn = elsewhere},
    GATE_METHOD(job),
    GATE_METHOD(packed, .runs = GATE_THREAD),
    GATE_METHOD(zeros, .runs = GATE_THREAD),
    GATE_METHOD(too_short, .runs = GATE_THREAD),
    GATE_METHOD(too_long, .runs = GATE_THREAD),
    GATE_METHOD(forgotten, .runs = GATE_THREAD),
    GATE_METHOD(raises_after, .runs = GATE_THREAD),
    GATE_METHOD(twice),
    GATE_METHOD(add),
    GATE_METHOD(items),
    GATE_END};

/* Handlers here make megabytes, some on the actor: it may be quiet longer. */
static gate_settings_t *s_settings(void) {
    gate_settings_t *s = rig_settings();
    gate_settings_set(s, "heartbeat", 5000); /* no machine is so slow */
    gate_settings_set(s, "reply_timeout", 20);
    return s;
}

static void s_up(rig_t *rig, rig_way_t way) {
    GATE_OWN(gate_settings) settings = s_settings();
    rig_up(rig, way, settings, table, NULL);
}

/* Whoever feeds has a reference to its service. */
static void s_down(rig_t *rig) {
    rig_down(rig);
    for (int i = 0; i < 2000 && s_n_threads; i++)
        s_nap(5);
    cr_assert_eq(s_n_threads, 0, "%d feeders are left", s_n_threads);
}

/* Every test's body runs once for each way. */
#define OVER_ALL(name)                                 \
    static void s_##name(rig_t *rig, const char *way); \
    Test(huge, name, .timeout = 120) {                 \
        for (int w = 0; w < rig_ways(); w++) {         \
            rig_t rig;                                 \
            s_up(&rig, (rig_way_t)w);                  \
            s_##name(&rig, rig_name((rig_way_t)w));    \
            s_down(&rig);                              \
        }                                              \
    }                                                  \
    static void s_##name(rig_t *rig, const char *way)

#define OK(call)                                                \
    do {                                                        \
        gate_err_t e_ = (call);                                 \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s: %s", way, #call, \
                     gate_error()->cls, gate_error()->text);    \
    } while (0)

#define FAILS(code, class, call)                                             \
    do {                                                                     \
        gate_err_t e_ = (call);                                              \
        cr_assert_eq(e_, code, "%s: %s: got %s (%s)", way, #call,            \
                     gate_err_name(e_), gate_error()->text);                 \
        cr_assert_str_eq(gate_error()->cls, class, "%s: %s: %s", way, #call, \
                         gate_error()->text);                                \
    } while (0)

/* ---- reading ------------------------------------------------------------- */
static void s_whole(rig_t *rig, const char *way, const char *method, size_t n,
                    const char *kind) {
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t b;
    OK(gate_client_call(rig->client, method, &value, n, gate_kw("kind", kind)));
    OK(gate_value_read(value, "", &b));
    cr_assert_eq(b.size, n, "%s: %s: %zu of %zu", way, method, b.size, n);
    cr_assert(s_right(b.data, n, 0, kind), "%s: %s %zu %s", way, method, n,
              kind);
}

static void s_by_bytes(rig_t *rig, const char *way, const char *method,
                       size_t n, const char *kind) {
    GATE_OWN(gate_stream) stream = NULL;
    unsigned char *buf = malloc(300000);
    size_t at = 0, size;
    gate_err_t e;
    OK(gate_client_open(rig->client, method, &stream, n,
                        gate_kw("kind", kind)));
    while (size = 300000, !(e = gate_stream_read(stream, buf, &size))) {
        cr_assert_gt(size, 0);
        cr_assert(s_right(buf, size, at, kind), "%s: %s %zu", way, method, n);
        at += size;
    }
    cr_assert_eq(e, GATE_EOS, "%s: %s: %s", way, method, gate_error()->text);
    cr_assert_eq(at, n, "%s: %s: %zu of %zu", way, method, at, n);
    gate_progress_t progress;
    gate_stream_progress(stream, &progress);
    cr_assert(progress.content);
    cr_assert_eq(progress.done, n);
    cr_assert_eq(progress.total, n);
    size = 300000;
    cr_assert_eq(gate_stream_read(stream, buf, &size), GATE_EOS);
    free(buf);
}

static void s_as_item(rig_t *rig, const char *way, const char *method,
                      size_t n) {
    GATE_OWN(gate_stream) stream = NULL;
    gate_bytes_t b;
    OK(gate_client_open(rig->client, method, &stream, n));
    OK(gate_stream_next(stream, &b));
    cr_assert_eq(b.size, n);
    cr_assert(s_right(b.data, n, 0, "json"), "%s: %s", way, method);
    cr_assert(gate_stream_single(stream));
    cr_assert_eq(gate_stream_next(stream, &b), GATE_EOS);
}

static const char *const ways_to_make[] = {
    "Test.plain", "Test.kept", "Test.ikept",     "Test.file",
    "Test.ifile", "Test.fed",  "Test.elsewhere", "Test.ielsewhere",
};
#define N_MAKE (sizeof ways_to_make / sizeof *ways_to_make)

OVER_ALL(every_way_to_make_and_read_one) {
    for (size_t i = 0; i < N_MAKE; i++) {
        s_whole(rig, way, ways_to_make[i], 3 * MIB + 17, "json");
        s_by_bytes(rig, way, ways_to_make[i], 3 * MIB + 17, "json");
        s_as_item(rig, way, ways_to_make[i], 3 * MIB + 17);
    }
}

OVER_ALL(sizes_and_kinds) {
    static const size_t sizes[] = {0,
                                   1,
                                   31,
                                   255,
                                   256,
                                   65535,
                                   65536,
                                   (128 << 10) - 6,
                                   (128 << 10) - 5,
                                   128 << 10,
                                   12 * MIB + 1};
    static const char *const kinds[] = {"json", "hex", "random", "zeros"};
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            s_whole(rig, way, "Test.kept", sizes[i], kinds[k]);
            s_by_bytes(rig, way, "Test.fed", sizes[i], kinds[k]);
            s_by_bytes(rig, way, "Test.plain", sizes[i], kinds[k]);
        }
}

/* Beyond message_bytes_max, the caps of plain values and every window. */
OVER_ALL(larger_than_a_frame_may_be) {
    s_whole(rig, way, "Test.plain", 70 * MIB, "json");
    s_by_bytes(rig, way, "Test.kept", 70 * MIB, "random");
}

/* Also of a caller whose first question the broker answers itself. */
OVER_ALL(codecs) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    GATE_OWN(gate_value) services = NULL;
    OK(gate_client_services(rig->client, &services));
    for (size_t i = 0; i < 5; i++) {
        GATE_OWN(gate_value) value = NULL;
        gate_bytes_t b;
        OK(gate_client_call(rig->client, "Test.kept", &value, 2 * MIB,
                            gate_kw("kind", "hex"),
                            gate_kw("codec", names[i])));
        OK(gate_value_read(value, "", &b));
        cr_assert(b.size == 2 * MIB && s_right(b.data, b.size, 0, "hex"),
                  "%s: %s", way, names[i]);
    }
    if (!rig->broker)
        return; /* nothing is compressed */
    FAILS(GATE_NOTIMPL, "NotImplementedError",
          gate_client_call(rig->client, "Test.kept", NULL, 10,
                           gate_kw("codec", "snappy")));
}

/* What we make is not what our own reader takes for a bomb: very regular data,
 * whose size was said or was not. */
Test(huge, zeros_in_every_codec, .timeout = 120) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    for (size_t i = 0; i < 5; i++) {
        const char *way = names[i];
        rig_t rig;
        GATE_OWN(gate_settings) settings = s_settings();
        gate_settings_set(settings, "huge_data_compress_module", names[i]);
        rig_up(&rig, RIG_IPC, settings, table, NULL);
        s_whole(&rig, way, "Test.kept", 20 * MIB, "zeros");
        s_by_bytes(&rig, way, "Test.kept", 20 * MIB, "zeros");
        GATE_OWN(gate_value) value = NULL;
        gate_bytes_t b;
        OK(gate_client_call(rig.client, "Test.zeros", &value, 20 * MIB));
        OK(gate_value_read(value, "", &b));
        cr_assert(b.size == 20 * MIB && s_right(b.data, b.size, 0, "zeros"));
        s_down(&rig);
    }
}

OVER_ALL(a_list_of_unknown_size) {
    GATE_OWN(gate_value) value = NULL;
    int64_t n = 500000, last;
    OK(gate_client_call(rig->client, "Test.packed", &value, n));
    cr_assert_eq(gate_value_object(value)->via.array.size, n);
    OK(gate_value_read(value, "499999", &last));
    cr_assert_eq(last, n - 1);
}

OVER_ALL(a_list_as_bytes_is_msgpack) {
    GATE_OWN(gate_stream) stream = NULL;
    GATE_OWN(gate_value) value = NULL;
    int fds[2];
    OK(gate_client_open(rig->client, "Test.packed", &stream, 4000));
    cr_assert_eq(pipe(fds), 0);
    OK(gate_stream_to_fd(stream, fds[1]));
    close(fds[1]);
    char buf[65536];
    size_t size = 0;
    ssize_t n;
    while ((n = read(fds[0], buf + size, sizeof buf - size)) > 0)
        size += (size_t)n;
    close(fds[0]);
    OK(gate_value_decode(buf, size, NULL, &value));
    cr_assert_eq(gate_value_object(value)->via.array.size, 4000, "%s", way);
}

OVER_ALL(fed_by_a_job) {
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t b;
    OK(gate_client_call(rig->client, "Test.job", &value, 5 * MIB));
    OK(gate_value_read(value, "", &b));
    cr_assert(b.size == 5 * MIB && s_right(b.data, b.size, 0, "json"));
}

/* What is known before anything is read. */
OVER_ALL(looking_before_reading) {
    GATE_OWN(gate_stream) stream = NULL;
    gate_progress_t p;
    size_t none = 0;
    OK(gate_client_open(rig->client, "Test.kept", &stream, 2 * MIB));
    OK(gate_stream_read(stream, NULL, &none));
    gate_stream_progress(stream, &p);
    cr_assert_eq(p.kind, GATE_STREAM_HUGE, "%s: %d", way, (int)p.kind);
    cr_assert(p.content);
    cr_assert_eq(p.total, 2 * MIB);
    cr_assert_eq(p.done, 0);
    gate_stream_destroy(&stream);
    OK(gate_client_open(rig->client, "Test.add", &stream, 1, 2));
    OK(gate_stream_read(stream, NULL, &none));
    gate_stream_progress(stream, &p);
    cr_assert_eq(p.kind, GATE_STREAM_PLAIN, "%s", way);
    unsigned char buf[8];
    size_t size = sizeof buf;
    OK(gate_stream_read(stream, buf, &size));
    cr_assert(size == 1 && buf[0] == 3, "%s: msgpack of 3", way);
    gate_stream_destroy(&stream);
    OK(gate_client_open(rig->client, "Test.items", &stream));
    OK(gate_stream_read(stream, NULL, &none));
    gate_stream_progress(stream, &p);
    cr_assert_eq(p.kind, GATE_STREAM_ITEMS, "%s", way);
    size = sizeof buf;
    FAILS(GATE_BADARG, "TypeError", gate_stream_read(stream, buf, &size));
    int64_t item;
    OK(gate_stream_next(stream, &item));
}

/* ---- failures ------------------------------------------------------------ */
OVER_ALL(fails_half_way) {
    FAILS(GATE_RAISED, "LookupError",
          gate_client_call(rig->client, "Test.fed", NULL, 9 * MIB,
                           gate_kw("fail", 6 * MIB)));
    cr_assert_str_eq(gate_error()->text, "half way");
    FAILS(GATE_RAISED, "LookupError",
          gate_client_call(rig->client, "Test.fed", NULL, 9 * MIB,
                           gate_kw("fail", 0)));
    GATE_OWN(gate_stream) stream = NULL;
    OK(gate_client_open(rig->client, "Test.elsewhere", &stream, 9 * MIB,
                        gate_kw("fail", 6 * MIB)));
    unsigned char buf[4096];
    gate_err_t e;
    for (size_t size = 4096; !(e = gate_stream_read(stream, buf, &size));
         size = 4096)
        continue;
    FAILS(GATE_RAISED, "LookupError", e);
    size_t size = 4096;
    FAILS(GATE_RAISED, "LookupError", gate_stream_read(stream, buf, &size));
}

OVER_ALL(producers_that_are_wrong) {
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.too_short", NULL));
    cr_assert(strstr(gate_error()->text, "missing"), "%s: %s", way,
              gate_error()->text);
    cr_assert_neq(gate_client_call(rig->client, "Test.too_long", NULL),
                  GATE_OK);
    FAILS(GATE_RAISED, "RuntimeError",
          gate_client_call(rig->client, "Test.forgotten", NULL));
    FAILS(GATE_RAISED, "RuntimeError",
          gate_client_call(rig->client, "Test.raises_after", NULL));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.twice", NULL));
    FAILS(GATE_RAISED, "RuntimeError",
          gate_client_call(rig->client, "Test.ifed", NULL, 30 * MIB));
    int64_t sum;
    OK(gate_client_call(rig->client, "Test.add", &sum, 1, 2));
}

/* No call is left behind in the service. */
static void s_settles(rig_t *rig, const char *way) {
    int64_t left = 1;
    for (int i = 0; i < 1000 && left; i++) {
        GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
        OK(gate_value_read(stats, "in_flight", &left));
        s_nap(5);
    }
    cr_assert_eq(left, 0, "%s: %d calls still in flight", way, (int)left);
}

OVER_ALL(reader_leaves) {
    static const char *const methods[] = {"Test.kept", "Test.fed",
                                          "Test.ielsewhere", "Test.ifile"};
    for (size_t i = 0; i < 4; i++) {
        gate_stream_t *stream = NULL;
        char buf[100];
        size_t size = sizeof buf;
        OK(gate_client_open(rig->client, methods[i], &stream, 60 * MIB,
                            gate_kw("kind", "random")));
        OK(gate_stream_read(stream, buf, &size));
        gate_stream_destroy(&stream);
        GATE_OWN(gate_future)
        f = gate_client_start(rig->client, methods[i], 60 * MIB,
                              gate_kw("kind", "random"));
        s_nap(20);
        gate_future_cancel(f);
    }
    s_settles(rig, way);
}

OVER_ALL(service_stops_under_it) {
    GATE_OWN(gate_stream) stream = NULL;
    char *buf = malloc(MIB);
    size_t size = 100;
    gate_err_t e;
    OK(gate_client_open(rig->client, "Test.ielsewhere", &stream, 60 * MIB,
                        gate_kw("kind", "random")));
    OK(gate_stream_read(stream, buf, &size));
    gate_service_destroy(&rig->service);
    while (size = MIB, !(e = gate_stream_read(stream, buf, &size)))
        continue;
    cr_assert(e == GATE_WORKERLOST || e == GATE_CANCELLED, "%s: %s: %s", way,
              gate_err_name(e), gate_error()->text);
    free(buf);
}

/* ---- flow ---------------------------------------------------------------- */
/* A reader that stops holds its producer: a window is under way, not more. */
OVER_ALL(slow_reader_slows_its_producer) {
    GATE_OWN(gate_stream) stream = NULL;
    unsigned char *buf = malloc(MIB);
    size_t n = 40 * MIB, at = 0, size = 1;
    int64_t chunks, sum;
    gate_err_t e;
    OK(gate_client_open(rig->client, "Test.kept", &stream, n,
                        gate_kw("kind", "random")));
    OK(gate_stream_read(stream, buf, &size));
    at += size;
    for (int i = 0; i < 40; i++) {
        OK(gate_client_call(rig->client, "Test.add", &sum, 1, 2));
        s_nap(10);
    }
    GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
    OK(gate_value_read(stats, "chunks", &chunks));
    cr_assert_leq(chunks, 4 * 8 + 10, "%s: %d chunks sent", way, (int)chunks);
    while (size = MIB, !(e = gate_stream_read(stream, buf, &size))) {
        cr_assert(s_right(buf, size, at, "random"), "%s at %zu", way, at);
        at += size;
    }
    cr_assert_eq(e, GATE_EOS, "%s: %s", way, gate_error()->text);
    cr_assert_eq(at, n);
    free(buf);
}

OVER_ALL(a_producer_that_pauses) {
    s_whole(rig, way, "Test.fed", 3 * MIB, "hex");
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t b;
    OK(gate_client_call(rig->client, "Test.elsewhere", &value, 3 * MIB,
                        gate_kw("nap", MIB)));
    OK(gate_value_read(value, "", &b));
    cr_assert_eq(b.size, 3 * MIB);
}

OVER_ALL(fifty_in_a_row) {
    for (int i = 0; i < 50; i++)
        s_whole(rig, way, i % 2 ? "Test.plain" : "Test.fed",
                2 * MIB + (size_t)i, "json");
}

OVER_ALL(twenty_at_a_time) {
    enum { N = 20 };
    gate_future_t *f[N];
    for (int i = 0; i < N; i++)
        f[i] = gate_client_start(rig->client, ways_to_make[(size_t)i % N_MAKE],
                                 4 * MIB + (size_t)i,
                                 gate_kw("kind", i % 3 ? "json" : "random"));
    for (int i = 0; i < N; i++) {
        GATE_OWN(gate_value) value = NULL;
        gate_bytes_t b;
        OK(gate_future_wait(f[i], 60000, &value));
        OK(gate_value_read(value, "", &b));
        cr_assert_eq(b.size, 4 * MIB + (size_t)i);
        cr_assert(s_right(b.data, b.size, 0, i % 3 ? "json" : "random"),
                  "%s: %d", way, i);
        gate_future_destroy(&f[i]);
    }
    s_settles(rig, way);
}

/* ---- caps ---------------------------------------------------------------- */
Test(huge, given_whole_it_is_capped_read_it_is_not, .timeout = 60) {
    for (int w = 0; w < rig_ways(); w++) {
        const char *way = rig_name((rig_way_t)w);
        rig_t rig;
        GATE_OWN(gate_settings) settings = s_settings();
        gate_settings_set(settings, "huge_max_bytes", 4 * (int64_t)MIB);
        rig_up(&rig, (rig_way_t)w, settings, table, NULL);
        FAILS(GATE_TOOBIG, "ValueError",
              gate_client_call(rig.client, "Test.kept", NULL, 5 * MIB));
        s_by_bytes(&rig, way, "Test.kept", 20 * MIB, "json");
        GATE_OWN(gate_stream) stream = NULL;
        OK(gate_client_open(rig.client, "Test.kept", &stream, 5 * MIB));
        FAILS(GATE_TOOBIG, "ValueError", gate_stream_next(stream, NULL));
        s_settles(&rig, way);
        s_down(&rig);
    }
}

/* A threshold that was set holds for everybody. */
Test(huge, threshold_of_the_setting, .timeout = 60) {
    const char *way = "ipc";
    rig_t rig;
    int64_t huge;
    GATE_OWN(gate_settings) settings = s_settings();
    gate_settings_set(settings, "huge_threshold", 5000);
    rig_up(&rig, RIG_IPC, settings, table, NULL);
    s_whole(&rig, way, "Test.plain", 4000, "json");
    s_whole(&rig, way, "Test.plain", 6000, "json");
    GATE_OWN(gate_value) stats = gate_service_stats(rig.service);
    OK(gate_value_read(stats, "huge", &huge));
    cr_assert_eq(huge, 1);
    s_down(&rig);
}

Test(huge, default_threshold_between_our_own_peers, .timeout = 60) {
    const char *way = "tcp";
    rig_t rig;
    int64_t huge;
    s_up(&rig, RIG_TCP);
    s_whole(&rig, way, "Test.plain", MIB / 2, "json");
    s_whole(&rig, way, "Test.plain", 2 * MIB, "json");
    GATE_OWN(gate_value) stats = gate_service_stats(rig.service);
    OK(gate_value_read(stats, "huge", &huge));
    cr_assert_eq(huge, 1);
    s_down(&rig);
}
