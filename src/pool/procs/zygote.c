/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote.c -- the parent's side: forks the zygote once and hands out channels.
 * A process that was forked from this one by somebody else has no zygote of its
 * own until it asks for one (the owner's pid is compared). */
#include "procs/zygote.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gaterpc/runtime.h>
#include "base/err.h"
#include "procs/procs.h"
#include "procs/procs_fn.h"
#include "shared/rights.h"

/* ThreadSanitizer runs a thread of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif

static struct {
    pthread_mutex_t lock; /* over the rest */
    pid_t owner;          /* who forked it */
    pid_t pid;            /* 0 = none */
    int fd;               /* its socket */
} s_zygote = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

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

static gate_err_t s_fork(void) {
    int pair[2];
    gate_err_t e = gi_fn_snapshot();
    if (e)
        return e;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return gi_err_errno("the zygote's socket pair");
    fflush(NULL); /* what is buffered must not come out of children again */
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        e = gi_err_errno("the zygote's fork");
        close(pair[0]);
        close(pair[1]);
        return e;
    }
    if (pid == 0) {
        close(pair[0]);
        gi_zygote_main(pair[1], parent);
    }
    close(pair[1]);
    s_zygote.owner = parent;
    s_zygote.pid = pid;
    s_zygote.fd = pair[0];
    return GATE_OK;
}

/* A peek at the socket: the zygote never sends on it, so anything but "nothing
 * yet" is its end. */
static bool s_alive(void) {
    char c;
    if (s_zygote.pid == 0 || s_zygote.owner != getpid())
        return false;
    ssize_t rc = recv(s_zygote.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return rc < 0 && (errno == EAGAIN || errno == EINTR);
}

static void s_forget(void) {
    if (s_zygote.fd >= 0)
        close(s_zygote.fd);
    s_zygote.fd = -1;
    s_zygote.pid = 0;
}

gate_err_t gi_zygote_start(bool late_fork) {
    gate_err_t e = GATE_OK;
    pthread_mutex_lock(&s_zygote.lock);
    if (!s_alive()) {
        s_forget();
        int n = s_threads();
        if (n > OWN_THREADS && !late_fork)
            e = gi_err(GATE_CLOSED,
                       "worker processes need a zygote, and this process "
                       "already has %d threads: call gate_process_init() first "
                       "in main, or set process_late_fork",
                       n);
        else
            e = s_fork();
    }
    pthread_mutex_unlock(&s_zygote.lock);
    return e;
}

gate_err_t gate_process_init(void) {
    const char *late = getenv("GATE_PROCESS_LATE_FORK");
    return gi_zygote_start(
        late && (strcmp(late, "1") == 0 || strcasecmp(late, "true") == 0 ||
                 strcasecmp(late, "yes") == 0 || strcasecmp(late, "on") == 0));
}

bool gi_zygote_alive(void) {
    pthread_mutex_lock(&s_zygote.lock);
    bool alive = s_alive();
    pthread_mutex_unlock(&s_zygote.lock);
    return alive;
}

pid_t gi_zygote_pid(void) {
    pthread_mutex_lock(&s_zygote.lock);
    pid_t pid = s_alive() ? s_zygote.pid : 0;
    pthread_mutex_unlock(&s_zygote.lock);
    return pid;
}

gate_err_t gi_zygote_attach(int *channel) {
    int pair[2];
    gi_zyg_msg_t m = {.kind = GI_ZYG_ATTACH};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) != 0)
        return gi_err_errno("a channel to the zygote");
    pthread_mutex_lock(&s_zygote.lock);
    bool sent =
        s_alive() && gi_rights_send(s_zygote.fd, &m, sizeof m, &pair[1], 1, 0);
    pthread_mutex_unlock(&s_zygote.lock);
    close(pair[1]);
    if (!sent) {
        close(pair[0]);
        return gi_err(GATE_CLOSED, "there is no zygote: no worker process can "
                                   "be started");
    }
    *channel = pair[0];
    return GATE_OK;
}
