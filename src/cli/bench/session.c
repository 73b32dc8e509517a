/* SPDX-License-Identifier: BSD-3-Clause */
/* session.c -- the rounds: every system of a cell once a round, so that a
 * change of the machine meets ours and its reference alike. */
#include "bench/session.h"
#include "bench/rigs/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lists --------------------------------------------------------------- */
bool gi_numbers_parse(const char *text, gi_numbers_t *out) {
    *out = (gi_numbers_t){{0}, 0};
    while (*text && out->n < GI_LIST_MAX) {
        char *end = NULL;
        if (!strncmp(text, "free", 4)) {
            out->items[out->n++] = -1;
            text += 4;
        } else {
            errno = 0;
            long long n = strtoll(text, &end, 10);
            if (errno || end == text || n < 0)
                return false;
            out->items[out->n++] = n;
            text = end;
        }
        if (*text == ',')
            text++;
        else if (*text)
            return false;
    }
    return out->n > 0 && !*text;
}

bool gi_word_in(const char *list, const char *word) {
    size_t size = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += size)
        if ((at == list || at[-1] == ',') && (!at[size] || at[size] == ','))
            return true;
    return false;
}

gate_runs_t gi_runs_of(const char *word) {
    return !strcmp(word, "thread")    ? GATE_THREAD
           : !strcmp(word, "process") ? GATE_PROCESS
                                      : GATE_INLINE;
}

const char *gi_runs_name(gate_runs_t runs) {
    return runs == GATE_THREAD    ? "thread"
           : runs == GATE_PROCESS ? "process"
                                  : "inline";
}

/* ---- specifications ------------------------------------------------------ */
gi_spec_t gi_session_spec(const gi_session_t *self, const gi_kind_t *kind,
                          const char *transport, int pin) {
    const gi_bench_args_t *args = self->args;
    gi_spec_t spec = {.kind = kind,
                      .transport = transport,
                      .clients = (int)args->clients,
                      .services = (int)args->services,
                      .workers = (int)args->workers,
                      .pin = pin,
                      .runs = GATE_INLINE,
                      .lane = args->lane,
                      .method = "echo"};
    return spec;
}

gi_load_t gi_session_load(const gi_session_t *self, int64_t outstanding,
                          int64_t size) {
    return (gi_load_t){.outstanding = outstanding,
                       .size = (uint64_t)size,
                       .seconds = self->seconds,
                       .warm_seconds = self->warm_seconds,
                       .rate = (double)self->args->rate /
                               (double)self->args->clients,
                       .sample_every = 1};
}

/* ---- rigs ---------------------------------------------------------------- */
bool gi_session_open(gi_session_t *self, gi_cell_t *cell,
                     const gi_spec_t *specs, int n) {
    for (cell->n = 0; cell->n < n; cell->n++) {
        cell->rigs[cell->n] = gi_rig_new(&specs[cell->n]);
        if (!cell->rigs[cell->n]) {
            self->failed = true;
            gi_session_close(cell);
            return false;
        }
    }
    return true;
}

void gi_session_close(gi_cell_t *cell) {
    while (cell->n)
        gi_rig_destroy(&cell->rigs[--cell->n]);
}

/* ---- progress ------------------------------------------------------------ */
static void s_progress(gi_session_t *self, const gi_cell_t *cell, int round,
                       const gi_result_t *r) {
    self->done++;
    if (!self->progress)
        return;
    fprintf(stderr, "\r\033[K%5.1f s  %s %s %s W=%lld  round %d/%d  %.0f %s",
            (double)(gi_proc_now() - self->begun_ns) / 1e9, self->verb,
            r->system, r->transport, (long long)cell->load.outstanding,
            round + 1, self->rounds, r->values[round], r->unit);
}

void gi_session_progress_end(gi_session_t *self) {
    if (self->progress)
        fprintf(stderr, "\r\033[K");
}

static volatile sig_atomic_t s_stop;

static void s_on_signal(int sig) {
    (void)sig;
    s_stop = 1;
}

/* The first one ends the run in order; the rigs' links are read again. */
bool gi_session_interrupted(void) {
    static bool armed;
    if (!armed) {
        struct sigaction action = {.sa_handler = s_on_signal};
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        armed = true;
    }
    return s_stop;
}

/* ---- measuring ----------------------------------------------------------- */
/* The first system, and what is a form of it beside the reference. */
static bool s_ours(const gi_cell_t *cell, int i) {
    return !i || (i > 1 && gi_rig_spec(cell->rigs[i])->kind ==
                               gi_rig_spec(cell->rigs[0])->kind);
}

static bool s_may_use_lane(const gi_spec_t *spec) {
    return strcmp(spec->lane, "off") != 0 &&
           (!strcmp(spec->transport, "ipc") || !strcmp(spec->transport, "tcp"));
}

static gi_result_t *s_result(gi_session_t *self, const gi_cell_t *cell, int i) {
    const gi_spec_t *spec = gi_rig_spec(cell->rigs[i]);
    gi_result_t *r = gi_results_add(&self->results);
    if (!r)
        return NULL;
    r->verb = self->verb;
    r->system = spec->kind->name;
    r->transport = spec->transport;
    r->runs = gi_runs_name(spec->runs);
    r->label = cell->label ? cell->label : "";
    r->outstanding = cell->load.outstanding;
    r->size = (int64_t)cell->load.size;
    r->clients = spec->clients;
    r->services = spec->services;
    r->workers = spec->workers;
    r->crowd = cell->crowd;
    r->rate = self->args->rate;
    r->pin = spec->pin;
    r->unit = cell->unit ? cell->unit : "calls/s";
    r->auth = spec->user && !self->args->broker ? "plain" : "off";
    r->is_reference = !s_ours(cell, i);
    r->wire = spec->frames                               ? "frames"
              : !r->is_reference && s_may_use_lane(spec) ? "lane"
                                                         : "packed";
    return r;
}

static bool s_round(gi_session_t *self, gi_cell_t *cell, int round, int i) {
    gi_result_t *r = cell->results[i];
    gi_run_t *run = malloc(sizeof *run);
    bool ok = run && !gi_session_interrupted() &&
              gi_rig_run(cell->rigs[i], &cell->load, run);
    if (ok) {
        double per_unit = cell->per_unit > 0 ? cell->per_unit : 1;
        double seconds = run->sample.seconds > 0 ? run->sample.seconds : 1;
        r->values[r->n_rounds++] = (double)run->sample.n / seconds * per_unit;
        gi_hist_merge(&r->hist, &run->sample.hist);
        r->n += run->sample.n;
        r->errors += run->sample.errors;
        r->cpu_s += run->cpu_s;
        r->broker_cpu_s += run->broker_cpu_s;
        if (run->rss_kib > r->rss_kib)
            r->rss_kib = run->rss_kib;
        s_progress(self, cell, round, r);
    }
    free(run);
    return ok;
}

bool gi_session_measure(gi_session_t *self, gi_cell_t *cell) {
    for (int i = 0; i < cell->n; i++)
        if (!(cell->results[i] = s_result(self, cell, i)))
            self->failed = true;
    for (int round = 0; round < self->rounds && !self->failed; round++)
        for (int i = 0; i < cell->n && !self->failed; i++)
            if (!s_round(self, cell, round, i))
                self->failed = true;
    for (int i = 0; i < cell->n && cell->n > 1 && !self->failed; i++)
        if (s_ours(cell, i))
            gi_result_relate(cell->results[i], cell->results[1]);
    return !self->failed;
}
