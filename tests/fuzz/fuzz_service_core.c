/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_service_core.c -- sequences of events at the core of a service: each
 * byte pair is one. Beside it stands a small model of who has each call: its
 * handler, a keeper, a job, somebody who feeds a huge result. After each event
 * the core's law holds; each call that arrived is answered once and over once;
 * what was sent, what its pool was lent and what is left add up to the credit
 * that its reader gave. */
#include <gaterpc/log.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "input.h"
#include "mail/logring.h"
#include "service/core/service_core.h"

enum { CALLS = 8, LIMIT = 4, WINDOW = 4 };

typedef struct s_call {
    gi_life_t life; /* first */
    bool used;      /* arrived, and not given back by all */
    bool handler, keeper, job, feeder, chunks; /* who has it */
    int answers, overs, unpulls, pulls;
    int64_t credit; /* its reader's, less what was sent */
    int64_t lent;   /* the job's copy */
    bool in_place_kept;
    unsigned fails; /* of 8 items so many cannot be sent */
} s_call_t;

typedef struct s_world {
    gi_service_core_t core;
    s_call_t calls[CALLS];
    int owners[2];
    bool full; /* connections */
    fuzz_input_t in;
} s_world_t;

static s_world_t *s_w;

static s_call_t *s_of(gi_life_t *life) { return (s_call_t *)(void *)life; }

static unsigned s_byte(void) { return fuzz_byte(&s_w->in); }

/* ---- what the core wants done -------------------------------------------- */
static void s_back(s_call_t *call);

static void s_run(gi_life_t *life) {
    s_call_t *call = s_of(life);
    fuzz_must(!call->handler && !call->answers);
    call->handler = true;
    call->lent = life->credit.items;
    if (life->in_place)
        s_back(call);
}

static void s_gather(gi_life_t *life) {
    s_of(life)->chunks = true;
    if (s_byte() % 8 == 0)
        gi_life_refuse(
            life, &(gate_error_t){GATE_BUSY, "BusyWorkerError", "no room", ""});
}

static void s_look(gi_life_t *life) {
    gi_life_refuse(
        life, &(gate_error_t){GATE_TIMEOUT, "TimeoutError", "no chunk", ""});
}

static gate_err_t s_submit(gi_life_t *life) {
    s_call_t *call = s_of(life);
    fuzz_must(!call->job && !call->handler);
    if (s_byte() % 8 == 0)
        return gi_err(GATE_BUSY, "full");
    call->job = true;
    call->lent = life->credit.items > 0 ? life->credit.items : 1;
    return GATE_OK;
}

static gate_err_t s_pull(gi_life_t *life) {
    s_call_t *call = s_of(life);
    gate_err_t e = GATE_OK;
    unsigned what = s_byte() % 8;
    fuzz_must(!call->answers);
    call->pulls++;
    if (what < 6)
        e = gi_life_pulled_item(life, "x", 1);
    return what == 7   ? GATE_EOS
           : what == 6 ? GATE_RAISED
           : what == 5 ? e
                       : GATE_OK;
}

static bool s_may_pull(gi_life_t *life) {
    (void)life;
    return !s_w->full;
}

static void s_unpull(gi_life_t *life) { s_of(life)->unpulls++; }

static gate_err_t s_send(gi_life_t *life, const void *data, size_t size,
                         bool *queued) {
    s_call_t *call = s_of(life);
    fuzz_must(size == 1 && *(const char *)data == 'x');
    fuzz_must(!call->answers && !call->overs);
    if (s_byte() % 8 < call->fails)
        return gi_err(s_byte() % 2 ? GATE_NOMEM : GATE_CANCELLED, "lost");
    *queued = s_w->full;
    if (life->credited || *queued)
        call->credit--;
    return GATE_OK;
}

static void s_give(gi_life_t *life, int64_t items, int64_t bytes) {
    s_call_t *call = s_of(life);
    (void)bytes;
    fuzz_must(call->job || call->handler);
    call->lent += items;
}

static void s_halt(gi_life_t *life) { (void)life; }

static gate_err_t s_last(gi_life_t *life) {
    fuzz_must(!s_of(life)->answers);
    return s_byte() % 2 ? GATE_OK : GATE_RAISED;
}

static bool s_wants_bulk(const gi_life_t *life) {
    (void)life;
    return s_byte() % 8 == 0;
}

static void s_answered(s_call_t *call) {
    fuzz_must(!call->answers && !call->overs && call->used);
    call->answers++;
}

static gate_err_t s_bulk(gi_life_t *life, gate_err_t outcome) {
    if (!life->bulk)
        gi_life_bulk_begun(life);
    if ((outcome || !life->bulk_fed) && !life->bulk_closed) {
        s_answered(s_of(life));
        gi_life_bulk_closed(life, outcome ? outcome : GATE_BADARG);
    }
    gi_life_bulk_fed(life);
    return GATE_OK;
}

static void s_bulk_fail(gi_life_t *life, const gate_error_t *story) {
    if (life->bulk_closed)
        return;
    s_answered(s_of(life));
    gi_life_bulk_closed(life, story->code);
}

static void s_answer(gi_life_t *life, gate_err_t outcome, bool streams) {
    (void)outcome;
    fuzz_must(streams || !life->sent);
    s_answered(s_of(life));
}

static void s_cut(gi_life_t *life, const gate_error_t *story, bool streams) {
    fuzz_must(story->code && (streams || !life->sent));
    if (!life->bulk_closed)
        s_answered(s_of(life));
}

static void s_list(gi_life_t *life, bool on) { fuzz_must(life->found == on); }

static int64_t s_idle(const gi_life_t *life, int64_t now_ms) {
    (void)life;
    (void)now_ms;
    return s_byte() * 4;
}

static void s_over(gi_life_t *life) {
    s_call_t *call = s_of(life);
    fuzz_must(call->answers == 1 && !call->overs);
    call->overs++;
    call->chunks = false;
}

static const gi_life_ops_t s_ops = {.run = s_run,
                                    .gather = s_gather,
                                    .look = s_look,
                                    .submit = s_submit,
                                    .pull = s_pull,
                                    .may_pull = s_may_pull,
                                    .unpull = s_unpull,
                                    .send = s_send,
                                    .give = s_give,
                                    .halt = s_halt,
                                    .last = s_last,
                                    .wants_bulk = s_wants_bulk,
                                    .bulk = s_bulk,
                                    .bulk_fail = s_bulk_fail,
                                    .answer = s_answer,
                                    .cut = s_cut,
                                    .list = s_list,
                                    .idle = s_idle,
                                    .over = s_over};

/* ---- the world ----------------------------------------------------------- */
/* Its handler comes back, as one of those that there are. */
static void s_back(s_call_t *call) {
    unsigned what = s_byte() % 8;
    call->handler = false;
    if (what < 2) {
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
    } else if (what < 4) {
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_PULLED);
    } else if (what < 6 || call->keeper || call->feeder) {
        call->keeper |= !call->feeder && !call->life.last;
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_KEPT);
    } else {
        gi_life_returned(&call->life, what == 6 ? GATE_OK : GATE_RAISED,
                         GI_LIFE_KEPT);
    }
}

static void s_arrive(s_call_t *call, unsigned how) {
    gi_credit_t credit = call->life.credit;
    memset(call, 0, sizeof *call);
    call->life.credit = credit;
    gi_life_reset(&call->life, &s_w->core);
    gi_life_t *life = &call->life;
    life->credit.items = call->credit = WINDOW;
    life->credit.bytes = GI_CREDIT_FREE;
    life->in_place = how & 1;
    life->urgent = how & 2;
    life->gathers = (how & 12) == 12;
    life->remote = how & 16;
    life->credited = !life->remote || how & 32;
    life->lends = !life->in_place && how & 64;
    life->streamed = !life->remote && how & 128;
    life->owner = life->remote ? &s_w->owners[how / 4 % 2] : NULL;
    life->deadline_ms = how & 8 ? s_w->core.now_ms + how : INT64_MAX;
    life->item_timeout_ms = 500;
    call->fails = how % 16 == 5 ? 2 : 0;
    call->used = true;
    gi_life_arrive(life);
}

/* An item of whoever produces on a pool, if it has the credit. */
static void s_item(s_call_t *call) {
    gi_life_t *life = &call->life;
    if (call->job || (call->handler && life->lends)) {
        if (call->lent > 0 && !life->cancelled) {
            call->lent--;
            gi_life_item(life, "x", 1);
        }
    } else if (call->handler && gi_credit_try(&life->credit, 1)) {
        gi_life_item(life, "x", 1);
    }
}

static void s_chunk(s_call_t *call, unsigned how) {
    gi_life_t *life = &call->life;
    if (life->state == GI_LIFE_DONE || !life->bulk || life->bulk_closed)
        return;
    life->sent += how % 2;
    if (how % 4)
        return;
    s_answered(call);
    gi_life_bulk_closed(life, GATE_OK);
    gi_life_settle(life);
}

static void s_feed(s_call_t *call, unsigned how) {
    gi_life_t *life = &call->life;
    if (call->feeder && how % 2) {
        call->feeder = false;
        gi_life_bulk_fed(life);
        gi_life_settle(life);
    } else if (!call->feeder && call->handler && !life->bulk && !life->sent &&
               life->state != GI_LIFE_DONE) {
        call->feeder = true;
        gi_life_bulk_begun(life);
    }
}

static void s_job_back(s_call_t *call, unsigned how) {
    call->job = false;
    if (!gi_life_job_back(&call->life))
        return;
    if (how % 4)
        gi_life_returned(&call->life, how % 2 ? GATE_OK : GATE_EOS,
                         GI_LIFE_KEPT);
    else
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
}

static void s_credit(s_call_t *call, unsigned how) {
    if (call->life.state == GI_LIFE_DONE || !call->life.credited)
        return;
    call->credit += how % 8; /* booked first: it may be spent at once */
    gi_life_credit(&call->life, how % 8, 0);
}

static void s_unblock(void) {
    s_w->full = false;
    for (int i = 0; i < CALLS; i++)
        if (s_w->calls[i].used)
            s_w->calls[i].credit += s_w->calls[i].life.unsent_items;
    for (int i = 0; i < 2; i++)
        gi_life_unblock_all(&s_w->core, &s_w->owners[i]);
}

/* What the whole service hears. */
static void s_common(unsigned how) {
    if (how < 96)
        gi_life_pull_all(&s_w->core);
    else if (how < 160)
        gi_service_core_tick(&s_w->core, s_w->core.now_ms + how * 4);
    else if (how < 176)
        gi_service_core_lost(&s_w->core, &s_w->owners[how % 2]);
    else if (how < 208)
        s_w->full = true;
    else
        s_unblock();
}

static void s_one(s_call_t *call, unsigned what, unsigned how) {
    bool back = call->used && !call->handler && !call->keeper && !call->job &&
                !call->feeder && call->overs;
    if (!call->used || back)
        s_arrive(call, how);
    else if (what < 3)
        s_item(call);
    else if (what == 3 && call->handler)
        s_back(call);
    else if (what == 4 && call->keeper) {
        call->keeper = false;
        gi_life_finished(&call->life);
    } else if (what == 5 && call->job)
        s_job_back(call, how);
    else if (what == 6)
        s_credit(call, how);
    else if (what == 7)
        s_feed(call, how);
    else if (what == 8)
        s_chunk(call, how);
    else if (what == 9 && call->chunks &&
             call->life.state == GI_LIFE_ARRIVING) {
        call->chunks = false;
        gi_life_gathered(&call->life);
    } else if (what == 10)
        gi_life_cancel(&call->life);
}

static void s_check(void) {
    fuzz_must(gi_service_core_valid(&s_w->core));
    for (int i = 0; i < CALLS; i++) {
        s_call_t *call = &s_w->calls[i];
        if (!call->used)
            continue;
        bool done = call->life.state == GI_LIFE_DONE;
        fuzz_must(done == (call->overs == 1) && call->unpulls <= 1);
        fuzz_must(!call->pulls || !done || call->handler || call->unpulls == 1);
        fuzz_must(done || call->fails || call->life.cancelled ||
                  call->life.credit.items == call->credit);
    }
}

static void s_end(void) {
    gi_service_core_stop(&s_w->core);
    s_check();
    fuzz_must(!s_w->core.n_live && !s_w->core.n_waiting);
    for (int i = 0; i < CALLS; i++) {
        s_call_t *call = &s_w->calls[i];
        fuzz_must(!call->used || (call->answers == 1 && call->overs == 1));
        gi_credit_fini(&call->life.credit);
    }
    gi_service_core_fini(&s_w->core);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static s_world_t world;
    memset(&world, 0, sizeof world);
    s_w = &world;
    gi_log_levels(GATE_SILENT, "");
    world.in = (fuzz_input_t){data, size};
    if (gi_service_core_init(&world.core, "S", &s_ops, 1000))
        return 0;
    world.core.limit = LIMIT;
    world.core.call_max_ms = 2000;
    for (int i = 0; i < CALLS; i++)
        gi_credit_init(&world.calls[i].life.credit, 0, 0);
    while (world.in.size) {
        unsigned what = s_byte(), how = s_byte();
        if (what / CALLS % 16 > 10)
            s_common(how);
        else
            s_one(&world.calls[what % CALLS], what / CALLS % 16, how);
        s_check();
    }
    s_end();
    return 0;
}
