/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus.c -- the settings cpus and busy_poll_us: threads run where they were
 * told to, and calls are answered all the same. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rig.h"

static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }

/* How many CPUs a pool's thread may use. */
static gate_err_t may_use(gate_call_t *call) {
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return gate_return(call, CPU_COUNT(&set));
}

static const gate_method_t table[] = {
    GATE_METHOD(one), GATE_METHOD(may_use, .runs = GATE_THREAD), GATE_END};

static int s_last_cpu(void) {
    cpu_set_t set;
    int last = -1;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            last = (int)cpu;
    return last;
}

/* The threads of ours with this name that run on that CPU alone; -1: another
 * may run elsewhere. */
static int s_pinned(const char *name, int cpu) {
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(dir));) {
        char path[300], comm[32] = "";
        cpu_set_t set;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *file = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file)
            continue;
        if (fgets(comm, sizeof comm, file) && strstr(comm, name) &&
            sched_getaffinity(atoi(e->d_name), sizeof set, &set) == 0)
            n = n >= 0 && CPU_COUNT(&set) == 1 && CPU_ISSET((size_t)cpu, &set)
                    ? n + 1
                    : -1;
        fclose(file);
    }
    closedir(dir);
    return n;
}

Test(cpus, threads_are_where_they_should_be, .timeout = 30) {
    char cpu[16];
    rig_t rig;
    int64_t n = 0;
    int last = s_last_cpu();
    snprintf(cpu, sizeof cpu, "%d", last);
    GATE_OWN(gate_settings) settings = rig_settings();
    gate_settings_set(settings, "cpus", cpu);
    gate_settings_set(settings, "busy_poll_us", 200);
    rig_up(&rig, RIG_TCP, settings, table, NULL);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(gate_client_call(rig.client, "Test.one", &n), GATE_OK);
        cr_assert_eq(n, 1);
    }
    cpu_set_t mine;
    cr_assert_eq(sched_getaffinity(0, sizeof mine, &mine), 0);
    cr_assert_eq(gate_client_call(rig.client, "Test.may_use", &n), GATE_OK);
    cr_assert_eq(n, CPU_COUNT(&mine), "pools are not pinned with the actors");
    cr_assert_geq(s_pinned("broker", last), 1);
    cr_assert_geq(s_pinned("service", last), 1);
    cr_assert_geq(s_pinned("client", last), 1);
    cr_assert_geq(s_pinned("/IO/", last), 1);
    rig_down(&rig);
}

Test(cpus, what_is_no_list_is_named, .timeout = 30) {
    static const char *const wrong[] = {"x",  "0-",  "-1",   "1-0",
                                        "0,", "0 1", "4096", "0x1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        GATE_OWN(gate_settings) settings = rig_settings();
        gate_settings_set(settings, "cpus", wrong[i]);
        gate_runtime_t *rt = gate_runtime_new(settings);
        cr_assert_eq(gate_runtime_start(rt), GATE_BADARG, "%s", wrong[i]);
        cr_assert(strstr(gate_error()->text, "cpus"), "%s", gate_error()->text);
        gate_runtime_destroy(&rt);
    }
}
