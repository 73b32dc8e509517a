/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.c -- a snapshot as text for Prometheus. Labels are names of services,
 * classes of errors and methods that have answered; never clients, addresses or
 * users. Services beyond S_SERVICES, and those whose names are no text, share
 * "_other". */
#include <gaterpc/monitor.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "tally/tally.h"

#define S_SERVICES 100
#define S_METHODS 16     /* of a service */
#define S_OCTAVE_FIRST 4 /* buckets: 16 us, 32 us, ... 67.1 s */
#define S_LABEL (2 * 256 + 8)
#define S_CHUNK 8192

typedef struct s_row {
    char service[S_LABEL];                   /* escaped */
    const msgpack_object *classes, *methods; /* NULL: of "_other" */
    uint64_t outcome[GI_OUTCOMES], failed;
    gi_lat_t total, wait;
    int64_t workers, plain, draining, credit, queued, oldest_ms, in_flight;
} s_row_t;

typedef struct s_out {
    gate_write_fn *write;
    void *ctx;
    bool open;
    gate_err_t e;
    const msgpack_object *broker;
    s_row_t *rows;
    unsigned n_rows;
    uint64_t folded;
    size_t n;
    char chunk[S_CHUNK];
} s_out_t;

/* ---- reading ------------------------------------------------------------- */
static const msgpack_object *s_get(const msgpack_object *map, const char *key) {
    size_t n = strlen(key);
    for (uint32_t i = 0;
         map && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == n &&
            memcmp(k->via.str.ptr, key, n) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static int64_t s_number(const msgpack_object *map, const char *key) {
    const msgpack_object *v = s_get(map, key);
    if (v && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return v->via.u64 < INT64_MAX ? (int64_t)v->via.u64 : INT64_MAX;
    return v && v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ? v->via.i64 : 0;
}

static uint32_t s_size(const msgpack_object *list) {
    return list && list->type == MSGPACK_OBJECT_ARRAY ? list->via.array.size
                                                      : 0;
}

/* Adds the histogram at key. */
static void s_lat(const msgpack_object *map, const char *key, gi_lat_t *to) {
    const msgpack_object *lat = s_get(map, key), *slots = s_get(lat, "slots");
    to->n += (uint64_t)s_number(lat, "n");
    to->sum_ns += (uint64_t)s_number(lat, "sum_us") * 1000;
    for (uint32_t i = 0; i + 1 < s_size(slots); i += 2) {
        const msgpack_object *at = &slots->via.array.ptr[i];
        if (at[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            at[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            at[0].via.u64 < GI_LAT_SLOTS + 2)
            to->slot[at[0].via.u64] += at[1].via.u64;
    }
}

/* As a label's value: what would end it is escaped. */
static void s_label(char to[S_LABEL], const msgpack_object *text) {
    size_t n = 0;
    uint32_t size =
        text && text->type == MSGPACK_OBJECT_STR ? text->via.str.size : 0;
    for (uint32_t i = 0; i < size && n < S_LABEL - 3; i++) {
        char c = text->via.str.ptr[i];
        if (c == '"' || c == '\\')
            to[n++] = '\\';
        to[n++] = c == '\n' ? ' ' : c;
    }
    to[n] = 0;
}

static void s_outcomes(const msgpack_object *from, uint64_t *to) {
    const msgpack_object *outcomes = s_get(from, "outcomes");
    for (unsigned i = 0; i < GI_OUTCOMES; i++)
        to[i] += (uint64_t)s_number(outcomes, gi_tally_outcomes[i]);
}

static void s_read_service(const msgpack_object *from, s_row_t *to) {
    int64_t oldest_ms = s_number(from, "oldest_ms");
    s_outcomes(from, to->outcome);
    s_lat(from, "total", &to->total);
    s_lat(from, "wait", &to->wait);
    to->workers += s_number(from, "workers");
    to->plain += s_number(from, "plain");
    to->draining += s_number(from, "draining");
    to->credit += s_number(from, "credit");
    to->queued += s_number(from, "queued");
    to->in_flight += s_number(from, "in_flight");
    to->oldest_ms = oldest_ms > to->oldest_ms ? oldest_ms : to->oldest_ms;
    for (uint32_t i = 0; i < s_size(s_get(from, "classes")); i++)
        to->failed +=
            (uint64_t)s_number(&s_get(from, "classes")->via.array.ptr[i], "n");
}

/* The broker says who keeps labels of its own, so that what is in "_other" never
 * goes back; an older one says whose name can be one. */
static bool s_labelled(const msgpack_object *service) {
    const msgpack_object *is = s_get(service, "labelled");
    if (is == NULL)
        is = s_get(service, "plain_name");
    return is && is->type == MSGPACK_OBJECT_BOOLEAN && is->via.boolean;
}

static s_row_t *s_row_of(s_out_t *out, const msgpack_object *service) {
    bool own = out->n_rows <= S_SERVICES && s_labelled(service) &&
               s_get(service, "outcomes");
    if (!own) {
        out->folded++;
        return &out->rows[0];
    }
    s_row_t *row = &out->rows[out->n_rows++];
    s_label(row->service, s_get(service, "name"));
    row->classes = s_get(service, "classes");
    row->methods = s_get(service, "methods");
    return row;
}

/* Row 0 is "_other": what has no tally of its own, and what is folded. */
static void s_read(s_out_t *out, const msgpack_object *services) {
    strcpy(out->rows[0].service, "_other");
    out->n_rows = 1;
    s_read_service(s_get(out->broker, "other"), &out->rows[0]);
    for (uint32_t i = 0; i < s_size(services); i++) {
        const msgpack_object *service = &services->via.array.ptr[i];
        s_read_service(service, s_row_of(out, service));
    }
}

/* ---- writing ------------------------------------------------------------- */
static void s_flush(s_out_t *out) {
    if (!out->e && out->n)
        out->e = out->write(out->ctx, out->chunk, out->n);
    out->n = 0;
}

__attribute__((format(printf, 2, 3))) static void s_say(s_out_t *out,
                                                        const char *fmt, ...) {
    va_list list;
    if (out->n > S_CHUNK / 2)
        s_flush(out);
    va_start(list, fmt);
    int n = vsnprintf(out->chunk + out->n, S_CHUNK - out->n, fmt, list);
    va_end(list);
    if (n > 0 && (size_t)n < S_CHUNK - out->n)
        out->n += (size_t)n;
}

/* A family's head. In OpenMetrics a counter's is named without _total. */
static void s_family(s_out_t *out, const char *name, const char *type,
                     const char *help) {
    size_t n = strlen(name);
    if (out->open && strcmp(type, "counter") == 0)
        n -= strlen("_total");
    s_say(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, name, help, (int)n,
          name, type);
    if (out->open && n > 8 && !strncmp(name + n - 8, "_seconds", 8))
        s_say(out, "# UNIT %.*s seconds\n", (int)n, name);
    if (out->open && n > 6 && !strncmp(name + n - 6, "_bytes", 6))
        s_say(out, "# UNIT %.*s bytes\n", (int)n, name);
}

static void s_single(s_out_t *out, const char *name, const char *type,
                     const char *help, double value) {
    s_family(out, name, type, help);
    s_say(out, "%s %.15g\n", name, value);
}

/* ---- the process --------------------------------------------------------- */
static void s_process(s_out_t *out) {
    static const char *const states[] = {"ready", "draining", "moved"};
    const msgpack_object *p = s_get(out->broker, "process");
    const msgpack_object *state = s_get(out->broker, "state");
    char version[S_LABEL], is[S_LABEL];
    s_label(version, s_get(p, "version"));
    s_label(is, state);
    s_family(out, "gaterpc_build_info", "gauge", "What runs.");
    s_say(out, "gaterpc_build_info{version=\"%s\",kind=\"broker\"} 1\n",
          version);
    s_family(out, "gaterpc_broker_state", "gauge", "1 for the one it is in.");
    for (unsigned i = 0; i < 3; i++)
        s_say(out, "gaterpc_broker_state{state=\"%s\"} %d\n", states[i],
              strcmp(is, states[i]) == 0);
    s_single(out, "process_start_time_seconds", "gauge",
             "Since the epoch: when the broker began.",
             (double)s_number(p, "start_ms") / 1000);
    s_single(out, "process_cpu_seconds_total", "counter",
             "CPU time of the broker's process.",
             (double)s_number(p, "cpu_us") / 1e6);
    s_single(out, "process_resident_memory_bytes", "gauge",
             "Memory of the broker's process.",
             (double)s_number(p, "rss_bytes"));
}

/* ---- counters of the broker ---------------------------------------------- */
typedef struct s_counter {
    const char *counter, *label; /* label NULL: a family's head */
} s_counter_t;

/* {family, NULL}, then {counter, label}...: docs/observe.md has the same. */
static const s_counter_t s_counters[] = {
    {"gaterpc_broker_refused_total{reason", NULL},
    {"unavailable", "unavailable"},
    {"queue_full", "queue_full"},
    {"calls_full", "calls_full"},
    {"queue_timeouts", "queue_timeout"},
    {"draining", "draining"},
    {"denied", "denied"},
    {"user_rates", "user_rate"},
    {"peer_rates", "peer_rate"},
    {"args_refused", "args"},
    {"gaterpc_broker_dropped_total{reason", NULL},
    {"malformed", "malformed"},
    {"astray", "wrong_side"},
    {"bad_ext", "bad_ext"},
    {"duplicate_ids", "duplicate_id"},
    {"replies_unknown", "reply_unknown"},
    {"replies_late", "reply_late"},
    {"control_unknown", "control_unknown"},
    {"dropped_full", "peer_full"},
    {"dropped_gone", "peer_gone"},
    {"peers_refused", "peers_max"},
    {"users_differ", "user_differs"},
    {"no_memory", "no_memory"},
    {"gaterpc_broker_reruns_total{kind", NULL},
    {"requeued", "requeued"},
    {"ran_again", "ran_again"},
    {"gaterpc_broker_workers_ended_total{reason", NULL},
    {"workers_lost", "lost"},
    {"workers_expired", "expired"},
    {"workers_rejected", "rejected"},
    {"epochs_differ", "epoch"},
    {"gaterpc_broker_connections_closed_total{reason", NULL},
    {"connections_refused", "refused"},
    {"handshakes_failed", "handshake"},
    {"peers_cut", "cut"},
    {"gaterpc_auth_questions_total{result", NULL},
    {"zap_asked", "asked"},
    {"zap_refused", "no"},
    {"zap_outages", "outage"},
    {"zap_late", "late"},
    {"zap_missing", "missing"},
    {"zap_throttled", "throttled"},
    {"zap_overflows", "overflow"},
};

static void s_broker(s_out_t *out) {
    const char *family = NULL, *key = NULL;
    char name[80];
    for (size_t i = 0; i < sizeof s_counters / sizeof *s_counters; i++) {
        const s_counter_t *c = &s_counters[i];
        if (c->label) {
            s_say(out, "%s{%s=\"%s\"} %" PRId64 "\n", family, key, c->label,
                  s_number(out->broker, c->counter));
            continue;
        }
        snprintf(name, sizeof name, "%s", c->counter);
        char *brace = strchr(name, '{');
        *brace = 0;
        family = name;
        key = brace + 1;
        s_family(out, family, "counter", "Counters of the broker, by cause.");
    }
    s_single(out, "gaterpc_broker_requests_total", "counter",
             "Requests that came, taken or not.",
             (double)s_number(out->broker, "requests"));
    s_single(out, "gaterpc_broker_streams_overflowed_total", "counter",
             "Streams ended because their reader was too slow.",
             (double)s_number(out->broker, "streams_overflowed"));
    s_single(out, "gaterpc_broker_queued_bytes", "gauge",
             "What waits in the broker.",
             (double)s_number(out->broker, "queued_bytes"));
    s_single(out, "gaterpc_broker_peers", "gauge",
             "Clients and workers that are known.",
             (double)s_number(out->broker, "peers"));
    s_single(out, "gaterpc_broker_blocked_peers", "gauge",
             "Peers that do not read.",
             (double)s_number(out->broker, "blocked_peers"));
    s_single(out, "gaterpc_monitor_folded_total", "counter",
             "Times that a name shared _other.",
             (double)(s_number(out->broker, "folded")) + (double)out->folded);
}

/* ---- by service ---------------------------------------------------------- */
static void s_calls(s_out_t *out) {
    s_family(out, "gaterpc_broker_calls_total", "counter",
             "Calls that ended, by how.");
    for (unsigned i = 0; i < out->n_rows; i++)
        for (unsigned j = 0; j < GI_OUTCOMES; j++)
            s_say(out,
                  "gaterpc_broker_calls_total{service=\"%s\",outcome=\"%s\"} "
                  "%" PRIu64 "\n",
                  out->rows[i].service, gi_tally_outcomes[j],
                  out->rows[i].outcome[j]);
}

static void s_exceptions(s_out_t *out) {
    static const char form[] = "gaterpc_broker_exceptions_total{service=\"%s\","
                               "class=\"%s\"} %" PRId64 "\n";
    char label[S_LABEL];
    s_family(out, "gaterpc_broker_exceptions_total", "counter",
             "Calls that ended with an error, by its class.");
    s_say(out, form, "_other", "_other", (int64_t)out->rows[0].failed);
    for (unsigned i = 1; i < out->n_rows; i++)
        for (uint32_t j = 0; j < s_size(out->rows[i].classes); j++) {
            const msgpack_object *c = &out->rows[i].classes->via.array.ptr[j];
            s_label(label, s_get(c, "name"));
            s_say(out, form, out->rows[i].service, label, s_number(c, "n"));
        }
}

static void s_method(s_out_t *out, const char *service, const char *method,
                     const uint64_t *outcome) {
    uint64_t failed = 0;
    for (unsigned i = GI_OUT_OK + 1; i < GI_OUTCOMES; i++)
        failed += outcome[i];
    for (int ok = 1; ok >= 0; ok--)
        s_say(out,
              "gaterpc_broker_method_calls_total{service=\"%s\",method=\"%s\","
              "outcome=\"%s\"} %" PRIu64 "\n",
              service, method, ok ? "ok" : "error",
              ok ? outcome[GI_OUT_OK] : failed);
}

/* The first methods by name, the others together. */
static void s_methods_of(s_out_t *out, const s_row_t *row) {
    uint64_t rest[GI_OUTCOMES] = {0}, own[GI_OUTCOMES];
    char label[S_LABEL];
    for (uint32_t i = 0; i < s_size(row->methods); i++) {
        const msgpack_object *m = &row->methods->via.array.ptr[i];
        s_label(label, s_get(m, "name"));
        if (i >= S_METHODS || strcmp(label, "_other") == 0) {
            s_outcomes(m, rest);
            continue;
        }
        memset(own, 0, sizeof own);
        s_outcomes(m, own);
        s_method(out, row->service, label, own);
    }
    s_method(out, row->service, "_other", rest);
}

static void s_methods(s_out_t *out) {
    s_family(out, "gaterpc_broker_method_calls_total", "counter",
             "The same by method.");
    for (unsigned i = 1; i < out->n_rows; i++)
        s_methods_of(out, &out->rows[i]);
}

static void s_histogram(s_out_t *out, const char *name, const char *service,
                        const gi_lat_t *lat) {
    for (unsigned k = S_OCTAVE_FIRST; k <= GI_LAT_OCTAVES; k++) {
        unsigned long us = 1ul << k;
        s_say(out, "%s_bucket{service=\"%s\",le=\"%lu.%06lu\"} %" PRIu64 "\n",
              name, service, us / 1000000, us % 1000000, gi_lat_below(lat, k));
    }
    s_say(out,
          "%s_bucket{service=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
          "%s_sum{service=\"%s\"} %.6f\n%s_count{service=\"%s\"} %" PRIu64 "\n",
          name, service, lat->n, name, service, (double)lat->sum_ns / 1e9, name,
          service, lat->n);
}

static void s_times(s_out_t *out) {
    s_family(out, "gaterpc_broker_call_seconds", "histogram",
             "From a request's coming to its last answer's going.");
    for (unsigned i = 0; i < out->n_rows; i++)
        s_histogram(out, "gaterpc_broker_call_seconds", out->rows[i].service,
                    &out->rows[i].total);
    s_family(out, "gaterpc_broker_queue_seconds", "histogram",
             "Of that, waiting in the broker for a worker.");
    for (unsigned i = 0; i < out->n_rows; i++)
        s_histogram(out, "gaterpc_broker_queue_seconds", out->rows[i].service,
                    &out->rows[i].wait);
}

static void s_gauge(s_out_t *out, const char *name, const char *help,
                    size_t offset, double unit) {
    s_family(out, name, "gauge", help);
    for (unsigned i = 0; i < out->n_rows; i++) {
        int64_t v;
        memcpy(&v, (const char *)&out->rows[i] + offset, sizeof v);
        s_say(out, "%s{service=\"%s\"} %.15g\n", name, out->rows[i].service,
              (double)v / unit);
    }
}

static void s_workers(s_out_t *out) {
    static const char form[] =
        "gaterpc_broker_workers{service=\"%s\",state=\"%s\"} %" PRId64 "\n";
    s_family(out, "gaterpc_broker_workers", "gauge",
             "Workers; plain: that know no extensions.");
    for (unsigned i = 0; i < out->n_rows; i++) {
        const s_row_t *r = &out->rows[i];
        s_say(out, form, r->service, "up", r->workers - r->plain - r->draining);
        s_say(out, form, r->service, "plain", r->plain);
        s_say(out, form, r->service, "draining", r->draining);
    }
}

static void s_services(s_out_t *out) {
    s_calls(out);
    s_exceptions(out);
    s_methods(out);
    s_times(out);
    s_workers(out);
    s_gauge(out, "gaterpc_broker_in_flight", "Calls that workers have.",
            offsetof(s_row_t, in_flight), 1);
    s_gauge(out, "gaterpc_broker_queue_calls", "Calls that wait.",
            offsetof(s_row_t, queued), 1);
    s_gauge(out, "gaterpc_broker_queue_oldest_seconds",
            "How long the oldest of them has waited.",
            offsetof(s_row_t, oldest_ms), 1000);
    s_gauge(out, "gaterpc_broker_credit", "Further calls that workers take.",
            offsetof(s_row_t, credit), 1);
}

gate_err_t gate_monitor_metrics(const gate_value_t *snapshot, bool openmetrics,
                                gate_write_fn *write, void *ctx) {
    const msgpack_object *all = snapshot ? gate_value_object(snapshot) : NULL;
    const msgpack_object *broker = s_get(all, "broker");
    if (broker == NULL || s_get(all, "services") == NULL)
        return gi_err(GATE_BADARG, "a snapshot has broker and services");
    s_out_t *out = gi_mem_calloc(1, sizeof *out);
    s_row_t *rows = out ? gi_mem_calloc(S_SERVICES + 1, sizeof *rows) : NULL;
    gate_err_t e = GATE_NOMEM;
    if (rows) {
        *out = (s_out_t){.write = write,
                         .ctx = ctx,
                         .open = openmetrics,
                         .broker = broker,
                         .rows = rows};
        s_read(out, s_get(all, "services"));
        s_process(out);
        s_broker(out);
        s_services(out);
        if (openmetrics)
            s_say(out, "# EOF\n");
        s_flush(out);
        e = out->e;
    }
    gi_mem_free(rows);
    gi_mem_free(out);
    return e == GATE_NOMEM ? gi_err(e, "no memory for the metrics") : e;
}
