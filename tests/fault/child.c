/* SPDX-License-Identifier: BSD-3-Clause */
/* child.c -- fork, exec, a pipe for the ready line, PR_SET_PDEATHSIG so that
 * nothing outlives a test that dies. */
#include "child.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *s_gate;
static char s_dir[64];
static atomic_bool s_failed;
/* The kit's own variables: taken out of the environment, where the library
 * would warn of names it does not know. */
static double s_scale = 0.05, s_long, s_slow = 1.0;
static char s_python[256], s_script[512]; /* of GATE_FAULT_WORKER */

/* ---- the test itself ----------------------------------------------------- */
static int s_remove(const char *path, const struct stat *is, int kind,
                    struct FTW *at) {
    (void)is, (void)kind, (void)at;
    remove(path);
    return 0;
}

static void s_cleanup(void) { nftw(s_dir, s_remove, 8, FTW_DEPTH | FTW_PHYS); }

static double s_take_env(const char *name, double otherwise) {
    const char *text = getenv(name);
    double v = text ? strtod(text, NULL) : 0;
    unsetenv(name);
    return v > 0 ? v : otherwise;
}

void child_init(int argc, char **argv) {
    s_long = s_take_env("GATE_LONG", 0);
    s_scale = s_take_env("GATE_SCALE", s_long > 0 ? 1.0 : 0.05);
    s_slow = s_take_env("GATE_SLOW", 1.0);
    const char *worker = getenv("GATE_FAULT_WORKER");
    if (worker && sscanf(worker, "%255s %511[^\n]", s_python, s_script) != 2)
        child_die("GATE_FAULT_WORKER: PYTHON SCRIPT expected");
    unsetenv("GATE_FAULT_WORKER");
    s_gate = argc > 1 ? argv[1] : getenv("GATE_COMMAND");
    if (!s_gate || access(s_gate, X_OK))
        child_die("usage: %s GATE-COMMAND", argv[0]);
    snprintf(s_dir, sizeof s_dir, "/tmp/gate-fault-XXXXXX");
    if (!mkdtemp(s_dir))
        child_die("no directory: %s", strerror(errno));
    atexit(s_cleanup);
    signal(SIGPIPE, SIG_IGN);
}

static void s_say(const char *fmt, va_list args) {
    fprintf(stderr, "FAIL: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
}

void child_die(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    s_say(fmt, args);
    va_end(args);
    exit(1);
}

void child_fail(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    s_say(fmt, args);
    va_end(args);
    atomic_store(&s_failed, true);
}

void child_check(bool ok, const char *what) {
    if (!ok)
        child_fail("%s", what);
}

int child_result(void) { return atomic_load(&s_failed) ? 1 : 0; }

/* ---- life of a child ----------------------------------------------------- */
static void s_exec(int out, const char *program, const char *const *args) {
    const char *argv[24] = {program};
    for (size_t i = 0; args[i] && i < 22; i++)
        argv[i + 1] = args[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    dup2(out, STDOUT_FILENO);
    /* execv takes char *const *, but does not write to it. */
    union {
        const char **in;
        char **out;
    } cast = {argv};
    execv(program, cast.out);
    _exit(127);
}

/* Reads one line, waiting at most until the deadline. */
static bool s_read_line(int fd, char *line, double deadline) {
    size_t n = 0;
    while (n + 1 < CHILD_LINE) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int left = (int)(deadline - child_now_ms());
        if (left <= 0 || poll(&p, 1, left) <= 0 || read(fd, line + n, 1) != 1)
            return false;
        if (line[n++] == '\n') {
            line[n - 1] = '\0';
            return true;
        }
    }
    return false;
}

static void s_spawn(child_t *self, const char *program,
                    const char *const *args) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        child_die("pipe: %s", strerror(errno));
    self->pid = fork();
    if (self->pid < 0)
        child_die("fork: %s", strerror(errno));
    if (self->pid == 0)
        s_exec(ends[1], program ? program : "/proc/self/exe", args);
    close(ends[1]);
    self->out = ends[0];
    snprintf(self->ready, sizeof self->ready, "%s", args[0]);
}

void child_spawn(child_t *self, const char *const *args) {
    s_spawn(self, s_gate, args);
}

void child_ready(child_t *self) {
    double deadline = child_now_ms() + 20000 * child_slow();
    char line[CHILD_LINE] = "";
    if (!s_read_line(self->out, line, deadline) ||
        strncmp(line, "ready ", 6) != 0)
        child_die("%s is not ready", self->ready);
    memcpy(self->ready, line, sizeof line);
}

void child_run(child_t *self, const char *program, const char *const *args) {
    s_spawn(self, program, args);
    child_ready(self);
}

void child_start(child_t *self, const char *const *args) {
    child_run(self, s_gate, args);
}

void child_broker(child_t *self, const char *frontend, const char *backend) {
    const char *args[] = {"broker",    "--frontend", frontend,
                          "--backend", backend,      NULL};
    child_start(self, args);
}

void child_spawn_service(child_t *self, const char *backend,
                         const char *threads) {
    const char *args[] = {"serve",     "--demo", "--backend", backend,
                          "--threads", threads,  NULL};
    child_spawn(self, args);
}

bool child_has_python(void) { return *s_script; }

bool child_python(child_t *self, const char *backend, const char *name) {
    const char *args[] = {"-B", s_script, backend, name, NULL};
    if (*s_script)
        child_run(self, s_python, args);
    return *s_script;
}

void child_service(child_t *self, const char *backend, const char *threads) {
    if (child_python(self, backend, NULL))
        return;
    child_spawn_service(self, backend, threads);
    child_ready(self);
}

void child_signal(const child_t *self, int number) {
    if (self->pid > 0)
        kill(self->pid, number);
}

int child_wait(child_t *self, int timeout_ms) {
    double deadline = child_now_ms() + timeout_ms * child_slow();
    int status = -1;
    while (self->pid > 0) {
        if (waitpid(self->pid, &status, WNOHANG) == self->pid) {
            self->pid = 0;
            close(self->out);
            return status;
        }
        if (child_now_ms() > deadline)
            return -1;
        child_sleep_ms(2);
    }
    return -1;
}

void child_kill(child_t *self) {
    child_signal(self, SIGKILL);
    child_wait(self, 10000);
}

void child_end(child_t *self) {
    if (self->pid <= 0)
        return;
    child_signal(self, SIGTERM);
    int status = child_wait(self, 20000);
    if (status != 0)
        child_fail("a child ended with status %d on SIGTERM (%s)", status,
                   self->ready);
    if (self->pid > 0)
        child_kill(self);
}

/* ---- what it shows ------------------------------------------------------- */
void child_endpoint(const child_t *self, const char *key, char *to,
                    size_t size) {
    const char *at = strstr(self->ready, key);
    if (!at)
        child_die("no %s in \"%s\"", key, self->ready);
    at += strlen(key);
    snprintf(to, size, "%.*s", (int)strcspn(at, " ,"), at);
}

long child_rss_kb(const child_t *self) {
    char path[64];
    long pages = 0, skip = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)self->pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &skip, &pages) != 2)
        child_die("cannot read %s", path);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int child_fds(pid_t pid) {
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)(pid ? pid : getpid()));
    DIR *dir = opendir(path);
    if (!dir)
        child_die("cannot read %s", path);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2 - (pid == 0); /* ".", "..", and the directory's own */
}

void child_path(const char *name, char *to, size_t size) {
    snprintf(to, size, "%s/%s", s_dir, name);
}

void child_ipc(const char *name, char *to, size_t size) {
    snprintf(to, size, "ipc://%s/%s", s_dir, name);
}

/* ---- scale and time ------------------------------------------------------ */
size_t child_scaled(size_t n, size_t least) {
    size_t scaled = (size_t)((double)n * s_scale);
    return scaled < least ? least : scaled;
}

bool child_long(void) { return s_long > 0; }

double child_slow(void) { return s_slow; }

double child_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void child_sleep_ms(double ms) {
    struct timespec t = {.tv_sec = (time_t)(ms / 1000),
                         .tv_nsec = (long)(ms * 1e6) % 1000000000L};
    nanosleep(&t, NULL);
}
