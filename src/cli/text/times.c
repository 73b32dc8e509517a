/* SPDX-License-Identifier: BSD-3-Clause */
/* times.c -- see times.h. The ways of a message are what is left: the whole
 * less what those measured to whom it went. */
#include "text/times.h"

#include <stdio.h>
#include <stdlib.h>

#define S_BAR 40 /* columns */

typedef struct s_part {
    const char *key, *name;
    int64_t us; /* -1: not told */
} s_part_t;

enum { S_LINK, S_QUEUE, S_HOP, S_SERVICE, S_POOL, S_HANDLER, S_PARTS };

static int64_t s_less(int64_t whole, int64_t part) {
    return whole < 0 || part < 0 ? -1 : whole > part ? whole - part : 0;
}

static int64_t s_known(int64_t us) { return us > 0 ? us : 0; }

static void s_parts(const gate_trace_t *trace, s_part_t part[S_PARTS]) {
    int64_t total = gate_trace_us(trace, GATE_TRACE_TOTAL),
            broker = gate_trace_us(trace, GATE_TRACE_BROKER),
            queue = gate_trace_us(trace, GATE_TRACE_BROKER_QUEUE),
            service = gate_trace_us(trace, GATE_TRACE_SERVICE_QUEUE),
            pool = gate_trace_us(trace, GATE_TRACE_POOL_WAIT),
            handler = gate_trace_us(trace, GATE_TRACE_HANDLER);
    int64_t there =
        service < 0 ? -1 : service + s_known(pool) + s_known(handler);
    int64_t hop = there < 0 ? -1 : s_less(s_less(broker, queue), there);
    const s_part_t made[S_PARTS] = {
        {"link_us", "to the broker and back", s_less(total, broker)},
        {"broker_queue_us", "waiting at the broker", queue},
        {"hop_us", "to the worker and back", hop},
        {"service_queue_us", "waiting at the service", service},
        {"pool_wait_us", "waiting in the pool", pool},
        {"handler_us", "handler", handler}};
    for (int i = 0; i < S_PARTS; i++)
        part[i] = made[i];
    if (service < 0) /* all that is known of it */
        part[S_HANDLER] = (s_part_t){"worker_us", "at the worker, and its way",
                                     s_less(broker, queue)};
}

static void s_bar(int64_t from, int64_t us, int64_t total) {
    int at = (int)(from * S_BAR / total),
        end = (int)((from + us) * S_BAR / total);
    fputs(" |", stderr);
    end += end == at && us > 0;
    for (int i = 0; i < S_BAR && i < end; i++)
        putc(i < at ? ' ' : '#', stderr);
    putc('\n', stderr);
}

static void s_lines(const s_part_t part[S_PARTS], int64_t total) {
    int64_t from = 0;
    if (total < 0) {
        fputs("  it was given up here before it had ended\n", stderr);
        return;
    }
    for (int i = 0; i < S_PARTS; i++) {
        if (part[i].us < 0)
            continue;
        fprintf(stderr, "  %-27s%12.3f ms", part[i].name,
                (double)part[i].us / 1e3);
        s_bar(from, part[i].us, total > 0 ? total : 1);
        from += part[i].us;
    }
    if (part[S_LINK].us < 0)
        fputs("  the broker tells no times (Python's, an older one, or it made "
              "the answer itself)\n",
              stderr);
    else if (part[S_SERVICE].us < 0)
        fputs("  the worker tells no times (Python's, or an older one)\n",
              stderr);
}

static void s_json(const gate_trace_t *trace, const char *method, bool ok,
                   const s_part_t part[S_PARTS], int64_t total) {
    fprintf(stderr,
            "{\"traceparent\": \"%s\", \"method\": ", gate_trace_parent(trace));
    GATE_OWN(gate_value) name = gate_value_new(method);
    char *text = name ? gate_value_json(name) : NULL;
    fprintf(stderr, "%s, \"ok\": %s", text ? text : "\"\"",
            ok ? "true" : "false");
    if (total >= 0)
        fprintf(stderr, ", \"total_us\": %lld", (long long)total);
    for (int i = 0; i < S_PARTS; i++)
        if (part[i].us >= 0)
            fprintf(stderr, ", \"%s\": %lld", part[i].key,
                    (long long)part[i].us);
    fprintf(stderr, ", \"run\": %d, \"worker\": \"%s\"}\n",
            gate_trace_run(trace), gate_trace_worker(trace));
    free(text);
}

void gi_times_print(const gate_trace_t *trace, const char *method, bool ok,
                    bool json) {
    int64_t total = gate_trace_us(trace, GATE_TRACE_TOTAL);
    s_part_t part[S_PARTS];
    s_parts(trace, part);
    if (json) {
        s_json(trace, method, ok, part, total);
        return;
    }
    fprintf(stderr, "trace %.32s  %s  ", gate_trace_parent(trace) + 3, method);
    if (total >= 0)
        fprintf(stderr, "%.3f ms  ", (double)total / 1e3);
    fputs(ok ? "ok" : "failed", stderr);
    if (gate_trace_run(trace))
        fprintf(stderr, "  run %d on %s", gate_trace_run(trace),
                gate_trace_worker(trace));
    putc('\n', stderr);
    s_lines(part, total);
}
