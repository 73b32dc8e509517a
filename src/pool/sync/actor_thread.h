/* SPDX-License-Identifier: BSD-3-Clause */
/* actor_thread.h -- marks threads that must not block, so that a blocking call
 * there is GATE_WOULDBLOCK instead of a deadlock; and notices that this process
 * is the child of a fork, where the threads of what was made before are not, and
 * whoever waited for one would wait for ever. Thread: any. Blocks: never. */
#ifndef GI_ACTOR_THREAD_H
#define GI_ACTOR_THREAD_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gaterpc/error.h>

void gi_actor_thread_mark(const char *name); /* static string; NULL unmarks */
const char *gi_actor_thread(void);           /* NULL: an ordinary thread */

/* What a thread of ours blocks: signals are the host program's, apart from
 * those that a thread causes itself. */
void gi_thread_signals(sigset_t *set);
/* This thread runs other people's code and blocks signals: a child that is
 * forked in it begins with those blocked that this process began with. */
void gi_thread_mark(void);
/* What this thread is inside of, on its stack: who waits there for that to end
 * would wait for itself. */
typedef struct gi_thread_in {
    const void *of;
    struct gi_thread_in *outer;
} gi_thread_in_t;
void gi_thread_enter(gi_thread_in_t *self, const void *of);
void gi_thread_leave(gi_thread_in_t *self);
bool gi_thread_is_in(const void *of);
/* It runs a job, a handler or a callback: an actor's thread, a pool's, or one
 * that is inside of something. */
bool gi_thread_works(void);
/* GATE_SYSTEM for what pthread_create gave: who wants the thread, and what may
 * be in its way. */
gate_err_t gi_thread_refused(int error, const char *whose) GATE_MUST;
/* Whether so many threads can be had at a time: for who asks a library that
 * aborts when they cannot. Blocks: while they start and end. */
gate_err_t gi_thread_left(size_t n, const char *whose) GATE_MUST;
/* Whether we are still the process that made a thing: after fork() a child has
 * copies of pools, but none of their threads, and shares their memory with
 * those who work in it. Changes in every child that fork() makes; one load. */
uint32_t gi_born_now(void);
/* For a child that was made without fork()'s handlers. */
void gi_born_again(void);

/* From the first thing on that has a thread. */
void gi_actor_thread_watch(void);
/* Counts forks whose child is this process; keep it with what has a thread. */
extern unsigned gi_actor_thread_forks;

/* The threads of a pool that wait for answers to calls. When all do while jobs
 * wait for a thread, and one of the answers is to come from such a job, it never
 * does: that is logged. */
typedef struct gi_thread_wait {
    atomic_int n;                              /* inside a wait */
    void (*told)(struct gi_thread_wait *self); /* there is one more: look */
    _Atomic int64_t logged_ms;
} gi_thread_wait_t;

/* This thread belongs to the group until it ends. */
void gi_thread_wait_mark(gi_thread_wait_t *group);
/* NULL: none. */
const void *gi_thread_wait_group(void);
/* Around a wait of this thread, whose group is told. */
void gi_thread_wait_begin(void);
void gi_thread_wait_end(void);
/* Logs it if all members wait, and so many jobs do. */
void gi_thread_wait_look(gi_thread_wait_t *group, const char *name,
                         size_t members, size_t jobs);

#endif
