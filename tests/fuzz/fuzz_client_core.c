/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_client_core.c -- sequences of events at the client's core: callers that
 * call, cancel and give credit; brokers that answer, lie, fall silent, move,
 * refuse; sockets that are full or gone; time. A small model beside it knows what
 * is owed: each call that was started ends once and then leaves, none stays
 * beyond its deadline, credit that was given is told or owed and never twice,
 * and what has ended is told nothing more. After each event the core's law must
 * hold. */
#include <errno.h>
#include <gaterpc/log.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "client/core/client_core.h"
#include "client/core/client_state.h"
#include "mail/logring.h"
#include "settings/settings.h"
#include "input.h"

enum { CALLS = 8, OWN = 3, LATE_MS = 200 };

typedef struct s_model {
    gi_ccall_t call;
    bool live;         /* started and not left */
    unsigned outcomes; /* answer, end, fail */
    bool chunks_ended; /* inflated must come */
    int64_t told;      /* credit of items that went out */
    int64_t given;     /* and what should have, or is owed */
    bool follows;      /* its credit is the reader's alone */
} s_model_t;

typedef struct s_world {
    gi_client_core_t *core;
    gi_login_t login;
    int64_t now;
    s_model_t calls[CALLS];
    unsigned char own[OWN][GI_ID_SIZE]; /* ids of the core's questions */
    unsigned mood;                      /* 0 fine, 1 full, 2 gone */
    unsigned formers;                   /* a bit each */
    bool up, open, ending;
    fuzz_input_t in;
} s_world_t;

static s_model_t *s_model(gi_ccall_t *call) {
    return (s_model_t *)(void *)((char *)call - offsetof(s_model_t, call));
}

/* ---- what the core does -------------------------------------------------- */
static s_model_t *s_of_id(s_world_t *w, gate_bytes_t id) {
    for (unsigned i = 0; i < CALLS; i++)
        if (w->calls[i].live && id.size == GI_ID_SIZE &&
            memcmp(id.data, w->calls[i].call.id, GI_ID_SIZE) == 0)
            return &w->calls[i];
    return NULL;
}

static void s_book_ext(s_world_t *w, gate_bytes_t id, gate_bytes_t frame) {
    gi_ext_t ext;
    s_model_t *m = s_of_id(w, id);
    fuzz_must(!gi_ext_parse(frame, &ext));
    if (m && ext.credit_items > 0)
        m->told += ext.credit_items;
}

/* "" MDPC01 service id body+ */
static void s_book(s_world_t *w, const gate_bytes_t *f, unsigned n) {
    static const char *const own[OWN] = {"\xa4info", "\xacget_services",
                                         "\xa9keepalive"};
    fuzz_must(n >= 5 && f[0].size == 0 && f[3].size == GI_ID_SIZE);
    if (n == 5) {
        s_book_ext(w, f[3], f[4]);
        return;
    }
    for (unsigned i = 0; i < OWN; i++)
        if (f[4].size == strlen(own[i]) &&
            memcmp(f[4].data, own[i], f[4].size) == 0)
            memcpy(w->own[i], f[3].data, GI_ID_SIZE);
}

static int s_send(void *ctx, uint8_t conn, gi_frames_t *frames) {
    s_world_t *w = ctx;
    gate_bytes_t f[GI_FRAMES_MAX];
    fuzz_must(conn ? w->formers & 1u << (conn - 1) : w->open);
    if (w->mood)
        return w->mood == 1 ? EAGAIN : EHOSTUNREACH;
    gi_frames_view(frames, 0, f);
    s_book(w, f, frames->n);
    gi_frames_close(frames);
    return 0;
}

static gate_err_t s_opened(s_world_t *w) {
    w->up = false;
    w->open = fuzz_byte(&w->in) % 8 != 7;
    return w->open ? GATE_OK : gi_err(GATE_SYSTEM, "no socket");
}

static gate_err_t s_reopen(void *ctx, bool fresh) {
    (void)fresh;
    return s_opened(ctx);
}

static gate_err_t s_move(void *ctx, uint8_t former) {
    s_world_t *w = ctx;
    fuzz_must(!(w->formers & 1u << (former - 1)) && w->open);
    w->formers |= 1u << (former - 1);
    return s_opened(w);
}

static void s_close(void *ctx) {
    s_world_t *w = ctx;
    fuzz_must(w->open);
    w->open = w->up = false;
}

static void s_trouble(void *ctx, const char *text) {
    (void)ctx;
    fuzz_must(text && strlen(text) < 400);
}

static void s_outcome(gi_ccall_t *call) {
    s_model_t *m = s_model(call);
    fuzz_must(m->live && m->outcomes++ == 0);
}

static gate_err_t s_maybe(s_world_t *w, gate_err_t e) {
    return !w->ending && fuzz_byte(&w->in) % 16 == 15
               ? gi_err(e, "the fuzzer says so")
               : GATE_OK;
}

static gate_err_t s_answer(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                           unsigned at) {
    gate_err_t e = s_maybe(ctx, GATE_NOMEM);
    fuzz_must(gi_frames_at(in, at).size < 10000);
    if (!e)
        s_outcome(call);
    return e;
}

static gate_err_t s_item(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                         unsigned at) {
    fuzz_must(s_model(call)->live && !s_model(call)->outcomes && call->stream);
    fuzz_must(gi_frames_at(in, at).size < 10000);
    return s_maybe(ctx, GATE_BUSY);
}

static gate_err_t s_row_item(void *ctx, gi_ccall_t *call, gate_bytes_t item) {
    fuzz_must(s_model(call)->live && !s_model(call)->outcomes && call->stream);
    fuzz_must(item.size > 0 && item.size < 10000);
    return s_maybe(ctx, GATE_BUSY);
}

static void s_end(void *ctx, gi_ccall_t *call) {
    (void)ctx;
    fuzz_must(call->stream);
    s_outcome(call);
}

static void s_fail(void *ctx, gi_ccall_t *call, const gate_error_t *story) {
    (void)ctx;
    fuzz_must(story->code != GATE_OK && story->text && *story->cls);
    s_outcome(call);
}

/* Before its end, and of one that asked. */
static void s_times(void *ctx, gi_ccall_t *call, const gi_times_t *times) {
    (void)ctx;
    fuzz_must(s_model(call)->live && call->traced && times->broker_us >= 0);
}

static gate_err_t s_huge(void *ctx, gi_ccall_t *call, const gi_ext_t *ext) {
    (void)ext;
    fuzz_must(s_model(call)->live && !call->chunks);
    return s_maybe(ctx, GATE_NOTIMPL);
}

static gate_err_t s_chunk(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                          unsigned at) {
    fuzz_must(call->chunks && !call->stream && gi_frames_at(in, at).size > 0);
    return s_maybe(ctx, GATE_TOOBIG);
}

static gate_err_t s_chunks_end(void *ctx, gi_ccall_t *call) {
    fuzz_must(call->chunks && !call->stream);
    s_model(call)->chunks_ended = true;
    return s_maybe(ctx, GATE_NOMEM);
}

static gate_err_t s_upload(void *ctx, gi_ccall_t *call) {
    fuzz_must(s_model(call)->live && call->upload == GI_CUPLOAD_RUNS);
    return s_maybe(ctx, GATE_NOMEM);
}

static int64_t s_idle_ms(void *ctx, gi_ccall_t *call, int64_t now_ms) {
    s_world_t *w = ctx;
    (void)now_ms;
    fuzz_must(call->stream && s_model(call)->live);
    return w->ending ? INT32_MAX : fuzz_byte(&w->in) * 4;
}

static void s_left(void *ctx, gi_ccall_t *call) {
    s_model_t *m = s_model(call);
    (void)ctx;
    fuzz_must(m->live && m->outcomes == 1 && call->state == GI_CCALL_DONE);
    m->live = false;
}

static const gi_client_effects_t s_effects = {.send = s_send,
                                              .reopen = s_reopen,
                                              .move = s_move,
                                              .close = s_close,
                                              .trouble = s_trouble,
                                              .answer = s_answer,
                                              .item = s_item,
                                              .row_item = s_row_item,
                                              .end = s_end,
                                              .fail = s_fail,
                                              .times = s_times,
                                              .huge = s_huge,
                                              .chunk = s_chunk,
                                              .chunks_end = s_chunks_end,
                                              .upload = s_upload,
                                              .idle_ms = s_idle_ms,
                                              .left = s_left};

/* ---- callers ------------------------------------------------------------- */
static void s_start(s_world_t *w, unsigned how) {
    static const unsigned char body[] = "\xa1"
                                        "f\x90\x80\x80";
    s_model_t *m = &w->calls[how % CALLS];
    unsigned what = fuzz_byte(&w->in);
    if (m->live)
        return;
    *m = (s_model_t){.live = true, .follows = true};
    m->call = (gi_ccall_t){.service = {"S", 1},
                           .body = body,
                           .request = {.func_size = 2,
                                       .args_size = 1,
                                       .kwargs_size = 1,
                                       .meta_size = what & 64 ? 1 : 0},
                           .stream = what & 1,
                           .deadline_travels = what & 2,
                           .traced = what & 64,
                           .timeout_ms = 10 + (what / 8 % 8) * 200,
                           .retries = what & 4 ? 2 : 0,
                           .pause_ms = 20,
                           .codec = "gzip"};
    if (what & 128) {
        m->call.upload = GI_CUPLOAD_WAITS;
        m->call.args_size = 100000;
    }
    m->call.deadline_ms = w->now + m->call.timeout_ms;
    gi_client_core_start(w->core, &m->call, w->now);
}

/* Also for one that has ended: its shell may not know yet. */
static bool s_was_started(const s_model_t *m) { return m->call.body != NULL; }

static bool s_credit_counts(const s_world_t *w, const gi_ccall_t *call) {
    return call->state == GI_CCALL_SENT && !call->cut &&
           (call->former || w->core->link.ext);
}

static void s_credit(s_world_t *w, s_model_t *m) {
    size_t items = fuzz_byte(&w->in) % 50 + 1;
    if (!s_was_started(m))
        return;
    if (s_credit_counts(w, &m->call))
        m->given += (int64_t)items;
    else if (m->call.state == GI_CCALL_SENT)
        m->given -= (int64_t)m->call.owed_items; /* to nobody, with these */
    gi_client_core_credit(w->core, &m->call, items, 100, w->now);
}

static void s_cancel(s_world_t *w, s_model_t *m) {
    if (s_was_started(m))
        gi_client_core_cancel(w->core, &m->call, w->now);
    fuzz_must(!m->live || m->call.state == GI_CCALL_NEW);
}

/* What its shell comes back with: what was inflated, a chunk of an upload. */
static void s_shell(s_world_t *w, s_model_t *m) {
    gate_bytes_t chunk = {fuzz_byte(&w->in) % 4 ? "chunk" : NULL, 5};
    if (m->live && m->chunks_ended && fuzz_byte(&w->in) % 2) {
        gi_client_core_inflated(w->core, &m->call, gi_err(GATE_BADDATA, "bad"),
                                w->now);
    } else if (m->live && m->chunks_ended) {
        m->outcomes++; /* the shell has given it */
        gi_client_core_inflated(w->core, &m->call, GATE_OK, w->now);
    } else if (m->live && gi_client_core_may_upload(w->core, &m->call)) {
        gate_err_t e = gi_client_core_upload(w->core, &m->call, chunk);
        fuzz_must(!e || w->mood);
        return;
    }
    fuzz_must(!m->live || !m->chunks_ended);
}

/* ---- the broker ---------------------------------------------------------- */
#define ADD(m, text) gi_frames_add(m, text, sizeof text - 1)

static void s_hear(s_world_t *w, gi_frames_t *m, unsigned conn) {
    unsigned how = fuzz_byte(&w->in);
    if (how % 8 == 7) /* of somebody else */
        conn = how / 8 % (GI_CFORMERS_MAX + 1);
    if (conn && !(w->formers & 1u << (conn - 1)))
        conn = 0;
    if (conn || w->open)
        gi_client_core_message(w->core, (uint8_t)conn, m, w->now);
    gi_frames_close(m);
}

static void s_begin(gi_frames_t *m, const void *id, size_t size) {
    m->n = 0;
    gi_frames_add(m, NULL, 0);
    ADD(m, GI_MDP_CLIENT);
    ADD(m, "S");
    gi_frames_add(m, id, size);
}

static void s_add_ext(s_world_t *w, gi_frames_t *m) {
    switch (fuzz_byte(&w->in) % 8) {
    case 0:
    case 1:
        ADD(m, GI_EXT_MAGIC "\x81\xa2"
                            "cb\xcd\x40\x00");
        break;
    case 2:
    case 3:
        ADD(m, GI_EXT_MAGIC "\x82\xa2hs\x64\xa2hc\xa4gzip");
        break;
    case 4:
        ADD(m, GI_EXT_MAGIC "\x81\xa2mv\xc3");
        break;
    default:
        ADD(m, GI_EXT_MAGIC "\x81");
    }
}

#define EXCEPTION(cls, size) \
    "\x82\xa6result\xc0\xa9" \
    "exception\x93" size cls "\xa1x\xa0"

static void s_body(s_world_t *w, gi_frames_t *m, unsigned kind) {
    switch (kind % 14) {
    case 0:
        ADD(m, "\x82\xa6result\x05\xa9"
               "exception\xc0");
        break;
    case 1:
        ADD(m, EXCEPTION("ServiceUnAvailableError", "\xb7"));
        break;
    case 2:
        ADD(m, EXCEPTION("ValueError", "\xaa"));
        break;
    case 3:
    case 4:
        ADD(m, GI_STREAM_TAG);
        ADD(m, "\x01");
        break;
    case 5:
        ADD(m, GI_STREAM_TAG);
        ADD(m, GI_STREAM_END);
        break;
    case 6:
        ADD(m, GI_STREAM_TAG);
        ADD(m, GI_STREAM_EXCEPTION);
        ADD(m, "\x93\xa1x\xa1y\xa0");
        break;
    case 7:
    case 8:
        ADD(m, GI_HUGE_TAG);
        ADD(m, "chunk");
        if (kind & 32)
            s_add_ext(w, m);
        break;
    case 9:
        ADD(m, GI_HUGE_TAG);
        ADD(m, "");
        break;
    case 10:
        ADD(m, GI_HUGE_TAG);
        ADD(m, GI_HUGE_END);
        break;
    case 11:
        ADD(m, GI_HUGE_TAG);
        ADD(m, GI_HUGE_EXCEPTION);
        if (kind & 32)
            ADD(m, "\xc0");
        break;
    case 12:
        s_add_ext(w, m);
        break;
    default:
        ADD(m, "no");
        ADD(m, "tag");
        ADD(m, "at all");
    }
}

/* One that waits for an answer, as a rule. */
static s_model_t *s_asked(s_world_t *w, unsigned how) {
    for (unsigned i = 0; i < CALLS && how % 32 < 28; i++) {
        s_model_t *m = &w->calls[(how + i) % CALLS];
        if (m->live && m->call.state == GI_CCALL_SENT)
            return m;
    }
    return &w->calls[how % CALLS];
}

static void s_reply(s_world_t *w, unsigned how) {
    gi_frames_t m;
    s_model_t *of = s_asked(w, how);
    unsigned kind = fuzz_byte(&w->in);
    s_begin(&m, of->call.id, how % 32 == 31 ? 3 : GI_ID_SIZE);
    s_body(w, &m, kind);
    if (kind & 64 && of->call.traced)
        ADD(&m, GI_EXT_MAGIC "\x82\xa2tb\x09\xa2th\x05");
    if (kind % 14 >= 7 && kind % 14 <= 9)
        of->follows = false; /* the core gives credit of its own */
    s_hear(w, &m, of->call.former);
}

static void s_info(gi_frames_t *m, unsigned how) {
    static const char *const names[] = {"GX1", "HA1", "GXP", "TR1"};
    msgpack_sbuffer buf;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buf);
    msgpack_packer_init(&pk, &buf, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    msgpack_pack_str_with_body(&pk, "exception", 9);
    msgpack_pack_nil(&pk);
    msgpack_pack_str_with_body(&pk, "result", 6);
    msgpack_pack_map(&pk, 1);
    msgpack_pack_str_with_body(&pk, "ext", 3);
    msgpack_pack_array(&pk, how % 5);
    for (unsigned i = 0; i < how % 5; i++)
        msgpack_pack_str_with_body(&pk, names[i], 3);
    gi_frames_add(m, buf.data, buf.size);
    msgpack_sbuffer_destroy(&buf);
}

static void s_own_reply(s_world_t *w, unsigned how) {
    gi_frames_t m;
    unsigned which = fuzz_byte(&w->in) % 8;
    which = which < OWN ? which : 0;
    s_begin(&m, w->own[which], GI_ID_SIZE);
    if (how % 8 == 7)
        s_body(w, &m, fuzz_byte(&w->in));
    else if (how % 8 == 6)
        ADD(&m, EXCEPTION("AccessDeniedError", "\xb1"));
    else
        s_info(&m, how);
    s_hear(w, &m, 0);
}

static void s_notice(s_world_t *w) {
    static const unsigned char none[GI_ID_SIZE];
    gi_frames_t m;
    s_begin(&m, none, sizeof none);
    s_add_ext(w, &m);
    s_hear(w, &m, 0);
}

/* Frames of the fuzzer's own choice. */
static void s_anything(s_world_t *w, unsigned how) {
    gi_frames_t m = {0};
    if (how & 1)
        s_begin(&m, w->calls[0].call.id, GI_ID_SIZE);
    for (unsigned n = how / 2 % 8; n > 0; n--) {
        gate_bytes_t some = fuzz_some(&w->in, 8);
        gi_frames_add(&m, some.data, some.size);
    }
    w->calls[0].follows = false;
    s_hear(w, &m, 0);
}

/* ---- the connection, time ------------------------------------------------ */
static void s_connect(s_world_t *w) {
    if (w->open && !w->up)
        gi_client_core_connected(w->core, w->now);
    w->up = w->open;
}

static void s_connection(s_world_t *w, unsigned how) {
    unsigned former = how / 32 % GI_CFORMERS_MAX + 1;
    bool tries = w->open && !w->up;
    switch (how % 32) {
    case 0:
        if (w->open && w->up)
            gi_client_core_closed(w->core, 0, w->now);
        w->up = false;
        break;
    case 1:
        if (tries)
            gi_client_core_refused(w->core, "you", w->now);
        break;
    case 2:
    case 3:
        if (tries)
            gi_client_core_unreached(w->core, "Connection refused", w->now);
        break;
    case 4:
    case 5:
        if (w->formers & 1u << (former - 1))
            gi_client_core_closed(w->core, (uint8_t)former, w->now);
        break;
    default:
        s_connect(w);
    }
}

/* What the shell looks at after each pass. */
static void s_formers(s_world_t *w) {
    for (uint8_t i = 1; i <= GI_CFORMERS_MAX; i++)
        if (w->formers & 1u << (i - 1) &&
            gi_client_core_former_over(w->core, i))
            w->formers &= ~(1u << (i - 1));
}

static void s_tick(s_world_t *w, int64_t ms) {
    w->now += ms;
    for (int i = 0; i < 100 && gi_client_core_tick(w->core, w->now); i++) {
    }
    fuzz_must(gi_client_core_next(w->core, w->now) >= w->now - 1000);
    for (unsigned i = 0; i < CALLS; i++) {
        s_model_t *m = &w->calls[i];
        fuzz_must(!m->live || m->call.stream ||
                  w->now <= m->call.deadline_ms + LATE_MS);
    }
}

/* ---- the model's law ----------------------------------------------------- */
static void s_check(s_world_t *w) {
    fuzz_must(gi_client_core_valid(w->core));
    for (unsigned i = 0; i < CALLS; i++) {
        const s_model_t *m = &w->calls[i];
        int64_t sum = m->told + (int64_t)m->call.owed_items;
        fuzz_must(!m->live || !m->call.stream || !m->follows ||
                  sum == m->given);
    }
}

static void s_step(s_world_t *w) {
    unsigned op = fuzz_byte(&w->in), how = fuzz_byte(&w->in);
    s_model_t *m = &w->calls[how % CALLS];
    switch (op % 18) {
    case 0:
    case 1:
    case 2:
        s_start(w, how);
        break;
    case 3:
        if (how & 32)
            s_cancel(w, m);
        break;
    case 4:
    case 5:
        s_credit(w, m);
        break;
    case 6:
    case 7:
    case 8:
        s_reply(w, how);
        break;
    case 9:
    case 10:
        s_own_reply(w, how);
        break;
    case 11:
        w->mood = how % 8 > 5 ? how % 8 - 5 : 0;
        break;
    case 12:
        s_tick(w, how * how / 64);
        break;
    case 13:
        s_connection(w, how);
        break;
    case 14:
        s_notice(w);
        break;
    case 15:
        s_shell(w, m);
        break;
    case 16:
        s_tick(w, how % 8);
        break;
    default:
        s_anything(w, how);
    }
    s_formers(w);
    s_check(w);
}

/* Everybody's time passes; or the client is closed before. */
static void s_finish(s_world_t *w) {
    w->ending = true;
    w->mood = 0;
    for (int i = 0; i < 100 && w->now % 3; i++)
        s_tick(w, 100);
    gi_client_core_stop(w->core, w->now);
    s_check(w);
    for (unsigned i = 0; i < CALLS; i++)
        fuzz_must(!w->calls[i].live);
    s_start(w, 0);
    fuzz_must(!w->calls[0].live && w->calls[0].outcomes == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static gate_settings_t *settings;
    s_world_t *w = calloc(1, sizeof *w);
    fuzz_must(w != NULL);
    w->in = (fuzz_input_t){data, size};
    w->now = 1000000;
    if (settings == NULL) {
        gi_log_levels(GATE_SILENT, "");
        settings = gate_settings_new();
        settings->mdp_heartbeat_interval = 1000;
        settings->message_max = CALLS;
    }
    gi_client_core_options_t options = {.settings = settings,
                                        .login = &w->login,
                                        .endpoint = "tcp://here",
                                        .codecs = "gzip",
                                        .watched = true,
                                        .seed = 0x1234567};
    w->core = gi_client_core_new(&options, &s_effects, w, w->now);
    fuzz_must(w->core != NULL);
    w->open = true;
    gi_client_core_open(w->core, w->now);
    if (fuzz_byte(&w->in) % 8) {
        s_connect(w);
        s_own_reply(w, 3); /* it knows all extensions, as a rule */
    }
    while (w->in.size)
        s_step(w);
    s_finish(w);
    gi_client_core_destroy(&w->core);
    free(w);
    return 0;
}
