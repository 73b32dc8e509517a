/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem.c -- see nomem.h. */
#include "nomem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/mem.h"

#define MOST 3000

static bool s_long;
static int64_t s_wait_ms = 300;
static nomem_order_t s_order; /* what fails now */
static int64_t s_there;       /* asked for elsewhere; -1: it is not elsewhere */

static double s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void nomem_init(void) {
    s_long = getenv("GATE_LONG");
    unsetenv("GATE_LONG");
    unsetenv("GATE_SCALE");
    unsetenv("GATE_SLOW");
}

void nomem_die(const char *what, long n, gate_err_t e) {
    gi_mem_fail_at(0, false);
    fprintf(stderr, "FAIL: %s, allocation %ld: %s: %s\n", what, n,
            gate_err_name(e), gate_error()->text);
    exit(1);
}

nomem_order_t nomem_order(void) {
    gi_mem_fail_at(0, false);
    return s_order;
}

void nomem_there(int64_t asked) { s_there = asked; }

void nomem_here(const nomem_order_t *order) {
    gi_mem_fail_at(order->n, order->on);
}

int64_t nomem_asked(void) {
    int64_t asked = gi_mem_asked();
    gi_mem_fail_at(0, false);
    return asked;
}

void nomem_recover(world_t *w, const step_t *step, long n) {
    double end = s_now() + 30000;
    gate_err_t e;
    s_order = (nomem_order_t){0, false};
    gi_mem_fail_at(0, false);
    while ((e = step->run(w)) != GATE_OK) {
        if (s_now() > end)
            nomem_die(step->name, n, e);
        if (n == 0 && s_wait_ms < 5000)
            s_wait_ms *= 2;
    }
}

int64_t nomem_wait_ms(void) { return s_wait_ms; }

/* Runs the step until its allocations are used up. */
static long s_try(world_t *w, const step_t *step, bool from_then_on) {
    long by = step->slow && !s_long ? step->slow : 1;
    for (long n = from_then_on ? by : 1;; n += by) {
        s_there = -1;
        s_order = (nomem_order_t){n, from_then_on};
        gi_mem_fail_at(n, from_then_on);
        double begin = s_now();
        gate_err_t e = step->run(w);
        bool reached = (s_there < 0 ? gi_mem_asked() : s_there) >= n;
        if (s_now() - begin > 20000)
            nomem_die("it hung", n, e);
        nomem_recover(w, step, n);
        if (!reached)
            return n - 1;
        if (n > MOST)
            nomem_die("it never ends", n, e);
    }
}

void nomem_run(world_t *w, const step_t *steps, size_t n_steps, int argc,
               char **argv) {
    for (size_t i = 0; i < n_steps; i++) {
        const step_t *step = &steps[i];
        if (argc > 1 && strcmp(argv[1], step->name) != 0)
            continue;
        nomem_recover(w, step, 0);
        double begin = s_now();
        long once = s_try(w, step, false), on = s_try(w, step, true);
        printf("%s: %ld allocations, %ld from then on, %.0f ms\n", step->name,
               once, on, s_now() - begin);
        fflush(stdout);
    }
}
