/* SPDX-License-Identifier: BSD-3-Clause */
/* bench.c -- verbs, and what becomes of their results. */
#include "bench/bench.h"
#include "bench/rigs/proc.h"
#include "bench/report.h"
#include "bench/traced.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S_ALL "registry,inproc,ipc,tcp"

/* `seconds` is a round's default: a default run stays under 30 s. What needs
 * others' programs has no place in `all`. */
typedef struct s_verb {
    const char *name;
    void (*run)(gi_session_t *self);
    double seconds, all_seconds; /* the latter with `all` */
    const char *transports, *outstanding, *sizes;
} s_verb_t;

static const s_verb_t s_verbs[] = {
    {"echo", gi_echo, 0.12, 0.05, S_ALL, "1,100,1000", "64"},
    {"stream", gi_stream, 0.4, 0.1, S_ALL, "1", "64"},
    {"huge", gi_huge, 0.3, 0.1, "ipc,tcp", "1", "33554432"},
    {"threads", gi_threads, 0.4, 0.1, S_ALL, "1,100,1000", "0"},
    {"processes", gi_processes, 0.4, 0.1, S_ALL, "1,16,256", "64"},
    {"fanout", gi_fanout, 0.2, 0.05, "ipc", "1000", "64"},
    {"scale", gi_scale, 0.4, 0.1, "ipc", "100", "64"},
    {"uplink", gi_uplink, 0.5, 0, "ipc", "1,100,1000", "64"},
};
static const size_t s_n_verbs = sizeof s_verbs / sizeof *s_verbs;

const char *gi_bench_verbs(void) {
    return "echo       whole calls, by transport, calls under way and payload\n"
           "stream     items of one stream\n"
           "huge       huge results\n"
           "threads    empty tasks through a thread pool\n"
           "processes  echo tasks through a process pool\n"
           "fanout     one client, more and more services and workers\n"
           "scale      cost per call with 1,000 services, 1,000 workers, "
           "10,000 clients\n"
           "uplink     calls over two brokers joined by a nats-server of its "
           "own\n"
           "all        all of these but uplink, shorter";
}

static bool s_fail(const char *what, const char *text) {
    fprintf(stderr, "gate: bench: %s '%s' cannot be\n", what, text);
    return false;
}

static bool s_words(const char *what, const char *list, const char *known) {
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *w = strtok_r(copy, ",", &save); w;
         w = strtok_r(NULL, ",", &save))
        if (!gi_word_in(known, w))
            return s_fail(what, w);
    return *list || s_fail(what, list);
}

static bool s_word(const char *what, const char *word, const char *known) {
    return strchr(word, ',') ? s_fail(what, word) : s_words(what, word, known);
}

static bool s_valid(const gi_bench_args_t *args) {
    gi_numbers_t n;
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    if (!s_words("--transport", args->transports ? args->transports : S_ALL,
                 S_ALL) ||
        !s_words("--runs", args->runs, "inline,thread,process") ||
        (args->auths && !s_words("--auth", args->auths, "off,plain")) ||
        (args->wires &&
         !s_words("--wire", args->wires, "packed,frames,lane")) ||
        !s_word("--lane", args->lane, "off,auto,always"))
        return false;
    if (!gi_numbers_parse(args->pins, &n))
        return s_fail("--pin", args->pins);
    for (int i = 0; i < n.n; i++)
        if (n.items[i] >= cpus)
            return s_fail("--pin", args->pins);
    if (args->sizes && !gi_numbers_parse(args->sizes, &n))
        return s_fail("--payload", args->sizes);
    if (!args->outstanding)
        n.n = 0;
    else if (!gi_numbers_parse(args->outstanding, &n))
        return s_fail("--outstanding", args->outstanding);
    for (int i = 0; i < n.n; i++)
        if (n.items[i] < 1 || n.items[i] > 5000)
            return s_fail("--outstanding (1..5000)", args->outstanding);
    if (args->clients < 1 || args->clients > 64 || args->services < 1 ||
        args->services > 1000 || args->workers < 1 || args->workers > 1000)
        return s_fail("number of", "clients (1..64), services or workers "
                                   "(1..1000)");
    if ((args->curve_cert || args->plain_user) && !args->broker)
        return s_fail("without --broker", "authentication by the transport");
    if ((args->auths || args->wires) && args->broker)
        return s_fail("with --broker (which is as it was set up)",
                      "--auth or --wire");
    if (args->rounds == 0 || args->rounds > GI_ROUNDS_MAX)
        return s_fail("--rounds (1..99)", args->rounds ? "so many" : "0");
    return true;
}

static bool s_seconds(gi_session_t *self, double normal) {
    char *end = NULL;
    self->seconds = normal;
    if (self->args->seconds) {
        self->seconds = strtod(self->args->seconds, &end);
        if (*end || !(self->seconds > 0) || self->seconds > 600)
            return s_fail("--seconds", self->args->seconds);
    }
    self->warm_seconds = self->seconds / 3 < 0.5 ? self->seconds / 3 : 0.5;
    return true;
}

static bool s_run(gi_session_t *self, const s_verb_t *verb, bool all) {
    const gi_bench_args_t *args = self->args;
    if (!s_seconds(self, all ? verb->all_seconds : verb->seconds))
        return false;
    self->verb = verb->name;
    self->transports = args->transports ? args->transports : verb->transports;
    self->outstanding =
        args->outstanding ? args->outstanding : verb->outstanding;
    self->sizes = args->sizes ? args->sizes : verb->sizes;
    verb->run(self);
    return true;
}

/* 0, or the exit code of a wrong word. */
static int s_measure(gi_session_t *self) {
    bool all = !strcmp(self->args->verb, "all"), known = false;
    for (size_t i = 0; i < s_n_verbs && !self->failed; i++) {
        if (all ? s_verbs[i].all_seconds <= 0
                : strcmp(self->args->verb, s_verbs[i].name) != 0)
            continue;
        known = true;
        if (!s_run(self, &s_verbs[i], all))
            return 2;
    }
    if (!known)
        fprintf(stderr,
                "gate: bench: no '%s': gate bench --help lists what is\n",
                self->args->verb);
    return known ? 0 : 2;
}

/* 0 fine, 1 worse than the older report or errors in this one. */
static int s_report(const gi_session_t *self) {
    const gi_bench_args_t *args = self->args;
    int code = 0;
    json_t *report = gi_report_json(self);
    if (!report)
        return 1;
    if (args->json) {
        json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
        printf("\n");
    } else {
        gi_report_table(self);
    }
    if (args->html && !gi_report_html(report, args->html))
        code = 1;
    if (args->compare &&
        gi_report_compare(report, args->compare, args->tolerance) != 0)
        code = 1;
    json_decref(report);
    for (size_t i = 0; i < self->results.n; i++)
        if (self->results.items[i]->errors)
            code = 1;
    return code;
}

int gi_bench_run(const gi_bench_args_t *args) {
    gi_session_t self = {.args = args,
                         .rounds = (int)args->rounds,
                         .begun_ns = gi_proc_now(),
                         .progress = isatty(STDERR_FILENO)};
    if (!s_valid(args))
        return 2;
    if (args->trace && strcmp(args->verb, "echo") != 0) {
        fprintf(stderr, "gate: bench: --trace is of echo\n");
        return 2;
    }
    if (args->trace)
        return gi_traced_run(args);
    if (self.rounds < 0)
        self.rounds = strcmp(args->verb, "all") != 0 ? 3 : 1;
    (void)gi_session_interrupted(); /* from here on signals end it in order */
    int code = s_measure(&self);
    gi_session_progress_end(&self);
    if (!code && !self.failed)
        code = s_report(&self);
    else if (!code)
        code = gi_session_interrupted() ? 130 : 1;
    gi_results_fini(&self.results);
    return code;
}
