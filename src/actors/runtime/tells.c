/* SPDX-License-Identifier: BSD-3-Clause */
/* tells.c -- see tells.h. */
#include "runtime/tells.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "runtime/logd.h"
#include "sync/clock.h"
#include "tally/tally.h"

#define S_TEXT_MAX 160 /* of a line of the log */

static void s_text(msgpack_packer *pk, const char *key, const char *text) {
    msgpack_pack_str_with_body(pk, key, strlen(key));
    msgpack_pack_str_with_body(pk, text, strlen(text));
}

static void s_number(msgpack_packer *pk, const char *key, int64_t n) {
    msgpack_pack_str_with_body(pk, key, strlen(key));
    msgpack_pack_int64(pk, n);
}

static int64_t s_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Resident memory, from the kernel's own line; -1: it does not say. */
static int64_t s_rss(void) {
    long all, resident = -1;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return -1;
    if (fscanf(f, "%ld %ld", &all, &resident) != 2)
        resident = -1;
    fclose(f);
    return resident < 0 ? -1 : resident * sysconf(_SC_PAGESIZE);
}

static int64_t s_cpu_us(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) +
           used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

void gi_tells_process(msgpack_packer *pk, int64_t born_ms) {
    int64_t wall_ms = s_wall_ms();
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof host - 1);
    s_text(pk, "version", gate_version());
    s_text(pk, "host", host);
    s_number(pk, "pid", getpid());
    s_number(pk, "start_ms", wall_ms - (gi_clock_ms() - born_ms));
    s_number(pk, "now_ms", wall_ms);
    s_number(pk, "cpu_us", s_cpu_us());
    s_number(pk, "rss_bytes", s_rss());
}

void gi_tells_pool(msgpack_packer *pk, gate_pool_t *pool) {
    GATE_OWN(gate_value) numbers = gate_pool_stats(pool);
    if (numbers)
        msgpack_pack_object(pk, *gate_value_object(numbers));
    else
        msgpack_pack_map(pk, 0);
}

void gi_tells_log(msgpack_packer *pk) {
    gi_logd_kept_t kept[GI_LOGD_KEPT];
    size_t n = gi_logd_recent(kept);
    int64_t now_ms = s_wall_ms();
    msgpack_pack_array(pk, n);
    for (size_t i = 0; i < n; i++) {
        const char *level = gate_level_name(kept[i].level);
        size_t size = strnlen(kept[i].text, S_TEXT_MAX);
        msgpack_pack_array(pk, 4);
        msgpack_pack_int64(pk, now_ms - kept[i].wall_ms);
        msgpack_pack_str_with_body(pk, level, strlen(level));
        gi_tally_pack_text(pk, kept[i].part, strlen(kept[i].part));
        gi_tally_pack_text(pk, kept[i].text, size);
    }
}
