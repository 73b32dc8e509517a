/* SPDX-License-Identifier: BSD-3-Clause */
/* origin.c -- the third part of an exception, read.
 *
 * Ours say who made it (origin.h). A Python peer's traceback begins in the
 * function that caught it: in its broker's request_backend before any worker
 * had the call; else in its worker, and what it raised itself has that frame
 * alone, what a handler raised one more at least. Nothing there tells nothing:
 * the class decides then, and the call may have run. */
#include "base/origin.h"
#include "base/err.h"

#include <string.h>

#define S_FRAME "  File \""

static bool s_ends_in(const char *line, size_t size, const char *function) {
    size_t n = strlen(function);
    return size > n && memcmp(line + size - n, function, n) == 0;
}

/* The first line is a frame of function, which catches and answers. */
static bool s_begins_in(const char *traceback, const char *function) {
    size_t size = strcspn(traceback, "\n");
    return strncmp(traceback, S_FRAME, strlen(S_FRAME)) == 0 &&
           s_ends_in(traceback, size, function);
}

/* Of a Python worker or broker, with no frame of a handler behind. */
static bool s_python_own(const char *traceback) {
    return (s_begins_in(traceback, ", in process_request") ||
            s_begins_in(traceback, ", in internal_interface")) &&
           strstr(traceback, "\n" S_FRAME) == NULL;
}

gi_origin_t gi_origin_of(const char *traceback) {
    if (traceback == NULL || *traceback == 0)
        return GI_ORIGIN_PEER;
    if (strcmp(traceback, GI_UNRUN) == 0 ||
        s_begins_in(traceback, ", in request_backend"))
        return GI_ORIGIN_UNRUN;
    return s_python_own(traceback) ? GI_ORIGIN_PEER : GI_ORIGIN_HANDLER;
}

gate_err_t gi_origin_code(const char *cls, const char *traceback) {
    return gi_origin_of(traceback) == GI_ORIGIN_HANDLER ? GATE_RAISED
                                                        : gi_err_of_class(cls);
}
