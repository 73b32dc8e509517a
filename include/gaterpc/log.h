/* SPDX-License-Identifier: BSD-3-Clause */
/* log.h -- a line goes into a ring and out on the log actor: callers never
 * wait; a full ring drops and counts. Before a runtime starts, and in worker
 * processes, lines go to stderr (which a worker's parent reads into its log).
 * Thread: any. Blocks: never. */
#ifndef GATERPC_LOG_H
#define GATERPC_LOG_H

#include <gaterpc/base.h>

GATE_BEGIN_DECLS

/* How much a line matters; GATE_SILENT, as a level to log at, is none at all. */
typedef enum gate_level {
    GATE_DEBUG,
    GATE_INFO,
    GATE_WARN,
    GATE_ERROR,
    GATE_SILENT
} gate_level_t;

/* part: who speaks ("broker", "service.Demo", your own); its level is the
 * setting log_levels, else log_level. Lines are cut at 1,000 bytes. */
GATE_API void gate_log(gate_level_t level, const char *part, const char *fmt,
                       ...) GATE_PRINTF(3, 4);
/* Gets a line; called on the log actor's thread, one line at a time. */
typedef void gate_log_fn(void *ctx, gate_level_t level, const char *part,
                         const char *text);
/* One more receiver of every line that passes its level; NULL removes it. */
GATE_API void gate_log_sink(gate_log_fn *fn, void *ctx);
/* Lines dropped for want of room since the process began: in the ring, or on
 * the log file's disk. */
GATE_API uint64_t gate_log_dropped(void);
/* Waits until every line logged before this call is out. Blocks: at most
 * timeout_ms. Not on the log actor. */
GATE_API bool gate_log_flush(int64_t timeout_ms);
/* "debug", "info", "warn", "error", "silent"; "unknown" for none of them. */
GATE_API const char *gate_level_name(gate_level_t level);

GATE_END_DECLS

#endif
