/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus.c -- see cpus.h. */
#include "settings/cpus.h"

#include <stdlib.h>
#include "base/err.h"

/* One CPU or a range; *at goes on behind it. */
static bool s_range(const char **at, gi_cpus_t *out) {
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
    if (first > last || last >= GI_CPUS_MAX)
        return false;
    for (unsigned long cpu = first; cpu <= last; cpu++)
        out->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
    *at = end;
    return true;
}

static bool s_parse(const char *text, gi_cpus_t *out) {
    *out = (gi_cpus_t){{0}};
    while (s_range(&text, out)) {
        if (!*text)
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

gate_err_t gi_cpus_read(const char *text, gi_cpus_t *out) {
    return s_parse(text, out)
               ? GATE_OK
               : gi_err(GATE_BADARG,
                        "cpus: \"%s\" is no list of CPUs such as 0-1,3", text);
}

gate_err_t gi_cpus_none(const char *text) {
    return gi_err(GATE_BADARG, "cpus: this process may use no CPU of \"%s\"",
                  text);
}
