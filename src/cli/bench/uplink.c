/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink.c -- `gate bench uplink`: calls and huge results from one broker over
 * another one, beside the same broker directly; and calls at a broker whose
 * uplink has nothing to do, beside one without. A nats-server of its own, on
 * loopback, for as long as it takes. */
#include "bench/session.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { S_UP_MS = 10000, S_LOOK_MS = 10, S_HUGE = 200000000 };

static const char *const s_places[] = {"/usr/sbin/nats-server",
                                       "/usr/bin/nats-server",
                                       "/usr/local/bin/nats-server"};

typedef struct s_server {
    const char *program;
    pid_t pid;
    struct sockaddr_in at;
    char url[64];
} s_server_t;

/* ---- the nats-server ----------------------------------------------------- */
static bool s_find(s_server_t *self) {
    for (size_t i = 0; i < sizeof s_places / sizeof *s_places; i++)
        if (access(s_places[i], X_OK) == 0)
            self->program = s_places[i];
    return self->program != NULL;
}

static bool s_port(s_server_t *self) {
    socklen_t size = sizeof self->at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    self->at = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&self->at, size) == 0 &&
              getsockname(fd, (struct sockaddr *)&self->at, &size) == 0;
    if (fd >= 0)
        close(fd);
    snprintf(self->url, sizeof self->url, "nats://127.0.0.1:%d",
             ntohs(self->at.sin_port));
    return ok;
}

static void s_exec(const s_server_t *self) {
    char port[16];
    snprintf(port, sizeof port, "%d", ntohs(self->at.sin_port));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr))
        execl(self->program, self->program, "-a", "127.0.0.1", "-p", port,
              (char *)NULL);
    _exit(127);
}

/* It speaks first. */
static bool s_speaks(const s_server_t *self) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ok =
        fd >= 0 &&
        connect(fd, (const struct sockaddr *)&self->at, sizeof self->at) == 0 &&
        poll(&p, 1, S_UP_MS) == 1;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool s_start(s_server_t *self) {
    const struct timespec pause = {0, S_LOOK_MS * 1000000L};
    self->pid = s_port(self) ? fork() : -1;
    if (self->pid == 0)
        s_exec(self);
    for (int i = 0; self->pid > 0 && i < S_UP_MS / S_LOOK_MS; i++) {
        if (s_speaks(self))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static void s_stop(s_server_t *self) {
    if (self->pid <= 0)
        return;
    kill(self->pid, SIGKILL);
    waitpid(self->pid, NULL, 0);
}

/* ---- cells --------------------------------------------------------------- */
/* ours over the uplink, the reference without one, in turns. */
static bool s_open(gi_session_t *self, gi_cell_t *cell,
                   const s_server_t *server, const gi_kind_t *ours,
                   const gi_kind_t *reference) {
    gi_spec_t specs[2] = {gi_session_spec(self, ours, "ipc", -1),
                          gi_session_spec(self, reference, "ipc", -1)};
    specs[0].uplink = server->url;
    specs[0].data = specs[1].data = "hex";
    return !self->failed && gi_session_open(self, cell, specs, 2);
}

static void s_calls(gi_session_t *self, const s_server_t *server,
                    const gi_kind_t *ours, const char *label) {
    gi_numbers_t outstanding, sizes;
    gi_cell_t cell = {.label = label};
    if (!gi_numbers_parse(self->outstanding, &outstanding) ||
        !gi_numbers_parse(self->sizes, &sizes) ||
        !s_open(self, &cell, server, ours, &gi_kind_gate))
        return;
    for (int s = 0; s < sizes.n; s++)
        for (int w = 0; w < outstanding.n && !self->failed; w++) {
            cell.load =
                gi_session_load(self, outstanding.items[w], sizes.items[s]);
            gi_session_measure(self, &cell);
        }
    gi_session_close(&cell);
}

static void s_huge(gi_session_t *self, const s_server_t *server) {
    gi_cell_t cell = {.unit = "MB/s", .label = "hex", .per_unit = S_HUGE / 1e6};
    if (!s_open(self, &cell, server, &gi_kind_huge_far, &gi_kind_huge))
        return;
    cell.load = gi_session_load(self, 1, S_HUGE);
    cell.load.rate = 0;
    gi_session_measure(self, &cell);
    gi_session_close(&cell);
}

void gi_uplink(gi_session_t *self) {
    s_server_t server = {.pid = -1};
    if (!s_find(&server)) {
        fprintf(
            stderr,
            "gate: bench: uplink is skipped: nats-server is not installed\n");
        return;
    }
    if (s_start(&server)) {
        s_calls(self, &server, &gi_kind_far, "two brokers");
        s_calls(self, &server, &gi_kind_idle, "idle uplink");
        s_huge(self, &server);
    } else {
        fprintf(stderr, "gate: bench: nats-server does not start\n");
        self->failed = true;
    }
    s_stop(&server);
}
