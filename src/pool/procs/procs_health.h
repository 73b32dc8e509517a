/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_health.h -- what a pool remembers of deaths; the verbs are in
 * procs_core.h, the rules in procs_health.c. */
#ifndef GI_PROCS_HEALTH_H
#define GI_PROCS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Workers that a job has killed, then it is quarantined. Of deaths in which
 * others may have had a hand it takes more: that an innocent job is there each
 * time is unlikely, and a guilty one ends. */
#define GI_KILLS_MAX 3
#define GI_DOUBTS_MAX 10

/* Workers that die before they have begun a job (procs_health.c). */
typedef struct gi_births {
    bool degraded;  /* restarts are delayed */
    bool broken;    /* no worker comes up: what waits is refused */
    int64_t *times; /* of the last restart_max, a ring */
    size_t n;
    int64_t backoff_ms;
    int failed;       /* before they were ready, in a row */
    int64_t since_ms; /* the first of them */
    char why[256];    /* the last */
} gi_births_t;

/* A function whose runs killed their workers, the last `deaths` in a row. */
#define GI_POISONS 16
typedef struct gi_poison {
    uintptr_t fn; /* 0 = free */
    int deaths;
    int64_t until_ms; /* refused until then; 0 = it is not */
} gi_poison_t;

#endif
