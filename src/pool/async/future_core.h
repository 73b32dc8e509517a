/* SPDX-License-Identifier: BSD-3-Clause */
/* future_core.h -- what the two files of futures share.
 *   future.c       the user's side: life, waiting, reading the result
 *   future_done.c  the completer's and the canceller's: who wins, who is told
 */
#ifndef GI_FUTURE_CORE_H
#define GI_FUTURE_CORE_H

#include <stdatomic.h>
#include <stddef.h>
#include "sync/actor_thread.h"
#include "base/arena.h"
#include "base/err.h"
#include "async/future.h"

enum {
    GI_FT_WAITED = 1,      /* somebody may sleep on the word */
    GI_FT_THEN = 2,        /* done, ctx and cq are set */
    GI_FT_DONE = 4,        /* the result can be read */
    GI_FT_ASKED = 8,       /* cancel was called */
    GI_FT_CANCELLING = 16, /* the cancel callback may be running */
    GI_FT_COMPLETING = 32, /* the completer has come */
    GI_FT_CLAIMED = 64,    /* somebody writes the result */
    GI_FT_READING = 128,   /* somebody turns raw into value or error */
    GI_FT_READ = 256,      /* value and error stand */
    GI_FT_REF = 1024       /* one reference */
};

typedef enum gi_future_raw {
    GI_FT_NOT_RAW,
    GI_FT_REPLY,
    GI_FT_PACKED,
    GI_FT_HUGE,
    GI_FT_SMALL /* packed, in small, where the value will lie as well */
} gi_future_raw_t;

enum {
    GI_FT_OBJECTS = 2 /* of a value in the block */
};

struct gate_future {
    atomic_uint state;   /* bits above, references; futex word */
    unsigned size_bytes; /* of the block */
    unsigned small_room;
    bool fixed;          /* static: not counted, not freed */
    bool brief;          /* its answer comes soon */
    bool inlined;        /* value lies in room */
    gi_future_raw_t raw; /* how data is to be read; GI_FT_NOT_RAW: it was */
    uint32_t born;       /* gi_born_now() of who made it */
    const gate_settings_t *settings;
    gi_release_fn *release_owner;
    void *owner;
    void (*cancel)(void *ctx, gate_future_t *f);
    void *cancel_ctx;
    void (*help)(gate_future_t *self, bool always);
    const void *helpers;  /* whose threads may */
    _Atomic(void *) busy; /* the thread in a cancel or a hook */
    const void *data;
    size_t size;
    gi_release_fn *release;
    void *hint;
    gate_value_t *value;
    gi_error_t error;
    _Atomic(gi_arena_block_t *) strings; /* that waits stored */
    gate_done_fn *done;
    void *done_ctx;
    gate_cq_t *cq;
    gate_future_t *next;  /* in the completion queue */
    unsigned char *small; /* behind extra */
    _Alignas(16) unsigned char room[GI_VALUE_ROOM(GI_FT_OBJECTS)];
    max_align_t extra[]; /* the completer's */
};

/* One address per thread. */
void *gi_future_me(void);

static inline unsigned gi_future_state(const gate_future_t *self) {
    return atomic_load_explicit(&((gate_future_t *)(uintptr_t)self)->state,
                                memory_order_acquire);
}

/* Sleeps until a bit of `until` is set or `gone` (if not 0) is cleared; false:
 * the deadline passed. */
bool gi_future_sleep(gate_future_t *self, unsigned until, unsigned gone,
                     int64_t deadline_ns);
/* Turns raw bytes into value or error; by one thread, and no other reads. */
void gi_future_read_alone(gate_future_t *self);
/* The last reference has gone. */
void gi_future_die(gate_future_t *self);
/* GATE_CLOSED, with the story: it is the parent's, and we are a child of fork(). */
static inline gate_err_t gi_future_unborn(void) {
    return gi_err(GATE_CLOSED, "this future was made before fork(): it is "
                               "completed in the parent alone");
}
/* Frees its block, for the value that lies in it. */
void gi_future_free(void *self);

#endif
