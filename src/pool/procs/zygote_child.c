/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote_child.c -- the zygote itself: one thread, one poll. It has few things
 * to do and does them in order: take channels, fork workers, reap them, say so.
 * A worker is reaped only after its whole group was killed: until then its
 * number is nobody else's.
 * Thread: its own process. Survives: any worker's end, full sockets (what
 * cannot be said is kept until it can). */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"
#include "sync/actor_thread.h"
#include "sync/fd.h"
#include "shared/rights.h"
#include "procs/worker.h"
#include "procs/zygote.h"

#define AGAIN_MS 10 /* a socket was full */

/* A worker that was asked for: first its birth is told, then its end. */
typedef struct s_child {
    bool used;
    pid_t pid;   /* 0 = it could not be forked */
    int channel; /* fd of the channel it came by; -1 = that has ended */
    int slot;
    uint64_t generation;
    bool told;  /* its birth */
    int pidfd;  /* to be told with that; -1 = it failed */
    int error;  /* why */
    bool ended; /* status waits to be told */
    int status;
} s_child_t;

static s_child_t *s_children;
static size_t s_n_children;
static struct pollfd *s_fds; /* main, signals, parent, then channels */
static size_t s_n_fds;
enum { FD_MAIN, FD_SIGNALS, FD_PARENT, FD_CHANNELS };

enum { STEP_FDS, STEP_SIGNALS, STEP_POLL, STEP_PIDFD };
const char *const gi_zygote_step[] = {
    [STEP_FDS] = "its descriptors",
    [STEP_SIGNALS] = "signalfd",
    [STEP_POLL] = "memory",
    [STEP_PIDFD] = "pidfd_open",
};

static bool s_add_fd(int fd) {
    struct pollfd *grown = gi_mem_realloc(s_fds, (s_n_fds + 1) * sizeof *grown);
    if (!grown)
        return false;
    s_fds = grown;
    s_fds[s_n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
    return true;
}

static void s_forget_children(void) {
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].used && !s_children[i].told)
            gi_fd_close(&s_children[i].pidfd);
    gi_mem_free(s_children);
    s_children = NULL;
    s_n_children = 0;
}

/* ---- births -------------------------------------------------------------- */

static bool s_say(s_child_t *c, gi_zyg_kind_t kind, int status, int fd) {
    gi_zyg_msg_t m = {.kind = kind,
                      .slot = c->slot,
                      .generation = c->generation,
                      .pid = c->pid,
                      .status = status};
    return c->channel < 0 ||
           gi_rights_send(c->channel, &m, sizeof m, &fd, fd >= 0,
                          MSG_DONTWAIT) ||
           (errno != EAGAIN && errno != ETOOMANYREFS);
}

static s_child_t *s_free_child(void) {
    for (size_t i = 0; i < s_n_children; i++)
        if (!s_children[i].used)
            return &s_children[i];
    s_child_t *grown =
        gi_mem_realloc(s_children, (s_n_children + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    s_children = grown;
    memset(&grown[s_n_children], 0, sizeof *grown);
    return &grown[s_n_children++];
}

/* In the new worker: nothing of the zygote's but what it was given. */
static void s_become_worker(const int *fds, pid_t zygote) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote)
        _exit(0);
    setpgid(0, 0); /* what it starts dies with it; kill 0 hits nobody else */
    s_forget_children();
    for (size_t i = 0; i < s_n_fds; i++)
        close(s_fds[i].fd);
    gi_mem_free(s_fds);
    s_fds = NULL;
    s_n_fds = 0;
    gi_clean_signals(false);
    gi_worker_main(fds);
}

static void s_spawn(int channel, const gi_zyg_msg_t *m, const int *fds, int n) {
    s_child_t *child = n == GI_WFD_COUNT ? s_free_child() : NULL;
    if (!child) {
        s_child_t none = {
            .channel = channel, .slot = m->slot, .generation = m->generation};
        if (!s_say(&none, GI_ZYG_FAILED, ENOMEM, -1))
            shutdown(channel, SHUT_RDWR); /* it would wait for ever */
        return;
    }
    pid_t zygote = getpid(), pid = fork();
    if (pid == 0)
        s_become_worker(fds, zygote);
    int error = errno;
    if (pid > 0)
        setpgid(pid, pid); /* whoever is first */
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pid > 0 && pidfd < 0) {
        error = errno;
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
    }
    *child = (s_child_t){.used = true,
                         .pid = pid > 0 ? pid : 0,
                         .channel = channel,
                         .slot = m->slot,
                         .generation = m->generation,
                         .pidfd = gi_fd_high(pidfd),
                         .error = pidfd < 0 ? error : 0};
}

/* ---- what is told -------------------------------------------------------- */

/* False: the socket is full, try again. */
static bool s_report(s_child_t *c) {
    if (!c->told) {
        if (!s_say(c, c->error ? GI_ZYG_FAILED : GI_ZYG_SPAWNED, c->error,
                   c->pidfd))
            return false;
        gi_fd_close(&c->pidfd);
        c->told = true;
        if (c->error)
            c->channel = -1;
        c->used = c->pid != 0;
    }
    if (!c->used || !c->ended)
        return true;
    if (!s_say(c, GI_ZYG_EXITED, c->status, -1))
        return false;
    c->used = false;
    return true;
}

static bool s_report_all(void) {
    bool all = true;
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].used)
            all &= s_report(&s_children[i]);
    return all;
}

/* ---- deaths -------------------------------------------------------------- */

static void s_end_group(const s_child_t *c) {
    if (!c->used || !c->pid || c->ended)
        return;
    kill(-c->pid, SIGKILL);
    kill(c->pid, SIGKILL);
}

static s_child_t *s_child_of(pid_t pid) {
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].used && s_children[i].pid == pid &&
            !s_children[i].ended)
            return &s_children[i];
    return NULL;
}

static void s_reap(void) {
    siginfo_t info = {0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid) {
        s_child_t *c = s_child_of(info.si_pid);
        int status = 0;
        if (c)
            kill(-c->pid, SIGKILL); /* the number is still its own */
        if (waitpid(info.si_pid, &status, 0) == info.si_pid && c) {
            c->status = status;
            c->ended = true;
        }
        info.si_pid = 0;
    }
}

/* The parent is gone, and so is everything that worked for it. */
static void s_end(void) __attribute__((noreturn));
static void s_end(void) {
    for (size_t i = 0; i < s_n_children; i++)
        s_end_group(&s_children[i]);
    _exit(0);
}

/* ---- channels ------------------------------------------------------------ */

static void s_close_channel(size_t at) {
    int fd = s_fds[at].fd;
    for (size_t i = 0; i < s_n_children; i++) {
        if (!s_children[i].used || s_children[i].channel != fd)
            continue;
        s_children[i].channel = -1;
        s_end_group(&s_children[i]);
    }
    close(fd);
    s_fds[at] = s_fds[--s_n_fds];
}

static void s_kill(int channel, const gi_zyg_msg_t *m) {
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].channel == channel &&
            s_children[i].generation == m->generation)
            s_end_group(&s_children[i]);
}

/* False: the other end is gone. */
static bool s_serve(int channel) {
    gi_zyg_msg_t m;
    int fds[GI_WFD_COUNT], n;
    ssize_t rc = gi_rights_recv(channel, &m, sizeof m, fds, GI_WFD_COUNT, &n,
                                MSG_DONTWAIT);
    if (rc < 0)
        return errno == EAGAIN;
    if (rc == sizeof m && m.kind == GI_ZYG_SPAWN)
        s_spawn(channel, &m, fds, n);
    if (rc == sizeof m && m.kind == GI_ZYG_KILL)
        s_kill(channel, &m);
    gi_rights_close(fds, n);
    return rc == sizeof m;
}

/* ---- the spare ----------------------------------------------------------- */

static void s_stands(int fd, int error, int step) {
    gi_zyg_msg_t m = {
        .kind = GI_ZYG_STANDS, .slot = step, .pid = getpid(), .status = error};
    gi_rights_send(fd, &m, sizeof m, NULL, 0, MSG_DONTWAIT);
}

/* A copy of this process that nothing has happened to, and a child of the same
 * parent: it outlives us. True: in that copy, which takes the socket. */
static bool s_make_spare(int fd) {
    if (gi_zygote_clone(CLONE_PARENT) != 0)
        return false;
    gi_born_again();
    setpgid(0, 0);
    gi_clean_title("gate-spare");
    s_forget_children();
    while (s_n_fds > FD_CHANNELS)
        close(s_fds[--s_n_fds].fd);
    close(s_fds[FD_MAIN].fd);
    s_fds[FD_MAIN].fd = fd;
    s_stands(fd, 0, 0);
    return true;
}

/* ---- the loop ------------------------------------------------------------ */

static void s_take_word(void) {
    gi_zyg_msg_t m;
    int fd, n;
    ssize_t rc = gi_rights_recv(s_fds[FD_MAIN].fd, &m, sizeof m, &fd, 1, &n, 0);
    if (rc <= 0)
        s_end();
    if (m.kind == GI_ZYG_ATTACH)
        gi_clean_title("gate-zygote"); /* a spare that is called upon */
    if (n == 1 && !(m.kind == GI_ZYG_ATTACH && s_add_fd(fd)) &&
        !(m.kind == GI_ZYG_SPARE && s_make_spare(fd)))
        close(fd);
}

static void s_loop(void) __attribute__((noreturn));
static void s_loop(void) {
    bool told = true;
    for (;;) {
        poll(s_fds, s_n_fds, told ? -1 : AGAIN_MS);
        if (s_fds[FD_PARENT].revents)
            s_end();
        if (s_fds[FD_SIGNALS].revents) {
            struct signalfd_siginfo info;
            if (read(s_fds[FD_SIGNALS].fd, &info, sizeof info) > 0)
                s_reap();
        }
        for (size_t i = s_n_fds; i-- > FD_CHANNELS;)
            if (s_fds[i].revents && !s_serve(s_fds[i].fd))
                s_close_channel(i);
        told = s_report_all();
        if (s_fds[FD_MAIN].revents)
            s_take_word();
    }
}

static int s_signals(void) {
    sigset_t set;
    gi_clean_signals(true);
    setpgid(0, 0); /* a terminal's ^C is for the parent to act on */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    return gi_fd_high(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

static bool s_pidfds_work(void) {
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void gi_zygote_main(int fd, int parent) {
    const int keep[] = {fd, parent};
    int step = STEP_FDS, signals;
    s_fds = NULL; /* a worker's own zygote has none of the one above it */
    s_children = NULL;
    s_n_fds = s_n_children = 0;
    gi_clean_standard();
    if (!gi_clean_fds(keep, 2))
        goto cannot;
    gi_clean_title_room();
    gi_clean_title("gate-zygote");
    step = STEP_SIGNALS;
    signals = s_signals();
    if (signals < 0)
        goto cannot;
    step = STEP_PIDFD;
    if (!s_pidfds_work())
        goto cannot;
    step = STEP_POLL;
    errno = ENOMEM;
    if (!s_add_fd(fd) || !s_add_fd(signals) || !s_add_fd(parent))
        goto cannot;
    s_stands(fd, 0, 0);
    s_loop();
cannot:
    s_stands(fd, errno ? errno : ENOMEM, step);
    _exit(125);
}
