/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote.c -- the parent's side: forks the zygote once, has it make a spare,
 * and hands out channels. A process that was forked from this one by somebody
 * else has no zygote of its own until it asks for one. */
#include "procs/zygote.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gaterpc/runtime.h>
#include "base/err.h"
#include "sync/actor_thread.h"
#include "sync/fd.h"
#include "jobs/pool.h"
#include "procs/procs_fn.h"
#include "shared/rights.h"

/* ThreadSanitizer runs a thread of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif
#define STAND_MS 10000
#define ATTACHES 3 /* tries to get a channel */

static struct {
    pthread_mutex_t lock; /* over the rest */
    pid_t pid;            /* 0 = none */
    int fd;               /* its socket */
    int spare_fd;         /* of the one that would follow */
} s_zygote = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .spare_fd = -1};

/* In a child of any kind: the zygote is the parent's, and so are the threads
 * that may have held the lock. */
static void s_fresh(void) {
    pthread_mutex_init(&s_zygote.lock, NULL);
    gi_fd_close(&s_zygote.fd);
    gi_fd_close(&s_zygote.spare_fd);
    s_zygote.pid = 0;
}

__attribute__((constructor)) static void s_watch_forks(void) {
    (void)pthread_atfork(NULL, NULL, s_fresh);
}

static int s_threads(void) {
    DIR *dir = opendir("/proc/self/task");
    int n = 0;
    if (!dir)
        return -1;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* ---- birth --------------------------------------------------------------- */

pid_t gi_zygote_clone(unsigned long flags) {
#ifdef __s390__
    return (pid_t)syscall(SYS_clone, NULL, flags, NULL, NULL, NULL);
#else
    return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
#endif
}

static bool s_pair(int pair[2], int flags) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0,
                      pair) == 0 &&
           gi_fd_high_pair(pair);
}

static void s_child(int fd, int self) __attribute__((noreturn));
static void s_child(int fd, int self) {
    gi_born_again();
    s_zygote.fd = s_zygote.spare_fd = -1; /* gi_zygote_main sees to them */
    s_fresh();
    gi_zygote_main(fd, self);
}

/* A lone thread may clone without fork()'s precautions. Where there are others,
 * fork() sets right what they hold, and its child, alone, clones the zygote and
 * leaves. */
static pid_t s_clone(int fd, int self) {
    if (s_threads() == 1) {
        pid_t pid = gi_zygote_clone(0);
        if (pid == 0)
            s_child(fd, self);
        return pid;
    }
    pid_t between = fork();
    if (between == 0) {
        pid_t pid = gi_zygote_clone(0);
        if (pid == 0)
            s_child(fd, self);
        _exit(0);
    }
    while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
        ;
    return between;
}

/* What it said last of itself; false: nothing, or that it cannot be. */
static bool s_hear(int fd, int timeout_ms, gi_zyg_msg_t *m) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool heard = false;
    int rc;
    m->status = 0;
    do
        rc = poll(&p, 1, timeout_ms);
    while (rc < 0 && errno == EINTR);
    while (recv(fd, m, sizeof *m, MSG_DONTWAIT) == (ssize_t)sizeof *m)
        heard = m->kind == GI_ZYG_STANDS;
    return heard && m->status == 0;
}

static gate_err_t s_fork(void) {
    int pair[2];
    gi_zyg_msg_t m;
    gate_err_t e = gi_fn_snapshot();
    if (e)
        return e;
    int self = gi_fd_high((int)syscall(SYS_pidfd_open, getpid(), 0));
    if (self < 0)
        return gi_err_errno("the zygote's view of this process (pidfd_open)");
    if (!s_pair(pair, 0)) {
        e = gi_err_errno("the zygote's socket pair");
        gi_fd_close(&self);
        return e;
    }
    fflush(NULL); /* what is buffered must not come out of children again */
    pid_t pid = s_clone(pair[1], self);
    if (pid < 0)
        e = gi_err_errno("the zygote's fork");
    gi_fd_close(&pair[1]);
    gi_fd_close(&self);
    if (!e && !s_hear(pair[0], STAND_MS, &m)) {
        errno = m.status;
        e = m.status ? gi_err_errno("the zygote cannot be: %s",
                                    gi_zygote_step[m.slot])
                     : gi_err(GATE_SYSTEM,
                              "the zygote died at its birth, or "
                              "said nothing for %d ms",
                              STAND_MS);
    }
    if (e) {
        gi_fd_close(&pair[0]);
        return e;
    }
    s_zygote.pid = m.pid;
    s_zygote.fd = pair[0];
    return GATE_OK;
}

/* ---- life ---------------------------------------------------------------- */

/* A peek at the socket: once it stands a zygote says nothing more, so anything
 * but "nothing yet" is its end. */
static bool s_lives(int fd) {
    char c;
    if (fd < 0)
        return false;
    ssize_t rc = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return rc > 0 || (rc < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool s_alive(void) { return s_zygote.pid != 0 && s_lives(s_zygote.fd); }

/* __WALL: a child that ends without a signal is seen no other way. */
static void s_forget(void) {
    gi_fd_close(&s_zygote.fd);
    if (s_zygote.pid > 0)
        while (waitpid(s_zygote.pid, NULL, __WALL) < 0 && errno == EINTR)
            ;
    s_zygote.pid = 0;
}

/* A spare when there is none; not waited for here. */
static void s_want_spare(void) {
    int pair[2];
    gi_zyg_msg_t m = {.kind = GI_ZYG_SPARE};
    if (s_lives(s_zygote.spare_fd))
        return;
    gi_fd_close(&s_zygote.spare_fd);
    if (!s_pair(pair, 0))
        return;
    if (gi_rights_send(s_zygote.fd, &m, sizeof m, &pair[1], 1, MSG_DONTWAIT))
        s_zygote.spare_fd = pair[0];
    else
        gi_fd_close(&pair[0]);
    gi_fd_close(&pair[1]);
}

/* The first one is waited for, or its end: where the last thread that a user may
 * have is near, what comes next must not find room that the spare then takes,
 * and libzmq abort for want of it. */
static void s_await_spare(void) {
    struct pollfd p = {.fd = s_zygote.spare_fd, .events = POLLIN};
    while (p.fd >= 0 && poll(&p, 1, STAND_MS) < 0 && errno == EINTR)
        ;
}

/* The spare becomes the zygote; false: there is none that lives. */
static bool s_promote(void) {
    gi_zyg_msg_t m;
    int fd = s_zygote.spare_fd;
    s_zygote.spare_fd = -1;
    if (!s_lives(fd) || !s_hear(fd, STAND_MS, &m) || !s_lives(fd)) {
        gi_fd_close(&fd);
        return false;
    }
    s_zygote.fd = fd;
    s_zygote.pid = m.pid;
    return true;
}

gate_err_t gi_zygote_start(bool late_fork) {
    gate_err_t e = GATE_OK;
    bool first = false;
    pthread_mutex_lock(&s_zygote.lock);
    if (!s_alive()) {
        s_forget();
        int n = s_threads();
        if (!s_promote()) {
            if (n > OWN_THREADS && !late_fork)
                e = gi_err(GATE_CLOSED,
                           "worker processes need a zygote, and this process "
                           "already has %d threads: call gate_process_init() "
                           "first in main, or set process_late_fork",
                           n);
            else
                e = s_fork();
            first = !e;
        }
    }
    if (!e)
        s_want_spare();
    if (first)
        s_await_spare();
    pthread_mutex_unlock(&s_zygote.lock);
    return e;
}

gate_err_t gate_process_init(void) {
    const char *late = getenv("GATE_PROCESS_LATE_FORK");
    return gi_zygote_start(
        late && (strcmp(late, "1") == 0 || strcasecmp(late, "true") == 0 ||
                 strcasecmp(late, "yes") == 0 || strcasecmp(late, "on") == 0));
}

pid_t gi_zygote_pid(void) {
    pthread_mutex_lock(&s_zygote.lock);
    pid_t pid = s_alive() ? s_zygote.pid : 0;
    pthread_mutex_unlock(&s_zygote.lock);
    return pid;
}

static gate_err_t s_attach(int *channel) {
    int pair[2];
    gi_zyg_msg_t m = {.kind = GI_ZYG_ATTACH};
    if (!s_pair(pair, SOCK_NONBLOCK))
        return gi_err_errno("a channel to the zygote");
    pthread_mutex_lock(&s_zygote.lock);
    bool sent =
        s_alive() && gi_rights_send(s_zygote.fd, &m, sizeof m, &pair[1], 1, 0);
    pthread_mutex_unlock(&s_zygote.lock);
    gi_fd_close(&pair[1]);
    if (!sent) {
        gi_fd_close(&pair[0]);
        return gi_err(GATE_CLOSED, "there is no zygote: no worker process can "
                                   "be started");
    }
    *channel = pair[0];
    return GATE_OK;
}

/* One that dies closes its sockets one after another: who has seen the end of a
 * channel may find the main one open yet, and its end a moment later. Then the
 * spare's turn has come. */
gate_err_t gi_zygote_attach(bool late_fork, int *channel) {
    gate_err_t e = GATE_CLOSED;
    for (int i = 0; i < ATTACHES && e == GATE_CLOSED; i++) {
        gate_err_t stands = gi_zygote_start(late_fork);
        if (stands)
            return stands;
        e = s_attach(channel);
    }
    return e;
}
