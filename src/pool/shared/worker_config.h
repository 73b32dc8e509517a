/* SPDX-License-Identifier: BSD-3-Clause */
/* worker_config.h -- what a worker process is told of itself before it is
 * forked: the head of the memory that it shares with its parent. */
#ifndef GI_WORKER_CONFIG_H
#define GI_WORKER_CONFIG_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A function across processes: an address that means the same in every worker,
 * or an offset in an object that the worker loads. */
typedef struct gi_fn_ref {
    uint64_t at;      /* 0 = none */
    bool stays;       /* of the program itself, which is never unloaded */
    char object[503]; /* "" = at is an address */
} gi_fn_ref_t;

#define GI_GROUPS_MAX 64
/* What a worker needs to know; written before it is forked. */
typedef struct gi_worker_config {
    uint32_t cells;
    uint32_t spin_ns; /* before sleeping; 0 = never */
    uint64_t lane_bytes;
    uint64_t result_max;
    int64_t str_max, bin_max, array_max, map_max, depth_max, objects_max;
    int64_t huge_max;
    int64_t limit_as, limit_cpu, limit_files; /* 0 = untouched */
    int32_t nice;
    bool secure, core_dumps, has_cpus;
    cpu_set_t cpus;
    char name[64];
    gi_fn_ref_t init, start, end, hooks[4];
    uint64_t hooks_ctx, arg;
    bool by_exit;
    bool has_user; /* else these are what the parent is when it is forked */
    uid_t uids[3]; /* real, effective, saved */
    gid_t gids[3];
    int n_groups;
    gid_t groups[GI_GROUPS_MAX];
    int number; /* of the worker in its pool */
    uint64_t generation;
    int32_t umask;    /* -1 = as it is */
    char chdir[1024]; /* "" = as it is */
    char env[4096];   /* NAME=value, each with its NUL, then one more */
} gi_worker_config_t;

#endif
