/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_life.c -- brokers with an uplink start and stop again and again, with a
 * NATS server and without one, joined and alone, ended before they are connected
 * and after; and servers stand still until their connection is given up: nothing
 * is left, and nobody races with libnats' own threads. */
#include <gaterpc.h>
#include "nats_server.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SHORT 12
#define LONG 200
#define STALE_SHORT 8
#define STALE_LONG 40

static void s_die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, gate_error()->text);
    exit(1);
}

static void s_pause(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static int s_count(const char *path) {
    int n = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

static gate_broker_t *s_broker(gate_runtime_t *rt, const char *url) {
    gate_broker_t *broker = gate_broker_new(rt);
    if (!broker)
        s_die("a broker");
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    gate_broker_uplink(broker, url);
    if (gate_broker_start(broker))
        s_die("its start");
    return broker;
}

static int64_t s_number(gate_broker_t *broker, const char *name) {
    int64_t n = 0;
    GATE_OWN(gate_value) stats = gate_broker_stats(broker);
    if (!stats || gate_value_read(stats, name, &n))
        s_die("statistics");
    return n;
}

static int64_t s_links(gate_broker_t *broker) {
    return s_number(broker, "uplink.links_up");
}

static void s_until_up(gate_broker_t *broker, int64_t up) {
    for (int n = 0; s_number(broker, "uplink.up") != up; n++) {
        if (n == 6000)
            s_die("a connection is not noticed within a minute");
        s_pause(10);
    }
}

/* libnats' timer finds it out, and closes. */
static void s_stale(gate_runtime_t *rt, nats_server_t *server, int times) {
    gate_broker_t *broker = s_broker(rt, server->url);
    for (int i = 0; i < times; i++) {
        s_until_up(broker, 1);
        kill(server->pid, SIGSTOP);
        s_until_up(broker, 0);
        kill(server->pid, SIGCONT);
    }
    gate_broker_destroy(&broker);
}

/* Every third pair is there until it is joined; others end at once, or while
 * they connect. */
static void s_life(gate_runtime_t *rt, const char *url, int i, bool joins) {
    gate_broker_t *a = s_broker(rt, url), *b = s_broker(rt, url);
    if (i % 3 == 1)
        s_pause(i % 7 * 3);
    for (int n = 0; joins && i % 3 == 2 && s_links(a) == 0; n++) {
        if (n == 6000)
            s_die("they were not joined within a minute");
        s_pause(10);
    }
    gate_broker_destroy(&a);
    gate_broker_destroy(&b);
}

int main(void) {
    nats_server_t server;
    const char *why = nats_missing();
    bool is_long = getenv("GATE_LONG") != NULL;
    int n = is_long ? LONG : SHORT, fds = 0, threads = 0;
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    unsetenv("GATE_LONG");
    unsetenv("GATE_SCALE");
    unsetenv("GATE_SLOW");
    if (!nats_begin(&server, NULL))
        s_die("nats-server does not start");
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "uplink_heartbeat_ms", 200);
    GATE_OWN(gate_runtime) rt = gate_runtime_new(settings);
    if (!rt || gate_runtime_start(rt))
        s_die("a runtime");
    for (int i = 0; i < n; i++) {
        bool there = i % 4 != 3;
        if (!there)
            nats_kill(&server);
        s_life(rt, server.url, i, there);
        if (!there && !nats_start(&server))
            s_die("nats-server does not start again");
        if (i == 5) { /* libnats has its threads, and keeps them */
            s_pause(200);
            fds = s_count("/proc/self/fd");
            threads = s_count("/proc/self/task");
        }
    }
    s_stale(rt, &server, is_long ? STALE_LONG : STALE_SHORT);
    nats_kill(&server);
    for (int i = 0; i < 1000 && (s_count("/proc/self/fd") > fds ||
                                 s_count("/proc/self/task") > threads);
         i++)
        s_pause(10); /* who was connecting ends by itself */
    printf("%d pairs: %d descriptors (%d), %d threads (%d)\n", n,
           s_count("/proc/self/fd"), fds, s_count("/proc/self/task"), threads);
    return s_count("/proc/self/fd") > fds ||
           s_count("/proc/self/task") > threads;
}
