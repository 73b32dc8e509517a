/* SPDX-License-Identifier: BSD-3-Clause */
/* affinity.c -- see affinity.h. */
#include "net/affinity.h"

#include <gaterpc/log.h>
#include <sched.h>
#include <zmq.h>
#include "settings/cpus.h"
#include "settings/settings.h"

static gate_err_t s_read(const char *text, cpu_set_t *set) {
    gi_cpus_t cpus;
    gate_err_t e = gi_cpus_read(text, &cpus);
    CPU_ZERO(set);
    for (unsigned i = 0; !e && i < GI_CPUS_MAX && i < CPU_SETSIZE; i++)
        if (gi_cpus_has(&cpus, i))
            CPU_SET(i, set);
    return e;
}

/* False: nothing is asked for, or nothing can be. */
static bool s_asked(const gate_settings_t *settings, cpu_set_t *set) {
    return settings->cpus && *settings->cpus &&
           s_read(settings->cpus, set) == GATE_OK;
}

gate_err_t gi_affinity_check(const gate_settings_t *settings) {
    cpu_set_t set, allowed;
    if (!settings->cpus || !*settings->cpus)
        return GATE_OK;
    gate_err_t e = s_read(settings->cpus, &set);
    if (e || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return e;
    CPU_AND(&allowed, &allowed, &set);
    return CPU_COUNT(&allowed) > 0 ? GATE_OK : gi_cpus_none(settings->cpus);
}

/* An actor's thread: what it runs on, and what it was born with. */
static _Thread_local bool s_pinned;
static _Thread_local cpu_set_t s_own, s_born;

void gi_affinity_actor(const gate_settings_t *settings) {
    if (!s_asked(settings, &s_own))
        return;
    s_pinned = sched_getaffinity(0, sizeof s_born, &s_born) == 0 &&
               sched_setaffinity(0, sizeof s_own, &s_own) == 0;
    if (!s_pinned)
        gate_log(GATE_WARN, "runtime", "cpus: \"%s\" is refused by the system",
                 settings->cpus);
}

void gi_affinity_loosen(void) {
    if (s_pinned)
        sched_setaffinity(0, sizeof s_born, &s_born);
}

void gi_affinity_tighten(void) {
    if (s_pinned)
        sched_setaffinity(0, sizeof s_own, &s_own);
}

void gi_affinity_context(const gate_settings_t *settings, void *context) {
    cpu_set_t set;
    if (!s_asked(settings, &set))
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            zmq_ctx_set(context, ZMQ_THREAD_AFFINITY_CPU_ADD, (int)cpu);
}
