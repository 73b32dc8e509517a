/* SPDX-License-Identifier: BSD-3-Clause */
/* What daemons do, each alone and all at once: in each life a process pool's
 * jobs run, fail and end as in a program that does none of it.
 * Each life is a process of its own; what needs root says that it was left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gaterpc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sync/clock.h"

#define REPORT 60 /* where a life says what went wrong */
#define LIFE_MS 60000
#define NOBODY 65534
#define FILES 8

#define LIVE(cond, ...)                                    \
    do {                                                   \
        if (!(cond)) {                                     \
            dprintf(REPORT, "line %d: ", __LINE__);        \
            dprintf(REPORT, __VA_ARGS__);                  \
            dprintf(REPORT, ": %s\n", gate_error()->text); \
            _exit(1);                                      \
        }                                                  \
    } while (0)

enum {
    ROOT = 1,
    CLOSED = 2,
    ARGV = 4,
    FILES_OPEN = 8,
    CHROOT = 16,
    WAIT_ALL = 32,
    FORKS = 64,
    SIGCHLD_TAKEN = 128,
    KILL_0 = 256,
    NESTED = 512,
    CHILDREN = 1024
};

static const struct {
    const char *name;
    unsigned what;
    bool root;
} s_lives[] = {
    {"plain", 0, false},
    {"drops-root", ROOT, true},
    {"closed-0-1-2", CLOSED, false},
    {"argv-later", ARGV, false},
    {"files-open-before", FILES_OPEN, false},
    {"chroot", CHROOT, true},
    {"wait-loop", WAIT_ALL, false},
    {"forks", FORKS, false},
    {"sigchld-handler", SIGCHLD_TAKEN, false},
    {"kill-0-in-a-job", KILL_0, false},
    {"nested-pool", NESTED, false},
    {"grandchildren", CHILDREN, false},
    {"all", 2047, true},
    {"all-but-root", 2047 & ~(ROOT | CHROOT), false},
};

static unsigned s_life;
static const char *s_word; /* argv[2], looked at in jobs */
static FILE *s_files[FILES];
static char s_dir[] = "/tmp/gate-daemon-life-XXXXXX";

/* ---- jobs ---------------------------------------------------------------- */

static gate_err_t twice(gate_call_t *call) {
    long x;
    gate_err_t e = gate_args(call, &x);
    return e ? e : gate_return(call, 2 * x);
}

static gate_err_t nap(gate_call_t *call) {
    int ms;
    gate_err_t e = gate_args(call, &ms);
    if (!e)
        usleep((useconds_t)ms * 1000);
    return e ? e : gate_return(call, ms);
}

static gate_err_t word(gate_call_t *call) { return gate_return(call, s_word); }

static gate_err_t user(gate_call_t *call) {
    return gate_return(call, (int)geteuid() + (int)getgid() +
                                 (int)(geteuid() != getuid()));
}

/* Writes into what the host had open, and fills a result in place. */
static gate_err_t scribe(gate_call_t *call) {
    unsigned char *out;
    gate_err_t e = gate_return_shared(call, 100000, (void **)&out);
    if (e)
        return e;
    memset(out, 7, 100000);
    for (int i = 0; i < FILES; i++) {
        for (int k = 0; k < 5000; k++)
            fprintf(s_files[i], "from a job\n");
        fflush(s_files[i]);
    }
    return GATE_OK;
}

static gate_err_t kill_group(gate_call_t *call) {
    kill(0, SIGTERM);
    return gate_return(call, 0);
}

static atomic_long *s_beats; /* of a job's child and grandchild; shared */

static void s_beat(atomic_long *beat) __attribute__((noreturn));
static void s_beat(atomic_long *beat) {
    for (;; usleep(1000))
        atomic_fetch_add(beat, 1);
}

/* Starts two that would outlive it, and does not end. */
static gate_err_t breed(gate_call_t *call) {
    (void)call;
    if (fork() == 0) {
        if (fork() == 0)
            s_beat(&s_beats[1]);
        s_beat(&s_beats[0]);
    }
    for (;;)
        pause();
}

static gate_err_t inner(gate_call_t *call) {
    long x = 0;
    gate_err_t e = gate_args(call, &x);
    if (!e)
        e = gate_process_init();
    if (e)
        return gate_raise(call, "RuntimeError", "%s", gate_error()->text);
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_pool_t *pool =
        gate_procs_new(rt, &(gate_pool_options_t){.workers = 1});
    if (!pool)
        return gate_raise(call, "RuntimeError", "%s", gate_error()->text);
    {
        GATE_OWN(gate_future) f = gate_submit(pool, twice, x);
        e = gate_future_wait(f, 20000, &x);
    }
    if (e)
        return gate_raise(call, "RuntimeError", "%s", gate_error()->text);
    gate_pool_destroy(&pool);
    gate_runtime_destroy(&rt);
    return gate_return(call, x);
}

/* ---- before and after gate_process_init ---------------------------------- */

static void s_before(void) {
    s_beats = mmap(NULL, 2 * sizeof *s_beats, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LIVE(s_beats != MAP_FAILED, "mmap");
    if (s_life & CLOSED)
        for (int fd = 0; fd <= 2; fd++)
            close(fd);
    for (int i = 0; (s_life & FILES_OPEN) && i < FILES; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/log-%d", s_dir, i);
        s_files[i] = fopen(path, "w");
        LIVE(s_files[i], "fopen %s", path);
        unlink(path);
        fprintf(s_files[i], "from the host\n"); /* buffered at the fork */
    }
}

static volatile sig_atomic_t s_reaped;

static void s_on_child(int number) {
    int saved = errno;
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        s_reaped++;
    errno = saved;
}

static void s_after(void) {
    if (s_life & SIGCHLD_TAKEN) {
        struct sigaction sa = {.sa_handler = s_on_child};
        sigaction(SIGCHLD, &sa, NULL);
    }
    if (s_life & CHROOT)
        LIVE(chroot(s_dir) == 0 && chdir("/") == 0, "chroot: %s",
             strerror(errno));
    if (s_life & ROOT)
        LIVE(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid: %s",
             strerror(errno));
}

/* ---- what a life does ---------------------------------------------------- */

static void s_ordinary(gate_pool_t *pool) {
    gate_future_t *f[100];
    for (long i = 0; i < 100; i++)
        f[i] = gate_submit(pool, twice, i);
    for (long i = 0; i < 100; i++) {
        long x = -1;
        LIVE(gate_future_wait(f[i], 20000, &x) == GATE_OK, "job %ld", i);
        LIVE(x == 2 * i, "job %ld gave %ld", i, x);
        gate_future_destroy(&f[i]);
    }
}

/* A kill, and the slot works again. */
static void s_limit(gate_pool_t *pool) {
    gate_job_options_t o = {.hard_ms = 100};
    GATE_OWN(gate_future) f = gate_submit_with(pool, nap, &o, 60000);
    int x;
    LIVE(gate_future_wait(f, 20000, &x) == GATE_TIMEOUT, "hard_ms");
}

static void s_fork_host(gate_pool_t *pool) {
    GATE_OWN(gate_future) f = gate_submit(pool, nap, 300);
    pid_t child = fork();
    if (child == 0) {
        gate_pool_t *mine = pool;
        GATE_OWN(gate_future) g = gate_submit(mine, twice, 1L);
        long x;
        alarm(20);
        gate_err_t e = gate_future_wait(g, 1000, &x);
        gate_pool_destroy(&mine);
        _exit(e == GATE_CLOSED ? 0 : 1);
    }
    int status = 0, x;
    pid_t got = waitpid(child, &status, 0);
    LIVE(got == child || (s_life & (SIGCHLD_TAKEN | WAIT_ALL)), "waitpid: %s",
         strerror(errno));
    LIVE(got != child || status == 0, "the forked child: status %x", status);
    LIVE(gate_future_wait(f, 20000, &x) == GATE_OK, "the job meanwhile");
}

static void s_kill_zero(gate_pool_t *pool) {
    for (int i = 0; i < 3; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, kill_group);
        GATE_OWN(gate_future) g = gate_submit(pool, nap, 50);
        int x;
        gate_err_t e = gate_future_wait(f, 20000, &x);
        LIVE(e == GATE_WORKERLOST, "kill(0): %s", gate_err_name(e));
        LIVE(gate_future_wait(g, 20000, &x) == GATE_OK, "another's job");
    }
}

/* What the job started ends with it: nothing beats any more. */
static void s_children(gate_pool_t *pool) {
    gate_job_options_t o = {.hard_ms = 300};
    GATE_OWN(gate_future) f = gate_submit_with(pool, breed, &o);
    int x;
    LIVE(gate_future_wait(f, 20000, &x) == GATE_TIMEOUT, "hard_ms");
    LIVE(s_beats[0] > 0 && s_beats[1] > 0, "there were no children");
    long seen[2] = {-1, -1};
    for (int i = 0; i < 200; i++, usleep(50000)) {
        if (seen[0] == s_beats[0] && seen[1] == s_beats[1])
            return;
        seen[0] = s_beats[0];
        seen[1] = s_beats[1];
    }
    LIVE(false, "a job's children outlive it");
}

static void s_files_whole(gate_pool_t *pool) {
    for (int i = 0; i < 20; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, scribe);
        gate_bytes_t out;
        LIVE(gate_future_wait(f, 20000, &out) == GATE_OK, "scribe");
        LIVE(out.size == 100000, "%zu bytes", out.size);
        for (size_t k = 0; k < out.size; k++)
            LIVE(((const unsigned char *)out.data)[k] == 7, "byte %zu", k);
    }
    for (int i = 0; i < FILES; i++) {
        struct stat st;
        if (fileno(s_files[i]) < 3)
            continue; /* it is standard error, whatever the host meant */
        LIVE(fflush(s_files[i]) == 0, "the host's file %d", i);
        LIVE(fstat(fileno(s_files[i]), &st) == 0 && st.st_size == 14,
             "the host's file %d has %lld bytes", i, (long long)st.st_size);
    }
}

static void s_live(void) {
    s_before();
    LIVE(gate_process_init() == GATE_OK, "gate_process_init");
    s_after();
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_pool_t *pool =
        gate_procs_new(rt, &(gate_pool_options_t){.workers = 2});
    LIVE(pool, "a pool");
    LIVE(gate_pool_ready(pool, 20000) == GATE_OK, "ready");
    s_ordinary(pool);
    if (s_life & ARGV) {
        GATE_OWN(gate_future) f = gate_submit(pool, word);
        const char *text;
        LIVE(gate_future_wait(f, 20000, &text) == GATE_OK, "argv");
        LIVE(strcmp(text, "the-word") == 0, "argv[2] was \"%s\"", text);
    }
    if (s_life & ROOT) {
        GATE_OWN(gate_future) f = gate_submit(pool, user);
        int sum;
        LIVE(gate_future_wait(f, 20000, &sum) == GATE_OK, "user");
        LIVE(sum == 2 * NOBODY, "ids of a job add up to %d", sum);
    }
    if (s_life & FILES_OPEN)
        s_files_whole(pool);
    if (s_life & FORKS)
        s_fork_host(pool);
    if (s_life & KILL_0)
        s_kill_zero(pool);
    if (s_life & NESTED) {
        GATE_OWN(gate_future) f = gate_submit(pool, inner, 21L);
        long x = 0;
        LIVE(gate_future_wait(f, 30000, &x) == GATE_OK && x == 42, "nested");
    }
    if (s_life & CHILDREN)
        s_children(pool);
    s_limit(pool);
    s_ordinary(pool);
    if (s_life & WAIT_ALL)
        while (wait(NULL) > 0 || errno == EINTR)
            ;
    s_ordinary(pool);
    gate_pool_destroy(&pool);
    gate_runtime_destroy(&rt);
    _exit(0);
}

/* ---- each in a process of its own ---------------------------------------- */

/* How many of its session live; kill: ends them. */
static int s_left(pid_t session, bool end) {
    int left = 0;
    char path[300], text[512];
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = atoi(e->d_name) > 0 ? fopen(path, "re") : NULL;
        int of = 0;
        char state = 'Z';
        const char *at = NULL;
        if (f && fgets(text, sizeof text, f))
            at = strrchr(text, ')');
        if (at && sscanf(at, ") %c %*d %*d %d", &state, &of) == 2 &&
            of == session && state != 'Z') {
            left++;
            if (end)
                kill(atoi(e->d_name), SIGKILL);
        }
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
    return left;
}

static bool s_run(const char *self, const char *name) {
    int pipes[2], status = -1;
    char said[512];
    size_t got = 0;
    ssize_t n;
    int64_t began = gi_clock_ms();
    if (pipe(pipes) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        dup2(pipes[1], REPORT);
        close(pipes[0]);
        close(pipes[1]);
        alarm(LIFE_MS / 1000);
        execl(self, self, name, "the-word", s_dir, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    waitpid(pid, &status, 0);
    for (int i = 0; i < 100 && s_left(pid, false); i++)
        usleep(20000);
    int left = s_left(pid, true);
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    while (got < sizeof said - 1 &&
           (n = read(pipes[0], said + got, sizeof said - 1 - got)) > 0)
        got += (size_t)n;
    said[got] = 0;
    close(pipes[0]);
    bool well = status == 0 && got == 0 && left == 0;
    printf("%-20s %s, %lld ms %s\n", name, well ? "well" : "FAILED",
           (long long)(gi_clock_ms() - began), said);
    if (!well && got == 0)
        printf("    status %x, %d processes left\n", (unsigned)status, left);
    return well;
}

static int s_all(void) {
    bool well = true;
    if (!mkdtemp(s_dir) || chmod(s_dir, 0755) != 0)
        return 1;
    for (size_t i = 0; i < sizeof s_lives / sizeof *s_lives; i++)
        if (s_lives[i].root && geteuid() != 0)
            printf("%-20s left out: it needs root\n", s_lives[i].name);
        else
            well &= s_run("/proc/self/exe", s_lives[i].name);
    rmdir(s_dir);
    return well ? 0 : 1;
}

/* daemon_life [NAME WORD FOLDER] */
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 4)
        return s_all();
    s_word = argv[2];
    snprintf(s_dir, sizeof s_dir, "%s", argv[3]);
    for (size_t i = 0; i < sizeof s_lives / sizeof *s_lives; i++)
        if (strcmp(argv[1], s_lives[i].name) == 0) {
            s_life = s_lives[i].what;
            s_live();
        }
    return 2;
}
