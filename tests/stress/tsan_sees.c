/* SPDX-License-Identifier: BSD-3-Clause */
/* tsan_sees.c -- does the tsan preset see a race in which an actor takes part?
 * One is made on purpose: an inline method (on the service's actor) and main
 * write the same word, while messages and commands of other actors go to and
 * fro, which a suppression or a hand-over mark that is too wide would take for
 * an order between the two. The test passes when exactly that is reported. Only
 * in the tsan preset. */
#include <gaterpc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { COMMANDS = 20, REPORTED = 66 /* TSan's own exit code */ };

static long s_raced;           /* by both, without order: on purpose */
static long s_handed_over;     /* by both, with the call between */
static atomic_int s_was_there; /* relaxed: orders nothing */

static gate_err_t raced(gate_call_t *call) {
    s_raced++;
    s_handed_over++;
    atomic_store_explicit(&s_was_there, 1, memory_order_relaxed);
    return gate_return(call, 1);
}
static const gate_method_t methods[] = {GATE_METHOD(raced), GATE_END};

#define MUST(call)                                                   \
    do {                                                             \
        gate_err_t e_ = (call);                                      \
        CHECK(!e_, "%s: %s", gate_err_name(e_), gate_error()->text); \
    } while (0)

/* ---- the child: races ---------------------------------------------------- */
static void s_race(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", "broker");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(settings);
    GATE_OWN(gate_broker) broker = gate_broker_new(rt);
    gate_broker_bind(broker, "inproc://sees-front");
    gate_broker_bind_backend(broker, "inproc://sees-back");
    MUST(gate_broker_start(broker));
    GATE_OWN(gate_service) one = gate_service_new(rt, "One");
    GATE_OWN(gate_service) other = gate_service_new(rt, "Other");
    gate_service_methods(one, methods, NULL);
    gate_service_methods(other, methods, NULL);
    MUST(gate_service_start(one, "inproc://sees-back"));
    MUST(gate_service_start(other, "inproc://sees-back"));
    MUST(gate_service_ready(one, 5000));
    GATE_OWN(gate_client) client = gate_client_new(rt);
    MUST(gate_client_connect(client, "inproc://sees-front"));
    MUST(gate_client_ready(client, 5000));
    s_handed_over++;
    GATE_OWN(gate_future) future = gate_client_start(client, "One.raced");
    CHECK(future, "%s", gate_error()->text);
    while (!atomic_load_explicit(&s_was_there, memory_order_relaxed))
        usleep(1000);
    for (int i = 0; i < COMMANDS; i++) {
        GATE_OWN(gate_value) stats = gate_service_stats(other);
        CHECK(stats, "%s", gate_error()->text);
    }
    s_raced++;
    long result;
    MUST(gate_future_wait(future, 5000, &result));
    s_handed_over++;
}

/* ---- main: reads what is said about it ----------------------------------- */
static pid_t s_start(int out) {
    pid_t parent = getpid(), child = fork();
    if (child)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && dup2(out, 2) == 2)
        execl("/proc/self/exe", "tsan_sees", "race", (char *)NULL);
    _exit(127);
}

static int s_count(const char *text, const char *word) {
    int n = 0;
    for (; (text = strstr(text, word)); text++)
        n++;
    return n;
}

/* Said again without the words that would fail this test. */
static void s_repeat(const char *text) {
    for (const char *at = text; *at; at++)
        if (strncmp(at, "WARNING: ", 9) != 0)
            putchar(*at);
        else
            at += 8;
}

int main(int argc, char **argv) {
    static char text[1 << 18];
    size_t size = 0;
    ssize_t got;
    int ends[2], status;
    if (argc > 1 && strcmp(argv[1], "race") == 0) {
        s_race();
        return 0;
    }
    CHECK(pipe(ends) == 0, "no pipe");
    pid_t child = s_start(ends[1]);
    close(ends[1]);
    while ((got = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "no child");
    int n = s_count(text, "WARNING: ThreadSanitizer: data race");
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    bool there = strstr(text, "'s_raced'") && !strstr(text, "'s_handed_over'");
    if (code != REPORTED || n != 1 || !there)
        s_repeat(text);
    CHECK(code == REPORTED, "the child ended with %d", code);
    CHECK(n == 1, "%d races were reported", n);
    CHECK(there, "not the race that was made");
    puts("the race between an actor and main was reported, and nothing else");
    return 0;
}
