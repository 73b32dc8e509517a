/* SPDX-License-Identifier: BSD-3-Clause */
/* result.h -- what was measured: one result for each system and setting, with
 * its rounds, and how it stands to the reference measured in turns with it. */
#ifndef GI_RESULT_H
#define GI_RESULT_H

#include "bench/rigs/hist.h"
#include <jansson.h>
#include <stdbool.h>

enum { GI_ROUNDS_MAX = 99 };

typedef struct gi_result {
    /* what: together the key by which runs are compared */
    const char *verb, *system, *transport, *runs, *label; /* borrowed */
    const char *auth;                                     /* off, plain */
    const char *wire; /* packed, frames, lane */
    int64_t outstanding, size, clients, services, workers, crowd, rate;
    int pin; /* -1 = free */
    /* how much, in `unit`, by round */
    const char *unit;
    int n_rounds;
    double values[GI_ROUNDS_MAX];
    gi_hist_t hist;
    uint64_t n, errors;
    double broker_cpu_s;          /* of its process alone; 0 = has none */
    double cpu_s;                 /* of all rounds */
    long rss_kib;                 /* peak of all processes together */
    double broker_kib_per_client; /* 0 = not measured */
    /* against the reference; 0 = none */
    bool is_reference;
    const char *reference;
    double ratio, ratio_min, ratio_max; /* of the rounds: median, extremes */
    double ratio_p50, ratio_cpu, ratio_broker_cpu;
} gi_result_t;

double gi_result_median(const gi_result_t *self);
double gi_result_min(const gi_result_t *self);
double gi_result_max(const gi_result_t *self);
/* CPU seconds for 100,000 units of work. */
double gi_result_cpu(const gi_result_t *self);
double gi_result_broker_cpu(const gi_result_t *self);
/* Its rounds differ so much that something else must have run: what is held
 * against it means little. */
bool gi_result_unsteady(const gi_result_t *self);
/* Sets the ratios. The rate's is the median of the rounds' ratios, which need not
 * be the ratio of the medians: a machine that slows down slows both. */
void gi_result_relate(gi_result_t *self, const gi_result_t *reference);
/* Gives. */
json_t *gi_result_json(const gi_result_t *self);

/* A growing list; owns. */
typedef struct gi_results {
    gi_result_t **items;
    size_t n;
} gi_results_t;

/* Borrows: a new one, zeroed; NULL no memory. */
gi_result_t *gi_results_add(gi_results_t *self);
void gi_results_fini(gi_results_t *self);

#endif
