/* SPDX-License-Identifier: BSD-3-Clause */
/* affinity.c -- "2" or "0-1,3" as taskset has it. */
#include "net/affinity.h"

#include <gaterpc/log.h>
#include <sched.h>
#include <stdlib.h>
#include <zmq.h>
#include "base/err.h"
#include "settings/settings.h"

/* One CPU or a range; *at goes on behind it. */
static bool s_range(const char **at, cpu_set_t *set) {
    char *end;
    unsigned long first = strtoul(*at, &end, 10), last = first;
    if (end == *at || **at < '0' || **at > '9')
        return false;
    if (*end == '-') {
        const char *from = end + 1;
        last = strtoul(from, &end, 10);
        if (end == from || *from < '0' || *from > '9')
            return false;
    }
    if (first > last || last >= CPU_SETSIZE)
        return false;
    for (unsigned long cpu = first; cpu <= last; cpu++)
        CPU_SET(cpu, set);
    *at = end;
    return true;
}

static bool s_parse(const char *text, cpu_set_t *set) {
    CPU_ZERO(set);
    while (s_range(&text, set)) {
        if (!*text)
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

/* False: nothing is asked for, or nothing can be. */
static bool s_asked(const gate_settings_t *settings, cpu_set_t *set) {
    return settings->cpus && *settings->cpus && s_parse(settings->cpus, set);
}

gate_err_t gi_affinity_check(const gate_settings_t *settings) {
    cpu_set_t set, allowed;
    if (!settings->cpus || !*settings->cpus)
        return GATE_OK;
    if (!s_parse(settings->cpus, &set))
        return gi_err(GATE_BADARG,
                      "cpus: \"%s\" is no list of CPUs such as 0-1,3",
                      settings->cpus);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        CPU_AND(&allowed, &allowed, &set);
        if (CPU_COUNT(&allowed) == 0)
            return gi_err(GATE_BADARG,
                          "cpus: this process may use no CPU of \"%s\"",
                          settings->cpus);
    }
    return GATE_OK;
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
