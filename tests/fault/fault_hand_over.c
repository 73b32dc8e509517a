/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_hand_over.c -- the old broker is killed at each step of a hand-over:
 * when it was asked, when it has given its listeners, when it is to confirm,
 * has confirmed, and while its peers move. The new one serves each time, and
 * hands over to the next. For steps in the middle the test stands between the
 * two and passes on what they say. */
#include "child.h"
#include "lanes.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define TEXT_MAX 32768
#define FDS_MAX 40

typedef enum step {
    ASKED,     /* somebody is there, and never answers */
    GIVEN,     /* the new one does not have the listeners yet */
    UP,        /* it is bound and says so */
    CONFIRMED, /* "YOURS" is on its way */
    MOVING,    /* its peers are told to go */
    MOVED      /* most of them have gone */
} step_t;

static const char *const s_steps[] = {
    "when it is asked", "having given",    "when the new one is up",
    "having confirmed", "when peers move", "when they have moved"};

typedef struct rig {
    char front[128], back[128], path[128], between[128];
    child_t broker, service[2];
    gate_runtime_t *runtime;
    gate_client_t *client;
} rig_t;

static void s_spawn(rig_t *rig, child_t *broker, const char *path) {
    const char *args[] = {"broker",  "--frontend",  rig->front, "--backend",
                          rig->back, "--hand-over", path,       NULL};
    child_spawn(broker, args);
}

static void s_up(rig_t *rig, const char *front, const char *back) {
    snprintf(rig->front, sizeof rig->front, "%s", front);
    snprintf(rig->back, sizeof rig->back, "%s", back);
    s_spawn(rig, &rig->broker, rig->path);
    child_ready(&rig->broker);
    child_endpoint(&rig->broker, "frontend=", rig->front, sizeof rig->front);
    child_endpoint(&rig->broker, "backend=", rig->back, sizeof rig->back);
    for (int i = 0; i < 2; i++)
        child_service(&rig->service[i], rig->back, "4");
    rig->runtime = lanes_runtime();
    rig->client = lanes_client(rig->runtime, rig->front);
}

static void s_down(rig_t *rig) {
    gate_client_destroy(&rig->client);
    gate_runtime_destroy(&rig->runtime);
    child_end(&rig->service[0]);
    child_end(&rig->service[1]);
    child_end(&rig->broker);
}

/* ---- between the two ----------------------------------------------------- */
static int s_socket(const char *path, bool listens) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int bad = listens
                  ? bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1)
                  : connect(fd, (struct sockaddr *)&at, sizeof at);
    if (bad)
        child_die("no socket at %s", path);
    return fd;
}

/* Both ways; what is said goes on with its descriptors. */
typedef struct packet {
    char text[TEXT_MAX];
    union {
        char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov;
    struct msghdr m;
} packet_t;

static void s_hear(int fd, packet_t *p, const char *what) {
    struct pollfd ready = {fd, POLLIN, 0};
    p->iov = (struct iovec){p->text, sizeof p->text};
    p->m = (struct msghdr){.msg_iov = &p->iov,
                           .msg_iovlen = 1,
                           .msg_control = p->control.room,
                           .msg_controllen = sizeof p->control.room};
    if (poll(&ready, 1, PATIENCE_MS) <= 0)
        child_die("nobody says %s", what);
    ssize_t size = recvmsg(fd, &p->m, MSG_CMSG_CLOEXEC);
    if (size < (ssize_t)strlen(what) || strncmp(p->text, what, strlen(what)))
        child_die("%s expected", what);
    p->iov.iov_len = (size_t)size;
}

/* Our copies of the descriptors would keep the listeners alive. */
static void s_pass_on(int fd, packet_t *p) {
    int fds[FDS_MAX];
    if (sendmsg(fd, &p->m, MSG_NOSIGNAL) < 0)
        child_fail("it does not hear %.8s", p->text);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&p->m); c; c = CMSG_NXTHDR(&p->m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t size = c->cmsg_len - CMSG_LEN(0);
            memcpy(fds, CMSG_DATA(c), size);
            while (size >= sizeof *fds)
                close(fds[(size -= sizeof *fds) / sizeof *fds]);
        }
}

/* The conversation as far as the step; then the old one is dead. */
static void s_between(rig_t *rig, int listener, step_t step) {
    static packet_t p;
    int new = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int old = s_socket(rig->path, false);
    s_hear(new, &p, "GATE-TAKE");
    s_pass_on(old, &p);
    s_hear(old, &p, "GATE-GIVE");
    if (step == GIVEN)
        child_kill(&rig->broker);
    s_pass_on(new, &p);
    s_hear(new, &p, "UP");
    if (step == UP)
        child_kill(&rig->broker);
    if (step == CONFIRMED) {
        s_pass_on(old, &p);
        s_hear(old, &p, "YOURS");
        child_kill(&rig->broker);
    }
    close(old);
    close(new);
}

/* ---- deaths -------------------------------------------------------------- */
static void s_die_between(rig_t *rig, child_t *next, step_t step) {
    int listener = s_socket(rig->between, true);
    s_spawn(rig, next, rig->between);
    s_between(rig, listener, step);
    close(listener);
    unlink(rig->between);
    child_ready(next);
}

/* It stands still, so whoever asks it waits; until it is dead. */
static void s_die_asked(rig_t *rig, child_t *next) {
    child_signal(&rig->broker, SIGSTOP);
    s_spawn(rig, next, rig->path);
    child_sleep_ms(200 * child_slow());
    child_kill(&rig->broker);
    child_ready(next);
}

static void s_die(rig_t *rig, child_t *next, step_t step) {
    if (step == ASKED) {
        s_die_asked(rig, next);
    } else if (step < MOVING) {
        s_die_between(rig, next, step);
    } else {
        s_spawn(rig, next, rig->path);
        child_ready(next);
        child_sleep_ms(step == MOVED ? 100 : 0);
        child_kill(&rig->broker);
    }
}

static void s_replace(rig_t *rig, lanes_t *lanes, const char *name,
                      step_t step) {
    child_t next;
    s_die(rig, &next, step);
    rig->broker = next;
    double back = lanes_all_back(lanes, PATIENCE_MS * child_slow());
    printf("%s, killed %s: all back after %.0f ms\n", name, s_steps[step],
           back);
    child_check(back >= 0, "the new one serves");
    /* both services, and it gives the listeners to the next one */
    s_spawn(rig, &next, rig->path);
    child_ready(&next);
    child_check(child_wait(&rig->broker, (int)(PATIENCE_MS * child_slow())) ==
                    0,
                "it hands over, and ends by itself");
    rig->broker = next;
    child_check(lanes_all_back(lanes, PATIENCE_MS * child_slow()) >= 0,
                "so does the one after it");
}

static void s_deaths(const char *name, const char *front, const char *back) {
    rig_t rig = {.broker.pid = 0};
    child_path("next", rig.path, sizeof rig.path);
    child_path("between", rig.between, sizeof rig.between);
    s_up(&rig, front, back);
    for (step_t step = ASKED; step <= MOVED; step++) {
        ledger_t *ledger = ledger_new(name, 1000000);
        ledger_allow(ledger, GATE_LOST); /* what the dead one had */
        /* where its workers need longer than two heartbeats to come back */
        ledger_allow(ledger, GATE_NOSERVICE);
        ledger_allow(ledger, GATE_WORKERLOST);
        lanes_t *lanes = lanes_start(rig.client, ledger, 8, PATIENCE_MS, 0.5);
        child_check(lanes_all_back(lanes, PATIENCE_MS * child_slow()) >= 0,
                    "served before");
        s_replace(&rig, lanes, name, step);
        lanes_stop(&lanes);
        child_check(ledger_close(ledger), "the ledger");
        ledger_destroy(&ledger);
    }
    s_down(&rig);
}

int main(int argc, char **argv) {
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_deaths("tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    s_deaths("ipc", front, back);
    return child_result();
}
