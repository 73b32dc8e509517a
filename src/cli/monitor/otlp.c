/* SPDX-License-Identifier: BSD-3-Clause */
/* otlp.c -- see otlp.h. Broker and service tell durations by their own clocks,
 * no two of which are compared: a span within another one is put into its
 * middle, as if the ways there and back took as long. */
#include "monitor/otlp.h"

#include <jansson.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define S_HTTP "http://"
#define S_PATH "/v1/traces"
#define S_WAIT_S 5
#define S_ID 17 /* of a span, with its end */

enum { S_INTERNAL = 1, S_SERVER = 2, S_CLIENT = 3 }; /* SpanKind */

/* ---- spans ----------------------------------------------------------------- */
typedef struct s_span {
    char id[S_ID], parent[S_ID];
    const char *name;
    int kind;
    int64_t start_ns, us;
} s_span_t;

static int64_t s_part(const gi_otlp_t *self, gate_trace_part_t part) {
    return gate_trace_us(self->trace, part);
}

static int64_t s_known(int64_t us) { return us > 0 ? us : 0; }

static void s_id(char to[S_ID]) {
    unsigned char bytes[8] = {1};
    while (getrandom(bytes, sizeof bytes, 0) < 0)
        continue;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

static s_span_t s_within(const s_span_t *above, const char *name, int kind,
                         int64_t us, int64_t before_us) {
    s_span_t span = {.name = name, .kind = kind, .us = us};
    int64_t ways = above->us - before_us - us;
    s_id(span.id);
    snprintf(span.parent, sizeof span.parent, "%s", above->id);
    span.start_ns =
        above->start_ns + 1000 * (before_us + (ways > 0 ? ways / 2 : 0));
    return span;
}

static json_t *s_attribute(const char *key, json_t *value, const char *type) {
    return json_pack("{s:s, s:{s:o}}", "key", key, "value", type, value);
}

static void s_text(json_t *list, const char *key, const char *text) {
    json_t *value = json_string(text);
    json_array_append_new(
        list, s_attribute(key, value ? value : json_string(""), "stringValue"));
}

/* 64-bit integers are strings in OTLP's JSON. */
static void s_number(json_t *list, const char *key, int64_t n) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)n);
    if (n >= 0)
        json_array_append_new(list,
                              s_attribute(key, json_string(text), "intValue"));
}

static json_t *s_attributes(const gi_otlp_t *self, const char *method) {
    json_t *list = json_array();
    s_text(list, "rpc.system.name", "gaterpc");
    s_text(list, "rpc.method", method);
    s_text(list, "rpc.response.status_code", self->error ? self->error : "OK");
    if (self->error)
        s_text(list, "error.type", self->error);
    if (*gate_trace_worker(self->trace))
        s_text(list, "server.address", gate_trace_worker(self->trace));
    s_number(list, "gaterpc.run", gate_trace_run(self->trace));
    s_number(list, "gaterpc.broker_queue_us",
             s_part(self, GATE_TRACE_BROKER_QUEUE));
    s_number(list, "gaterpc.service_queue_us",
             s_part(self, GATE_TRACE_SERVICE_QUEUE));
    s_number(list, "gaterpc.pool_wait_us", s_part(self, GATE_TRACE_POOL_WAIT));
    return list;
}

static json_t *s_json(const gi_otlp_t *self, const s_span_t *span,
                      json_t *attributes) {
    char trace[33], start[32], end[32];
    snprintf(trace, sizeof trace, "%.32s", gate_trace_parent(self->trace) + 3);
    snprintf(start, sizeof start, "%lld", (long long)span->start_ns);
    snprintf(end, sizeof end, "%lld",
             (long long)(span->start_ns + 1000 * span->us));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:o, s:{s:i}}", "traceId", trace,
        "spanId", span->id, "parentSpanId", span->parent, "name", span->name,
        "kind", span->kind, "startTimeUnixNano", start, "endTimeUnixNano", end,
        "attributes", attributes, "status", "code", self->error ? 2 : 1);
}

static s_span_t s_client(const gi_otlp_t *self, const char *method) {
    s_span_t span = {.name = method, .kind = S_CLIENT};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    span.us = s_known(s_part(self, GATE_TRACE_TOTAL));
    span.start_ns =
        (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - 1000 * span.us;
    snprintf(span.id, sizeof span.id, "%.16s",
             gate_trace_parent(self->trace) + 36);
    if (self->above)
        snprintf(span.parent, sizeof span.parent, "%.16s", self->above + 36);
    return span;
}

/* Client, broker, service: as far as they told. */
static json_t *s_spans(const gi_otlp_t *self, const char *method) {
    json_t *list = json_array();
    s_span_t span = s_client(self, method);
    int64_t service = s_part(self, GATE_TRACE_SERVICE_QUEUE);
    json_array_append_new(list,
                          s_json(self, &span, s_attributes(self, method)));
    if (s_part(self, GATE_TRACE_BROKER) >= 0) {
        span = s_within(&span, "broker", S_INTERNAL,
                        s_part(self, GATE_TRACE_BROKER), 0);
        json_array_append_new(list, s_json(self, &span, json_array()));
    }
    if (service >= 0) {
        int64_t pool = s_known(s_part(self, GATE_TRACE_POOL_WAIT)),
                handler = s_known(s_part(self, GATE_TRACE_HANDLER));
        span = s_within(&span, method, S_SERVER, service + pool + handler,
                        s_known(s_part(self, GATE_TRACE_BROKER_QUEUE)));
        json_array_append_new(list,
                              s_json(self, &span, s_attributes(self, method)));
    }
    return list;
}

static char *s_request(const gi_otlp_t *self) {
    char method[512];
    const char *name = getenv("OTEL_SERVICE_NAME");
    snprintf(method, sizeof method, "%s", self->method);
    char *dot = strrchr(method, '.');
    if (dot)
        *dot = '/';
    json_t *resource = json_array();
    s_text(resource, "service.name", name && *name ? name : "gate call");
    json_t *all = json_pack("{s:[{s:{s:o}, s:[{s:{s:s, s:s}, s:o}]}]}",
                            "resourceSpans", "resource", "attributes", resource,
                            "scopeSpans", "scope", "name", "gaterpc", "version",
                            gate_version(), "spans", s_spans(self, method));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

/* ---- where they go --------------------------------------------------------- */
typedef struct s_url {
    char host[256], port[8];
    const char *path;
} s_url_t;

static bool s_parse(const char *where, s_url_t *url) {
    const char *at = where + strlen(S_HTTP), *end = at + strcspn(at, "/");
    const char *colon = memrchr(at, ':', (size_t)(end - at));
    const char *stop = colon ? colon : end;
    url->path = *end ? end : S_PATH;
    snprintf(url->host, sizeof url->host, "%.*s", (int)(stop - at), at);
    snprintf(url->port, sizeof url->port, "%.*s",
             colon ? (int)(end - colon - 1) : 4, colon ? colon + 1 : "4318");
    size_t n = strlen(url->port);
    return *url->host && n > 0 && strspn(url->port, "0123456789") == n &&
           strcspn(url->path, " \r\n") == strlen(url->path);
}

bool gi_otlp_check(const char *where, const char **why) {
    s_url_t url;
    *why = "plain http:// to a collector of this machine; TLS is its own";
    if (strncmp(where, "https://", 8) == 0)
        return false;
    *why = "a file, or http://HOST[:PORT][/PATH]";
    return *where && (strncmp(where, S_HTTP, strlen(S_HTTP)) != 0 ||
                      s_parse(where, &url));
}

static int s_connect(const s_url_t *url) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    const struct timeval wait = {S_WAIT_S, 0};
    int fd = -1;
    if (getaddrinfo(url->host, url->port, &hints, &all))
        return -1;
    for (struct addrinfo *at = all; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(all);
    return fd;
}

/* The status; 0: no answer. */
static int s_post(int fd, const s_url_t *url, const char *text) {
    char *head = NULL, answer[16] = "";
    int n = asprintf(&head,
                     "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\nConnection: "
                     "close\r\n\r\n%s",
                     url->path, url->host, url->port, strlen(text), text);
    ssize_t sent = 0, got = 0;
    for (ssize_t one = 1; n > 0 && sent < n && one > 0; sent += one)
        one = send(fd, head + sent, (size_t)(n - sent), MSG_NOSIGNAL);
    if (n > 0)
        free(head);
    for (ssize_t one = 1; sent == n && got < 12 && one > 0; got += one)
        one = recv(fd, answer + got, (size_t)(12 - got), 0);
    return strncmp(answer, "HTTP/1.", 7) == 0 ? atoi(answer + 9) : 0;
}

static void s_collector(const char *where, const char *text) {
    s_url_t url;
    if (!s_parse(where, &url))
        return;
    int fd = s_connect(&url);
    int status = fd >= 0 ? s_post(fd, &url, text) : 0;
    if (fd >= 0)
        close(fd);
    if (status == 0)
        fprintf(stderr, "gate: --export: no collector answers at %s\n", where);
    else if (status / 100 != 2)
        fprintf(stderr, "gate: --export: %s answers %d: no spans were taken\n",
                where, status);
}

static void s_file(const char *where, const char *text) {
    FILE *f = fopen(where, "ae");
    bool ok = f && fprintf(f, "%s\n", text) > 0;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        perror(where);
}

void gi_otlp_send(const gi_otlp_t *self, const char *where) {
    const char *parent = gate_trace_parent(self->trace);
    if (strcmp(parent + strlen(parent) - 2, "00") == 0)
        return; /* who is above does not record */
    char *text = s_request(self);
    if (text && strncmp(where, S_HTTP, strlen(S_HTTP)) == 0)
        s_collector(where, text);
    else if (text)
        s_file(where, text);
    free(text);
}
