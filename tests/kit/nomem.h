/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem.h -- runs steps with the n-th allocation failing, for every n until
 * the step gets through, once and from then on. Each test has a world of its
 * own. Thread: one. Law: after each failure the same step works again. */
#ifndef NOMEM_H
#define NOMEM_H

#include <gaterpc.h>

typedef struct world world_t;

/* One public call, or the shortest way through an object's life. Runs with
 * memory missing, so it only says whether all went well. */
typedef struct step {
    const char *name;
    gate_err_t (*run)(world_t *w);
    int slow; /* the short form tries every so many allocations; 0: all */
} step_t;

void nomem_die(const char *what, long n, gate_err_t e)
    __attribute__((noreturn));
/* Whoever lost a connection for want of memory makes it anew: until it works.
 * No allocation fails from here on. */
void nomem_recover(world_t *w, const step_t *step, long n);
/* All of them, or the one that argv[1] names. */
void nomem_run(world_t *w, const step_t *steps, size_t n_steps, int argc,
               char **argv);
/* How long a step waits for a peer, which may have dropped a message for want of
 * memory: 300 ms, longer where a step with all memory did not get through. */
int64_t nomem_wait_ms(void);
/* Takes the kit's variables out of the environment. */
void nomem_init(void);

/* For steps whose allocations are another process's: what fails now, for
 * nomem_here() over there, which says how many were asked for. */
typedef struct nomem_order {
    int64_t n;
    bool on;
} nomem_order_t;
nomem_order_t nomem_order(void); /* fails none here any more */
void nomem_there(int64_t asked);
void nomem_here(const nomem_order_t *order);
int64_t nomem_asked(void); /* and none fails any more */

#endif
