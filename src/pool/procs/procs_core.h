/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_core.h -- what the files of the process pool do for each other. */
#ifndef GI_PROCS_CORE_H
#define GI_PROCS_CORE_H

#include "procs/procs_state.h"

/* ---- procs_job.c: jobs; lock held unless said otherwise ------------------ */
/* Copies the request; lets the lock go while it copies a large one. */
gate_err_t gi_pjob_new(gi_procs_t *p, const gi_request_t *r,
                       gi_pjob_t **out) GATE_MUST;
gi_pjob_t *gi_pjob_find(gi_procs_t *p, gi_ticket_t ticket); /* NULL: stale */
gi_ticket_t gi_pjob_ticket(const gi_pjob_t *job);
void gi_pjob_queue(gi_procs_t *p, gi_pjob_t *job, bool first);
gi_pjob_t *gi_pjob_next(gi_procs_t *p); /* not taken out; NULL: none */
/* Puts a job that cannot be sent now aside, so that others pass it. */
void gi_pjob_park(gi_procs_t *p, gi_pjob_t *job, int error);
/* How many wait, parked ones too. */
size_t gi_pjob_waiting(const gi_procs_t *p);
void gi_pjob_unqueue(gi_procs_t *p, gi_pjob_t *job);
/* Ends it with an error, told by the dispatcher. Not in a slot, not queued. */
void gi_pjob_fail(gi_procs_t *p, gi_pjob_t *job, gate_err_t code,
                  const char *fmt, ...) GATE_PRINTF(4, 5);
void gi_pjob_free(gi_procs_t *p, gi_pjob_t *job); /* its sink has been told */
void gi_job_free_all(gi_procs_t *p, gi_pjob_t *list); /* by next */
void gi_pjob_fini_all(gi_procs_t *p);
/* When there are none: those of a burst are given back. No lock. */
void gi_job_shrink(gi_procs_t *p);
/* Its payload, which nobody needs any more: what is large is given back without
 * the lock. */
void gi_job_unload(gi_procs_t *p, gi_pjob_t *job);

/* ---- procs_send.c: jobs into rings and back; lock held ------------------- */
/* A job's usual time, and how many jobs a worker is sent ahead. */
void gi_send_pace(gi_procs_t *p, int64_t run_ns);
void gi_send_note(gi_procs_t *p, int64_t run_ns); /* one has run so long */
/* The best slot with room; NULL: none. */
gi_slot_t *gi_send_pick(gi_procs_t *p);
/* False: no room, or pool->send_error says why it cannot be now. Publishes;
 * wake the slot afterwards. */
bool gi_send(gi_slot_t *slot, gi_pjob_t *job);
gi_pjob_t *gi_send_front(gi_slot_t *slot);
/* Takes the front job out of the slot: it was answered, or its end is known. */
void gi_send_leave(gi_slot_t *slot, gi_pjob_t *job, bool worker_died,
                   int64_t now_ns);
/* Takes a job that was not begun out of the slot; false: it has begun. */
bool gi_send_revoke(gi_slot_t *slot, gi_pjob_t *job);
/* False: the worker's head is a lie. */
bool gi_send_refresh(gi_slot_t *slot);
/* What no honest worker does with the job at the front; NULL: nothing. When all
 * answers are read, after gi_send_refresh. */
const char *gi_send_doubt(gi_slot_t *slot);
/* Queued jobs into slots with room; wakes them. */
void gi_send_fill(gi_procs_t *p);
/* Makes room for an urgent job: takes back what was sent ahead and is not
 * begun, but for other urgent ones; the slot, NULL: none would be quicker. */
gi_slot_t *gi_send_clear(gi_procs_t *p);
/* Work waits behind work while others idle: takes it back. */
void gi_send_steal(gi_procs_t *p, int64_t now_ns);
/* False: its worker has not claimed it. */
bool gi_send_begun(const gi_slot_t *slot, const gi_pjob_t *job);

/* ---- procs_slot.c: processes; dispatcher --------------------------------- */
gate_err_t gi_slot_new(gi_procs_t *p, gi_slot_t **out) GATE_MUST;
void gi_slot_free(gi_slot_t *slot);
void gi_slot_spawn(gi_slot_t *slot);                       /* lock held */
void gi_slot_spawned(gi_slot_t *slot, int pid, int pidfd); /* lock held */
void gi_slot_failed(gi_slot_t *slot, int error);           /* lock held */
void gi_slot_ready(gi_slot_t *slot); /* its init has ended; lock held */
/* Kills the process for a reason; lock held. */
void gi_slot_kill(gi_slot_t *slot, gi_reason_t reason);
/* The process is dead and its responses are read: ends or requeues its jobs,
 * decides when it is started again. lock held. */
void gi_slot_bury(gi_slot_t *slot);
/* Asks it to leave once it has no jobs. lock held. */
void gi_slot_quit(gi_slot_t *slot, gi_reason_t reason);
/* Lines that it wrote to stdout and stderr, to the log; a log that is full is
 * waited for, at most HELD_MS. False: so it is, call again. */
bool gi_slot_output(gi_slot_t *slot, bool last);

/* ---- procs_health.c: what keeps a pool from working; lock held ----------- */
/* A worker died, or could not be made, before it had begun a job. ready: it had
 * come up. */
void gi_births_failed(gi_procs_t *p, bool ready, const char *why);
void gi_births_ready(gi_procs_t *p); /* one has come up */
/* Looks at the clock; returns when to look again. */
int64_t gi_births_check(gi_procs_t *p, int64_t now_ms);
bool gi_births_any_up(const gi_procs_t *p);
/* A run of the function ended: well, or with its worker. */
void gi_poison_clear(gi_procs_t *p, uintptr_t fn);
void gi_poison_note(gi_procs_t *p, const gi_pjob_t *job, int64_t now_ms);
/* GATE_BUSY when it is refused: it does not run. */
gate_err_t gi_poison_ask(gi_procs_t *p, uintptr_t fn,
                         const char *name) GATE_MUST;
/* Ends all that waits: it did not run. */
void gi_health_refuse(gi_procs_t *p, gate_err_t code, const char *why);
const char *gi_health_state(const gi_procs_t *p);
/* [pid, state, ms in its job, jobs done, name of the job] of the first workers;
 * how many. Under the lock. */
#define GI_HEALTH_EACH 64
typedef struct gi_health_each {
    gate_arg_t all[GI_HEALTH_EACH], of[GI_HEALTH_EACH][5];
    char names[GI_HEALTH_EACH][sizeof((gi_pjob_t *)0)->name]; /* jobs end */
} gi_health_each_t;
size_t gi_health_each(const gi_procs_t *p, gi_health_each_t *to);
/* Its worker wrote what no worker writes. */
void gi_health_condemn(gi_slot_t *s, const char *lie);
/* Looks for that when all its answers are read. */
void gi_health_judge(gi_slot_t *s);

/* ---- procs_options.c ------------------------------------------------------- */
gate_err_t gi_options_take(gi_procs_t *p, const gate_pool_options_t *options,
                           const gate_pool_more_t *more) GATE_MUST;
gate_err_t gi_options_config(gi_procs_t *p) GATE_MUST;
/* Renews who the next worker is. */
void gi_options_follow(gi_worker_config_t *c);

/* ---- procs_limits.c: time and size; dispatcher, lock held ---------------- */
/* Looks at soft and hard limits, cancels, ages; returns when to look again. */
int64_t gi_limits_check(gi_procs_t *p, int64_t now_ms);
/* After so long without work, once: what is not needed goes back. No lock. */
#define GI_TIDY_MS 2000
#define GI_TIDY_NS (GI_TIDY_MS * INT64_C(1000000))
void gi_limits_tidy(gi_procs_t *p);

/* ---- procs_channel.c: the zygote's words; dispatcher --------------------- */
void gi_channel_read(gi_procs_t *p);
/* Its process has ended, by its pidfd or the zygote's report; lock held. */
void gi_channel_dead(gi_slot_t *slot);

/* ---- procs_dispatch.c ---------------------------------------------------- */
void *gi_dispatch_main(void *pool);
/* epoll data of a slot's descriptors. */
enum { GI_EP_BELL, GI_EP_CHANNEL, GI_EP_PIDFD, GI_EP_OUT, GI_EP_SLOTBELL };
bool gi_dispatch_watch(gi_procs_t *p, int fd, int kind, int slot);

#endif
