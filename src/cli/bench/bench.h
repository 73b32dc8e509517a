/* SPDX-License-Identifier: BSD-3-Clause */
/* bench.h -- `gate bench` as its caller sees it: what was asked for, and the
 * run. src/cli parses the words; nothing here reads argv.
 * Thread: main, of a process that has no other (roles are forked). */
#ifndef GI_BENCH_H
#define GI_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* All borrowed. Lists are words with commas between; NULL = the verb's. */
typedef struct gi_bench_args {
    const char *verb;        /* echo, stream, ..., all */
    const char *transports;  /* of registry, inproc, ipc, tcp */
    const char *outstanding; /* calls under way per client */
    const char *sizes;       /* of the payload, in bytes */
    const char *runs;        /* inline, thread, process */
    const char *auths;       /* off, plain; NULL = off, or plain with a user */
    const char *wires;       /* packed, frames, lane; NULL = as lane says */
    const char *lane;        /* the setting */
    const char *pins;        /* CPU numbers and the word free */
    const char *seconds;     /* of one measured round */
    const char *broker;      /* frontend of a running broker, or NULL */
    const char *method;      /* called there */
    const char *user, *password, *curve_cert, *curve_server;
    const char *plain_user, *plain_password;
    int64_t clients, services, workers, rate, tolerance;
    int64_t rounds;      /* -1: the verb's */
    bool trace;          /* echo: parts of single calls instead */
    bool json;           /* JSON instead of the table */
    const char *html;    /* write a report here too */
    const char *compare; /* an older JSON to hold against */
} gi_bench_args_t;

/* Borrows: the verbs with a line on each, for --help. */
const char *gi_bench_verbs(void);
/* Measures and reports; the exit code. */
int gi_bench_run(const gi_bench_args_t *args);

#endif
