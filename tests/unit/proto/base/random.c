/* SPDX-License-Identifier: BSD-3-Clause */
/* random.c -- where getrandom is refused, as by a container's filter, random
 * numbers come from elsewhere; where they come from nowhere the process ends with
 * a sentence, and neither waits for ever nor goes on with what can be guessed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/identity.h"

static void s_refuse_getrandom(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
        cr_skip_test("no seccomp here: %s", strerror(errno));
}

Test(random, comes_from_the_file_where_the_call_is_refused, .timeout = 20) {
    unsigned char one[32] = {0}, two[32] = {0}, none[32] = {0};
    s_refuse_getrandom();
    gi_random(one, sizeof one);
    gi_random(two, sizeof two);
    cr_expect(memcmp(one, none, sizeof one) != 0);
    cr_expect(memcmp(one, two, sizeof one) != 0);
}

Test(random, from_nowhere_is_an_end, .signal = SIGABRT, .timeout = 20) {
    unsigned char id[16];
    s_refuse_getrandom();
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    gi_random(id, sizeof id);
}
