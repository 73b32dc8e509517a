/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.c -- runs of the simulated world, each from a seed of its own, until so
 * many events have been. The first that breaks a law is shortened to a list of
 * events of which none can be left out, and printed with its seed.
 *
 *   stress_sim [--events N] [--seed S] [--runs N] [--without OP]
 *
 * GATE_LONG: a thousand million events; GATE_SCALE: a part of them. */
#include "mail/logring.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim.h"

enum { RUN_EVENTS = 150 };
static bool s_without[SIM_OPS];

static uint64_t s_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1du;
}

/* Runs differ in what happens often: some are calls, others mostly faults. */
static void s_make(sim_event_t *events, size_t n, uint64_t seed) {
    static const unsigned char weights[SIM_OPS] = {60, 40, 4, 6, 3, 8,
                                                   4,  4,  4, 1, 0, 6};
    uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15u;
    unsigned weight[SIM_OPS], sum = 0;
    for (unsigned i = 0; i < SIM_OPS; i++) {
        unsigned often = (unsigned)(s_next(&state) >> 40) % 4;
        weight[i] = i < 2 ? weights[i] : weights[i] * often;
        if (s_without[i])
            weight[i] = 0;
        sum += weight[i];
    }
    if ((s_next(&state) >> 40) % 8 == 0 && !s_without[SIM_BROKER])
        weight[SIM_BROKER] = 1, sum++;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = s_next(&state) >> 16;
        unsigned at = (unsigned)(r >> 24) % sum, op = 0;
        while (at >= weight[op])
            at -= weight[op++];
        events[i] = (sim_event_t){(uint8_t)op, (uint8_t)r, (uint8_t)(r >> 8),
                                  (uint8_t)(r >> 16)};
    }
}

/* Leaves out ever smaller pieces as long as some law is broken without them. */
static size_t s_shorten(sim_event_t *events, size_t n, uint64_t dice) {
    for (size_t piece = n / 2; piece > 0; piece /= 2)
        for (size_t at = 0; at + piece <= n;) {
            sim_event_t fewer[RUN_EVENTS];
            memcpy(fewer, events, at * sizeof *events);
            memcpy(fewer + at, events + at + piece,
                   (n - at - piece) * sizeof *events);
            if (sim_run(fewer, n - piece, dice))
                memcpy(events, fewer, (n -= piece) * sizeof *events);
            else
                at += piece;
        }
    return n;
}

static int s_failed(sim_event_t *events, uint64_t seed, const char *why) {
    fprintf(stderr, "sim: seed %llu: %s\n", (unsigned long long)seed, why);
    size_t n = s_shorten(events, RUN_EVENTS, seed);
    fprintf(stderr, "sim: the shortest run: %zu events: %s\n", n,
            sim_run(events, n, seed));
    sim_tells = true;
    sim_run(events, n, seed);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  %-6s a %3u b %3u c %3u\n",
                sim_op_names[events[i].op], events[i].a, events[i].b,
                events[i].c);
    return 1;
}

int main(int argc, char **argv) {
    const char *scale = getenv("GATE_SCALE");
    uint64_t seed = 0, runs = UINT64_MAX;
    double most = getenv("GATE_LONG") ? 1e9 : 1e6 * (scale ? atof(scale) : 1);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--events") == 0)
            most = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 0);
        else if (strcmp(argv[i], "--runs") == 0)
            runs = strtoull(argv[i + 1], NULL, 0);
        for (unsigned op = 0; op < SIM_OPS; op++)
            if (strcmp(argv[i], "--without") == 0 &&
                strcmp(argv[i + 1], sim_op_names[op]) == 0)
                s_without[op] = true;
    }
    gi_log_levels(GATE_SILENT, "");
    for (; runs-- && (double)sim_n_events < most; seed++) {
        sim_event_t events[RUN_EVENTS];
        s_make(events, RUN_EVENTS, seed);
        const char *why = sim_run(events, RUN_EVENTS, seed);
        if (why)
            return s_failed(events, seed, why);
    }
    printf("sim: %llu events, %llu calls, %llu answered, %llu items: all laws "
           "held\n",
           (unsigned long long)sim_n_events, (unsigned long long)sim_n_calls,
           (unsigned long long)sim_n_finals, (unsigned long long)sim_n_items);
    return sim_n_finals == 0;
}
