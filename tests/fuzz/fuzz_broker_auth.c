/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_broker_auth.c -- the broker's core with in-band credentials: bytes
 * choose who says what with which password, what the authentication service
 * answers and when, which connections close, how much time passes. After every
 * event the core's law must hold, and nothing unauthenticated may reach a
 * worker. */
#include <errno.h>
#include <gaterpc/log.h>
#include <stdlib.h>
#include <string.h>
#include "broker/core/broker_core.h"
#include "broker/gate/broker_gate.h"
#include "broker/trust/broker_credentials.h"
#include "frames.h"
#include "mail/logring.h"
#include "settings/settings.h"
#include "input.h"

enum { FRONT, BACK, CLIENTS = 4, PEERS = 7, KEYS = 16 };

typedef struct s_world {
    fuzz_input_t in;
    int64_t now;
    gi_broker_core_t *core;
    unsigned char keys[KEYS][64]; /* of questions, the latest ones */
    size_t key_sizes[KEYS];
    unsigned n_keys;
    bool mute;
} s_world_t;

static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    gate_bytes_t f[GI_FRAMES_MAX];
    (void)ctx;
    gi_frames_view(frames, 0, f);
    if (socket == BACK && frames->n > 7) /* id "" tag 02 client "" id func */
        fuzz_must(memchr("gG", *(const char *)f[6].data, 2) != NULL);
    gi_frames_close(frames);
    return 0;
}

static int s_ask(void *ctx, gi_frames_t *frames) {
    s_world_t *w = ctx;
    gate_bytes_t f[GI_FRAMES_MAX];
    if (w->mute)
        return EAGAIN;
    gi_frames_view(frames, 0, f);
    fuzz_must(frames->n == 9 && f[2].size <= sizeof w->keys[0]);
    memcpy(w->keys[w->n_keys % KEYS], f[2].data, f[2].size);
    w->key_sizes[w->n_keys++ % KEYS] = f[2].size;
    /* whether the answer may be yes is in the password */
    w->keys[(w->n_keys - 1) % KEYS][63] = *(const unsigned char *)f[8].data;
    gi_frames_close(frames);
    return 0;
}

static const gi_broker_effects_t s_effects = {
    .gate = &gi_broker_internal_ops, .send = s_send, .ask = s_ask};

/* ---- events -------------------------------------------------------------- */
static void s_answer(s_world_t *w, unsigned how) {
    gi_frames_t m = {0};
    unsigned i = how % KEYS;
    const char *status = "200";
    if (w->n_keys == 0)
        return;
    i %= w->n_keys < KEYS ? w->n_keys : KEYS;
    if (w->keys[i][63] != 'g' || how & 128)
        status = how & 64 ? "500" : "400";
    gi_frames_add(&m, NULL, 0);
    gi_frames_add(&m, "1.0", 3);
    gi_frames_add(&m, w->keys[i], w->key_sizes[i]);
    gi_frames_add(&m, status, 3);
    gi_frames_add(&m, "", 0);
    gi_frames_add(&m, how & 32 ? "u" : "", how & 32 ? 1 : 0);
    if (!(how & 16))
        gi_frames_add(&m, NULL, 0);
    gi_broker_core_verdict(w->core, &m, w->now);
}

/* The first letter of a request id tells whether its password is good. */
static void s_say(s_world_t *w, unsigned how) {
    gi_frames_t m = {0};
    unsigned peer = how % PEERS, b = fuzz_byte(&w->in);
    bool client = peer < CLIENTS, good = b & 1;
    char id = (char)('a' + peer),
         request[2] = {good ? 'g' : 'b', (char)('0' + b / 64)};
    gi_frames_add(&m, &id, 1);
    gi_frames_add(&m, NULL, 0);
    gi_frames_add(&m, client ? GI_MDP_CLIENT : GI_MDP_WORKER, 6);
    if (client)
        gi_frames_add(&m, b & 2 ? "S" : "Gate", b & 2 ? 1 : 4);
    else
        gi_frames_add(&m, &"\1\4\4\5"[b / 2 % 4], 1);
    if ((b & 60) != 60) {
        gi_frames_add(&m, GI_ZAP_PLAIN, 5);
        gi_frames_add(&m, "joe", 3);
        gi_frames_add(&m, good ? "g" : "b", 1);
    }
    if (client) {
        gi_frames_add(&m, request, 2);
        gi_frames_add(&m, "\xa1x", 2);
    } else if (b / 2 % 4 == 0) {
        gi_frames_add(&m, "S:d:3", 5);
    }
    gi_broker_core_message(w->core, client ? FRONT : BACK, &m, (int)peer + 3,
                           w->now);
}

static void s_event(s_world_t *w) {
    unsigned what = fuzz_byte(&w->in), how = fuzz_byte(&w->in);
    switch (what % 8) {
    case 0:
    case 1:
        s_answer(w, how);
        break;
    case 2:
        w->now += how * 20;
        gi_broker_core_tick(w->core, w->now);
        break;
    case 3:
        gi_broker_core_closed(w->core, how % PEERS < CLIENTS ? FRONT : BACK,
                              (int)(how % PEERS) + 3, w->now);
        break;
    case 4:
        w->mute = how & 1;
        break;
    default:
        s_say(w, how);
    }
    fuzz_must(gi_broker_core_valid(w->core));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static gate_settings_t *settings;
    unsigned number;
    if (settings == NULL) {
        gi_log_levels(GATE_SILENT, "");
        settings = gate_settings_new();
        settings->mdp_heartbeat_interval = 1000;
        settings->zap_reply_timeout = 2;
        settings->zap_cache_ttl_s = 3;
        settings->zap_cache_max = 3;
    }
    s_world_t w = {.in = {data, size}, .now = 1000};
    w.core =
        gi_broker_core_new(settings, (const unsigned char *)"0123456789abcdef",
                           &s_effects, &w, w.now);
    fuzz_must(w.core != NULL);
    fuzz_must(gi_broker_core_zap(w.core, "gate", "me", "pw") == GATE_OK &&
              gi_broker_core_socket(w.core, false, &number) == GATE_OK &&
              gi_broker_core_socket(w.core, true, &number) == GATE_OK);
    while (w.in.size > 0)
        s_event(&w);
    gi_broker_core_stop(w.core, w.now);
    gi_broker_core_destroy(&w.core);
    return 0;
}
