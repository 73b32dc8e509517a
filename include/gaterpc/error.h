/* SPDX-License-Identifier: BSD-3-Clause */
/* error.h -- the code is the return value, the story is gate_error().
 * Thread: the story is per thread (futures and streams carry their own). */
#ifndef GATERPC_ERROR_H
#define GATERPC_ERROR_H

#include <gaterpc/base.h>

GATE_BEGIN_DECLS

/* How a call of the library ended: GATE_OK, or what went wrong (errors.def). */
typedef enum gate_err {
#define GATE_X(code, cls, exit_code, text) GATE_##code,
#include <gaterpc/errors.def>
#undef GATE_X
    GATE_ERR_COUNT
} gate_err_t;

/* What went wrong. The strings are never NULL. */
typedef struct gate_error {
    gate_err_t code;
    const char *cls;  /* "ValueError", "BusyWorkerError", ... */
    const char *text; /* which object, which endpoint, what would be right */
    const char *traceback; /* the remote side's; "" when there is none */
} gate_error_t;

/* The last failure on this thread; never NULL. Valid until the thread's next
 * failing gate_ call; success and destroy do not clear it. */
GATE_API const gate_error_t *gate_error(void);
/* "TIMEOUT" for GATE_TIMEOUT. */
GATE_API const char *gate_err_name(gate_err_t e);
/* One sentence on what e means. */
GATE_API const char *gate_err_text(gate_err_t e);
/* Writes "what: Class: text" and a remote traceback to stderr; returns the
 * exit code of the gate command for that error. */
GATE_API int gate_perror(const char *what);
/* 0 done, 1 remote exception, 2 bad input here, 3 unreachable, 4 refused. */
GATE_API int gate_exit_code(gate_err_t e);

GATE_END_DECLS

#endif
