/* SPDX-License-Identifier: BSD-3-Clause */
/* tells.h -- what a process tells of itself: to who asks its broker, to a
 * broker that somebody looks at. Thread: any. Blocks: for a pool's lock. */
#ifndef GI_TELLS_H
#define GI_TELLS_H

#include <gaterpc/pool.h>

/* version, host, pid, start_ms and now_ms (since the epoch), cpu_us, rss_bytes:
 * so many entries of a map. born_ms: gi_clock_ms when it began. */
#define GI_TELLS_PROCESS 7
void gi_tells_process(msgpack_packer *pk, int64_t born_ms);
/* A pool's numbers: one map. */
void gi_tells_pool(msgpack_packer *pk, gate_pool_t *pool);
/* The last warnings of this process: [[ago_ms, level, part, text], ...]. */
void gi_tells_log(msgpack_packer *pk);

#endif
