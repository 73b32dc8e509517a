/* SPDX-License-Identifier: BSD-3-Clause */
/* pipes_rig.c -- a process pool as one writes it in an hour: children that read
 * a task from a pipe and write its answer to another. The reference of `gate
 * bench processes`. A child has at most what its pipes hold: beyond, parent and
 * child would wait for each other. */
#include "bench/rigs/proc.h"
#include "bench/rigs/rig.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { S_CHILDREN = 64, S_PIPE = 32768, S_SIZE_MAX = 64 << 20 };

typedef struct s_task {
    uint64_t stamp, size;
} s_task_t;

typedef struct s_child {
    pid_t pid;
    int to, from;
    int64_t out;
} s_child_t;

typedef struct s_pipes {
    s_child_t children[S_CHILDREN];
    int n, turn;
    char *payload;
} s_pipes_t;

static bool s_write(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* ---- the child ----------------------------------------------------------- */
static void s_echo(int from, int to) {
    char *payload = malloc(S_SIZE_MAX); /* touched as far as it is used */
    s_task_t task;
    while (payload && gi_proc_read(from, &task, sizeof task) &&
           task.size <= S_SIZE_MAX && gi_proc_read(from, payload, task.size))
        if (!s_write(to, &task, sizeof task) ||
            !s_write(to, payload, task.size))
            break;
    _exit(0);
}

static bool s_fork(s_pipes_t *self) {
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return false;
    pid_t pid = fork();
    if (!pid) {
        for (int i = 0; i < self->n; i++) {
            close(self->children[i].to);
            close(self->children[i].from);
        }
        close(there[1]);
        close(back[0]);
        s_echo(there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    self->children[self->n++] = (s_child_t){pid, there[1], back[0], 0};
    return pid > 0;
}

/* ---- the lane ------------------------------------------------------------ */
static s_child_t *s_with_room(s_pipes_t *self, uint64_t size) {
    int64_t room = (int64_t)(S_PIPE / (size + sizeof(s_task_t)));
    for (int i = 0; i < self->n; i++) {
        s_child_t *child = &self->children[self->turn++ % self->n];
        if (child->out < room || !child->out)
            return child;
    }
    return NULL;
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_pipes_t *self = lane->self;
    s_task_t task = {stamp, lane->load->size};
    s_child_t *child = s_with_room(self, task.size);
    if (!child || !s_write(child->to, &task, sizeof task) ||
        !s_write(child->to, self->payload, task.size))
        return false;
    child->out++;
    return true;
}

static void s_take(gi_lane_t *lane, s_child_t *child) {
    s_pipes_t *self = lane->self;
    s_task_t task;
    bool ok = gi_proc_read(child->from, &task, sizeof task) &&
              gi_proc_read(child->from, self->payload, task.size);
    child->out--;
    gi_lane_done(lane, ok ? task.stamp : 0, ok);
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_pipes_t *self = lane->self;
    struct pollfd fds[S_CHILDREN];
    for (int i = 0; i < self->n; i++)
        fds[i] = (struct pollfd){self->children[i].from, POLLIN, 0};
    if (poll(fds, (nfds_t)self->n, (int)(wait_ns / 1000000)) <= 0)
        return;
    for (int i = 0; i < self->n; i++)
        if (fds[i].revents & POLLIN)
            s_take(lane, &self->children[i]);
}

static bool s_prepare(gi_lane_t *lane) {
    s_pipes_t *self = lane->self;
    free(self->payload);
    self->payload = calloc(1, lane->load->size + 1);
    return self->payload && lane->load->size <= S_SIZE_MAX;
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    *lane = (gi_lane_t){
        .self = rig, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    return i == 0; /* one submitter */
}

/* ---- life ---------------------------------------------------------------- */
static void s_down(void *arg) {
    s_pipes_t *self = arg;
    for (int i = 0; i < self->n; i++) {
        close(self->children[i].to);
        close(self->children[i].from);
        if (self->children[i].pid > 0)
            waitpid(self->children[i].pid, NULL, 0);
    }
    free(self->payload);
    free(self);
}

static void *s_up(gi_spec_t *spec) {
    s_pipes_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    while (self->n < spec->pool && self->n < S_CHILDREN)
        if (!s_fork(self)) {
            s_down(self);
            return NULL;
        }
    return self;
}

const gi_kind_t gi_kind_pipes = {"pipes", GI_CLIENT, s_up, s_make, s_down};
