/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote.h -- the small process that forks all worker processes. Forked before
 * the first thread, it stays single-threaded, so that its forks are cheap and
 * safe whatever the parent has become.
 *
 *   parent --socket--> zygote --fork--> workers, each in a group of its own
 *      |                  +--- fork once, idle: the spare
 *      +---- channel (one a pool): SPAWN, KILL ->, <- SPAWNED, <- FAILED, <-
 * EXITED
 *
 * A channel's end kills the workers forked through it, each with its group; so
 * does the parent's end (seen on its pidfd, or as the last end of the socket),
 * which ends the zygote. The zygote's end kills the workers
 * (PR_SET_PDEATHSIG); then the spare, a copy that was made while nothing had
 * happened yet, takes its place and forks the next spare: no thread of the
 * parent is in the way.
 * Out of reach: its own process group, deaf to TERM, HUP, INT and their like,
 * and not among the children that the parent's wait() sees.
 * Thread: attach any; a channel its pool's. Blocks: start, until the zygote
 * stands (10 s at most); spawn requests do not. */
#ifndef GI_ZYGOTE_H
#define GI_ZYGOTE_H

#include <gaterpc/error.h>
#include <sys/types.h>

/* Forks it unless it is there; late_fork: even though threads exist. GATE_OK
 * when it stands; else the true errno of what was refused. */
gate_err_t gi_zygote_start(bool late_fork) GATE_MUST;
/* The same, and a channel of one's own to it: a non-blocking SOCK_SEQPACKET;
 * gives the fd. GATE_CLOSED when there is no zygote (any more). */
gate_err_t gi_zygote_attach(bool late_fork, int *channel) GATE_MUST;
/* For tests that kill it; 0 = none. */
pid_t gi_zygote_pid(void);

typedef enum gi_zyg_kind {
    GI_ZYG_ATTACH = 1, /* main socket, with the channel */
    GI_ZYG_SPARE,      /* main socket, with the spare's main socket */
    GI_ZYG_STANDS,     /* main socket, from the zygote: pid; or status = errno,
                        * slot = which of gi_zygote_step */
    GI_ZYG_SPAWN,      /* with the worker's descriptors */
    GI_ZYG_KILL,       /* a worker that the parent cannot watch or signal */
    GI_ZYG_SPAWNED,    /* with its pidfd */
    GI_ZYG_FAILED,     /* status = errno */
    GI_ZYG_EXITED      /* status = as wait() gives it */
} gi_zyg_kind_t;

/* The worker's descriptors, in this order. */
enum {
    GI_WFD_SHM,
    GI_WFD_BELL,
    GI_WFD_OUT,
    GI_WFD_CTL,
    GI_WFD_INBOX,
    GI_WFD_OUTBOX,
    GI_WFD_COUNT
};

typedef struct gi_zyg_msg {
    gi_zyg_kind_t kind;
    int slot;
    uint64_t generation;
    int pid, status;
} gi_zyg_msg_t;

/* What a zygote does at its birth, for the text of a refusal. */
extern const char *const gi_zygote_step[];

/* The zygote's life, after the fork; never returns. parent: its pidfd. */
void gi_zygote_main(int fd, int parent) __attribute__((noreturn));
/* fork() that leaves no trace with whoever waits for children: flags of
 * clone(2), no signal at its end, no handlers of pthread_atfork. Single-threaded
 * callers only. */
pid_t gi_zygote_clone(unsigned long flags);

/* ---- hygiene (zygote_clean.c) -------------------------------------------- */
/* Of all descriptors from 3 on but keep[n], each number stays taken by one
 * that can be neither read nor written: a FILE that this process inherited
 * cannot write into what is opened later. False with errno. */
bool gi_clean_fds(const int *keep, int n);
/* 0 and 1 (and 2 when closed) become /dev/null. */
void gi_clean_standard(void);
/* Default handlers, nothing blocked; deaf: what a terminal, a shell's kill 0 or
 * a service manager sends is ignored. */
void gi_clean_signals(bool deaf);
/* Room for titles that ps and top show, away from main's arguments, which stay
 * readable; called once, before gi_clean_title. */
void gi_clean_title_room(void);
void gi_clean_title(const char *title);

#endif
