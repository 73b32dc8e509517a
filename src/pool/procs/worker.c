/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.c -- becomes what its configuration says, then takes jobs from its
 * ring until it is told to leave. */
#include "procs/worker.h"
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "sync/clock.h"
#include "procs/procs_fn.h"
#include "procs/zygote.h"

void gi_worker_no_bell(void) {
    fprintf(stderr, "the worker's doorbell was closed: a job closed "
                    "descriptors that it had not opened\n");
    _exit(GI_EXIT_SPOILT);
}

static void s_limit(int what, int64_t value) {
    struct rlimit r = {(rlim_t)value, (rlim_t)value};
    if (setrlimit((__rlimit_resource_t)what, &r) != 0)
        fprintf(stderr, "setrlimit(%d, %lld) failed\n", what, (long long)value);
}

/* It cannot be what it should: no job may run in it. */
static void s_cannot(gi_worker_t *self, const char *what, const char *why)
    __attribute__((noreturn));
static void s_cannot(gi_worker_t *self, const char *what, const char *why) {
    snprintf(self->shm.own->why, sizeof self->shm.own->why, "%s: %s", what,
             why);
    fprintf(stderr, "%s: %s\n", what, why);
    _exit(125);
}

static bool s_is(const gi_worker_config_t *c) {
    uid_t u[3];
    gid_t g[3], groups[GI_GROUPS_MAX + 1];
    int n = getgroups(GI_GROUPS_MAX + 1, groups);
    return !getresuid(&u[0], &u[1], &u[2]) && !getresgid(&g[0], &g[1], &g[2]) &&
           memcmp(u, c->uids, sizeof u) == 0 &&
           memcmp(g, c->gids, sizeof g) == 0 && n == c->n_groups &&
           memcmp(groups, c->groups, (size_t)n * sizeof *groups) == 0;
}

/* What needs rights first. */
static void s_person(gi_worker_t *self) {
    const gi_worker_config_t *c = &self->config;
    const char *what = NULL;
    if (c->umask >= 0)
        umask((mode_t)c->umask);
    if (!s_is(c)) {
        if (setgroups((size_t)c->n_groups, c->groups) && geteuid() == 0)
            what = "setgroups";
        else if (setresgid(c->gids[0], c->gids[1], c->gids[2]))
            what = "setresgid";
        else if (setresuid(c->uids[0], c->uids[1], c->uids[2]))
            what = "setresuid";
    }
    if (!what && *c->chdir && chdir(c->chdir))
        what = c->chdir;
    if (what)
        s_cannot(self, what, strerror(errno));
    for (const char *v = c->env; *v; v += strlen(v) + 1)
        putenv((char *)(uintptr_t)v); /* config is this process's for good */
}

static void s_become(gi_worker_t *self, int out_fd) {
    const gi_worker_config_t *c = &self->config;
    char title[sizeof c->name + 8];
    dup2(out_fd, 1);
    dup2(out_fd, 2);
    close(out_fd);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(title, sizeof title, "gate:%.63s", c->name);
    gi_clean_title(title);
    if (c->nice && setpriority(PRIO_PROCESS, 0, c->nice) != 0)
        fprintf(stderr, "nice %d refused\n", (int)c->nice);
    if (c->has_cpus && sched_setaffinity(0, sizeof c->cpus, &c->cpus) != 0)
        fprintf(stderr, "CPU affinity refused\n");
    if (!c->core_dumps)
        s_limit(RLIMIT_CORE, 0);
    if (c->limit_as)
        s_limit(RLIMIT_AS, c->limit_as);
    if (c->limit_cpu)
        s_limit(RLIMIT_CPU, c->limit_cpu);
    if (c->limit_files)
        s_limit(RLIMIT_NOFILE, c->limit_files);
    s_person(self);
    /* each worker draws numbers of its own */
    srand((unsigned)gi_clock_ns() ^ (unsigned)getpid() << 16);
    srand48(gi_clock_ns() ^ (long)getpid() << 16);
}

static uintptr_t s_code(const gi_fn_ref_t *ref) {
    uintptr_t at = 0;
    if (ref->at && gi_fn_resolve(ref->object, ref->at, &at))
        fprintf(stderr, "%s\n", gate_error()->text);
    return at;
}

static void s_settings(gi_worker_t *self) {
    const gi_worker_config_t *c = &self->config;
    gate_settings_t *s = &self->settings;
    uintptr_t hooks[4];
    *s = *gi_settings_defaults(); /* shares its strings */
    s->secure = c->secure;
    s->msgpack_str_max = c->str_max;
    s->msgpack_bin_max = c->bin_max;
    s->msgpack_array_max = c->array_max;
    s->msgpack_map_max = c->map_max;
    s->msgpack_depth_max = c->depth_max;
    s->msgpack_objects_max = c->objects_max;
    s->huge_max_bytes = c->huge_max;
    for (int i = 0; i < 4; i++)
        hooks[i] = s_code(&c->hooks[i]);
    memcpy(&s->hooks.prepare_pack, &hooks[0], sizeof hooks[0]);
    memcpy(&s->hooks.object_hook, &hooks[1], sizeof hooks[1]);
    memcpy(&s->hooks.pairs_hook, &hooks[2], sizeof hooks[2]);
    memcpy(&s->hooks.list_hook, &hooks[3], sizeof hooks[3]);
    s->hooks.ctx = (void *)(uintptr_t)c->hooks_ctx;
}

static bool s_work(const gi_worker_t *self) {
    return atomic_load(&self->shm.ctl->req_tail) != self->req_head ||
           atomic_load(&self->shm.ctl->quit);
}

void gi_worker_loop(gi_worker_t *self) {
    for (;;) {
        gi_worker_wait(self, s_work, GI_SLEEP_WORK);
        if (atomic_load(&self->shm.ctl->req_tail) == self->req_head)
            return; /* told to quit, and nothing left */
        gi_worker_job(self);
        atomic_store_explicit(&self->shm.own->req_head, ++self->req_head,
                              memory_order_release);
    }
}

static void s_start(gi_worker_t *self) {
    const gi_worker_config_t *c = &self->config;
    uintptr_t init = s_code(&c->init), start = s_code(&c->start);
    void *(*old)(void);
    gate_err_t (*hook)(gate_worker_t *, void *);
    memcpy(&old, &init, sizeof old);
    memcpy(&hook, &start, sizeof hook);
    if (init)
        self->ctx = old();
    if (!start)
        return;
    gate_worker_t worker = {.pool = c->name,
                            .number = c->number,
                            .generation = c->generation,
                            .ctx = self->ctx};
    gate_err_t e = hook(&worker, (void *)(uintptr_t)c->arg);
    if (e)
        s_cannot(self, "its start refused",
                 *gate_error()->text ? gate_error()->text : gate_err_text(e));
    self->ctx = worker.ctx;
}

static void s_end(gi_worker_t *self) __attribute__((noreturn));
static void s_end(gi_worker_t *self) {
    uintptr_t end = s_code(&self->config.end);
    void (*hook)(void *);
    memcpy(&hook, &end, sizeof hook);
    if (end)
        hook(self->ctx);
    if (self->config.by_exit)
        exit(0);
    fflush(NULL);
    _exit(0);
}

/* Whatever its init did (a change of user undoes it), its parent's end is
 * still its own. */
static void s_ready(gi_worker_t *self) {
    static const uint64_t one = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self->zygote)
        _exit(0);
    atomic_store(&self->shm.own->ready, 1);
    if (write(self->bell_fd, &one, sizeof one) < 0)
        gi_worker_no_bell();
}

void gi_worker_main(const int *fds) {
    int shm_fd = fds[GI_WFD_SHM];
    static gi_worker_t worker;
    gi_worker_t *self = &worker;
    memset(self, 0, sizeof *self); /* a job's own pool: not what we were */
    self->zygote = getppid();
    self->bell_fd = fds[GI_WFD_BELL];
    self->ctl_fd = fds[GI_WFD_CTL];
    self->inbox_fd = fds[GI_WFD_INBOX];
    self->outbox_fd = fds[GI_WFD_OUTBOX];
    if (gi_shm_map(&self->shm, shm_fd)) {
        fprintf(stderr, "%s\n", gate_error()->text);
        _exit(125);
    }
    close(shm_fd);
    self->config = self->shm.ctl->config;
    s_become(self, fds[GI_WFD_OUT]);
    s_settings(self);
    gi_call_init(&self->call, NULL, NULL, &self->settings);
    s_start(self);
    s_ready(self);
    gi_worker_loop(self);
    s_end(self);
}
