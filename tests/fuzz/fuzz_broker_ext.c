/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_broker_ext.c -- the broker's core and all that is not in gate-rpc's
 * protocol: options of calls with members of the fuzzer's choice (metadata,
 * deadlines, attempts, huge arguments), chunks and credit either way,
 * idempotent methods, workers' announcements, the internal service with any
 * arguments, access rules, rate limits, a broker that is replaced. After every
 * event the core's law must hold; nothing that a rule denies may reach a
 * worker; at the end nothing may be left. */
#include <errno.h>
#include <gaterpc/log.h>
#include <stdlib.h>
#include <string.h>
#include "broker/core/broker_core.h"
#include "broker/gate/broker_gate.h"
#include "mail/logring.h"
#include "wire/rpc.h"
#include "settings/settings.h"
#include "input.h"

enum { FRONT, BACK, CLIENTS = 3, PEERS = 6 };

typedef struct s_world {
    gi_broker_core_t *core;
    int64_t now;
    unsigned char mood[PEERS]; /* 0 fine, 1 full, 2 gone */
    fuzz_input_t in;
} s_world_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what the core sends ------------------------------------------------- */
static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    s_world_t *w = ctx;
    gate_bytes_t f[GI_FRAMES_MAX], func;
    gi_frames_view(frames, 0, f);
    unsigned peer = *(const unsigned char *)f[0].data - 'a';
    fuzz_must(peer < PEERS && (socket == BACK) == (peer >= CLIENTS));
    if (socket == BACK && frames->n > 7 && *(const char *)f[3].data == 2 &&
        gi_rpc_parse_func(f[7], &func) == GATE_OK)
        fuzz_must(func.size != 6 || memcmp(func.data, "denied", 6) != 0);
    if (w->mood[peer] == 1)
        return EAGAIN;
    if (w->mood[peer] == 2)
        return EHOSTUNREACH;
    gi_frames_close(frames);
    return 0;
}

static const char *s_user(void *ctx, zmq_msg_t *frame, int64_t now_ms) {
    (void)ctx, (void)now_ms;
    static const char *const names[] = {"", "joe", "ann"};
    const unsigned char *id = zmq_msg_data(frame);
    return zmq_msg_size(frame) == 1 ? names[*id % 3] : "";
}

static const gi_broker_effects_t s_effects = {
    .gate = &gi_broker_internal_ops, .send = s_send, .user = s_user};

/* ---- what peers say ------------------------------------------------------ */
static void s_start(gi_frames_t *m, unsigned peer) {
    char id = (char)('a' + peer);
    m->n = 0;
    gi_frames_add(m, &id, 1);
    gi_frames_add(m, NULL, 0);
    gi_frames_add(m, peer < CLIENTS ? GI_MDP_CLIENT : GI_MDP_WORKER, 6);
}

static void s_hear(s_world_t *w, gi_frames_t *m, unsigned peer) {
    gi_broker_core_message(w->core, peer < CLIENTS ? FRONT : BACK, m,
                           (int)peer + 3, w->now);
    fuzz_must(m->n == 0);
}

static int64_t s_number(s_world_t *w) {
    static const int64_t numbers[] = {-1, 0,       1,         5,
                                      64, 1 << 20, 1LL << 40, INT64_MAX};
    return numbers[fuzz_byte(&w->in) % 8];
}

/* An extension frame: members by the bits of one byte, or any bytes behind the
 * magic. */
static void s_add_ext(s_world_t *w, gi_frames_t *m) {
    static gi_buf_t packed;
    unsigned which = fuzz_byte(&w->in);
    gi_ext_t ext;
    gi_ext_init(&ext);
    packed.size = 0;
    if (which == 255) {
        gate_bytes_t some = fuzz_some(&w->in, 40);
        gi_buf_append(&packed, GI_EXT_MAGIC, GI_EXT_MAGIC_SIZE);
        gi_buf_append(&packed, some.data, some.size);
        gi_frames_add(m, packed.data, packed.size);
        return;
    }
    if (which & 1)
        ext.credit_items = s_number(w), ext.credit_bytes = s_number(w);
    if (which & 2)
        ext.timeout_ms = s_number(w), ext.attempt = (int)fuzz_byte(&w->in) % 5;
    if (which & 4)
        ext.args_size = s_number(w), ext.kwargs_size = s_number(w);
    if (which & 8)
        ext.idempotent = (gate_bytes_t){"f,g=2,h=99", 10};
    if (which & 16)
        ext.meta = fuzz_some(&w->in, 40);
    ext.huge = which & 32;
    ext.cancel = (which & 64) && fuzz_byte(&w->in) & 1;
    ext.drain = (which & 64) && fuzz_byte(&w->in) & 1;
    if (which & 128)
        ext.epoch = s_number(w);
    ext.packed = which & 128;
    fuzz_must(gi_ext_pack(&packed, &ext) == GATE_OK);
    gi_frames_add(m, packed.data, packed.size);
}

static void s_add_id(s_world_t *w, gi_frames_t *m) {
    char id = (char)('A' + fuzz_byte(&w->in) % 4);
    gi_frames_add(m, &id, 1);
}

static const char *const s_services[] = {"S", "T", "Gate", "R"};

static void s_call(s_world_t *w, unsigned how) {
    static const char *const funcs[] = {"\241f", "\241g", "\241h",
                                        "\246denied"};
    const char *service = s_services[how / 4 % 4];
    const char *func = funcs[how / 16 % 4];
    gi_frames_t m;
    s_start(&m, how % CLIENTS);
    gi_frames_add(&m, service, strlen(service));
    s_add_id(w, &m);
    gi_frames_add(&m, func, strlen(func));
    gi_frames_add(&m, "\x90", 1);
    gi_frames_add(&m, "\x80", 1);
    if (how & 64)
        s_add_ext(w, &m);
    s_hear(w, &m, how % CLIENTS);
}

static void s_internal(s_world_t *w, unsigned how) {
    static const char *const funcs[] = {
        "\251keepalive", "\254get_services", "\244info",    "\255query_service",
        "\245stats",     "\245drain",        "\247workers", "\244user"};
    const char *func = funcs[how / 4 % 8];
    static const char *const known[] = {"\221\241S", "\221\241T", "\220",
                                        "\221\242\66\64"};
    gi_frames_t m;
    s_start(&m, how % CLIENTS);
    gi_frames_add(&m, "Gate", 4);
    s_add_id(w, &m);
    gi_frames_add(&m, func, strlen(func));
    if (how & 32) {
        gate_bytes_t args = fuzz_some(&w->in, 24);
        gi_frames_add(&m, args.data, args.size);
    } else {
        const char *args = known[how / 64];
        gi_frames_add(&m, args, strlen(args));
    }
    if (how & 64)
        gi_frames_add(&m, "\x80", 1);
    if (how & 128)
        s_add_ext(w, &m);
    s_hear(w, &m, how % CLIENTS);
}

/* Control frames and chunks of arguments. */
static void s_more(s_world_t *w, unsigned how) {
    const char *service = s_services[how / 4 % 4];
    gi_frames_t m;
    s_start(&m, how % CLIENTS);
    gi_frames_add(&m, service, strlen(service));
    s_add_id(w, &m);
    if (how & 16) {
        gate_bytes_t chunk = fuzz_some(&w->in, 40);
        gi_frames_add(&m, GI_HUGE_TAG, strlen(GI_HUGE_TAG));
        gi_frames_add(&m, chunk.data, chunk.size);
    } else {
        s_add_ext(w, &m);
    }
    s_hear(w, &m, how % CLIENTS);
}

static void s_worker(s_world_t *w, unsigned how) {
    static const char *const lines[] = {"S:d:1", "S:d:3", "T:d:2", "R:d:1"};
    gi_frames_t m;
    unsigned peer = CLIENTS + how % 3;
    s_start(&m, peer);
    if (how & 16) {
        gi_frames_add(&m, "\1", 1);
        gi_frames_add(&m, lines[how / 4 % 4], 5);
    } else {
        gi_frames_add(&m, how & 4 ? "\5" : "\4", 1);
    }
    if (how & 32)
        s_add_ext(w, &m);
    s_hear(w, &m, peer);
}

/* A worker's answer, or credit for arguments. */
static void s_answer(s_world_t *w, unsigned how) {
    static const char *const first[] = {GI_STREAM_TAG, GI_HUGE_TAG};
    static const char *const second[] = {"\x01", GI_STREAM_END, GI_HUGE_END,
                                         GI_HUGE_EXCEPTION};
    gi_frames_t m;
    unsigned peer = CLIENTS + how % 3;
    char client = (char)('a' + how / 4 % CLIENTS);
    s_start(&m, peer);
    gi_frames_add(&m, how & 16 ? "\6" : "\3", 1);
    gi_frames_add(&m, &client, 1);
    gi_frames_add(&m, NULL, 0);
    s_add_id(w, &m);
    if (how & 16) {
        s_add_ext(w, &m);
    } else if (how & 32) {
        const char *text = second[how / 128 + 2 * (fuzz_byte(&w->in) & 1)];
        const char *tag = first[how / 64 % 2];
        gi_frames_add(&m, tag, strlen(tag));
        gi_frames_add(&m, text, strlen(text));
        if (how & 128)
            s_add_ext(w, &m);
    } else {
        gi_frames_add(&m, "\xc0", 1);
    }
    s_hear(w, &m, peer);
}

/* ---- the rest of the world ----------------------------------------------- */
static void s_fate(s_world_t *w, unsigned how) {
    bool told;
    switch (how % 8) {
    case 0:
    case 1:
        gi_broker_core_closed(w->core, how / 8 % PEERS < CLIENTS ? FRONT : BACK,
                              (int)(how / 8 % PEERS) + 3, w->now);
        break;
    case 2:
        gi_broker_core_move(w->core, how & 8, w->now);
        break;
    case 3:
        gi_broker_core_expect(w->core, w->now + how * 4);
        break;
    case 4:
        gi_broker_core_quiet(w->core, how / 8 & 1, (int)(how / 16), w->now,
                             &told);
        break;
    case 5:
        if (how == 253)
            gi_broker_core_drain(w->core);
        break;
    default:
        w->mood[how / 8 % PEERS] = (unsigned char)(fuzz_byte(&w->in) % 3);
    }
}

static void s_step(s_world_t *w) {
    unsigned op = fuzz_byte(&w->in), how = fuzz_byte(&w->in);
    switch (op % 9) {
    case 0:
    case 1:
        s_call(w, how);
        break;
    case 2:
        s_internal(w, how);
        break;
    case 3:
        s_more(w, how);
        break;
    case 4:
        s_worker(w, how);
        break;
    case 5:
    case 6:
        s_answer(w, how);
        break;
    case 7:
        w->now += how * how / 4;
        gi_broker_core_tick(w->core, w->now);
        gi_broker_core_retry(w->core, how % 4, w->now);
        break;
    default:
        s_fate(w, how);
    }
    fuzz_must(gi_broker_core_valid(w->core));
}

/* ---- the program's own function ------------------------------------------ */
static gate_err_t s_function(gate_call_t *call) {
    gate_value_t *first = NULL;
    gate_err_t e = gate_args(call, gate_oval(&first));
    if (e == GATE_OK)
        e = gate_return(call, gate_val(first));
    gate_value_destroy(&first);
    return e;
}

static const gate_method_t s_methods[] = {{.name = "user", .fn = s_function},
                                          {.name = NULL}};

static gate_settings_t *s_settings(void) {
    static gate_settings_t *settings;
    if (settings)
        return settings;
    gi_log_levels(GATE_SILENT, "");
    settings = gate_settings_new();
    settings->mdp_heartbeat_interval = 1000;
    settings->timeout = 5;
    settings->queue_max = 4;
    settings->peer_queue_max = 8;
    settings->rate_limit_peer = 50;
    settings->rate_limit_user = 40;
    settings->broker_queue_max_bytes = 65536;
    return settings;
}

static gi_access_t *s_access(void) {
    static gi_access_t *access;
    if (!access)
        fuzz_must(gi_access_parse("deny * *.denied; allow joe R; allow ann R.f",
                                  &access) == GATE_OK);
    return access;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    s_world_t w = {.now = 1000000, .in = {data, size}};
    unsigned number;
    w.core = gi_broker_core_new(s_settings(),
                                (const unsigned char *)"0123456789abcdef",
                                &s_effects, &w, w.now);
    fuzz_must(w.core != NULL);
    gi_broker_core_access(w.core, s_access());
    fuzz_must(!gi_broker_core_methods(w.core, s_methods, NULL, NULL) &&
              !gi_broker_core_socket(w.core, false, &number) &&
              !gi_broker_core_socket(w.core, true, &number));
    while (w.in.size)
        s_step(&w);
    memset(w.mood, 0, sizeof w.mood);
    gi_broker_core_stop(w.core, w.now);
    for (int i = 0; i < 1000 && !gi_broker_core_idle(w.core); i++) {
        w.now += 50;
        gi_broker_core_tick(w.core, w.now);
        gi_broker_core_retry(w.core, 64, w.now);
    }
    fuzz_must(gi_broker_core_valid(w.core) && gi_broker_core_idle(w.core));
    gi_broker_core_destroy(&w.core);
    return 0;
}
