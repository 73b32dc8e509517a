/* SPDX-License-Identifier: BSD-3-Clause */
/* nats_server.c -- see nats_server.h. */
#include "nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define S_UP_MS 20000
#define S_LOOK_MS 10
#define S_TRIES 5 /* a port that was free may be taken by then */
#define S_ARGS 16

static const char *const s_places[] = {"/usr/sbin/nats-server",
                                       "/usr/bin/nats-server",
                                       "/usr/local/bin/nats-server"};

static const char *s_program(void) {
    for (size_t i = 0; i < sizeof s_places / sizeof *s_places; i++)
        if (access(s_places[i], X_OK) == 0)
            return s_places[i];
    return NULL;
}

const char *nats_missing(void) {
#ifndef TEST_HAS_NATS
    return "built without libnats";
#else
    return s_program() ? NULL : "nats-server is not installed";
#endif
}

/* ---- ports --------------------------------------------------------------- */
static struct sockaddr_in s_loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static int s_free_port(void) {
    struct sockaddr_in at = s_loopback(0);
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) ||
        getsockname(fd, (struct sockaddr *)&at, &size))
        at.sin_port = 0;
    if (fd >= 0)
        close(fd);
    return ntohs(at.sin_port);
}

/* It speaks: its INFO is there. */
static bool s_answers(int port) {
    struct sockaddr_in at = s_loopback(port);
    char info[4];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
              poll(&p, 1, 1000) == 1 && read(fd, info, sizeof info) == 4 &&
              memcmp(info, "INFO", 4) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* ---- a server ------------------------------------------------------------ */
static void s_exec(const nats_server_t *self, pid_t parent) {
    char port[16], route[48], routes[192] = "";
    const char *argv[S_ARGS] = {s_program(), "-a", "127.0.0.1", "-p", port};
    int n = 5, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    snprintf(port, sizeof port, "%d", self->port);
    for (int i = 0; i < NATS_CLUSTER && self->routes[i]; i++)
        snprintf(routes + strlen(routes), sizeof routes - strlen(routes),
                 "%snats://127.0.0.1:%d", i ? "," : "", self->routes[i]);
    snprintf(route, sizeof route, "nats://127.0.0.1:%d", self->route);
    const char *more[] = {"--cluster_name", "t",   "--cluster", route,
                          "--routes",       routes};
    for (size_t i = 0; self->route && i < sizeof more / sizeof *more; i++)
        argv[n++] = more[i];
    if (self->conf) {
        argv[n++] = "-c";
        argv[n++] = self->conf;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    union { /* execv does not write to them */
        const char **in;
        char **out;
    } cast = {argv};
    execv(argv[0], cast.out);
    _exit(127);
}

bool nats_start(nats_server_t *self) {
    const struct timespec pause = {0, S_LOOK_MS * 1000000L};
    pid_t parent = getpid();
    snprintf(self->url, sizeof self->url, "nats://127.0.0.1:%d", self->port);
    self->pid = fork();
    if (self->pid == 0)
        s_exec(self, parent);
    for (int i = 0; self->pid > 0 && i < S_UP_MS / S_LOOK_MS; i++) {
        if (s_answers(self->port))
            return true;
        if (waitpid(self->pid, NULL, WNOHANG) == self->pid)
            self->pid = 0;
        else
            nanosleep(&pause, NULL);
    }
    nats_kill(self);
    return false;
}

void nats_kill(nats_server_t *self) {
    if (self->pid <= 0)
        return;
    kill(self->pid, SIGKILL);
    waitpid(self->pid, NULL, 0);
    self->pid = 0;
}

bool nats_begin(nats_server_t *self, const char *conf) {
    bool up = false;
    for (int i = 0; i < S_TRIES && !up; i++) {
        *self = (nats_server_t){.port = s_free_port(), .conf = conf};
        up = nats_start(self);
    }
    return up;
}

static bool s_cluster(nats_server_t servers[NATS_CLUSTER]) {
    int routes[NATS_CLUSTER];
    for (int i = 0; i < NATS_CLUSTER; i++)
        routes[i] = s_free_port();
    for (int i = 0; i < NATS_CLUSTER; i++) {
        servers[i] = (nats_server_t){.port = s_free_port(), .route = routes[i]};
        memcpy(servers[i].routes, routes, sizeof routes);
        if (!nats_start(&servers[i])) {
            while (i-- > 0)
                nats_kill(&servers[i]);
            return false;
        }
    }
    return true;
}

bool nats_begin_cluster(nats_server_t servers[NATS_CLUSTER]) {
    for (int i = 0; i < S_TRIES; i++)
        if (s_cluster(servers))
            return true;
    return false;
}

void nats_urls(const nats_server_t servers[NATS_CLUSTER], char *to,
               size_t size) {
    *to = 0;
    for (int i = 0; i < NATS_CLUSTER; i++)
        snprintf(to + strlen(to), size - strlen(to), "%s%s", i ? "," : "",
                 servers[i].url);
}
