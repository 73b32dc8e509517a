/* SPDX-License-Identifier: BSD-3-Clause */
/* life.h -- one call as the core of its service knows it, embedded by whoever
 * has its bytes; the events that it lives through. Thread: the core's one;
 * credit has a lock, since a handler on a pool takes some. */
#ifndef GI_LIFE_H
#define GI_LIFE_H

#include <gaterpc/error.h>
#include "mail/credit.h"
#include "sync/wheel.h"

typedef enum gi_life_state {
    GI_LIFE_NEW,
    GI_LIFE_WAITING,  /* for room */
    GI_LIFE_ARRIVING, /* its arguments come in chunks */
    GI_LIFE_RUNNING,  /* its handler has it */
    GI_LIFE_KEPT,     /* its keeper has it, or who feeds its huge result */
    GI_LIFE_JOB,      /* its job runs, or waits for credit */
    GI_LIFE_PULLED,   /* its generator is pulled */
    GI_LIFE_BULK,     /* its huge result is all that is left to do */
    GI_LIFE_DONE      /* it was answered; whoever has it only gives it back */
} gi_life_state_t;

typedef struct gi_life gi_life_t;
struct gi_service_core;

typedef struct gi_life_counts {
    uint64_t calls, errors;
} gi_life_counts_t;

struct gi_life {
    struct gi_service_core *core;
    const char *method;         /* for texts */
    int64_t deadline_ms;        /* INT64_MAX: its caller named none */
    int64_t item_timeout_ms;    /* of a caller in this process; -1: for ever */
    int64_t begun_ms, quiet_ms; /* when it came; since when nothing was sent */
    /* from here on nothing is known of a new one */
    gi_life_state_t state;
    gate_err_t bulk_outcome;
    gate_err_t broke; /* an item of its generator could not be sent */
    /* what it is; set before it arrives */
    bool in_place; /* its handler runs at once and never waits */
    bool urgent;   /* before others that wait for room */
    bool gathers;  /* its arguments come in chunks */
    bool remote;   /* its caller has a clock and a connection of its own */
    bool streamed; /* its reader times each item: it has no deadline */
    bool lends;    /* its pool has a copy of its credit */
    bool credited; /* its reader gives credit; else the connection does */
    /* what became of it */
    bool cancelled;    /* nobody reads it */
    bool last;         /* its keeper's word came before its handler returned */
    bool submitted;    /* JOB: a pool has it */
    bool ended;        /* its handler said that its stream is over */
    bool bulk;         /* a huge result was begun */
    bool bulk_fed;     /* no more of it comes in */
    bool bulk_closed;  /* its last chunk, or failure, went out */
    const void *owner; /* its connection, or NULL */
    gi_life_counts_t *counts;
    uint64_t sent, looked; /* items and chunks: now, at the last look */
    int64_t unsent_items, unsent_bytes; /* in the connection's queue */
    /* from here on as it was: at rest when it is over */
    bool listed;  /* among the live ones */
    bool found;   /* ops->list(true) */
    bool pulling; /* inside ops->pull */
    bool awake;   /* in the list of those to pull */
    gi_timer_t timer;
    gi_life_t *prev, *next; /* live */
    gi_life_t *wait_next;
    gi_life_t *pull_prev, *pull_next;
    gi_credit_t credit; /* made once by gi_credit_init */
};

/* Ready for a call; all zeros before the first, but for its credit, which
 * gi_credit_init has made. */
void gi_life_reset(gi_life_t *life, struct gi_service_core *core);

/* ---- its way ------------------------------------------------------------- */
/* It was taken, and its method is known. */
void gi_life_arrive(gi_life_t *life);
/* It ends before its handler ran, with that story. */
void gi_life_refuse(gi_life_t *life, const gate_error_t *story);
void gi_life_gathered(gi_life_t *life);
/* Its handler is back: said is the outcome, or GATE_KEPT and then what comes
 * (KEPT, JOB or PULLED). */
void gi_life_returned(gi_life_t *life, gate_err_t said, gi_life_state_t then);
/* Its keeper's last word is there. */
void gi_life_finished(gi_life_t *life);
/* Its job is back. False: its caller was told long ago. */
bool gi_life_job_back(gi_life_t *life) GATE_MUST;
/* Nobody reads it any more. */
void gi_life_cancel(gi_life_t *life);
/* Ends it now with that error, whoever has it. */
void gi_life_cut(gi_life_t *life, const gate_error_t *story);

/* ---- streams: life_stream.c ---------------------------------------------- */
/* An item of a handler or job on a pool; what cannot be sent ends it. */
void gi_life_item(gi_life_t *life, const void *data, size_t size);
/* One of those got lost: the story says why. */
void gi_life_item_lost(gi_life_t *life);
/* An item of its generator, inside ops->pull. */
gate_err_t gi_life_pulled_item(gi_life_t *life, const void *data,
                               size_t size) GATE_MUST;
void gi_life_credit(gi_life_t *life, int64_t items, int64_t bytes);

/* ---- huge results: life.c ------------------------------------------------ */
/* Its reader may have left: then it fails at once (ops->bulk_fail). */
void gi_life_bulk_begun(gi_life_t *life);
void gi_life_bulk_fed(gi_life_t *life);
/* Its last message is out. Whoever says so settles it at the end of the event:
 * unless its handler or a pool still has it, that is the end. */
void gi_life_bulk_closed(gi_life_t *life, gate_err_t outcome);
void gi_life_settle(gi_life_t *life);

#endif
