/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_kit.h -- a broker core without sockets: a clock that tests turn, and a
 * world of peers that can be full or gone. What the core sends is kept per peer
 * until the test takes it. After every event the core's law is checked. */
#ifndef BROKER_KIT_H
#define BROKER_KIT_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/broker_core.h"
#include "broker/gate/broker_gate.h"
#include "wire/rpc.h"
#include "settings/settings.h"

enum { FRONT, BACK };
#define HB 1000 /* heartbeat, ms */
#define EXT "\xc1GX1"
#define HELLO EXT "\x81\xa2tr\xc3" /* the frame of our heartbeats */
#define CANCEL EXT "\x81\xa1x\xc3"
#define CREDIT EXT "\x81\xa2\x63i\x05" /* "ci": 5 */
#define STREAM GI_STREAM_TAG
#define HUGE_ GI_HUGE_TAG

/* One message that the core has sent. */
typedef struct said {
    struct said *next;
    unsigned socket, n;
    struct {
        size_t size;
        char data[2048];
    } f[12]; /* without the routing id */
    char to[64];
} said_t;

typedef struct kit {
    gi_broker_core_t *core;
    gate_settings_t *settings;
    said_t *said;
    int64_t now;
    const char *full[8], *gone[8]; /* peers' ids; NULL = none */
    size_t n_sends;
    const char *user;    /* whom the transport takes everybody for; NULL = "" */
    int mute;            /* errno of questions to the authentication service */
    const char *address; /* everybody's; NULL = not known */
    uint64_t open[64];   /* connections by descriptor; 0: closed */
    const char *strict;  /* the peer with a REQ socket; NULL = none */
} kit_t;

static bool kit_among(const char *const *ids, const char *id) {
    for (int i = 0; i < 8; i++)
        if (ids[i] && strcmp(ids[i], id) == 0)
            return true;
    return false;
}

static int kit_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    kit_t *k = ctx;
    said_t **at = &k->said, *m = calloc(1, sizeof *m);
    gate_bytes_t f[GI_FRAMES_MAX];
    gi_frames_view(frames, 0, f);
    memcpy(m->to, f[0].data, f[0].size);
    if (kit_among(k->gone, m->to) || kit_among(k->full, m->to)) {
        int rc = kit_among(k->gone, m->to) ? EHOSTUNREACH : EAGAIN;
        free(m);
        return rc;
    }
    m->socket = socket;
    m->n = frames->n - 1;
    cr_assert(m->n <= 12);
    for (unsigned i = 0; i < m->n; i++) {
        m->f[i].size = f[i + 1].size;
        cr_assert(m->f[i].size < sizeof m->f[i].data);
        memcpy(m->f[i].data, f[i + 1].data, m->f[i].size);
    }
    gi_frames_close(frames);
    while (*at)
        at = &(*at)->next;
    *at = m;
    k->n_sends++;
    return 0;
}

/* Questions are kept as said to "zap". */
static int kit_ask(void *ctx, gi_frames_t *frames) {
    kit_t *k = ctx;
    gi_frames_t routed = {0};
    if (k->mute)
        return k->mute;
    cr_assert(gi_frames_add(&routed, "zap", 3));
    for (unsigned i = 0; i < frames->n; i++)
        gi_frames_pass(&routed, frames, i);
    int rc = kit_send(k, 99, &routed);
    gi_frames_close(frames);
    return rc;
}

static const char *kit_user(void *ctx, zmq_msg_t *frame, int64_t now_ms) {
    kit_t *k = ctx;
    (void)frame, (void)now_ms;
    return k->user ? k->user : "";
}

static const char *kit_address(void *ctx, zmq_msg_t *frame) {
    kit_t *k = ctx;
    (void)frame;
    return k->address ? k->address : "";
}

static uint64_t kit_connection(void *ctx, int fd) {
    kit_t *k = ctx;
    return fd < 64 ? k->open[fd] : 0;
}

static bool kit_strict(void *ctx, zmq_msg_t *frame) {
    kit_t *k = ctx;
    return k->strict && zmq_msg_size(frame) == strlen(k->strict) &&
           memcmp(zmq_msg_data(frame), k->strict, zmq_msg_size(frame)) == 0;
}

/* What a busy program gets of a CPU. */
static double kit_busy = 1;
static double kit_share(void *ctx) { return (void)ctx, kit_busy; }

static const gi_broker_effects_t kit_effects = {.send = kit_send,
                                                .gate = &gi_broker_internal_ops,
                                                .share = kit_share,
                                                .user = kit_user,
                                                .ask = kit_ask,
                                                .address = kit_address,
                                                .connection = kit_connection,
                                                .strict = kit_strict};

static inline void kit_check(kit_t *k) {
    cr_assert(gi_broker_core_valid(k->core), "the core's law is broken");
}

/* Change k->settings between kit_init and kit_start. */
static inline void kit_init(kit_t *k) {
    memset(k, 0, sizeof *k);
    k->now = 1000000;
    k->settings = gate_settings_new();
    k->settings->mdp_heartbeat_interval = HB;
    k->settings->timeout = 5;
    k->settings->packed = false;
}

static inline void kit_start(kit_t *k) {
    unsigned number;
    k->core = gi_broker_core_new(k->settings,
                                 (const unsigned char *)"0123456789abcdef",
                                 &kit_effects, k, k->now);
    cr_assert(k->core);
    cr_assert_eq(gi_broker_core_socket(k->core, false, &number), GATE_OK);
    cr_assert_eq(number, FRONT);
    cr_assert_eq(gi_broker_core_socket(k->core, true, &number), GATE_OK);
    cr_assert_eq(number, BACK);
}

static inline void kit_begin(kit_t *k) {
    kit_init(k);
    kit_start(k);
}

static inline void kit_forget(kit_t *k) {
    while (k->said) {
        said_t *next = k->said->next;
        free(k->said);
        k->said = next;
    }
}

static inline void kit_end(kit_t *k) {
    gi_broker_core_destroy(&k->core);
    gate_settings_destroy(&k->settings);
    kit_forget(k);
}

static inline void kit_hear(kit_t *k, unsigned socket, const char *from, int fd,
                            const gate_bytes_t *frames, unsigned n) {
    gi_frames_t in;
    in.n = 0;
    cr_assert(gi_frames_add(&in, from, strlen(from)));
    for (unsigned i = 0; i < n; i++)
        cr_assert(gi_frames_add(&in, frames[i].data, frames[i].size));
    gi_broker_core_message(k->core, socket, &in, fd, k->now);
    cr_assert_eq(in.n, 0);
    kit_check(k);
}

/* Frames are strings, up to NULL. */
static inline void kit_say_fd(kit_t *k, unsigned socket, const char *from,
                              int fd, ...) {
    gate_bytes_t frames[64];
    unsigned n = 0;
    va_list list;
    va_start(list, fd);
    for (const char *s; (s = va_arg(list, const char *)) != NULL; n++)
        frames[n] = (gate_bytes_t){s, strlen(s)};
    va_end(list);
    kit_hear(k, socket, from, fd, frames, n);
}
#define say(k, socket, from, ...) \
    kit_say_fd(k, socket, from, -1, __VA_ARGS__, NULL)
#define say_fd(k, socket, from, fd, ...) \
    kit_say_fd(k, socket, from, fd, __VA_ARGS__, NULL)

/* What workers and clients say. */
#define ready(k, w, line) say(k, BACK, w, "", "MDPW01", "\1", line)
#define beat(k, w) say(k, BACK, w, "", "MDPW01", "\4")
#define hello(k, w) say(k, BACK, w, "", "MDPW01", "\4", HELLO)
#define bye(k, w) say(k, BACK, w, "", "MDPW01", "\5", "bye")
#define reply(k, w, c, id, ...) \
    say(k, BACK, w, "", "MDPW01", "\3", c, "", id, __VA_ARGS__)
#define request(k, c, service, id)              \
    say(k, FRONT, c, "", "MDPC01", service, id, \
        "\xa1"                                  \
        "f",                                    \
        "\x90", "\x80")
#define request_ext(k, c, service, id, ext)     \
    say(k, FRONT, c, "", "MDPC01", service, id, \
        "\xa1"                                  \
        "f",                                    \
        "\x90", "\x80", ext)
#define control(k, c, id, ext) say(k, FRONT, c, "", "MDPC01", "S", id, ext)

/* Turns the clock, in steps no timer can hide in. */
static inline void kit_wait(kit_t *k, int64_t ms) {
    for (int64_t end = k->now + ms; k->now < end;) {
        k->now += end - k->now < 10 ? end - k->now : 10;
        gi_broker_core_tick(k->core, k->now);
        kit_check(k);
    }
}

/* The connection behind a descriptor of its socket has closed. */
static inline void kit_closed(kit_t *k, unsigned socket, int fd) {
    if (fd >= 0 && fd < 64)
        k->open[fd] = 0;
    gi_broker_core_closed(k->core, socket, fd, k->now);
    kit_check(k);
}

/* The first message for that peer, taken off; NULL: none. Free it. */
static inline said_t *kit_take(kit_t *k, const char *to) {
    for (said_t **at = &k->said; *at; at = &(*at)->next) {
        said_t *m = *at;
        if (strcmp(m->to, to) != 0)
            continue;
        *at = m->next;
        return m;
    }
    return NULL;
}

static inline bool kit_frame_is(const said_t *m, unsigned i, const char *text) {
    return m->f[i].size == strlen(text) &&
           memcmp(m->f[i].data, text, m->f[i].size) == 0;
}

/* True when the next message for that peer has exactly these frames. */
static inline bool kit_got(kit_t *k, const char *to, ...) {
    said_t *m = kit_take(k, to);
    bool same = m != NULL;
    unsigned i = 0;
    va_list list;
    va_start(list, to);
    for (const char *s; same && (s = va_arg(list, const char *)) != NULL; i++)
        same = i < m->n && kit_frame_is(m, i, s);
    va_end(list);
    same = same && i == m->n;
    free(m);
    return same;
}
#define got(k, to, ...) cr_expect(kit_got(k, to, __VA_ARGS__, NULL))
#define got_beat(k, w) got(k, w, "", "MDPW01", "\4", HELLO)
#define got_bye(k, w) got(k, w, "", "MDPW01", "\5")
#define got_request(k, w, c, id)             \
    got(k, w, "", "MDPW01", "\2", c, "", id, \
        "\xa1"                               \
        "f",                                 \
        "\x90", "\x80")
#define got_reply(k, c, service, id, ...) \
    got(k, c, "", "MDPC01", service, id, __VA_ARGS__)

/* True when it is an answer of n frames whose last one holds both texts. */
static inline bool kit_got_error(kit_t *k, const char *to, const char *id,
                                 unsigned n, const char *cls,
                                 const char *text) {
    said_t *m = kit_take(k, to);
    bool same = m && m->n == n && kit_frame_is(m, 3, id);
    if (same) {
        const char *data = m->f[n - 1].data;
        size_t size = m->f[n - 1].size;
        same = memmem(data, size, cls, strlen(cls)) &&
               memmem(data, size, text, strlen(text));
    }
    free(m);
    return same;
}
#define got_error(k, c, id, cls, text) \
    cr_expect(kit_got_error(k, c, id, 5, cls, text))
/* tag GateStreamException triple */
#define got_tagged_error(k, c, id, cls, text) \
    cr_expect(kit_got_error(k, c, id, 7, cls, text))
#define got_nothing(k, to)            \
    do {                              \
        said_t *m_ = kit_take(k, to); \
        cr_expect_null(m_);           \
        free(m_);                     \
    } while (0)
#define counted(k, name, n)                                            \
    cr_expect_eq(gi_broker_core_count((k)->core, name), (uint64_t)(n), \
                 "%s is %llu", name,                                   \
                 (unsigned long long)gi_broker_core_count((k)->core, name))

/* Registers a worker and takes its first heartbeat off. */
static inline void kit_worker(kit_t *k, const char *w, const char *line) {
    ready(k, w, line);
    got_beat(k, w);
}

static inline void kit_ext_worker(kit_t *k, const char *w, const char *line) {
    kit_worker(k, w, line);
    hello(k, w);
}

#endif
