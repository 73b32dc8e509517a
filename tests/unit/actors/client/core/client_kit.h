/* SPDX-License-Identifier: BSD-3-Clause */
/* client_kit.h -- a client's core with a broker that the test plays, sockets
 * that it fills, and a clock that it turns. */
#ifndef CLIENT_KIT_H
#define CLIENT_KIT_H

#include <criterion/criterion.h>
#include <errno.h>
#include <gaterpc/log.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/client_core.h"
#include "mail/logring.h"
#include "settings/settings.h"

enum { KIT_SENT = 64, KIT_HB = 1000 };

/* What the core has sent, until it is taken. */
typedef struct said {
    uint8_t conn;
    unsigned n;
    char frames[12][200];
    size_t size[12];
} said_t;

typedef struct kit_call {
    gi_ccall_t call;
    int answers, items, ends, fails, begun, chunks, chunk_ends, uploads, left;
    gate_err_t code;
    char text[600];
} kit_call_t;

typedef struct kit {
    gi_client_core_t *core;
    gate_settings_t *settings;
    gi_login_t login;
    int64_t now;
    said_t sent[KIT_SENT];
    unsigned n_sent;
    int full; /* an errno of each send */
    int reopens, moves, closes;
    bool fresh;
    int64_t idle_ms;
    gate_err_t refuse; /* of items, chunks and uploads */
    char trouble[400];
} kit_t;

static inline kit_call_t *kit_of(gi_ccall_t *call) {
    return (kit_call_t *)(void *)((char *)call - offsetof(kit_call_t, call));
}

/* ---- effects ------------------------------------------------------------- */
static int kit_send(void *ctx, uint8_t conn, gi_frames_t *frames) {
    kit_t *k = ctx;
    gate_bytes_t f[GI_FRAMES_MAX];
    if (k->full)
        return k->full;
    gi_frames_view(frames, 0, f);
    cr_assert(k->n_sent < KIT_SENT && frames->n <= 12);
    said_t *s = &k->sent[k->n_sent++];
    *s = (said_t){.conn = conn, .n = frames->n};
    for (unsigned i = 0; i < frames->n; i++) {
        cr_assert(f[i].size < 200);
        memcpy(s->frames[i], f[i].data, f[i].size);
        s->size[i] = f[i].size;
    }
    gi_frames_close(frames);
    return 0;
}
static gate_err_t kit_reopen(void *ctx, bool fresh) {
    kit_t *k = ctx;
    k->reopens++;
    k->fresh = fresh;
    return GATE_OK;
}
static gate_err_t kit_move(void *ctx, uint8_t former) {
    cr_assert(former >= 1 && former <= GI_CFORMERS_MAX);
    ((kit_t *)ctx)->moves++;
    return GATE_OK;
}
static void kit_close(void *ctx) { ((kit_t *)ctx)->closes++; }
static void kit_trouble(void *ctx, const char *text) {
    snprintf(((kit_t *)ctx)->trouble, sizeof((kit_t *)ctx)->trouble, "%s",
             text);
}
static gate_err_t kit_answer(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                             unsigned at) {
    (void)in, (void)at;
    kit_of(call)->answers++;
    return ((kit_t *)ctx)->refuse;
}
static gate_err_t kit_refuse(const kit_t *k) {
    return k->refuse ? gi_err(k->refuse, "refused by the test") : GATE_OK;
}
static gate_err_t kit_item(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                           unsigned at) {
    (void)in, (void)at;
    kit_of(call)->items++;
    return kit_refuse(ctx);
}
static gate_err_t kit_row_item(void *ctx, gi_ccall_t *call, gate_bytes_t item) {
    (void)item;
    kit_of(call)->items++;
    return kit_refuse(ctx);
}
static void kit_end_(void *ctx, gi_ccall_t *call) {
    (void)ctx;
    kit_of(call)->ends++;
}
static void kit_fail(void *ctx, gi_ccall_t *call, const gate_error_t *story) {
    kit_call_t *c = kit_of(call);
    (void)ctx;
    c->fails++;
    c->code = story->code;
    snprintf(c->text, sizeof c->text, "%s", story->text);
}
static gate_err_t kit_huge(void *ctx, gi_ccall_t *call, const gi_ext_t *ext) {
    (void)ext;
    kit_of(call)->begun++;
    return kit_refuse(ctx);
}
static gate_err_t kit_chunk(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                            unsigned at) {
    (void)in, (void)at;
    kit_of(call)->chunks++;
    return kit_refuse(ctx);
}
static gate_err_t kit_chunks_end(void *ctx, gi_ccall_t *call) {
    kit_of(call)->chunk_ends++;
    return kit_refuse(ctx);
}
static gate_err_t kit_upload(void *ctx, gi_ccall_t *call) {
    kit_of(call)->uploads++;
    return kit_refuse(ctx);
}
static int64_t kit_idle(void *ctx, gi_ccall_t *call, int64_t now_ms) {
    (void)call;
    (void)now_ms;
    return ((kit_t *)ctx)->idle_ms;
}
static void kit_left(void *ctx, gi_ccall_t *call) {
    kit_call_t *c = kit_of(call);
    (void)ctx;
    cr_assert_eq(c->left++, 0);
    cr_assert(c->answers + c->ends + c->fails == 1 || c->chunk_ends ||
              c->begun || c->fails);
}

static const gi_client_effects_t kit_effects = {.send = kit_send,
                                                .reopen = kit_reopen,
                                                .move = kit_move,
                                                .close = kit_close,
                                                .trouble = kit_trouble,
                                                .answer = kit_answer,
                                                .item = kit_item,
                                                .row_item = kit_row_item,
                                                .end = kit_end_,
                                                .fail = kit_fail,
                                                .huge = kit_huge,
                                                .chunk = kit_chunk,
                                                .upload = kit_upload,
                                                .idle_ms = kit_idle,
                                                .chunks_end = kit_chunks_end,
                                                .left = kit_left};

/* ---- life ---------------------------------------------------------------- */
static inline void kit_start(kit_t *k, bool watched) {
    gi_log_levels(GATE_SILENT, "");
    *k = (kit_t){.now = 1000000, .settings = gate_settings_new()};
    k->settings->mdp_heartbeat_interval = KIT_HB;
    k->settings->message_max = 16;
    gi_client_core_options_t options = {.settings = k->settings,
                                        .login = &k->login,
                                        .endpoint = "tcp://here",
                                        .codecs = "gzip",
                                        .watched = watched,
                                        .seed = 42};
    k->core = gi_client_core_new(&options, &kit_effects, k, k->now);
    cr_assert(k->core);
    gi_client_core_open(k->core, k->now);
}
static inline void kit_check(kit_t *k) {
    cr_assert(gi_client_core_valid(k->core));
}
static inline void kit_end(kit_t *k) {
    kit_check(k);
    gi_client_core_stop(k->core, k->now);
    kit_check(k);
    gi_client_core_destroy(&k->core);
    gi_login_fini(&k->login);
    gate_settings_destroy(&k->settings);
}
/* Time passes in small steps. */
static inline void kit_pass(kit_t *k, int64_t ms) {
    for (int64_t end = k->now + ms; k->now < end;) {
        k->now += end - k->now < 50 ? end - k->now : 50;
        for (int i = 0; i < 20 && gi_client_core_tick(k->core, k->now); i++) {
        }
        kit_check(k);
    }
}

/* ---- what the core said -------------------------------------------------- */
static inline bool kit_is(const said_t *s, unsigned i, const char *text) {
    return i < s->n && s->size[i] == strlen(text) &&
           memcmp(s->frames[i], text, s->size[i]) == 0;
}
/* Takes the oldest; NULL: none. Valid until the next. */
static inline said_t *kit_take(kit_t *k) {
    static said_t taken;
    if (!k->n_sent)
        return NULL;
    taken = k->sent[0];
    memmove(k->sent, k->sent + 1, --k->n_sent * sizeof *k->sent);
    return &taken;
}
/* The oldest one of that function, what is before it is dropped. */
static inline said_t *kit_take_func(kit_t *k, const char *func) {
    said_t *s;
    while ((s = kit_take(k)))
        if (kit_is(s, 4, func))
            return s;
    return NULL;
}
/* A control message about a call: its extension frame, parsed. */
static inline bool kit_take_ext(kit_t *k, gi_ext_t *ext) {
    said_t *s;
    while ((s = kit_take(k)))
        if (s->n == 5) {
            static char frame[200];
            memcpy(frame, s->frames[4], s->size[4]);
            return !gi_ext_parse((gate_bytes_t){frame, s->size[4]}, ext);
        }
    return false;
}

/* ---- the broker ---------------------------------------------------------- */
static inline void kit_hear(kit_t *k, uint8_t conn, const void *id, unsigned n,
                            const gate_bytes_t *body) {
    gi_frames_t m = {0};
    gi_frames_add(&m, "", 0);
    gi_frames_add(&m, GI_MDP_CLIENT, strlen(GI_MDP_CLIENT));
    gi_frames_add(&m, "S", 1);
    gi_frames_add(&m, id, GI_ID_SIZE);
    for (unsigned i = 0; i < n; i++)
        gi_frames_add(&m, body[i].data, body[i].size);
    gi_client_core_message(k->core, conn, &m, k->now);
    gi_frames_close(&m);
    kit_check(k);
}
#define KIT_BYTES(text) ((gate_bytes_t){text, sizeof text - 1})
#define hear(k, c, ...)                                                    \
    kit_hear(k, (c)->call.former, (c)->call.id,                            \
             sizeof((gate_bytes_t[]){__VA_ARGS__}) / sizeof(gate_bytes_t), \
             (gate_bytes_t[]){__VA_ARGS__})
#define OK_FIVE                        \
    KIT_BYTES("\x82\xa6result\x05\xa9" \
              "exception\xc0")
#define UNAVAILABLE              \
    KIT_BYTES(                   \
        "\x82\xa6result\xc0\xa9" \
        "exception\x93\xb7ServiceUnAvailableError\xa1x\xac  (not run)\n")
#define DENIED                         \
    KIT_BYTES("\x82\xa6result\xc0\xa9" \
              "exception\x93\xb1"      \
              "AccessDeniedError\xa5wrong\xa0")
#define STREAM KIT_BYTES(GI_STREAM_TAG)
#define HUGE KIT_BYTES(GI_HUGE_TAG)

/* Answers the core's question what the broker can do. */
static inline void kit_inform(kit_t *k, unsigned n_names) {
    static const char *const names[] = {"GX1", "HA1"};
    msgpack_sbuffer buf;
    msgpack_packer pk;
    said_t *s = kit_take_func(k, "\xa4info");
    cr_assert(s, "it did not ask");
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    msgpack_pack_str_with_body(&pk, "exception", 9);
    msgpack_pack_nil(&pk);
    msgpack_pack_str_with_body(&pk, "result", 6);
    msgpack_pack_map(&pk, 1);
    msgpack_pack_str_with_body(&pk, "ext", 3);
    msgpack_pack_array(&pk, n_names);
    for (unsigned i = 0; i < n_names; i++)
        msgpack_pack_str_with_body(&pk, names[i], 3);
    kit_hear(k, 0, s->frames[3], 1, &(gate_bytes_t){buf.data, buf.size});
    msgpack_sbuffer_destroy(&buf);
}
/* Connected, and the broker knows all that we do. */
static inline void kit_up(kit_t *k) {
    gi_client_core_connected(k->core, k->now);
    kit_inform(k, 2);
    k->n_sent = 0;
    kit_check(k);
}

/* ---- callers ------------------------------------------------------------- */
static inline void kit_prepare(kit_t *k, kit_call_t *c, bool stream) {
    *c = (kit_call_t){
        .call = {.service = {"Math", 4},
                 .body = (const unsigned char *)"\xa1"
                                                "f\x90\x80",
                 .request = {.func_size = 2, .args_size = 1, .kwargs_size = 1},
                 .stream = stream,
                 .timeout_ms = 500,
                 .pause_ms = 20,
                 .codec = "gzip",
                 .deadline_ms = k->now + 500}};
}
static inline void kit_call(kit_t *k, kit_call_t *c) {
    gi_client_core_start(k->core, &c->call, k->now);
    kit_check(k);
}
static inline void kit_one(kit_t *k, kit_call_t *c) {
    kit_prepare(k, c, false);
    kit_call(k, c);
}
static inline void kit_stream(kit_t *k, kit_call_t *c) {
    kit_prepare(k, c, true);
    kit_call(k, c);
}
#define failed(c, what, part)                                \
    do {                                                     \
        cr_expect_eq((c)->fails, 1);                         \
        cr_expect_eq((c)->left, 1);                          \
        cr_expect_eq((c)->code, what, "%s", (c)->text);      \
        cr_expect(strstr((c)->text, part), "%s", (c)->text); \
    } while (0)
#define counted(k, name, n) \
    cr_expect_eq(gi_client_core_count((k)->core, name), (uint64_t)(n))

#endif
