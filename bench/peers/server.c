/* SPDX-License-Identifier: BSD-3-Clause */
/* server.c -- the servers of peers: started, waited for, ended. */
#include "peers.h"
#include "bench/rigs/proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { S_UP_MS = 10000, S_END_MS = 3000 };

bool gi_peer_fail(const char *what, const char *why) {
    fprintf(stderr, "bench_peers: %s: %s\n", what, why);
    return false;
}

static struct sockaddr_in s_address(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

int gi_peer_port(void) {
    struct sockaddr_in at = s_address(0);
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) ||
        getsockname(fd, (struct sockaddr *)&at, &size))
        perror("bench_peers: port");
    close(fd);
    return ntohs(at.sin_port);
}

static bool s_answers(int port) {
    struct sockaddr_in to = s_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
    return ok;
}

static void s_exec(const char *const *argv) {
    char *words[16] = {NULL};
    int null = open("/dev/null", O_RDWR);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    for (int i = 0; i < 15 && argv[i]; i++)
        words[i] = strdup(argv[i]);
    execvp(words[0], words);
    _exit(127);
}

pid_t gi_peer_spawn(const char *const *argv, int port) {
    uint64_t until = gi_proc_now() + S_UP_MS * 1000000ull;
    pid_t pid = fork();
    if (!pid)
        s_exec(argv);
    while (pid > 0 && gi_proc_now() < until) {
        if (s_answers(port))
            return pid;
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            gi_peer_fail(argv[0], "does not run");
            return -1;
        }
        usleep(20000);
    }
    gi_peer_fail(argv[0], "does not come up");
    if (pid > 0)
        gi_peer_end(pid);
    return -1;
}

void gi_peer_end(pid_t pid) {
    uint64_t until = gi_proc_now() + S_END_MS * 1000000ull;
    kill(pid, SIGTERM);
    while (!waitpid(pid, NULL, WNOHANG)) {
        if (gi_proc_now() > until) {
            kill(pid, SIGKILL);
            until = UINT64_MAX;
        }
        usleep(1000);
    }
}
