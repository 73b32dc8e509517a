/* SPDX-License-Identifier: BSD-3-Clause */
/* host.c -- gaterpc inside somebody's program: CZMQ's limits, the host's signal
 * handlers, a thread or socket that cannot be had. Each is an error, never an
 * abort, and afterwards everything works again. */
#include <criterion/criterion.h>
#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "rig.h"

static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }
static const gate_method_t table[] = {GATE_METHOD(one), GATE_END};

static void s_works(void) {
    rig_t rig;
    int64_t n = 0;
    rig_up(&rig, RIG_IPC, NULL, table, NULL);
    cr_assert_eq(gate_client_call(rig.client, "Test.one", &n), GATE_OK);
    cr_assert_eq(n, 1);
    rig_down(&rig);
}

static int s_caught;
static void s_on_term(int number) { s_caught = number; }

/* The host's handlers stay the host's: CZMQ's are not installed. */
Test(host, signals_are_the_hosts, .timeout = 30) {
    struct sigaction mine = {.sa_handler = s_on_term}, now;
    sigaction(SIGTERM, &mine, NULL);
    sigaction(SIGINT, NULL, &now);
    void (*before)(int) = now.sa_handler;
    s_works();
    sigaction(SIGTERM, NULL, &now);
    cr_assert(now.sa_handler == s_on_term);
    sigaction(SIGINT, NULL, &now);
    cr_assert(now.sa_handler == before);
    raise(SIGTERM);
    cr_assert_eq(s_caught, SIGTERM);
}

/* A host that already uses CZMQ, with its own sockets open. */
Test(host, czmq_is_in_use_already, .timeout = 30) {
    zsock_t *mine = zsock_new_pair("@inproc://host");
    zsock_t *other = zsock_new_pair(">inproc://host");
    s_works();
    zstr_send(mine, "still here");
    char *text = zstr_recv(other);
    cr_assert_str_eq(text, "still here");
    zstr_free(&text);
    zsock_destroy(&mine);
    zsock_destroy(&other);
}

/* CZMQ aborts at its cap; we return an error before it. */
Test(host, socket_cap, .timeout = 60) {
    enum { MAX = 64 };
    gate_client_t *clients[MAX] = {NULL};
    gate_err_t e = GATE_OK;
    int n = 0;
    setenv("ZSYS_MAX_SOCKETS", "60", 1);
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    for (; n < MAX && !e; n++) {
        clients[n] = gate_client_new(rt);
        e = gate_client_connect(clients[n], "tcp://127.0.0.1:1");
    }
    cr_assert_eq(e, GATE_SYSTEM, "%s after %d clients", gate_err_name(e), n);
    cr_assert(strstr(gate_error()->text, "cap"), "%s", gate_error()->text);
    for (int i = 0; i < MAX; i++)
        gate_client_destroy(&clients[i]);
    gate_client_t *again = gate_client_new(rt);
    /* libzmq gives closed sockets back some time later */
    for (int i = 0; i < 400; i++) {
        e = gate_client_connect(again, "tcp://127.0.0.1:1");
        if (!e)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    cr_assert_eq(e, GATE_OK, "%s", gate_error()->text);
    gate_client_destroy(&again);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

/* An error that says so, and no wait for what never comes. */
Test(host, no_thread_can_be_had, .timeout = 60) {
    GATE_OWN(gate_settings) settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    struct rlimit before, none;
    cr_assert_eq(gate_runtime_start(rt), GATE_OK);
    getrlimit(RLIMIT_AS, &before);
    FILE *statm = fopen("/proc/self/statm", "r");
    long pages = 0;
    cr_assert_eq(fscanf(statm, "%ld", &pages), 1);
    fclose(statm);
    none = before;
    /* less than one thread's stack is left */
    none.rlim_cur = (rlim_t)pages * 4096 + (2 << 20);
    setrlimit(RLIMIT_AS, &none);
    gate_client_t *client = gate_client_new(rt);
    gate_err_t e = gate_client_connect(client, "tcp://127.0.0.1:1");
    setrlimit(RLIMIT_AS, &before);
    cr_assert(e == GATE_SYSTEM || e == GATE_NOMEM, "%s: %s", gate_err_name(e),
              gate_error()->text);
    gate_client_destroy(&client);
    gate_runtime_destroy(&rt);
    s_works();
}

/* Other threads of the host may be reading it. */
Test(host, the_environment_is_the_hosts, .timeout = 30) {
    unsetenv("ZSYS_SIGHANDLER");
    unsetenv("ZSYS_MAX_SOCKETS");
    s_works();
    cr_expect_null(getenv("ZSYS_SIGHANDLER"));
    cr_expect_null(getenv("ZSYS_MAX_SOCKETS"));
}

/* What a child that is forked here has blocked. */
static gate_err_t blocked(gate_call_t *call) {
    int n = 0, status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        for (int i = 1; i < SIGRTMIN; i++)
            n += sigismember(&mask, i) == 1;
        _exit(n);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return gate_return(call, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}
static const gate_method_t forks[] = {
    GATE_METHOD(blocked),
    {.name = "on_a_thread", .fn = blocked, .runs = GATE_THREAD},
    GATE_END};

Test(host, a_handlers_child_blocks_nothing, .timeout = 60) {
    rig_t rig;
    int n = -1;
    rig_up(&rig, RIG_IPC, NULL, forks, NULL);
    cr_assert_eq(gate_client_call(rig.client, "Test.blocked", &n), GATE_OK);
    cr_expect_eq(n, 0);
    cr_assert_eq(gate_client_call(rig.client, "Test.on_a_thread", &n), GATE_OK);
    cr_expect_eq(n, 0);
    rig_down(&rig);
}

/* A program that just ends is not held up by what it left running. */
Test(host, exit_without_destroying, .exit_code = 3, .timeout = 20) {
    rig_t rig;
    rig_up(&rig, RIG_TCP, NULL, table, NULL);
    exit(3);
}

/* Any order of destroys: children keep what they stand on. */
Test(host, destroyed_in_the_wrong_order, .timeout = 60) {
    for (int w = 0; w < RIG_WAYS; w++) {
        rig_t rig;
        rig_up(&rig, (rig_way_t)w, NULL, table, NULL);
        gate_future_t *f = gate_client_start(rig.client, "Test.one");
        gate_runtime_destroy(&rig.rt);
        gate_broker_destroy(&rig.broker);
        gate_service_destroy(&rig.service);
        gate_client_destroy(&rig.client);
        gate_future_destroy(&f);
        rig_down(&rig);
    }
}

Test(host, nothing_stays_open, .timeout = 60) {
    s_works();
    int before = rig_fds();
    for (int i = 0; i < 10; i++)
        s_works();
    /* libzmq's reaper closes behind our back */
    for (int i = 0; i < 200 && rig_fds() > before; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    cr_assert_leq(rig_fds(), before);
}

Test(host, bad_settings_come_out_of_start) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "mesage_max", 5);
    gate_runtime_t *rt = gate_runtime_new(settings);
    cr_assert_eq(gate_runtime_start(rt), GATE_BADARG);
    cr_assert(strstr(gate_error()->text, "mesage_max"), "%s",
              gate_error()->text);
    gate_runtime_destroy(&rt);
}
