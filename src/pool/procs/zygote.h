/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote.h -- the small process that forks all worker processes. Forked before
 * the first thread, it stays single-threaded, so that its forks are cheap and
 * safe whatever the parent has become.
 *
 *   parent --socket--> zygote --fork--> workers
 *      +---- channel (one a pool): SPAWN, KILL ->, <- SPAWNED, <- FAILED, <-
 * EXITED
 *
 * A channel's end kills the workers forked through it; the parent's end (seen
 * on its pidfd, or as the last end of the socket) ends the zygote; the zygote's
 * end kills all workers (PR_SET_PDEATHSIG, set on the zygote's only thread).
 * Thread: attach any; a channel its pool's. Blocks: spawn requests do not. */
#ifndef GI_ZYGOTE_H
#define GI_ZYGOTE_H

#include <gaterpc/error.h>
#include <sys/types.h>

/* Forks it unless it is there; late_fork: even though threads exist. */
gate_err_t gi_zygote_start(bool late_fork) GATE_MUST;
/* A channel of one's own: a non-blocking SOCK_SEQPACKET; gives the fd.
 * GATE_CLOSED when there is no zygote (any more). */
gate_err_t gi_zygote_attach(int *channel) GATE_MUST;
/* For tests that kill it; 0 = none. */
pid_t gi_zygote_pid(void);

typedef enum gi_zyg_kind {
    GI_ZYG_ATTACH = 1, /* main socket, with the channel */
    GI_ZYG_SPAWN,      /* with the worker's descriptors */
    GI_ZYG_KILL,       /* a worker that the parent cannot watch */
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

/* The zygote's life, after the fork; never returns. */
void gi_zygote_main(int fd, pid_t parent) __attribute__((noreturn));
/* Shows in ps and top. */
void gi_zygote_title(const char *title);

#endif
