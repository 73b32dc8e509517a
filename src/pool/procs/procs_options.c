/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_options.c -- what the maker of a pool asked for, checked, and as its
 * workers read it. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "shared/cgroup.h"
#include "sync/clock.h"
#include "jobs/huge_feed.h"
#include "procs/procs_core.h"
#include "settings/cpus.h"
#include "settings/settings.h"

#define INIT_MS 60000 /* a worker's init has so long */

static gate_err_t s_list(const char *text, cpu_set_t *set) {
    gi_cpus_t cpus;
    gate_err_t e = gi_cpus_read(text, &cpus);
    CPU_ZERO(set);
    for (unsigned i = 0; !e && i < GI_CPUS_MAX && i < CPU_SETSIZE; i++)
        if (gi_cpus_has(&cpus, i))
            CPU_SET(i, set);
    return e;
}

/* Whoever makes the pool may be pinned, its workers are not: the system knows. */
static gate_err_t s_cpus(const char *text, cpu_set_t *set) {
    cpu_set_t own, both;
    gate_err_t e = s_list(text, set);
    if (e || sched_getaffinity(0, sizeof own, &own) != 0)
        return e;
    CPU_AND(&both, &own, set);
    if (CPU_COUNT(&both) > 0)
        return GATE_OK;
    bool none = sched_setaffinity(0, sizeof *set, set) != 0 && errno == EINVAL;
    (void)!sched_setaffinity(0, sizeof own, &own);
    return none ? gi_cpus_none(text) : GATE_OK;
}

static void s_defaults(gi_procs_t *p, const gate_pool_options_t *options) {
    static const gate_pool_options_t none;
    const gate_settings_t *s = p->settings;
    gate_pool_options_t *o = &p->options;
    *o = options ? *options : none;
    snprintf(p->name, sizeof p->name, "%s",
             o->name && *o->name ? o->name : "procs");
    o->name = p->name;
    if (o->workers <= 0)
        o->workers = s->processes > 0 ? (int)s->processes : gi_cgroup_cpus();
    if (o->workers > GI_WORKERS_MAX)
        o->workers = GI_WORKERS_MAX;
    if (o->queue_max <= 0)
        o->queue_max = (int)s->processes_queue_max;
    if (o->grace_ms == 0)
        o->grace_ms = s->grace_ms;
    if (gi_time_none(o->max_age_ms))
        o->max_age_ms = 0;
    if (o->restart_max <= 0)
        o->restart_max = 32;
    if (o->restart_period_ms <= 0)
        o->restart_period_ms = 10000;
    p->result_max = (size_t)gi_settings_huge_packed_max(s);
    p->limits = gi_scan_limits_huge(s);
    p->item_limits = p->part_limits = gi_scan_limits(s);
    p->part_limits.bin_max = 2 * GI_HUGE_PIECE; /* and its head */
}

static gate_err_t s_code(gi_worker_config_t *c, const gate_hooks_t *hooks,
                         void *(*init)(void)) {
    static const char *const names[] = {"prepare_pack", "object_hook",
                                        "pairs_hook", "list_hook"};
    uintptr_t fns[5];
    memcpy(&fns[0], &hooks->prepare_pack, sizeof fns[0]);
    memcpy(&fns[1], &hooks->object_hook, sizeof fns[0]);
    memcpy(&fns[2], &hooks->pairs_hook, sizeof fns[0]);
    memcpy(&fns[3], &hooks->list_hook, sizeof fns[0]);
    memcpy(&fns[4], &init, sizeof fns[0]);
    c->hooks_ctx = (uint64_t)(uintptr_t)hooks->ctx;
    for (int i = 0; i < 4; i++) {
        gate_err_t e = gi_fn_refer(fns[i], names[i], &c->hooks[i]);
        if (e)
            return e;
    }
    return gi_fn_refer(fns[4], "the pool's init", &c->init);
}

/* ---- who and where ------------------------------------------------------- */

/* What the process is now: it may have given up rights since the zygote was
 * forked, and its workers shall not have more than it has. */
void gi_options_follow(gi_worker_config_t *c) {
    uid_t *u = c->uids;
    gid_t *g = c->gids;
    if (c->has_user)
        return;
    if (getresuid(&u[0], &u[1], &u[2]) || getresgid(&g[0], &g[1], &g[2]))
        return;
    int n = getgroups(0, NULL);
    gid_t *all = n > 0 ? gi_mem_alloc((size_t)n * sizeof *all) : NULL;
    n = all ? getgroups(n, all) : 0;
    c->n_groups = n < GI_GROUPS_MAX ? n : GI_GROUPS_MAX;
    if (c->n_groups > 0)
        memcpy(c->groups, all, (size_t)c->n_groups * sizeof *all);
    gi_mem_free(all);
}

static gate_err_t s_group(const char *name, gid_t *gid) {
    char room[4096], *end;
    struct group entry, *found = NULL;
    unsigned long number = strtoul(name, &end, 10);
    if (getgrnam_r(name, &entry, room, sizeof room, &found) == 0 && found)
        *gid = found->gr_gid;
    else if (*name && !*end)
        *gid = (gid_t)number;
    else
        return gi_err(GATE_BADARG, "group \"%s\": there is none", name);
    return GATE_OK;
}

static gate_err_t s_user(const char *name, gi_worker_config_t *c, gid_t *gid) {
    char room[4096], *end;
    struct passwd entry, *found = NULL;
    unsigned long number = strtoul(name, &end, 10);
    c->n_groups = 0;
    if (getpwnam_r(name, &entry, room, sizeof room, &found) == 0 && found) {
        int n = GI_GROUPS_MAX;
        getgrouplist(name, found->pw_gid, c->groups, &n);
        c->n_groups = n < GI_GROUPS_MAX ? n : GI_GROUPS_MAX;
        *gid = found->pw_gid;
        number = found->pw_uid;
    } else if (!*name || *end)
        return gi_err(GATE_BADARG, "user \"%s\": there is none", name);
    for (int i = 0; i < 3; i++)
        c->uids[i] = (uid_t)number;
    return GATE_OK;
}

static gate_err_t s_person(gi_procs_t *p, gi_worker_config_t *c) {
    const gate_pool_more_t *m = &p->more;
    gid_t gid;
    gate_err_t e = GATE_OK;
    gi_options_follow(c);
    gid = c->gids[1];
    if (m->user)
        e = s_user(m->user, c, &gid);
    if (!e && m->group) {
        e = s_group(m->group, &gid);
        if (!m->user)
            c->n_groups = 0;
    }
    for (int i = 0; i < 3; i++)
        c->gids[i] = gid;
    c->has_user = m->user || m->group;
    return e;
}

static gate_err_t s_place(gi_procs_t *p, gi_worker_config_t *c) {
    const gate_pool_more_t *m = &p->more;
    char *to = c->env, *end = c->env + sizeof c->env - 1;
    c->umask = -1;
    if (m->chdir && snprintf(c->chdir, sizeof c->chdir, "%s", m->chdir) >=
                        (int)sizeof c->chdir)
        return gi_err(GATE_BADARG, "chdir: longer than %zu bytes",
                      sizeof c->chdir - 1);
    if (m->umask) {
        char *rest;
        long mask = strtol(m->umask, &rest, 8);
        if (rest == m->umask || *rest || mask < 0 || mask > 0777)
            return gi_err(GATE_BADARG, "umask is \"%s\": octal, 0 to 777",
                          m->umask);
        c->umask = (int)mask;
    }
    for (const char *const *v = m->env; v && *v; v++) {
        size_t size = strlen(*v) + 1;
        if (!strchr(*v, '=') || **v == '=')
            return gi_err(GATE_BADARG, "env has \"%s\": NAME=value is wanted",
                          *v);
        if (size > (size_t)(end - to))
            return gi_err(GATE_BADARG, "env: more than %zu bytes",
                          sizeof c->env - 1);
        memcpy(to, *v, size);
        to += size;
    }
    return GATE_OK;
}

static gate_err_t s_hook(uintptr_t fn, const char *what, gi_fn_ref_t *out) {
    return gi_fn_refer(fn, what, out);
}

/* ---- all ----------------------------------------------------------------- */

/* A program that was built when the struct was smaller knows less of it. */
static void s_take_more(gi_procs_t *p, const gate_pool_more_t *more) {
    size_t size = more ? more->size : 0;
    if (size > sizeof p->more)
        size = sizeof p->more;
    memset(&p->more, 0, sizeof p->more);
    if (size)
        memcpy(&p->more, more, size);
    p->init_ms = p->more.init_ms ? p->more.init_ms : INIT_MS;
    if (gi_time_none(p->init_ms))
        p->init_ms = INT64_MAX;
}

gate_err_t gi_options_take(gi_procs_t *p, const gate_pool_options_t *options,
                           const gate_pool_more_t *more) {
    static const struct {
        const char *name;
        size_t at;
    } times[] = {{"max_age_ms", offsetof(gate_pool_options_t, max_age_ms)},
                 {"soft_ms", offsetof(gate_pool_options_t, soft_ms)},
                 {"hard_ms", offsetof(gate_pool_options_t, hard_ms)},
                 {"grace_ms", offsetof(gate_pool_options_t, grace_ms)}};
    s_take_more(p, more);
    if (p->more.idle_ms < -1 || p->more.idle_workers < 0)
        return gi_err(GATE_BADARG,
                      "idle_ms is %lld, idle_workers %d: a time in ms, or 0 or "
                      "-1 for none; how many stay",
                      (long long)p->more.idle_ms, p->more.idle_workers);
    if (p->more.idle_ms == 0 || gi_time_none(p->more.idle_ms))
        p->more.idle_ms = INT64_MAX;
    for (size_t i = 0; options && i < sizeof times / sizeof *times; i++) {
        int64_t ms;
        memcpy(&ms, (const char *)options + times[i].at, sizeof ms);
        if (ms < -1)
            return gi_err(GATE_BADARG,
                          "%s is %lld: a time in ms, 0 for the setting's, or "
                          "-1 for none",
                          times[i].name, (long long)ms);
    }
    if (options && (options->workers < 0 || options->workers > GI_WORKERS_MAX))
        return gi_err(GATE_BADARG,
                      "a process pool has 1 to %d workers (0: the setting's), "
                      "not %d",
                      GI_WORKERS_MAX, options->workers);
    if (options && options->queue_max < 0)
        return gi_err(GATE_BADARG, "queue_max is %d: 0 (the setting's) or more",
                      options->queue_max);
    const int64_t amounts[] = {options ? options->max_jobs : 0,
                               options ? options->max_rss_bytes : 0,
                               options ? options->limit_as_bytes : 0,
                               options ? options->limit_cpu_s : 0,
                               options ? options->limit_files : 0,
                               options ? options->restart_max : 0,
                               options ? options->restart_period_ms : 0};
    static const char *const amount_names[] = {
        "max_jobs",    "max_rss_bytes", "limit_as_bytes",   "limit_cpu_s",
        "limit_files", "restart_max",   "restart_period_ms"};
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (amounts[i] < 0)
            return gi_err(GATE_BADARG, "%s is %lld: 0 (no limit) or more",
                          amount_names[i], (long long)amounts[i]);
    s_defaults(p, options);
    return GATE_OK;
}

gate_err_t gi_options_config(gi_procs_t *p) {
    const gate_settings_t *s = p->settings;
    const gate_pool_options_t *o = &p->options;
    gi_worker_config_t *c = &p->config;
    gate_err_t e;
    c->cells = (uint32_t)s->process_ring;
    c->lane_bytes = (uint64_t)s->process_slab_bytes / 2;
    c->spin_ns = (uint32_t)s->process_spin_us * 1000;
    c->result_max = p->result_max;
    c->str_max = s->msgpack_str_max;
    c->bin_max = s->msgpack_bin_max;
    c->array_max = s->msgpack_array_max;
    c->map_max = s->msgpack_map_max;
    c->depth_max = s->msgpack_depth_max;
    c->objects_max = s->msgpack_objects_max;
    c->huge_max = s->huge_max_bytes;
    c->secure = s->secure;
    c->nice = o->nice;
    c->limit_as = o->limit_as_bytes;
    c->limit_cpu = o->limit_cpu_s;
    c->limit_files = o->limit_files;
    c->core_dumps = o->core_dumps;
    snprintf(c->name, sizeof c->name, "%s", p->name);
    if (o->cpus) {
        c->has_cpus = true;
        e = s_cpus(o->cpus, &c->cpus);
        if (e)
            return e;
    }
    c->arg = (uint64_t)(uintptr_t)p->more.arg;
    c->by_exit = p->more.by_exit;
    e = s_person(p, c);
    if (!e)
        e = s_place(p, c);
    if (!e)
        e = s_hook((uintptr_t)p->more.start, "the pool's start", &c->start);
    if (!e)
        e = s_hook((uintptr_t)p->more.end, "the pool's end", &c->end);
    return e ? e : s_code(c, &s->hooks, p->options.init);
}
