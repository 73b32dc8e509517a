/* SPDX-License-Identifier: BSD-3-Clause */
/* answers.c -- what is at which path. */
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>

#define S_API "/api/v1/"
#define S_PLAIN "text/plain; charset=utf-8"
#define S_JSON "application/json"

/* ---- texts --------------------------------------------------------------- */
static void s_fixed(gi_answer_t *out, int status, const char *text) {
    *out = (gi_answer_t){
        .status = status, .type = S_PLAIN, .fixed = text, .size = strlen(text)};
}

static void s_json(gi_answer_t *out, char *json) {
    if (json == NULL) {
        s_fixed(out, 503, "no memory\n");
        return;
    }
    *out = (gi_answer_t){
        .status = 200, .type = S_JSON, .body = json, .size = strlen(json)};
}

static void s_no_answer(gi_answer_t *out) {
    s_fixed(out, 503, "the broker does not answer\n");
}

static const msgpack_object *s_part(const gate_value_t *value,
                                    const char *name) {
    const msgpack_object *all = gate_value_object(value);
    size_t n = strlen(name);
    for (uint32_t i = 0;
         all->type == MSGPACK_OBJECT_MAP && i < all->via.map.size; i++) {
        const msgpack_object *k = &all->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == n &&
            memcmp(k->via.str.ptr, name, n) == 0)
            return &all->via.map.ptr[i].val;
    }
    return NULL;
}

static bool s_is_ready(const gate_value_t *value) {
    const char *state = NULL;
    return value && !gate_value_read(value, "broker.state", &state) &&
           strcmp(state, "ready") == 0;
}

/* ---- metrics ------------------------------------------------------------- */
typedef struct s_text {
    char *data;
    size_t size, room;
} s_text_t;

static gate_err_t s_append(void *ctx, const char *data, size_t size) {
    s_text_t *text = ctx;
    if (text->room - text->size < size) {
        size_t room = text->room ? text->room * 2 : 65536;
        while (room - text->size < size)
            room *= 2;
        char *more = realloc(text->data, room);
        if (more == NULL)
            return GATE_NOMEM;
        text->data = more;
        text->room = room;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
    return GATE_OK;
}

static bool s_wants_open(const char *accept) {
    return accept && strstr(accept, "application/openmetrics-text");
}

static void s_metrics(gi_answer_t *out, const gate_value_t *value,
                      const char *accept) {
    bool open = s_wants_open(accept);
    s_text_t text = {NULL, 0, 0};
    if (gate_monitor_metrics(value, open, s_append, &text)) {
        free(text.data);
        s_fixed(out, 503, "no memory\n");
        return;
    }
    *out = (gi_answer_t){
        .status = 200,
        .type = open ? "application/openmetrics-text; version=1.0.0; "
                       "charset=utf-8"
                     : "text/plain; version=0.0.4; charset=utf-8",
        .body = text.data,
        .size = text.size};
}

/* ---- paths --------------------------------------------------------------- */
static void s_health(gi_answer_t *out, const gate_value_t *value, bool ready,
                     bool verbose) {
    const char *state = "no answer";
    if (value && gate_value_read(value, "broker.state", &state))
        state = "unknown";
    bool ok = ready ? s_is_ready(value) : value != NULL;
    if (verbose) {
        GATE_OWN(gate_value)
        said = gate_value_new(
            gate_map(gate_kw("ok", ok), gate_kw("state", state)));
        s_json(out, said ? gate_value_json(said) : NULL);
        out->status = out->status == 200 && !ok ? 503 : out->status;
    } else if (value == NULL) {
        s_no_answer(out);
    } else {
        s_fixed(out, ok ? 200 : 503, ok ? "ok\n" : "not ready\n");
    }
}

static void s_version(gi_answer_t *out) {
    GATE_OWN(gate_value)
    said = gate_value_new(gate_map(gate_kw("version", gate_version())));
    s_json(out, said ? gate_value_json(said) : NULL);
}

static void s_api(gi_answer_t *out, const gate_value_t *value,
                  const char *name) {
    static const char *const parts[] = {"broker",  "services", "workers",
                                        "clients", "slow",     "reports"};
    if (strcmp(name, "snapshot") == 0) {
        s_json(out, gate_value_json(value));
        return;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(name, parts[i]) == 0 && s_part(value, name)) {
            s_json(out, gate_object_json(s_part(value, name)));
            return;
        }
    s_fixed(out, 404, "not found\n");
}

static void s_page(gi_answer_t *out) {
    *out = (gi_answer_t){
        .status = 200, .type = "text/html; charset=utf-8", .page = true};
    out->fixed = gi_page_html(&out->size);
}

gi_shared_t gi_answers_shared(const char *path, const char *accept) {
    if (strcmp(path, S_API "snapshot") == 0)
        return GI_SHARED_SNAPSHOT;
    if (strcmp(path, "/metrics") != 0)
        return GI_SHARED_NONE;
    return s_wants_open(accept) ? GI_SHARED_OPEN_METRICS : GI_SHARED_METRICS;
}

void gi_answers_get(gi_answer_t *out, gi_look_t *look, const char *path,
                    const char *accept, bool verbose) {
    bool api = strncmp(path, S_API, strlen(S_API)) == 0;
    bool ready = strcmp(path, "/readyz") == 0;
    if (strcmp(path, "/") == 0) {
        s_page(out);
    } else if (strcmp(path, S_API "version") == 0) {
        s_version(out);
    } else if (ready || strcmp(path, "/healthz") == 0) {
        s_health(out, gi_look_get(look), ready, verbose);
    } else if (api || strcmp(path, "/metrics") == 0) {
        const gate_value_t *value = gi_look_get(look);
        if (value == NULL)
            s_no_answer(out);
        else if (api)
            s_api(out, value, path + strlen(S_API));
        else
            s_metrics(out, value, accept);
    } else {
        s_fixed(out, 404, "not found\n");
    }
}
