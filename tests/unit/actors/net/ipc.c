/* SPDX-License-Identifier: BSD-3-Clause */
/* ipc.c -- a socket file is made where nothing is or a dead one was, by one of
 * those that come at the same time, and nowhere else. */
#include "net/ipc.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/trusted.h"

static char s_dir[64], s_path[100];

static void s_open(void) {
    umask(022);
    strcpy(s_dir, "/tmp/gate-ipc-XXXXXX");
    cr_assert_not_null(mkdtemp(s_dir));
    snprintf(s_path, sizeof s_path, "%s/s", s_dir);
}

static void s_close(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", s_dir);
    cr_assert_eq(system(command), 0);
}

static gate_err_t s_listen(int type, int *fd) {
    gi_ipc_file_t file;
    return gi_ipc_listen("here", s_path, type, 0, &file, fd);
}

static void s_left_alone(const char *word) {
    struct stat before, after;
    int fd = -1;
    cr_assert_eq(lstat(s_path, &before), 0);
    cr_expect_eq(s_listen(SOCK_STREAM, &fd), GATE_SYSTEM, "%s", word);
    cr_expect(strstr(gate_error()->text, word), "%s: %s", word,
              gate_error()->text);
    cr_expect(lstat(s_path, &after) == 0 && after.st_ino == before.st_ino &&
                  after.st_size == before.st_size,
              "%s", word);
}

Test(ipc, what_is_no_socket, .init = s_open, .fini = s_close, .timeout = 20) {
    int fd = open(s_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, "precious", 8) == 8 && close(fd) == 0);
    s_left_alone("no socket");
    cr_assert_eq(unlink(s_path) | symlink("/etc/passwd", s_path), 0);
    s_left_alone("no socket");
    cr_assert_eq(unlink(s_path) | mkfifo(s_path, 0600), 0);
    s_left_alone("no socket");
    cr_assert_eq(unlink(s_path) | mkdir(s_path, 0700), 0);
    s_left_alone("no socket");
}

Test(ipc, the_living_and_the_dead, .init = s_open, .fini = s_close,
     .timeout = 20) {
    int fd, other;
    gi_ipc_file_t file;
    cr_assert_eq(gi_ipc_listen("here", s_path, SOCK_STREAM, 0600, &file, &fd),
                 GATE_OK);
    s_left_alone("address in use");
    close(fd); /* dead: its file is there yet */
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* a tick */
    cr_assert_eq(s_listen(SOCK_STREAM, &fd), GATE_OK, "%s", gate_error()->text);
    gi_ipc_remove(s_path, &file); /* of the dead one: not this one's */
    cr_expect_eq(access(s_path, F_OK), 0);
    file = gi_ipc_file(s_path);
    gi_ipc_remove(s_path, &file);
    cr_expect_neq(access(s_path, F_OK), 0);
    close(fd);
    cr_assert_eq(s_listen(SOCK_SEQPACKET, &other), GATE_OK);
    s_left_alone("cannot be told"); /* another kind of socket lives there */
    close(other);
}

/* Somebody else's, who may be there though we may not ask. */
Test(ipc, not_ours_to_ask, .init = s_open, .fini = s_close, .timeout = 20) {
    int fd, status;
    if (geteuid() != 0)
        cr_skip_test("only root can become somebody else");
    cr_assert_eq(s_listen(SOCK_STREAM, &fd), GATE_OK);
    cr_assert_eq(chmod(s_path, 0600) | chmod(s_dir, 0777), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int mine;
        if (setgid(65534) || setuid(65534))
            _exit(2);
        gate_err_t e = s_listen(SOCK_STREAM, &mine);
        _exit(e == GATE_SYSTEM && strstr(gate_error()->text, "cannot be told")
                  ? 0
                  : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect(gi_ipc_is_ours(s_path));
    close(fd);
}

/* ---- at the same time ---------------------------------------------------- */
static pthread_barrier_t s_start;

static void *s_race(void *arg) {
    int fd = -1;
    pthread_barrier_wait(&s_start);
    *(int *)arg = s_listen(SOCK_STREAM, &fd) == GATE_OK ? fd : -1;
    return NULL;
}

Test(ipc, one_of_four, .init = s_open, .fini = s_close, .timeout = 120) {
    enum { N = 4, ROUNDS = 6 };
    pthread_t threads[N];
    int fds[N];
    pthread_barrier_init(&s_start, NULL, N);
    for (int round = 0; round < ROUNDS; round++) {
        int n = 0; /* a dead one's file is there from the second round on */
        for (int i = 0; i < N; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, s_race, &fds[i]), 0);
        for (int i = 0; i < N; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < N; i++)
            if (fds[i] >= 0) {
                n++;
                close(fds[i]);
            }
        cr_expect_eq(n, 1, "%d of four in round %d", n, round);
    }
    pthread_barrier_destroy(&s_start);
}

/* ---- who may say who gets in --------------------------------------------- */
static gate_err_t s_look(const char *endpoint, const char **watch) {
    return gi_ipc_look("the service", endpoint, 0, watch);
}

Test(ipc, who_may_be_asked, .init = s_open, .fini = s_close, .timeout = 20) {
    char endpoint[120];
    const char *watch;
    int fd;
    snprintf(endpoint, sizeof endpoint, "ipc://%s", s_path);
    cr_expect_eq(s_look("tcp://127.0.0.1:1", &watch), GATE_OK);
    cr_expect_null(watch);
    cr_expect_eq(s_look("ipc://@name", &watch), GATE_SYSTEM);
    cr_expect_eq(s_look(endpoint, &watch), GATE_OK);
    cr_expect_null(watch, "our own directory: nobody can take its place");
    cr_assert_eq(chmod(s_dir, 01777), 0);
    cr_expect_eq(s_look(endpoint, &watch), GATE_OK);
    cr_expect(watch && strcmp(watch, s_path) == 0);
    cr_expect(!gi_ipc_is_ours(s_path), "nobody is there");
    cr_assert_eq(s_listen(SOCK_STREAM, &fd), GATE_OK);
    cr_expect(gi_ipc_is_ours(s_path));
    cr_assert_eq(chmod(s_dir, 0777), 0);
    cr_expect_eq(s_look(endpoint, &watch), GATE_SYSTEM);
    cr_expect_eq(gi_ipc_look("x", endpoint, GI_TRUST_OTHERS, &watch), GATE_OK);
    if (geteuid() == 0) {
        cr_assert_eq(chmod(s_dir, 01777) | lchown(s_path, 12345, 12345), 0);
        cr_expect_eq(s_look(endpoint, &watch), GATE_SYSTEM);
        cr_expect(strstr(gate_error()->text, "uid 12345"));
        cr_expect(!gi_ipc_is_ours(s_path));
    }
    close(fd);
}
