/* SPDX-License-Identifier: BSD-3-Clause */
/* service_upload.c -- arguments that come in chunks (docs/extensions.md, huge
 * arguments).
 *
 *   request with ha --room to run it--> ARRIVING --END--> runs like any other
 *                                        |  ^
 *                            credit, chunks  `- inflated by a helper, as far as
 *                                               it was granted room
 *
 * Law: no chunk comes that no credit was given for, no credit is given before
 * there is room (core/arrivals.h); a call counts as live while it waits for
 * that. */
#include "service/service_own.h"
#include "service/service_run.h"

#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "settings/settings.h"
#include "base/mem.h"
#include "base/table.h"

#define S_CHUNK_MAX ((int64_t)1 << 20) /* beyond the credit */
#define S_WINDOW_MIN ((int64_t)256 << 10)
#define S_SHORT_MS \
    50 /* who waits for room asks so often, and less in a crowd */

struct gi_sargs {
    uint64_t args_size, kwargs_size;
    char codec[64];
    gi_huge_unpack_t *unpack; /* NULL: it waits for room, or has ended */
    int64_t window;           /* what its first credit was */
    int64_t heard_ms;         /* when a chunk came last */
    int64_t asked_ms;         /* when it was given credit last */
    gi_arrival_t room;
};

static int64_t s_size(const gi_sargs_t *a) {
    return (int64_t)(a->args_size + a->kwargs_size);
}

/* As the helper wants it: 0 = all of it. */
static size_t s_room(const gi_sargs_t *a) {
    return gi_arrival_whole(&a->room) ? 0 : (size_t)a->room.granted;
}

/* ---- life ----------------------------------------------------------------*/
static gate_err_t s_check(const gate_service_t *self, const gi_ext_t *ext) {
    int64_t max = self->is.settings->huge_max_bytes;
    int64_t most = gi_settings_huge_packed_max(self->is.settings);
    int64_t kwargs = ext->kwargs_size > 0 ? ext->kwargs_size : 0;
    if (ext->args_size > most || kwargs > most - ext->args_size)
        return gi_err(GATE_TOOBIG,
                      "arguments of %lld and %lld bytes: huge_max_bytes of "
                      "service %s is %lld",
                      (long long)ext->args_size, (long long)kwargs,
                      self->is.name, (long long)max);
    if (ext->args_codec.size >= sizeof((gi_sargs_t *)0)->codec)
        return gi_err(GATE_NOTIMPL, "arguments in an unknown codec");
    return GATE_OK;
}

gate_err_t gi_sargs_expect(gi_scall_t *c, const gi_ext_t *ext) {
    gate_err_t e = s_check(c->service, ext);
    if (e)
        return e;
    gi_sargs_t *a = gi_mem_calloc(1, sizeof *a);
    if (!a)
        return gi_err(GATE_NOMEM, "no memory for huge arguments");
    a->args_size = (uint64_t)ext->args_size;
    a->kwargs_size = ext->kwargs_size > 0 ? (uint64_t)ext->kwargs_size : 0;
    if (ext->args_codec.size)
        memcpy(a->codec, ext->args_codec.data, ext->args_codec.size);
    c->args_coming = a;
    return GATE_OK;
}

void gi_sargs_leave(gi_scall_t *c) {
    gi_sargs_t *a = c->args_coming;
    c->args_coming = NULL;
    if (!a)
        return;
    gi_arrival_close(&a->room);
    gi_huge_unpack_leave(&a->unpack);
    gi_mem_free(a);
}

/* ---- its end without them ------------------------------------------------*/
static void s_refuse(gi_scall_t *c) {
    gate_error_t e = *gate_error();
    char text[400];
    snprintf(text, sizeof text, "arguments in chunks: %s", e.text);
    char cls[64];
    snprintf(cls, sizeof cls, "%s", e.cls);
    gi_sargs_leave(c);
    gi_scall_refuse(c, e.code, cls, text);
}

/* ---- credit --------------------------------------------------------------*/
static void s_credit(gi_scall_t *c, int64_t bytes) {
    gate_service_t *self = c->service;
    c->args_coming->asked_ms = self->own->core.now_ms;
    gi_frames_t *out = gi_scall_control(c);
    gi_ext_t ext;
    if (!out)
        return;
    gi_ext_init(&ext);
    ext.credit_bytes = bytes;
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    if (gi_ext_pack(&self->own->scratch, &ext) ||
        !gi_frames_add(out, self->own->scratch.data, self->own->scratch.size)) {
        gi_frames_close(out);
        self->own->stats.dropped++; /* its timer ends it */
        return;
    }
    gi_link_send(c->link);
}

/* ---- the helper's side ---------------------------------------------------*/
static void s_share(void *ctx) { gi_ref_take(&((gi_scall_t *)ctx)->refs); }

static void s_tell(void *ctx) {
    gi_scall_t *c = ctx;
    if (gi_mailbox_push(c->service->is.mailbox, &c->args_mail, -1))
        gi_scall_drop(c);
}

/* ---- the actor's ---------------------------------------------------------*/
static gate_err_t s_open(gi_scall_t *c, gi_sargs_t *a) {
    gate_service_t *self = c->service;
    int64_t share =
        self->is.settings->huge_window_bytes / (int64_t)self->own->arrivals.n;
    gi_huge_unpack_options_t options = {
        .join = {.codec = a->codec,
                 .max_bytes = (uint64_t)s_size(a),
                 .size = (uint64_t)s_size(a)},
        .size = (size_t)s_size(a),
        .room = s_room(a),
        .what = "arguments",
        .pool = gi_runtime_helpers(self->is.rt),
        .latch = &self->shared.away,
        .share = s_share,
        .tell = s_tell,
        .ctx = c};
    if (!options.pool)
        return gate_error()->code;
    a->window = share > S_WINDOW_MIN ? share : S_WINDOW_MIN;
    options.queued_max = (uint64_t)(a->window + S_CHUNK_MAX);
    return gi_huge_unpack_new(&options, &a->unpack);
}

/* Room for more of it, or it waits for some. */
static gate_err_t s_grow(gi_scall_t *c) {
    gi_sargs_t *a = c->args_coming;
    bool was_short = a->room.is_short;
    if (!gi_arrival_grant(&a->room, c->service->own->core.now_ms))
        return GATE_OK;
    if (was_short)
        a->heard_ms = c->service->own->core.now_ms;
    if (a->unpack)
        return gi_huge_unpack_allow(a->unpack, s_room(a));
    gate_err_t e = s_open(c, a);
    if (!e)
        s_credit(c, a->window);
    return e;
}

/* ---- silence -------------------------------------------------------------*/
static void s_arm(gi_scall_t *c) {
    gate_service_t *self = c->service;
    int64_t wait = gi_settings_heartbeat_ms(self->is.settings);
    int64_t retry = S_SHORT_MS + (int64_t)self->own->arrivals.n_short;
    if (c->args_coming->room.is_short && retry < wait)
        wait = retry;
    gi_wheel_arm(self->own->core.wheel, &c->life.timer,
                 self->own->core.now_ms + wait);
}

/* Nobody sends, or there is no room: the story says so. */
static gate_err_t s_late(const gate_service_t *self, const gi_sargs_t *a) {
    int64_t now = self->own->core.now_ms;
    int64_t max = gi_settings_reply_timeout_ms(self->is.settings);
    bool is_short = a->room.is_short;
    int64_t idle = now - (is_short ? a->room.short_ms : a->heard_ms);
    if (gi_arrival_blocks(&a->room, now))
        return gi_err(GATE_BUSY,
                      "too few came for %lld ms, and others wait for the room",
                      (long long)(now - a->room.moved_ms));
    if (max < 0 || idle < max)
        return GATE_OK;
    return is_short
               ? gi_err(GATE_BUSY,
                        "%lld bytes of others are on their way, for %lld "
                        "ms: no more than %d times huge_max_bytes",
                        (long long)self->own->arrivals.granted, (long long)idle,
                        GI_ARRIVALS_TIMES)
               : gi_err(GATE_TIMEOUT, "none came for %lld ms", (long long)idle);
}

/* Credit of nothing finds out whether its caller is there still: a broker that
 * cannot hand it on cancels the call. */
void gi_sargs_look(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    gate_service_t *self = c->service;
    gi_sargs_t *a = c->args_coming;
    int64_t now = self->own->core.now_ms;
    int64_t beat = gi_settings_heartbeat_ms(self->is.settings);
    if (s_late(self, a) || (a->room.is_short && s_grow(c))) {
        s_refuse(c);
        return;
    }
    if (now - a->heard_ms >= beat && now - a->asked_ms >= beat)
        s_credit(c, 0);
    s_arm(c);
}

/* ---- what comes ----------------------------------------------------------*/
void gi_sargs_start(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    gi_sargs_t *a = c->args_coming;
    gate_service_t *self = c->service;
    gate_bytes_t client = c->client_id;
    c->args_mail.kind = GI_SMAIL_ARGS;
    a->heard_ms = self->own->core.now_ms;
    gi_arrival_open(&self->own->arrivals, &a->room,
                    gi_table_hash((uintptr_t)c->link, client.data, client.size),
                    s_size(a), self->own->core.now_ms);
    if (s_grow(c))
        s_refuse(c);
    else
        s_arm(c);
}

static gate_err_t s_chunk(gi_sargs_t *a, gi_frames_t *in, unsigned at) {
    zmq_msg_t *frame = gi_frames_message(in, at);
    return frame ? gi_huge_unpack_chunk(a->unpack, frame)
                 : gi_err(GATE_NOMEM, "no memory for a chunk of arguments");
}

void gi_sargs_chunk(gi_scall_t *c, gate_bytes_t tag, gi_frames_t *in,
                    unsigned at) {
    gate_bytes_t data = gi_frames_at(in, at);
    gi_sargs_t *a = c->args_coming;
    bool tagged = tag.size == strlen(GI_HUGE_TAG) &&
                  !memcmp(tag.data, GI_HUGE_TAG, tag.size);
    if (c->life.state != GI_LIFE_ARRIVING || !tagged) {
        c->service->own->stats.dropped++;
        return;
    }
    if (!data.size)
        return; /* no sign of life */
    a->heard_ms = c->service->own->core.now_ms;
    if (!a->unpack) {
        (void)gi_err(GATE_BADDATA, "chunks before any credit was given");
        s_refuse(c);
        return;
    }
    bool end = data.size == strlen(GI_HUGE_END) &&
               !memcmp(data.data, GI_HUGE_END, data.size);
    if (end ? gi_huge_unpack_end(a->unpack) : s_chunk(a, in, at))
        s_refuse(c);
}

/* They are there: the call goes on as if they had come with it. */
static void s_arrived(gi_scall_t *c) {
    gi_sargs_t *a = c->args_coming;
    size_t size, args = (size_t)a->args_size;
    c->packed = gi_huge_unpack_take(a->unpack, &size);
    if (size != (size_t)s_size(a)) {
        (void)gi_err(GATE_BADDATA, "%zu bytes came of %lld announced", size,
                     (long long)s_size(a));
        s_refuse(c);
        return;
    }
    c->call.args_packed = (gate_bytes_t){c->packed, args};
    c->call.kwargs_packed = (gate_bytes_t){c->packed + args, size - args};
    c->call.args_huge = true;
    gi_sargs_leave(c);
    gi_life_gathered(&c->life);
}

/* It goes on: how far? */
static void s_news(gi_scall_t *c, gi_sargs_t *a, size_t taken) {
    gate_service_t *self = c->service;
    gi_arrival_made(&a->room, (int64_t)gi_huge_unpack_made(a->unpack),
                    self->own->core.now_ms);
    if (s_grow(c)) {
        s_refuse(c);
        return;
    }
    if (taken)
        s_credit(c, (int64_t)taken);
    if (a->room.is_short)
        s_arm(c);
}

void gi_sargs_news(gi_scall_t *c) {
    gi_sargs_t *a = c->args_coming;
    size_t taken;
    if (a && a->unpack) { /* else it has ended */
        gate_err_t e = gi_huge_unpack_news(a->unpack, &taken);
        if (e == GATE_EOS)
            s_arrived(c);
        else if (e)
            s_refuse(c);
        else
            s_news(c, a, taken);
    }
    gi_scall_free(c);
}
