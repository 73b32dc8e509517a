/* SPDX-License-Identifier: BSD-3-Clause */
/* tells.c -- see tells.h. */
#include "runtime/tells.h"

#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/pack.h"
#include "memory/resident.h"
#include "runtime/logd.h"
#include "sync/clock.h"
#include "tally/tally.h"

#define S_TEXT_MAX 160 /* of a line of the log */

static int64_t s_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
    gi_pack_str(pk, "version", gate_version());
    gi_pack_str(pk, "host", host);
    gi_pack_int(pk, "pid", getpid());
    gi_pack_int(pk, "start_ms", wall_ms - (gi_clock_ms() - born_ms));
    gi_pack_int(pk, "now_ms", wall_ms);
    gi_pack_int(pk, "cpu_us", s_cpu_us());
    gi_pack_int(pk, "rss_bytes", gi_resident());
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
        gi_pack_text(pk, level);
        gi_tally_pack_text(pk, kept[i].part, strlen(kept[i].part));
        gi_tally_pack_text(pk, kept[i].text, size);
    }
}
