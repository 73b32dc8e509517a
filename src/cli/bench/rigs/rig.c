/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.c -- forks the processes of a rig and talks to them. A role is forked
 * before it makes any thread or socket, so a zygote can come of it. */
#include "bench/rigs/rig.h"
#include "bench/rigs/proc.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { S_ANSWER_S = 60, S_LINK_FD = 3, S_END_MS = 5000, S_LANES_MAX = 64 };

typedef struct s_proc {
    pid_t pid;
    int link;
    unsigned parts;
} s_proc_t;

struct gi_rig {
    gi_spec_t spec;
    char folder[GI_RIG_FOLDER]; /* of ipc sockets; "" = none */
    s_proc_t *procs;
    int n;
};

/* What a role says when it is up. */
typedef struct s_ready {
    char frontend[160], backend[160];
} s_ready_t;

/* ---- the role process ---------------------------------------------------- */
typedef struct s_lanes {
    int n;
    const gi_load_t *load;
    gi_lane_t lanes[S_LANES_MAX];
    gi_sample_t *samples; /* one each */
    void *self;
    const gi_kind_t *kind;
} s_lanes_t;

typedef struct s_driver {
    s_lanes_t *all;
    int i;
} s_driver_t;

static void s_begun(void *ctx) {
    (void)ctx;
    (void)!gi_proc_write(S_LINK_FD, "B", 1);
}

static void *s_drive(void *arg) {
    s_driver_t *d = arg;
    gi_load_run(&d->all->lanes[d->i], d->all->load, d->i ? NULL : s_begun, NULL,
                &d->all->samples[d->i]);
    return NULL;
}

static void s_merge(gi_sample_t *to, const gi_sample_t *from) {
    to->n += from->n;
    to->errors += from->errors;
    if (from->seconds > to->seconds)
        to->seconds = from->seconds;
    gi_hist_merge(&to->hist, &from->hist);
}

/* Lane 0 is driven here, each other by a thread of its own. */
static bool s_run_lanes(s_lanes_t *self) {
    pthread_t threads[S_LANES_MAX];
    s_driver_t drivers[S_LANES_MAX];
    int started = 1;
    for (int i = 0; i < self->n; i++)
        drivers[i] = (s_driver_t){self, i};
    for (; started < self->n; started++)
        if (pthread_create(&threads[started], NULL, s_drive, &drivers[started]))
            break;
    s_drive(&drivers[0]);
    for (int i = 1; i < started; i++) {
        pthread_join(threads[i], NULL);
        s_merge(&self->samples[0], &self->samples[i]);
    }
    return started == self->n &&
           gi_proc_write(S_LINK_FD, &self->samples[0], sizeof *self->samples);
}

static int s_serve_loads(void *self, const gi_spec_t *spec, int n_lanes) {
    const s_ready_t none = {"", ""};
    gi_load_t load;
    s_lanes_t *lanes = calloc(1, sizeof *lanes);
    if (!lanes || n_lanes > S_LANES_MAX)
        return 1;
    lanes->n = n_lanes;
    lanes->load = &load;
    lanes->samples = calloc((size_t)n_lanes, sizeof *lanes->samples);
    bool ok = lanes->samples != NULL;
    for (int i = 0; i < n_lanes && ok; i++)
        ok = spec->kind->lane(self, i, &lanes->lanes[i]);
    ok = ok && gi_proc_write(S_LINK_FD, &none, sizeof none);
    while (ok && gi_proc_read(S_LINK_FD, &load, sizeof load))
        ok = s_run_lanes(lanes);
    free(lanes->samples);
    free(lanes);
    return ok ? 0 : 1;
}

static int s_serve(const gi_spec_t *spec) {
    s_ready_t ready;
    char end;
    memcpy(ready.frontend, spec->frontend, sizeof ready.frontend);
    memcpy(ready.backend, spec->backend, sizeof ready.backend);
    if (!gi_proc_write(S_LINK_FD, &ready, sizeof ready))
        return 1;
    (void)!gi_proc_read(S_LINK_FD, &end, 1);
    return 0;
}

static int s_role(gi_spec_t *spec, int link) {
    bool alone = spec->parts == spec->kind->parts;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* the link's end ends us */
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    if (link != S_LINK_FD && dup2(link, S_LINK_FD) < 0)
        return 1;
    fcntl(S_LINK_FD, F_SETFD, FD_CLOEXEC);
    close_range(S_LINK_FD + 1, ~0u, 0);
    gi_proc_files();
    if (spec->pin >= 0 && !gi_proc_pin(spec->pin)) {
        fprintf(stderr, "gate: cannot pin to CPU %d\n", spec->pin);
        return 1;
    }
    void *self = spec->kind->up(spec);
    if (!self)
        return 1;
    int code = spec->parts & GI_CLIENT
                   ? s_serve_loads(self, spec, alone ? spec->clients : 1)
                   : s_serve(spec);
    spec->kind->down(self);
    return code;
}

/* ---- the bench process --------------------------------------------------- */
static bool s_link(int link[2]) {
    const struct timeval limit = {S_ANSWER_S, 0};
    return !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) &&
           !setsockopt(link[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

/* Forks a process with these parts; takes over the endpoints that it bound. */
static bool s_fork(gi_rig_t *self, unsigned parts) {
    int link[2];
    s_ready_t ready;
    if (!s_link(link))
        return false;
    self->spec.parts = parts;
    fflush(NULL);
    pid_t pid = fork();
    if (!pid)
        exit(s_role(&self->spec, link[1]));
    close(link[1]);
    if (pid < 0) {
        close(link[0]);
        return false;
    }
    self->procs[self->n++] = (s_proc_t){pid, link[0], parts};
    if (!gi_proc_read(link[0], &ready, sizeof ready)) {
        fprintf(stderr, "gate: %s over %s does not come up\n",
                self->spec.kind->name, self->spec.transport);
        return false;
    }
    if (ready.frontend[0])
        memcpy(self->spec.frontend, ready.frontend, sizeof ready.frontend);
    if (ready.backend[0])
        memcpy(self->spec.backend, ready.backend, sizeof ready.backend);
    return true;
}

bool gi_rig_endpoints(gi_spec_t *spec, char folder[GI_RIG_FOLDER]) {
    if (spec->frontend[0]) /* a foreign broker's */
        return true;
    if (!strcmp(spec->transport, "tcp")) {
        strcpy(spec->frontend, "tcp://127.0.0.1:*");
        strcpy(spec->backend, "tcp://127.0.0.1:*");
    } else if (!strcmp(spec->transport, "ipc")) {
        strcpy(folder, "/tmp/gate-bench-XXXXXX");
        if (!mkdtemp(folder))
            return false;
        sprintf(spec->frontend, "ipc://%s/f", folder);
        sprintf(spec->backend, "ipc://%s/b", folder);
    } else if (!strcmp(spec->transport, "inproc")) {
        strcpy(spec->frontend, "inproc://bench-f");
        strcpy(spec->backend, "inproc://bench-b");
    }
    return true;
}

static bool s_start(gi_rig_t *self) {
    unsigned parts = self->spec.kind->parts;
    bool apart = self->spec.frontend[0] ||
                 !strcmp(self->spec.transport, "ipc") ||
                 !strcmp(self->spec.transport, "tcp");
    if (self->spec.frontend[0])
        parts = GI_CLIENT;
    if (!gi_rig_endpoints(&self->spec, self->folder))
        return false;
    if (!apart)
        return s_fork(self, parts);
    if (parts & GI_BROKER && !s_fork(self, GI_BROKER))
        return false;
    if (parts & GI_SERVICE && !s_fork(self, GI_SERVICE))
        return false;
    for (int i = 0; i < self->spec.clients; i++)
        if (!s_fork(self, GI_CLIENT))
            return false;
    return true;
}

gi_rig_t *gi_rig_new(const gi_spec_t *spec) {
    gi_rig_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->spec = *spec;
    self->procs = calloc((size_t)spec->clients + 2, sizeof *self->procs);
    if (!self->procs || !s_start(self))
        gi_rig_destroy(&self);
    return self;
}

/* Waits for it as long as is decent. */
static void s_reap(s_proc_t *proc) {
    uint64_t until = gi_proc_now() + S_END_MS * 1000000ull;
    int status = 0;
    close(proc->link);
    while (!waitpid(proc->pid, &status, WNOHANG)) {
        if (gi_proc_now() > until) {
            fprintf(stderr, "gate: process %d does not end: killed\n",
                    (int)proc->pid);
            kill(proc->pid, SIGKILL);
            waitpid(proc->pid, NULL, 0);
            return;
        }
        usleep(1000);
    }
    if (status)
        fprintf(stderr, "gate: process %d ended with status %d\n",
                (int)proc->pid, status);
}

void gi_rig_unlink(const char *folder) {
    char path[GI_RIG_FOLDER + 2];
    if (!folder[0])
        return;
    for (const char *name = "fb"; *name; name++) {
        snprintf(path, sizeof path, "%s/%c", folder, *name);
        unlink(path);
    }
    rmdir(folder);
}

void gi_rig_destroy(gi_rig_t **self_p) {
    gi_rig_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->n)
        s_reap(&self->procs[--self->n]); /* clients first */
    gi_rig_unlink(self->folder);
    free(self->procs);
    free(self);
}

/* ---- a run --------------------------------------------------------------- */
/* Of the processes that have nothing but these parts. */
static double s_cpu(const gi_rig_t *self, unsigned parts) {
    uint64_t ns = 0;
    for (int i = 0; i < self->n; i++)
        if (!(self->procs[i].parts & ~parts))
            ns += gi_proc_cpu(self->procs[i].pid);
    return (double)ns / 1e9;
}

/* Sends to, or reads from, every client process. */
static bool s_clients(gi_rig_t *self, bool send, const void *data, void *into,
                      size_t size, gi_sample_t *sum) {
    for (int i = 0; i < self->n; i++) {
        int fd = self->procs[i].link;
        if (!(self->procs[i].parts & GI_CLIENT))
            continue;
        if (send ? !gi_proc_write(fd, data, size)
                 : !gi_proc_read(fd, into, size))
            return false;
        if (sum)
            s_merge(sum, into);
    }
    return true;
}

bool gi_rig_run(gi_rig_t *self, const gi_load_t *load, gi_run_t *run) {
    gi_sample_t *part = malloc(sizeof *part);
    char begun;
    *run = (gi_run_t){0};
    bool ok = part && s_clients(self, true, load, NULL, sizeof *load, NULL) &&
              s_clients(self, false, NULL, &begun, 1, NULL);
    run->cpu_s = -s_cpu(self, ~0u);
    run->broker_cpu_s = -s_cpu(self, GI_BROKER);
    ok = ok && s_clients(self, false, NULL, part, sizeof *part, &run->sample);
    run->cpu_s += s_cpu(self, ~0u);
    run->broker_cpu_s += s_cpu(self, GI_BROKER);
    for (int i = 0; i < self->n; i++)
        run->rss_kib += gi_proc_rss(self->procs[i].pid, true);
    free(part);
    if (!ok)
        fprintf(stderr, "gate: %s over %s: a client process failed\n",
                self->spec.kind->name, self->spec.transport);
    return ok;
}

const gi_spec_t *gi_rig_spec(const gi_rig_t *self) { return &self->spec; }

long gi_rig_rss(const gi_rig_t *self, unsigned part) {
    for (int i = 0; i < self->n; i++)
        if (self->procs[i].parts & part)
            return gi_proc_rss(self->procs[i].pid, false);
    return 0;
}
