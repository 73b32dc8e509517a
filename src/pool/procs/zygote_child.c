/* SPDX-License-Identifier: BSD-3-Clause */
/* zygote_child.c -- the zygote itself: one thread, one poll. It has few things
 * to do and does them in order: take channels, fork workers, reap them, say so.
 * Thread: its own process. Survives: any worker's end, full sockets (an exit
 * report that cannot be sent is kept until it can). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#include "shared/rights.h"
#include "procs/worker.h"
#include "procs/zygote.h"

typedef struct s_child {
    pid_t pid;   /* 0 = free */
    int channel; /* fd of the channel it came by; -1 = that has ended */
    int slot;
    uint64_t generation;
    bool exited; /* status waits to be reported */
    int status;
} s_child_t;

static s_child_t *s_children;
static size_t s_n_children;
static struct pollfd *s_fds; /* main, signals, parent, then channels */
static size_t s_n_fds;
enum { FD_MAIN, FD_SIGNALS, FD_PARENT, FD_CHANNELS };

/* ---- title --------------------------------------------------------------- */

static char *s_args;
static size_t s_args_room;

/* glibc hands main's arguments to constructors, of shared objects too. */
__attribute__((constructor)) static void s_keep_args(int argc, char **argv) {
    if (argc < 1 || !argv || !argv[0])
        return;
    s_args = argv[0];
    char *end = argv[0] + strlen(argv[0]) + 1;
    for (int i = 1; i < argc && argv[i] == end; i++)
        end += strlen(argv[i]) + 1;
    s_args_room = (size_t)(end - s_args);
}

void gi_zygote_title(const char *title) {
    prctl(PR_SET_NAME, title);
    if (s_args_room < 2)
        return;
    memset(s_args, 0, s_args_room);
    strncpy(s_args, title, s_args_room - 1);
}

/* ---- children ------------------------------------------------------------ */

static s_child_t *s_free_child(void) {
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].pid == 0)
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
    sigset_t none;
    int at[GI_WFD_COUNT];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote)
        _exit(0);
    for (int i = 0; i < GI_WFD_COUNT; i++) {
        at[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3 + GI_WFD_COUNT);
        if (at[i] < 0)
            _exit(125);
    }
    for (int i = 0; i < GI_WFD_COUNT; i++)
        if (dup3(at[i], 3 + i, O_CLOEXEC) < 0)
            _exit(125);
    close_range(3 + GI_WFD_COUNT, ~0u, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    gi_worker_main(3);
}

static void s_spawn(int channel, gi_zyg_msg_t *m, const int *fds, int n) {
    s_child_t *child = n == GI_WFD_COUNT ? s_free_child() : NULL;
    pid_t zygote = getpid(), pid = child ? fork() : -1;
    if (pid == 0)
        s_become_worker(fds, zygote);
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    m->kind = pidfd < 0 ? GI_ZYG_FAILED : GI_ZYG_SPAWNED;
    m->status = pidfd < 0 ? (errno ? errno : ENOMEM) : 0;
    m->pid = pid > 0 ? pid : 0;
    if (pid > 0)
        *child = (s_child_t){.pid = pid,
                             .channel = pidfd < 0 ? -1 : channel,
                             .slot = m->slot,
                             .generation = m->generation};
    if (pid > 0 && pidfd < 0)
        kill(pid, SIGKILL);
    /* A channel that cannot take the answer is broken: its owner cannot know
     * its workers any more. */
    if (!gi_rights_send(channel, m, sizeof *m, &pidfd, pidfd < 0 ? 0 : 1, 0))
        shutdown(channel, SHUT_RDWR);
    if (pidfd >= 0)
        close(pidfd);
}

/* False: the socket is full, try again. */
static bool s_report(s_child_t *child) {
    gi_zyg_msg_t m = {.kind = GI_ZYG_EXITED,
                      .slot = child->slot,
                      .generation = child->generation,
                      .pid = child->pid,
                      .status = child->status};
    if (child->channel >= 0 &&
        !gi_rights_send(child->channel, &m, sizeof m, NULL, 0, MSG_DONTWAIT) &&
        errno == EAGAIN)
        return false;
    child->pid = 0;
    child->exited = false;
    return true;
}

static bool s_report_all(void) {
    bool all = true;
    for (size_t i = 0; i < s_n_children; i++)
        if (s_children[i].pid && s_children[i].exited)
            all &= s_report(&s_children[i]);
    return all;
}

static void s_reap(void) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (size_t i = 0; i < s_n_children; i++)
            if (s_children[i].pid == pid && !s_children[i].exited) {
                s_children[i].status = status;
                s_children[i].exited = true;
                break;
            }
}

/* ---- channels ------------------------------------------------------------ */

static void s_close_channel(size_t at) {
    int fd = s_fds[at].fd;
    for (size_t i = 0; i < s_n_children; i++) {
        if (!s_children[i].pid || s_children[i].channel != fd)
            continue;
        s_children[i].channel = -1;
        if (!s_children[i].exited)
            kill(s_children[i].pid, SIGKILL);
    }
    close(fd);
    s_fds[at] = s_fds[--s_n_fds];
}

static bool s_add_fd(int fd) {
    struct pollfd *grown = gi_mem_realloc(s_fds, (s_n_fds + 1) * sizeof *grown);
    if (!grown)
        return false;
    s_fds = grown;
    s_fds[s_n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
    return true;
}

static void s_kill(int channel, const gi_zyg_msg_t *m) {
    for (size_t i = 0; i < s_n_children; i++) {
        s_child_t *c = &s_children[i];
        if (c->pid && !c->exited && c->channel == channel &&
            c->generation == m->generation)
            kill(c->pid, SIGKILL);
    }
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
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return rc == sizeof m;
}

static void s_take_channel(void) {
    gi_zyg_msg_t m;
    int fd, n;
    ssize_t rc = gi_rights_recv(s_fds[FD_MAIN].fd, &m, sizeof m, &fd, 1, &n, 0);
    if (rc <= 0)
        _exit(0); /* the parent is gone; PR_SET_PDEATHSIG ends the workers */
    if (n == 1 && (m.kind != GI_ZYG_ATTACH || !s_add_fd(fd)))
        close(fd);
}

static void s_loop(void) __attribute__((noreturn));
static void s_loop(void) {
    bool reported = true;
    for (;;) {
        poll(s_fds, s_n_fds, reported ? -1 : 10);
        if (s_fds[FD_PARENT].revents)
            _exit(0);
        if (s_fds[FD_SIGNALS].revents) {
            struct signalfd_siginfo info;
            if (read(s_fds[FD_SIGNALS].fd, &info, sizeof info) > 0)
                s_reap();
        }
        reported = s_report_all();
        for (size_t i = s_n_fds; i-- > FD_CHANNELS;)
            if (s_fds[i].revents && !s_serve(s_fds[i].fd))
                s_close_channel(i);
        if (s_fds[FD_MAIN].revents)
            s_take_channel();
    }
}

static int s_signals(void) {
    sigset_t set;
    struct sigaction sa = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &sa, NULL);
    setpgid(0, 0); /* a terminal's ^C is for the parent to act on */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void gi_zygote_main(int fd, pid_t parent) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0)
        _exit(125);
    close_range(4, ~0u, 0);
    gi_zygote_title("gate-zygote");
    int signals = s_signals();
    int pidfd = (int)syscall(SYS_pidfd_open, parent, 0);
    if (signals < 0 || pidfd < 0 || getppid() != parent || !s_add_fd(3) ||
        !s_add_fd(signals) || !s_add_fd(pidfd))
        _exit(125);
    s_loop();
}
