/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_time.h -- the broker core's timers, and what time it is. */
#ifndef GI_BROKER_TIME_H
#define GI_BROKER_TIME_H

#include "sync/wheel.h"

/* Which timer of the wheel fired. */
typedef enum gi_broker_due {
    GI_DUE_CALL,    /* a queued call's deadline */
    GI_DUE_BEAT,    /* a worker's heartbeat or expiry */
    GI_DUE_PEER,    /* nobody heard of this peer for long */
    GI_DUE_ASK,     /* the authentication service has not answered */
    GI_DUE_SERVICE, /* a service without workers for long */
    GI_DUE_EXPECT,  /* workers that were to come have not */
    GI_DUE_FAR      /* shares of other brokers are looked at */
} gi_broker_due_t;

typedef struct gi_broker_timer {
    gi_timer_t timer; /* first: the wheel gives it back */
    gi_broker_due_t due;
} gi_broker_timer_t;

/* What time it is, by the caller's clock, and how long things may take. */
typedef struct gi_broker_clock {
    int64_t now_ms, beat_ms, silence_ms, forget_ms, timeout_ms, reply_ms;
    int64_t tick_ms;  /* the last look at the clock */
    int64_t awake_ms; /* the end of the last time that we were stopped: nobody's
                         silence counts from before it */
    int64_t stood_ms; /* all times in which we did not run, though we should */
    gi_wheel_t *wheel;
} gi_broker_clock_t;

#endif
