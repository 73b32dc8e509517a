/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_fds.c -- a broker with few descriptors is besieged by connections that
 * say nothing, over tcp and over ipc (where libzmq would abort): it neither dies
 * nor spins, a client that was there is served all the time, and new ones are
 * let in once the siege is over. Long: ten sieges of ten seconds and more. */
#include "child.h"
#include "lanes.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LIMIT 256
#define SIEGE 400

/* The child inherits the limit. */
static void s_broker(child_t *broker, const char *listen) {
    struct rlimit all, few;
    getrlimit(RLIMIT_NOFILE, &all);
    few = all;
    few.rlim_cur = LIMIT;
    setrlimit(RLIMIT_NOFILE, &few);
    child_broker(broker, listen, "tcp://127.0.0.1:*");
    setrlimit(RLIMIT_NOFILE, &all);
}

static int s_knock(const char *endpoint) {
    union {
        struct sockaddr any;
        struct sockaddr_in tcp;
        struct sockaddr_un ipc;
    } at = {.tcp.sin_family = AF_INET};
    socklen_t size = sizeof at.tcp;
    if (strncmp(endpoint, "ipc://", 6) == 0) {
        at.ipc.sun_family = AF_UNIX;
        size = sizeof at.ipc;
        snprintf(at.ipc.sun_path, sizeof at.ipc.sun_path, "%.*s",
                 (int)sizeof at.ipc.sun_path - 1, endpoint + 6);
    } else {
        at.tcp.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
        at.tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(at.any.sa_family, type, 0);
    if (fd < 0)
        child_die("no socket");
    if (connect(fd, &at.any, size) == 0)
        return fd;
    return fd; /* under way, or the line is full */
}

/* Seconds of CPU that a process has used. */
static double s_cpu(const child_t *child) {
    char path[64], text[1024];
    unsigned long user = 0, sys = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child->pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file) ||
        sscanf(strrchr(text, ')') + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &sys) != 2)
        child_die("cannot read %s", path);
    fclose(file);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static double s_cpu_a_second(const child_t *child) {
    double before = s_cpu(child), seconds = child_long() ? 10 : 1;
    child_sleep_ms(seconds * 1000);
    return (s_cpu(child) - before) / seconds;
}

static void s_calls(const char *name, gate_client_t *client) {
    ledger_t *ledger = ledger_new(name, 100000);
    lanes_t *lanes = lanes_start(client, ledger, 2, 10000, 2);
    child_check(lanes_all_back(lanes, 5000 * child_slow()) >= 0, name);
    child_sleep_ms(200);
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    ledger_destroy(&ledger);
}

static void s_siege(const char *front, const child_t *broker,
                    gate_client_t *client) {
    static int fd[SIEGE];
    for (int i = 0; i < SIEGE; i++) {
        fd[i] = s_knock(front);
        if (i % 16 == 15)
            child_sleep_ms(1);
    }
    child_sleep_ms(300);
    int used = child_fds(broker->pid);
    double cpu = s_cpu_a_second(broker);
    printf("besieged: %d descriptors of %d, %.2f s CPU in a second\n", used,
           LIMIT, cpu);
    child_check(used > LIMIT / 2, "the siege has taken descriptors");
    child_check(used < LIMIT - 4, "some are left");
    child_check(cpu < 0.3, "it does not spin");
    s_calls("besieged", client);
    for (int i = 0; i < SIEGE; i++)
        close(fd[i]);
}

static void s_sieges(const char *listen, int n) {
    child_t broker, service;
    char front[128], back[128];
    s_broker(&broker, listen);
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    int before = lanes_fds(client, broker.pid);
    for (int i = 0; i < n; i++) {
        s_siege(front, &broker, client);
        double begin = child_now_ms();
        gate_client_t *late = lanes_client(runtime, front);
        printf("let in %.0f ms after the siege\n", child_now_ms() - begin);
        s_calls("after the siege", late);
        gate_client_destroy(&late);
    }
    child_sleep_ms(200);
    int after = lanes_fds(client, broker.pid);
    child_check(after <= before + 4, "its descriptors are back");
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    char ipc[128];
    child_init(argc, argv);
    child_ipc("f", ipc, sizeof ipc);
    s_sieges("tcp://127.0.0.1:*", child_long() ? 10 : 1);
    s_sieges(ipc, child_long() ? 10 : 1);
    return child_result();
}
