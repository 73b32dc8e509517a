/* SPDX-License-Identifier: BSD-3-Clause */
/* What a machine is: a real control group with a limit of memory, and as many
 * workers as there may be. */
#include "procs_kit.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "shared/cgroup.h"
#include "sync/clock.h"

static gate_err_t same(gate_call_t *call) {
    long x;
    gate_err_t e = gate_args(call, &x);
    return e ? e : gate_return(call, x);
}

/* ---- a group with 256 MiB ------------------------------------------------ */

#define LIMIT (256L << 20)

static bool s_put(const char *folder, const char *name, long value) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "we");
    bool ok = f && fprintf(f, "%ld\n", value) > 0;
    return f && fclose(f) == 0 && ok;
}

/* Under v1 or v2; false: this machine gives us none. */
static bool s_group(char *folder, size_t room) {
    static const char *const at[][2] = {
        {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
        {"/sys/fs/cgroup", "memory.max"}};
    for (size_t i = 0; i < 2; i++) {
        snprintf(folder, room, "%s/gate-test-%d", at[i][0], (int)getpid());
        if (mkdir(folder, 0755) == 0 && s_put(folder, at[i][1], LIMIT))
            return true;
        rmdir(folder);
    }
    return false;
}

/* In the group: 0, or which expectation failed. What would have the kernel kill
 * somebody is refused; what fits is given; jobs run. */
static int s_inside(const char *folder) {
    long x = 0;
    if (!s_put(folder, "cgroup.procs", getpid()))
        return 77;
    if (gi_cgroup_memory_left() > (uint64_t)LIMIT)
        return 2;
    if (gate_process_init())
        return 3;
    gate_pool_options_t o = {.name = "t", .workers = 1};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_shared_t *large = gate_shared_new(pool, 400u << 20);
    if (large || gate_error()->code != GATE_NOMEM)
        return 4;
    GATE_OWN(gate_shared) fits = gate_shared_new(pool, 32u << 20);
    if (!fits)
        return 5;
    memset(gate_shared_data(fits), 1, 32u << 20);
    GATE_OWN(gate_future) f = gate_submit(pool, same, 7);
    return gate_future_wait(f, 40000, &x) || x != 7 ? 6 : 0;
}

Test(container, a_limit_of_memory_is_an_error_and_no_kill, .timeout = 120) {
    char folder[128];
    int status = 0;
    if (!s_group(folder, sizeof folder))
        cr_skip_test("no control group for memory can be made here");
    pid_t child = fork();
    if (child == 0)
        _exit(s_inside(folder));
    cr_assert_eq(waitpid(child, &status, 0), child);
    int64_t until = gi_clock_ms() + 30000;
    while (rmdir(folder) && errno == EBUSY && gi_clock_ms() < until)
        usleep(5000); /* its zygote ends when it sees that the child has */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        cr_skip_test("no process can be put into it");
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x",
              (unsigned)status);
    cr_assert_neq(access(folder, F_OK), 0, "the group is left");
}

/* ---- 1,024 workers -------------------------------------------------------- */

static gate_pool_t *s_pool_slab(int workers, long slab_bytes) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "process_slab_bytes", slab_bytes);
    gi_pool_base_t base = {.settings = settings};
    gate_pool_options_t o = {.name = "t", .workers = workers};
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    cr_assert(pool, "%s", gate_error()->text);
    return pool;
}

Test(container, as_many_workers_as_there_may_be, .timeout = 300) {
    enum { WORKERS = 1024, JOBS = 4096, FILES = 8192 };
    static gate_future_t *f[JOBS];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    cr_skip_test("too many processes of a sanitizer");
#endif
    if (files.rlim_cur < FILES)
        cr_skip_test("it takes 8,192 descriptors");
    GATE_OWN(gate_pool) pool = s_pool_slab(WORKERS, 1 << 20);
    long alive = 0, x;
    int64_t until = gi_clock_ms() + 200000;
    while (alive < WORKERS && gi_clock_ms() < until) {
        GATE_OWN(gate_value) v = gate_pool_stats(pool);
        ok(gate_value_read(v, "alive", &alive));
        usleep(10000);
    }
    cr_assert_eq(alive, WORKERS);
    for (long i = 0; i < JOBS; i++)
        f[i] = gate_submit(pool, same, i);
    for (long i = 0; i < JOBS; i++) {
        ok(gate_future_wait(f[i], 60000, &x));
        cr_assert_eq(x, i);
        gate_future_destroy(&f[i]);
    }
}
