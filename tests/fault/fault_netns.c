/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_netns.c -- broker and client in one network namespace, a service in
 * another, a veth pair between them that goes down and comes back: calls end
 * with an answer or a named error, and all callers are back soon after. Needs
 * the right to make namespaces and `ip`; else the proxy of fault_chaos falls
 * silent instead, and the reason is printed. */
#include "child.h"
#include "chaos.h"
#include "lanes.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HB_MS 500
#define HERE "10.213.7.1"
#define THERE "10.213.7.2"

typedef struct world {
    child_t broker, service;
    chaos_t *chaos; /* NULL: the link is a veth pair */
    gate_runtime_t *runtime;
    gate_client_t *client;
    char front[128], back[128];
} world_t;

/* ---- namespaces ---------------------------------------------------------- */
static bool s_ip(const char *words) {
    char line[256];
    snprintf(line, sizeof line, "ip %s 2>/dev/null", words);
    return system(line) == 0;
}

/* A process that holds the other namespace, until it is killed. */
static pid_t s_holder(void) {
    int ends[2];
    char c = 0;
    if (pipe(ends))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        c = unshare(CLONE_NEWNET) == 0;
        if (write(ends[1], &c, 1) == 1 && c)
            pause();
        _exit(1);
    }
    close(ends[1]);
    bool made = pid > 0 && read(ends[0], &c, 1) == 1 && c;
    close(ends[0]);
    return made ? pid : -1;
}

static int s_namespace(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int s_enter(pid_t pid) {
    int fd = s_namespace(pid);
    int rc = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
    if (fd >= 0)
        close(fd);
    return rc;
}

static const char *s_pair(pid_t *holder) {
    char line[128];
    if (!s_ip("link set lo up"))
        return "ip does not bring lo up";
    if ((*holder = s_holder()) < 0)
        return "no second network namespace";
    snprintf(line, sizeof line,
             "link add gate0 type veth peer name gate1 netns %d", (int)*holder);
    if (!s_ip(line) || !s_ip("addr add " HERE "/24 dev gate0") ||
        !s_ip("link set gate0 up"))
        return "no veth pair";
    pid_t pid = fork(); /* the far end is set up from within */
    if (pid == 0)
        _exit(s_enter(*holder) == 0 && s_ip("link set lo up") &&
                      s_ip("addr add " THERE "/24 dev gate1") &&
                      s_ip("link set gate1 up")
                  ? 0
                  : 1);
    int status = 1;
    waitpid(pid, &status, 0);
    return status == 0 ? NULL : "the far end cannot be set up";
}

/* Everything here lives in namespaces of our own, which end with us; where that
 * cannot be, we are back in the one we came from. */
static const char *s_network(pid_t *holder) {
    int home = s_namespace(getpid());
    if (!s_ip("-Version >/dev/null"))
        return "no command ip (iproute2)";
    if (home < 0 || unshare(CLONE_NEWNET))
        return "no right to make a network namespace";
    const char *why = s_pair(holder);
    if (why && setns(home, CLONE_NEWNET))
        child_die("cannot go back to the network that there is");
    close(home);
    return why;
}

/* ---- the link ------------------------------------------------------------ */
static void s_link(world_t *w, bool up) {
    if (w->chaos)
        chaos_rule(w->chaos, (chaos_rules_t){.frozen = !up});
    else
        child_check(s_ip(up ? "link set gate0 up" : "link set gate0 down"),
                    "the link obeys");
}

static void s_down(world_t *w, double seconds) {
    char name[64];
    snprintf(name, sizeof name, "link down for %.0f s", seconds);
    ledger_t *ledger = ledger_new(name, 4000000);
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    ledger_allow(ledger, GATE_BUSY);
    ledger_allow(ledger, GATE_TIMEOUT);
    lanes_t *lanes = lanes_start(w->client, ledger, 8, 5000, 1);
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "load runs");
    s_link(w, false);
    child_sleep_ms(seconds * 1000);
    s_link(w, true);
    double back = lanes_all_back(lanes, 20000 * child_slow());
    printf("%s: all back after %.0f ms (2 heartbeats = %d)\n", name, back,
           2 * HB_MS);
    child_check(back >= 0, "all are back");
    if (child_long())
        child_check(back <= 2 * HB_MS, "within two heartbeats");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    child_check(ledger_longest_ms(ledger) < 10000 * child_slow(),
                "no call hung");
    ledger_destroy(&ledger);
}

/* ---- the test ------------------------------------------------------------ */
/* We go over for the moment in which the service is started. */
static void s_far_service(world_t *w, pid_t holder) {
    int here = s_namespace(getpid());
    if (here < 0 || s_enter(holder))
        child_die("cannot go over");
    child_service(&w->service, w->back, "2");
    if (setns(here, CLONE_NEWNET))
        child_die("cannot come back");
    close(here);
}

static void s_begin(world_t *w, pid_t holder) {
    child_broker(&w->broker, "tcp://127.0.0.1:*",
                 holder < 0 ? "tcp://127.0.0.1:*" : "tcp://" HERE ":*");
    child_endpoint(&w->broker, "frontend=", w->front, sizeof w->front);
    child_endpoint(&w->broker, "backend=", w->back, sizeof w->back);
    if (holder < 0) {
        w->chaos = chaos_new(w->back);
        child_service(&w->service, chaos_endpoint(w->chaos), "2");
    } else {
        s_far_service(w, holder);
    }
    w->runtime = lanes_runtime();
    w->client = lanes_client(w->runtime, w->front);
}

int main(int argc, char **argv) {
    static const double all[] = {1, 2, 5, 10, 30};
    world_t w = {0};
    pid_t holder = -1;
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_LOG_LEVEL", "error", 1);
    child_init(argc, argv);
    const char *why = s_network(&holder);
    if (why) {
        printf("a proxy that falls silent instead of a veth pair: %s\n", why);
        holder = -1;
    }
    s_begin(&w, holder);
    size_t n = child_long() ? sizeof all / sizeof *all : 2;
    for (size_t i = 0; i < n; i++)
        s_down(&w, all[i]);
    gate_client_destroy(&w.client);
    gate_runtime_destroy(&w.runtime);
    child_end(&w.service);
    child_end(&w.broker);
    if (w.chaos)
        chaos_destroy(&w.chaos);
    if (holder > 0) {
        kill(holder, SIGKILL);
        waitpid(holder, NULL, 0);
    }
    return child_result();
}
