/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_zygote.c -- the zygote of a service is killed under load, of two
 * services with two worker processes each, with and without --supervise: at
 * most two calls of a hundred fail, those that ran in its workers; soon all are
 * answered again. */
#include "child.h"
#include "lanes.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES 6
#define ENOUGH 500 /* calls, of which a kill may cost 10 */
#define WAIT_MS 60000

/* ---- load ---------------------------------------------------------------- */

static gate_client_t *s_client;
static atomic_bool s_stop;
static atomic_long s_right, s_failed, s_wrong;

/* A call that is not run again when its worker dies. */
static void *s_lane(void *unused) {
    while (!s_stop) {
        int64_t got = -1;
        gate_err_t e =
            gate_client_call(s_client, "Demo.spin", &got, 1,
                             gate_timeout_ms((int64_t)(20000 * child_slow())));
        s_wrong += !e && got != 1;
        s_failed += e != GATE_OK;
        s_right += !e;
    }
    return unused;
}

/* So many right answers more; false: they did not come. */
static bool s_come(long n) {
    double until = child_now_ms() + WAIT_MS * child_slow();
    long have = s_right;
    while (s_right < have + n && child_now_ms() < until)
        child_sleep_ms(5);
    return s_right >= have + n;
}

/* ---- its zygote ----------------------------------------------------------- */

static bool s_named(int pid, const char *name) {
    char path[64], title[64] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    FILE *f = fopen(path, "re");
    if (f && !fgets(title, sizeof title, f))
        *title = 0;
    if (f)
        fclose(f);
    return strcmp(title, name) == 0;
}

static int s_zygote_below(int pid, int depth);

/* Among what one thread has started, and what that has. */
static int s_zygote_of(int pid, const char *thread, int depth) {
    char path[64];
    int child, found = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, thread);
    FILE *f = fopen(path, "re");
    while (f && !found && fscanf(f, "%d", &child) == 1)
        found = s_named(child, "gate-zygote") ? child
                : depth > 0                   ? s_zygote_below(child, depth - 1)
                                              : 0;
    if (f)
        fclose(f);
    return found;
}

static int s_zygote_below(int pid, int depth) {
    char path[64];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && !found && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            found = s_zygote_of(pid, e->d_name, depth);
    if (dir)
        closedir(dir);
    return found;
}

/* Wait for a successor: the next kill shall find one. */
static int s_zygote(const child_t *service) {
    double until = child_now_ms() + WAIT_MS * child_slow();
    int pid = 0;
    while (!pid && child_now_ms() < until) {
        pid = s_zygote_below(service->pid, 1);
        if (!pid)
            child_sleep_ms(5);
    }
    return pid;
}

/* ---- the test ------------------------------------------------------------- */

static void s_serve(child_t *self, const char *back, bool supervise) {
    const char *args[] = {"serve",
                          "--demo",
                          "--backend",
                          back,
                          "--processes",
                          "2",
                          supervise ? "--supervise" : NULL,
                          NULL};
    child_start(self, args);
}

static void s_kill_one(const child_t *service, const char *name) {
    long failed = s_failed, right = s_right;
    int zygote = s_zygote(service);
    if (!zygote) {
        child_fail("%s: no zygote is found", name);
        return;
    }
    kill(zygote, SIGKILL);
    double begin = child_now_ms();
    child_check(s_come(ENOUGH), "all are answered again");
    failed = s_failed - failed;
    right = s_right - right;
    printf("%s: %ld of %ld calls failed; %d right answers took %.0f ms\n", name,
           failed, failed + right, ENOUGH, child_now_ms() - begin);
    child_check(failed * 50 <= failed + right, "at most 2 % of the calls fail");
    child_check(s_zygote(service) != zygote, "another took its place");
}

static void s_both(const char *front, const char *back, bool supervise) {
    pthread_t threads[LANES];
    child_t service[2];
    gate_runtime_t *runtime = lanes_runtime();
    for (int i = 0; i < 2; i++)
        s_serve(&service[i], back, supervise);
    s_client = lanes_client(runtime, front);
    s_stop = false;
    for (int i = 0; i < LANES; i++)
        if (pthread_create(&threads[i], NULL, s_lane, NULL))
            child_die("no thread");
    child_check(s_come(100), "calls before the kill");
    s_kill_one(&service[0], supervise ? "supervised" : "plain");
    s_kill_one(&service[0], supervise ? "supervised, its spare too"
                                      : "plain, its spare too");
    s_stop = true;
    for (int i = 0; i < LANES; i++)
        pthread_join(threads[i], NULL);
    gate_client_destroy(&s_client);
    gate_runtime_destroy(&runtime);
    for (int i = 0; i < 2; i++)
        child_end(&service[i]);
}

int main(int argc, char **argv) {
    child_t broker;
    char front[128], back[128];
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    s_both(front, back, false);
    s_both(front, back, true);
    child_check(s_wrong == 0, "no answer is wrong");
    child_end(&broker);
    return child_result();
}
