/* SPDX-License-Identifier: BSD-3-Clause */
/* Nothing more is read of a peer that is cut off, whatever the kernel has. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "net/guard.h"

Test(guard, what_waits_over_ipc_is_thrown_away, .timeout = 30) {
    static char bytes[100000];
    GATE_OWN(gate_settings) settings = gate_settings_new();
    char dir[] = "/tmp/gate-guard-XXXXXX", endpoint[128];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    gi_guard_t guard;
    cr_assert(mkdtemp(dir));
    snprintf(at.sun_path, sizeof at.sun_path, "%s/s", dir);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", at.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int peer = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(connect(peer, (struct sockaddr *)&at, sizeof at), 0);
    int fd = accept(listener, NULL, NULL);
    gi_guard_init(&guard, settings, "test", (gi_guard_bounds_t){0}, false, 0);
    gi_guard_endpoint(&guard, endpoint);
    cr_assert_eq(send(peer, bytes, sizeof bytes, MSG_DONTWAIT),
                 (ssize_t)sizeof bytes);
    gi_guard_cut(&guard, fd, "a test");
    cr_assert_eq(guard.n_cut, 1);
    cr_assert_eq(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 0, "the end");
    gi_guard_fini(&guard);
    close(peer);
    close(fd);
    close(listener);
    unlink(at.sun_path);
    rmdir(dir);
}
