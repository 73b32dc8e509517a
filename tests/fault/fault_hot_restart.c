/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_hot_restart.c -- under load, each broker is replaced by a new process
 * that takes over its listeners: no call fails, over tcp and ipc, neither short
 * ones nor sleeping ones. Then the new one is killed while it takes over, and
 * strangers speak at the hand-over socket: the old one goes on. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLEEPERS 8
#define PATIENCE_MS 20000

typedef struct rig {
    const char *front, *back;             /* as asked */
    char real_front[128], real_back[128]; /* as bound */
    char path[128];
    child_t broker, service[2];
    gate_runtime_t *runtime;
    gate_client_t *client;
} rig_t;

static void s_broker(rig_t *rig, child_t *broker) {
    const char *args[] = {"broker",  "--frontend",  rig->front, "--backend",
                          rig->back, "--hand-over", rig->path,  NULL};
    child_start(broker, args);
}

static void s_up(rig_t *rig, const char *front, const char *back) {
    rig->front = front;
    rig->back = back;
    s_broker(rig, &rig->broker);
    child_endpoint(&rig->broker, "frontend=", rig->real_front,
                   sizeof rig->real_front);
    child_endpoint(&rig->broker, "backend=", rig->real_back,
                   sizeof rig->real_back);
    child_service(&rig->service[0], rig->real_back, "8");
    child_service(&rig->service[1], rig->real_back, "8");
    rig->runtime = lanes_runtime();
    rig->client = lanes_client(rig->runtime, rig->real_front);
}

static void s_down(rig_t *rig) {
    gate_client_destroy(&rig->client);
    gate_runtime_destroy(&rig->runtime);
    child_end(&rig->service[0]);
    child_end(&rig->service[1]);
    child_end(&rig->broker);
}

/* ---- calls that outlive the old broker's time as the only one ------------ */
typedef struct sleepers {
    ledger_t *ledger;
    gate_future_t *future[SLEEPERS];
} sleepers_t;

static void s_sleep(sleepers_t *self, gate_client_t *client) {
    self->ledger = ledger_new("sleepers over a hot restart", SLEEPERS);
    for (int i = 0; i < SLEEPERS; i++) {
        ledger_open(self->ledger, 400 + i);
        self->future[i] = gate_client_start(client, "Demo.sleep", 400 + i,
                                            gate_timeout_ms(PATIENCE_MS));
    }
    child_sleep_ms(50);
}

static void s_awake(sleepers_t *self) {
    for (int i = 0; i < SLEEPERS; i++) {
        int64_t got = -1;
        gate_err_t e = gate_future_wait(self->future[i], -1, &got);
        ledger_final(self->ledger, (size_t)i, e, got);
        gate_future_destroy(&self->future[i]);
    }
    child_check(ledger_close(self->ledger), "the sleepers' ledger");
    ledger_destroy(&self->ledger);
}

/* ---- restarts ------------------------------------------------------------ */
static void s_replace(rig_t *rig, lanes_t *lanes) {
    sleepers_t sleepers;
    child_t next;
    s_sleep(&sleepers, rig->client);
    s_broker(rig, &next);
    s_awake(&sleepers);
    child_check(child_wait(&rig->broker, PATIENCE_MS) == 0,
                "the old broker ends with 0, by itself");
    rig->broker = next;
    child_check(lanes_all_back(lanes, PATIENCE_MS * child_slow()) >= 0,
                "all lanes are served by the new one");
}

static void s_restarts(const char *name, const char *front, const char *back) {
    rig_t rig = {.broker.pid = 0};
    child_path("next", rig.path, sizeof rig.path);
    s_up(&rig, front, back);
    ledger_t *ledger = ledger_new(name, 4000000);
    lanes_t *lanes = lanes_start(rig.client, ledger, 16, PATIENCE_MS,
                                 child_long() ? 1 : 0.2);
    int n = child_long() ? 30 : 3;
    double begin = child_now_ms();
    for (int i = 0; i < n; i++)
        s_replace(&rig, lanes);
    double seconds = (child_now_ms() - begin) / 1000;
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    double rate = (double)ledger_opened(ledger) / seconds;
    printf("%s: %d brokers replaced at %.0f calls/s, longest %.0f ms\n", name,
           n, rate, ledger_longest_ms(ledger));
    child_check(!child_long() || rate >= 5000, "5,000 calls/s or more");
    ledger_destroy(&ledger);
    child_check(lanes_count(rig.client, "ran_again") == 0, "none ran again");
    s_down(&rig);
}

/* ---- hand-overs that fail ------------------------------------------------ */
static int s_dial(const rig_t *rig) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", rig->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    child_check(connect(fd, (struct sockaddr *)&address, sizeof address) == 0,
                "the hand-over socket is there");
    return fd;
}

/* Says this and waits for the broker to hang up. */
static void s_stranger(const rig_t *rig, const void *text, size_t size) {
    char answer[256];
    int fd = s_dial(rig);
    if (size > 0)
        child_check(send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size,
                    "it may speak");
    child_check(recv(fd, answer, sizeof answer, 0) <= 0, "it is hung up on");
    close(fd);
}

/* Another user, to whom the file was opened by mistake. Needs root. */
static void s_other_user(const rig_t *rig) {
    enum { NOBODY = 65534 };
    char dir[sizeof rig->path], answer[256];
    if (geteuid() != 0) {
        printf("not root: no other user to be\n");
        return;
    }
    snprintf(dir, sizeof dir, "%s", rig->path);
    *strrchr(dir, '/') = 0;
    child_check(chmod(dir, 0711) == 0 && chmod(rig->path, 0666) == 0, "chmod");
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(NOBODY) || setuid(NOBODY))
            _exit(2);
        int fd = s_dial(rig);
        send(fd, "GATE-TAKE 1", 11, MSG_NOSIGNAL);
        _exit(recv(fd, answer, sizeof answer, 0) <= 0 ? 0 : 1);
    }
    int status = -1;
    child_check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
                "another user gets nothing");
    child_check(chmod(rig->path, 0600) == 0 && chmod(dir, 0700) == 0, "chmod");
}

/* Says all that a new broker says, and dies when it has the listeners. */
static void s_impostor(const rig_t *rig) {
    char answer[4096];
    int fd = s_dial(rig);
    send(fd, "GATE-TAKE 1", 11, MSG_NOSIGNAL);
    child_check(recv(fd, answer, sizeof answer, 0) > 0, "it gives");
    send(fd, "UP", 2, MSG_NOSIGNAL);
    child_check(recv(fd, answer, sizeof answer, 0) == 5, "they are its own");
    child_sleep_ms(50);
    close(fd);
}

static void s_strangers(const rig_t *rig) {
    static const char nonsense[] = "GET / HTTP/1.1\r\n\r\n\0\xff";
    struct stat is;
    child_check(stat(rig->path, &is) == 0 && (is.st_mode & 07777) == 0600,
                "the hand-over socket is its user's alone");
    s_stranger(rig, nonsense, sizeof nonsense);
    s_stranger(rig, "UP", 2);
    s_stranger(rig, "GATE-TAKE 2", 11);
    s_other_user(rig);
    close(s_dial(rig)); /* without a word */
}

/* A new broker that is killed at any moment of its start. */
static void s_killed(rig_t *rig) {
    static const double after_ms[] = {5, 15, 25, 40, 80};
    for (size_t i = 0; i < sizeof after_ms / sizeof *after_ms; i++) {
        const char *args[] = {"broker",  "--frontend",  rig->front, "--backend",
                              rig->back, "--hand-over", rig->path,  NULL};
        child_t next;
        child_spawn(&next, args);
        child_sleep_ms(after_ms[i] * child_slow());
        child_kill(&next);
        child_sleep_ms(100);
    }
}

static void s_failures(void) {
    rig_t rig = {.broker.pid = 0};
    child_path("fail", rig.path, sizeof rig.path);
    s_up(&rig, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    rig.front = rig.real_front; /* should the last of them be killed */
    rig.back = rig.real_back;
    ledger_t *ledger = ledger_new("strangers at the hand-over", 4000000);
    lanes_t *lanes = lanes_start(rig.client, ledger, 8, PATIENCE_MS, 1);
    s_strangers(&rig);
    child_check(lanes_all_back(lanes, PATIENCE_MS) >= 0, "all served");
    s_replace(&rig, lanes); /* and it still can */
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger: strangers change nothing");
    ledger_destroy(&ledger);

    ledger = ledger_new("the new broker dies", 4000000);
    ledger_allow(ledger, GATE_LOST); /* what it had taken already */
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    lanes = lanes_start(rig.client, ledger, 8, PATIENCE_MS, 1);
    s_impostor(&rig);
    child_check(lanes_all_back(lanes, PATIENCE_MS) >= 0, "back at the old one");
    s_killed(&rig);
    if (child_wait(&rig.broker, 0) == 0) /* one of them had it all */
        s_broker(&rig, &rig.broker);
    child_check(lanes_all_back(lanes, PATIENCE_MS) >= 0, "all served again");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger: named errors alone");
    ledger_destroy(&ledger);
    s_down(&rig);
}

int main(int argc, char **argv) {
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_restarts("hot restart tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    s_restarts("hot restart ipc", front, back);
    s_failures();
    return child_result();
}
