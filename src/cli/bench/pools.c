/* SPDX-License-Identifier: BSD-3-Clause */
/* pools.c -- `gate bench threads` and `processes`: tasks without RPC, against
 * what one writes by hand. */
#include "bench/session.h"

#include <string.h>
#include <unistd.h>

/* The clock costs a good part of an empty task. */
enum { S_SAMPLE = 16 };

typedef struct s_case {
    int64_t outstanding, size;
} s_case_t;

static void s_run(gi_session_t *self, const gi_kind_t *ours,
                  const gi_kind_t *reference, gate_runs_t runs, int workers,
                  const s_case_t *cases, int n) {
    gi_numbers_t pins;
    gi_numbers_parse(self->args->pins, &pins);
    for (int p = 0; p < pins.n && !self->failed; p++) {
        int pin = (int)pins.items[p];
        gi_cell_t cell = {.unit = "tasks/s"};
        gi_spec_t specs[2] = {gi_session_spec(self, ours, "pool", pin),
                              gi_session_spec(self, reference, "pool", pin)};
        for (int i = 0; i < 2; i++) {
            specs[i].runs = runs;
            specs[i].clients = 1;
            specs[i].pool = workers;
            specs[i].workers = workers;
        }
        if (!gi_session_open(self, &cell, specs, 2))
            return;
        for (int i = 0; i < n && !self->failed; i++) {
            cell.load =
                gi_session_load(self, cases[i].outstanding, cases[i].size);
            if (runs == GATE_THREAD && cases[i].outstanding > 1)
                cell.load.sample_every = S_SAMPLE;
            gi_session_measure(self, &cell);
        }
        gi_session_close(&cell);
    }
}

/* --workers, or two: the references of docs/performance.md have two. */
static int s_workers(const gi_session_t *self) {
    return self->args->workers > 1 ? (int)self->args->workers : 2;
}

/* Every size with every number under way. */
static int s_cases(const gi_session_t *self, s_case_t *cases) {
    gi_numbers_t w, sizes;
    int n = 0;
    gi_numbers_parse(self->outstanding, &w);
    gi_numbers_parse(self->sizes, &sizes);
    for (int s = 0; s < sizes.n; s++)
        for (int i = 0; i < w.n && n < GI_LIST_MAX; i++)
            cases[n++] = (s_case_t){w.items[i], sizes.items[s]};
    return n;
}

void gi_threads(gi_session_t *self) {
    s_case_t cases[GI_LIST_MAX];
    gi_numbers_t w;
    gi_numbers_parse(self->outstanding, &w);
    for (int i = 0; i < w.n; i++)
        cases[i] = (s_case_t){w.items[i], 0};
    s_run(self, &gi_kind_threads, &gi_kind_list, GATE_THREAD, s_workers(self),
          cases, w.n);
}

void gi_processes(gi_session_t *self) {
    static const s_case_t usual[] = {
        {1, 64}, {16, 64}, {256, 64}, {256, 4096}, {16, 1 << 20}};
    s_case_t cases[GI_LIST_MAX];
    int n = sizeof usual / sizeof *usual;
    bool asked = self->args->sizes || self->args->outstanding;
    memcpy(cases, usual, sizeof usual);
    if (asked)
        n = s_cases(self, cases);
    s_run(self, &gi_kind_processes, &gi_kind_pipes, GATE_PROCESS,
          s_workers(self), cases, n);
}
