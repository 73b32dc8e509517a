/* SPDX-License-Identifier: BSD-3-Clause */
/* session.h -- one run of `gate bench`: what was asked, what has been measured,
 * and the line of progress on stderr. */
#ifndef GI_SESSION_H
#define GI_SESSION_H

#include "bench/bench.h"
#include "bench/result.h"
#include "bench/rigs/rig.h"

enum { GI_LIST_MAX = 32, GI_RIGS_MAX = 12 };

/* A list of numbers from "1,100,1000". */
typedef struct gi_numbers {
    int64_t items[GI_LIST_MAX];
    int n;
} gi_numbers_t;

typedef struct gi_session {
    const gi_bench_args_t *args;
    const char *transports, *outstanding, *sizes; /* asked for, or the verb's */
    double seconds, warm_seconds;
    int rounds;
    int shares;       /* verbs that share the time; more than 1 with `all` */
    const char *verb; /* the one that runs */
    gi_results_t results; /* references among them */
    uint64_t begun_ns;
    int done; /* runs so far */
    bool failed, progress;
} gi_session_t;

/* One measurement: rigs[0] is ours, rigs[1] its reference, the others stand
 * beside (those of the first one's kind are ours too); they run in turns. */
typedef struct gi_cell {
    gi_rig_t *rigs[GI_RIGS_MAX];
    int n;
    gi_load_t load;
    const char *label, *unit;
    double per_unit; /* value = n / seconds * per_unit */
    int crowd;
    gi_result_t *results[GI_RIGS_MAX]; /* out; borrowed */
} gi_cell_t;

/* False when a list is malformed; pins: "free" is -1. */
bool gi_numbers_parse(const char *text, gi_numbers_t *out);
/* True when the word stands in the list. */
bool gi_word_in(const char *list, const char *word);
/* A specification from the session's arguments: one client, one service. */
gi_spec_t gi_session_spec(const gi_session_t *self, const gi_kind_t *kind,
                          const char *transport, int pin);
/* The load of the session for W calls under way. */
gi_load_t gi_session_load(const gi_session_t *self, int64_t outstanding,
                          int64_t size);
/* Measures; false (and failed set) when a rig broke. */
bool gi_session_measure(gi_session_t *self, gi_cell_t *cell);
/* Brings the kinds up over transport; false (and failed set) when one of them
 * does not. Give the rigs back with gi_session_close. */
bool gi_session_open(gi_session_t *self, gi_cell_t *cell,
                     const gi_spec_t *specs, int n);
void gi_session_close(gi_cell_t *cell);
void gi_session_progress_end(gi_session_t *self);
bool gi_session_interrupted(void);
gate_runs_t gi_runs_of(const char *word);
const char *gi_runs_name(gate_runs_t runs);

/* The verbs. */
void gi_echo(gi_session_t *self);
void gi_stream(gi_session_t *self);
void gi_huge(gi_session_t *self);
void gi_threads(gi_session_t *self);
void gi_processes(gi_session_t *self);
void gi_fanout(gi_session_t *self);
void gi_scale(gi_session_t *self);
void gi_uplink(gi_session_t *self);

#endif
