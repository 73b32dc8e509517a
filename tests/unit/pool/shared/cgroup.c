/* SPDX-License-Identifier: BSD-3-Clause */
/* What a container leaves: quotas and memory limits of v1 and v2, of any group
 * from the process's own up to the root. */
#include "shared/cgroup.h"
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char s_tree[] = "/tmp/gate-cgroup-XXXXXX";

static void s_make(void) {
    cr_assert(mkdtemp(s_tree));
    gi_cgroup_look_below(s_tree);
}

static void s_remove(void) {
    char command[200];
    gi_cgroup_look_below("");
    snprintf(command, sizeof command, "rm -r %s", s_tree);
    cr_assert_eq(system(command), 0);
}

static void s_write(const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s%s", s_tree, name);
    for (char *at = path + strlen(s_tree) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(path, 0700);
        *at = '/';
    }
    FILE *f = fopen(path, "w");
    cr_assert(f, "%s", path);
    fputs(text, f);
    fclose(f);
}

static int s_affinity(void) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

static int s_least(int a, int b) { return a < b ? a : b; }

Test(cgroup, nothing_is_limited, .init = s_make, .fini = s_remove) {
    cr_assert_eq(gi_cgroup_cpus(), s_affinity()); /* not even the files */
    cr_assert_eq(gi_cgroup_memory_left(), UINT64_MAX);
    s_write("/proc/self/cgroup", "0::/a/b\n");
    s_write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    s_write("/sys/fs/cgroup/a/b/memory.max", "max\n");
    s_write("/sys/fs/cgroup/a/b/memory.current", "4096\n");
    cr_assert_eq(gi_cgroup_cpus(), s_affinity());
    cr_assert_eq(gi_cgroup_memory_left(), UINT64_MAX);
}

Test(cgroup, the_least_of_all_above, .init = s_make, .fini = s_remove) {
    s_write("/proc/self/cgroup", "0::/a/b\n");
    s_write("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    cr_assert_eq(gi_cgroup_cpus(), s_least(2, s_affinity())); /* 1.5 */
    s_write("/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    cr_assert_eq(gi_cgroup_cpus(), 1);
    s_write("/sys/fs/cgroup/a/b/memory.max", "1000000\n");
    s_write("/sys/fs/cgroup/a/b/memory.current", "600000\n");
    cr_assert_eq(gi_cgroup_memory_left(), 400000);
    s_write("/sys/fs/cgroup/a/b/memory.stat",
            "anon 1\nfile 2\ninactive_file 100000\nactive_file 7\n");
    cr_assert_eq(gi_cgroup_memory_left(), 500000);
    s_write("/sys/fs/cgroup/memory.max", "300000\n");
    s_write("/sys/fs/cgroup/memory.current", "300001\n");
    cr_assert_eq(gi_cgroup_memory_left(), 0);
}

Test(cgroup, a_container_whose_path_is_not_there, .init = s_make,
     .fini = s_remove) {
    s_write("/proc/self/cgroup", "0::/\n");
    s_write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    cr_assert_eq(gi_cgroup_cpus(), 1);
    s_write("/proc/self/cgroup", "0::/docker/0123\n");
    cr_assert_eq(gi_cgroup_cpus(), 1);
    s_write("/proc/self/cgroup", "0::/../other\nrubbish\n::\n0:\n");
    cr_assert_eq(gi_cgroup_cpus(), 1);
}

Test(cgroup, version_1, .init = s_make, .fini = s_remove) {
    s_write("/proc/self/cgroup", "5:cpuset:/y\n4:memory:/x\n"
                                 "3:cpuacct,cpu:/x\n2:name=cpu:/y\n");
    s_write("/sys/fs/cgroup/cpu/y/cpu.cfs_quota_us",
            "100000\n"); /* another's */
    s_write("/sys/fs/cgroup/cpu/y/cpu.cfs_period_us", "100000\n");
    s_write("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
    s_write("/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    s_write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
            "9223372036854771712\n");
    s_write("/sys/fs/cgroup/memory/x/memory.usage_in_bytes", "4096\n");
    cr_assert_eq(gi_cgroup_cpus(), s_affinity());
    cr_assert_eq(gi_cgroup_memory_left(), UINT64_MAX);
    s_write("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "100000\n");
    s_write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8192\n");
    cr_assert_eq(gi_cgroup_cpus(), 1);
    cr_assert_eq(gi_cgroup_memory_left(), 4096);
}
