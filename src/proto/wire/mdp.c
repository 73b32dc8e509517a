/* SPDX-License-Identifier: BSD-3-Clause */
/* mdp.c -- wire.md 2 (client and broker), 3 (broker and worker), 8 (in-band
 * credentials). Each parser reads as its message's schema: a cursor walks the
 * frames, the first that does not fit is named. */
#include "wire/mdp.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
    S_ID_MAX = 255,   /* routing ids; request ids are held to the same */
    S_NAME_MAX = 255, /* service names */
    S_PLAIN_FRAMES = 3
};

typedef struct s_cursor {
    const gate_bytes_t *f;
    unsigned n, at;
} s_cursor_t;

static gate_err_t s_bad(const s_cursor_t *c, const char *what) {
    return gi_err(GATE_BADDATA, "frame %u of %u: %s", c->at + 1, c->n, what);
}

static gate_err_t s_start(s_cursor_t *c, const gate_bytes_t *f, size_t n,
                          const char *tag) {
    *c = (s_cursor_t){f, n < UINT_MAX ? (unsigned)n : UINT_MAX, 0};
    if (c->n < 3)
        return gi_err(GATE_BADDATA, "%zu frames are no message", n);
    if (f[0].size)
        return s_bad(c, "must be empty");
    c->at = 1;
    if (!gi_bytes_is(f[1], tag))
        return s_bad(c, "another protocol");
    c->at = 2;
    return GATE_OK;
}

/* One frame of at most max bytes; its position in *out. */
static gate_err_t s_frame(s_cursor_t *c, size_t max, const char *what,
                          unsigned *out) {
    if (c->at >= c->n)
        return gi_err(GATE_BADDATA, "%u frames: %s is missing", c->n, what);
    if (c->f[c->at].size > max)
        return gi_err(GATE_BADDATA, "frame %u of %u: %s longer than %zu bytes",
                      c->at + 1, c->n, what, max);
    *out = c->at++;
    return GATE_OK;
}

/* wire.md 8: PLAIN user password; NULL and CURVE prove nothing in band. */
static gate_err_t s_zap(s_cursor_t *c, unsigned *zap, unsigned *n_zap) {
    if (c->at >= c->n || !gi_bytes_is(c->f[c->at], GI_ZAP_PLAIN))
        return gi_err(GATE_REFUSED, "no PLAIN credentials");
    if (c->n - c->at < S_PLAIN_FRAMES)
        return gi_err(GATE_REFUSED, "PLAIN without user and password");
    *zap = c->at;
    *n_zap = S_PLAIN_FRAMES;
    c->at += S_PLAIN_FRAMES;
    return GATE_OK;
}

/* request_id body+ */
static gate_err_t s_id_and_body(s_cursor_t *c, unsigned *request_id,
                                unsigned *body, unsigned *n_body) {
    gate_err_t e = s_frame(c, S_ID_MAX, "the request id", request_id);
    if (!e)
        e = s_frame(c, SIZE_MAX, "the body", body);
    if (!e)
        *n_body = c->n - *body;
    return e;
}

/* ---- client and broker --------------------------------------------------- */
gate_err_t gi_mdp_parse_request(const gate_bytes_t *f, size_t n, bool zap,
                                gi_mdp_request_t *out) {
    s_cursor_t c;
    gi_mdp_request_t m = {0};
    gate_err_t e = s_start(&c, f, n, GI_MDP_CLIENT);
    if (!e)
        e = s_frame(&c, S_NAME_MAX, "the service", &m.service);
    if (!e && zap)
        e = s_zap(&c, &m.zap, &m.n_zap);
    if (!e)
        e = s_id_and_body(&c, &m.request_id, &m.body, &m.n_body);
    if (!e)
        *out = m;
    return e;
}

gate_err_t gi_mdp_parse_reply(const gate_bytes_t *f, size_t n,
                              gi_mdp_reply_t *out) {
    s_cursor_t c;
    gi_mdp_reply_t m = {0};
    gate_err_t e = s_start(&c, f, n, GI_MDP_CLIENT);
    if (!e)
        e = s_frame(&c, SIZE_MAX, "the service", &m.service);
    if (!e)
        e = s_id_and_body(&c, &m.request_id, &m.body, &m.n_body);
    if (!e)
        *out = m;
    return e;
}

/* ---- broker and worker --------------------------------------------------- */
static gate_err_t s_command(s_cursor_t *c, int *out) {
    gate_bytes_t frame = c->f[c->at];
    int command = frame.size == 1 ? *(const unsigned char *)frame.data : 0;
    if (command < GI_MDP_READY || command > GI_MDP_EXT)
        return s_bad(c, "no command");
    c->at++;
    *out = command;
    return GATE_OK;
}

/* client_id "" request_id body+; a REPLY whose body is missing is its call's
 * end all the same, so that is for who knows the call. */
static gate_err_t s_envelope(s_cursor_t *c, gi_mdp_worker_t *m) {
    unsigned empty;
    gate_err_t e = s_frame(c, S_ID_MAX, "the client id", &m->client_id);
    if (!e)
        e = s_frame(c, 0, "the empty frame", &empty);
    if (e)
        return e;
    if (m->command != GI_MDP_REPLY)
        return s_id_and_body(c, &m->request_id, &m->body, &m->n_body);
    e = s_frame(c, S_ID_MAX, "the request id", &m->request_id);
    m->body = c->at;
    m->n_body = c->n - c->at;
    return e;
}

/* From min to max frames, to the end. */
static gate_err_t s_rest(s_cursor_t *c, unsigned min, unsigned max,
                         gi_mdp_worker_t *m) {
    m->body = c->at;
    m->n_body = c->n - c->at;
    if (m->n_body >= min && m->n_body <= max)
        return GATE_OK;
    return gi_err(GATE_BADDATA, "command %d with %u frames behind it",
                  m->command, m->n_body);
}

gate_err_t gi_mdp_parse_worker(const gate_bytes_t *f, size_t n, bool zap,
                               gi_mdp_worker_t *out) {
    s_cursor_t c;
    gi_mdp_worker_t m = {0};
    gate_err_t e = s_start(&c, f, n, GI_MDP_WORKER);
    if (!e)
        e = s_command(&c, &m.command);
    if (!e && zap)
        e = s_zap(&c, &m.zap, &m.n_zap);
    if (e)
        return e;
    if (m.command == GI_MDP_READY)
        e = s_rest(&c, 1, 1, &m);
    else if (m.command == GI_MDP_REPLY || m.command == GI_MDP_EXT)
        e = s_envelope(&c, &m);
    else if (m.command == GI_MDP_REQUEST)
        e = s_bad(&c, "REQUEST is the broker's command");
    else /* HEARTBEAT: an extension frame; DISCONNECT: any one frame */
        e = s_rest(&c, 0, 1, &m);
    if (!e)
        *out = m;
    return e;
}

gate_err_t gi_mdp_parse_broker(const gate_bytes_t *f, size_t n,
                               gi_mdp_worker_t *out) {
    s_cursor_t c;
    gi_mdp_worker_t m = {0};
    gate_err_t e = s_start(&c, f, n, GI_MDP_WORKER);
    if (!e)
        e = s_command(&c, &m.command);
    if (e)
        return e;
    if (m.command == GI_MDP_REQUEST || m.command == GI_MDP_EXT)
        e = s_envelope(&c, &m);
    else if (m.command == GI_MDP_READY || m.command == GI_MDP_REPLY)
        e = s_bad(&c, "READY and REPLY are the worker's commands");
    else
        e = s_rest(&c, 0, 1, &m);
    if (!e)
        *out = m;
    return e;
}

/* ---- READY's line -------------------------------------------------------- */
static gate_err_t s_parse_max(gate_bytes_t digits, int64_t *out) {
    const char *p = digits.data;
    int64_t max = 0;
    if (!digits.size || digits.size > 15)
        return gi_err(GATE_BADDATA, "READY: max must be a decimal number");
    for (size_t i = 0; i < digits.size; i++) {
        if (p[i] < '0' || p[i] > '9')
            return gi_err(GATE_BADDATA, "READY: max must be a decimal number");
        max = max * 10 + (p[i] - '0');
    }
    *out = max;
    return GATE_OK;
}

static gate_err_t s_check_name(gate_bytes_t name) {
    if (name.size && name.size <= S_NAME_MAX &&
        !memchr(name.data, 0, name.size))
        return GATE_OK;
    return gi_err(GATE_BADDATA, "READY: a service name has 1 to %d bytes",
                  S_NAME_MAX);
}

gate_err_t gi_mdp_parse_ready(gate_bytes_t line, int64_t default_max,
                              gi_mdp_ready_t *out) {
    const char *text = line.data;
    const char *first = line.size ? memchr(text, ':', line.size) : NULL;
    const char *last = line.size ? memrchr(text, ':', line.size) : NULL;
    gi_mdp_ready_t m = {line, {"", 0}, default_max};
    gate_err_t e = GATE_OK;
    /* name and description go on to Python clients, as str */
    if (!gi_utf8_valid(text, line.size))
        return gi_err(GATE_BADDATA, "READY: not UTF-8");
    if (first && first == last)
        return gi_err(GATE_BADDATA, "READY: must be name:description:max");
    if (first) {
        size_t at = (size_t)(last - text) + 1;
        m.name.size = (size_t)(first - text);
        m.description = (gate_bytes_t){first + 1, (size_t)(last - first) - 1};
        e = s_parse_max((gate_bytes_t){last + 1, line.size - at}, &m.max);
    }
    if (!e)
        e = s_check_name(m.name);
    if (!e)
        *out = m;
    return e;
}

gate_err_t gi_mdp_compose_ready(const char *name, const char *description,
                                int64_t max, char **out) {
    size_t size = strlen(name) + strlen(description);
    if (strchr(name, ':') || strchr(description, ':'))
        return gi_err(GATE_BADARG,
                      "service %s: name and description must not hold a ':'",
                      name);
    if (!*name || strlen(name) > S_NAME_MAX || max < 0 ||
        !gi_utf8_valid(name, strlen(name)) ||
        !gi_utf8_valid(description, strlen(description)))
        return gi_err(GATE_BADARG,
                      "service '%s': a name has 1 to %d bytes, texts are "
                      "UTF-8, max is not negative",
                      name, S_NAME_MAX);
    size += 2 + 20 + 1;
    char *line = gi_mem_alloc(size);
    if (!line)
        return gi_err(GATE_NOMEM, "READY of %s", name);
    snprintf(line, size, "%s:%s:%" PRId64, name, description, max);
    *out = line;
    return GATE_OK;
}
