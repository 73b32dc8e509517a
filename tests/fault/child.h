/* SPDX-License-Identifier: BSD-3-Clause */
/* child.h -- the processes of a fault test: `gate broker` and `gate serve
 * --demo`, started, watched, stopped and killed by pid. They die with the test.
 * Thread: one. Blocks: start until the ready line (20 s at most). */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHILD_LINE 512

typedef struct child {
    pid_t pid;
    int out;                /* its stdout, for us to read */
    char ready[CHILD_LINE]; /* the line it printed when ready */
} child_t;

/* argv[1] of the test is the gate command; makes a directory for sockets,
 * removed at exit. Call it first. */
void child_init(int argc, char **argv);
/* Prints why and exits with 1. */
void child_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* Fails the test, which goes on; child_result() is then 1. */
void child_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void child_check(bool ok, const char *what);
int child_result(void);

/* Starts the command with these arguments (NULL-ended). */
void child_spawn(child_t *self, const char *const *args);
/* Waits for its "ready". */
void child_ready(child_t *self);
/* Both. */
void child_start(child_t *self, const char *const *args);
/* Both with another program; NULL is the test itself. */
void child_run(child_t *self, const char *program, const char *const *args);
void child_broker(child_t *self, const char *frontend, const char *backend);
/* threads as text. With GATE_FAULT_WORKER="PYTHON SCRIPT" in the environment it
 * is a worker of Python's kind (tests/wire/worker.py). */
void child_service(child_t *self, const char *backend, const char *threads);
/* The same with an identity made from name; false without that variable. */
bool child_python(child_t *self, const char *backend, const char *name);
bool child_has_python(void);
void child_spawn_service(child_t *self, const char *backend,
                         const char *threads);
void child_signal(const child_t *self, int number);
/* Waits at most so long; the exit status as of waitpid, or -1. */
int child_wait(child_t *self, int timeout_ms);
/* SIGKILL and reap. */
void child_kill(child_t *self);
/* SIGTERM; a child that does not end with 0 in 20 s fails the test. */
void child_end(child_t *self);
/* The n-th endpoint "frontend=" or "backend=" of the ready line. */
void child_endpoint(const child_t *self, const char *key, char *to,
                    size_t size);
long child_rss_kb(const child_t *self);
int child_fds(pid_t pid); /* 0 = this process */

/* "DIR/name". */
void child_path(const char *name, char *to, size_t size);
/* "ipc://DIR/name". */
void child_ipc(const char *name, char *to, size_t size);
/* GATE_SCALE times n, at least least. */
size_t child_scaled(size_t n, size_t least);
bool child_long(void);   /* GATE_LONG is set: full counts, figures asserted */
double child_slow(void); /* GATE_SLOW: stretches upper bounds */
double child_now_ms(void);
void child_sleep_ms(double ms);

#endif
