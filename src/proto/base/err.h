/* SPDX-License-Identifier: BSD-3-Clause */
/* err.h -- setting the thread's story, and errors that own their strings. */
#ifndef GI_ERR_H
#define GI_ERR_H

#include <gaterpc/error.h>

/* Sets this thread's story (class by code) and returns code. */
gate_err_t gi_err(gate_err_t code, const char *fmt, ...) GATE_PRINTF(2, 3);
/* "what: strerror(errno)", GATE_SYSTEM; ENOMEM gives GATE_NOMEM. */
gate_err_t gi_err_errno(const char *fmt, ...) GATE_PRINTF(1, 2);
/* Sets the whole story; NULL cls = the code's, NULL text or traceback = "".
 * No memory degrades the strings, never the code. */
gate_err_t gi_err_story(gate_err_t code, const char *cls, const char *text,
                        const char *traceback);
/* A public function got NULL where it needs something (base.h): true, and the
 * story is GATE_BADARG, "gate_x: it is NULL". */
void gi_err_null_say(const char *what);
static inline bool gi_err_null(const void *p, const char *what) {
    if (__builtin_expect(p != NULL, 1))
        return false;
    gi_err_null_say(what);
    return true;
}
/* How many stories this thread has had: whether a call told one. */
unsigned long gi_err_count(void);
/* The class that peers see for a code. */
const char *gi_err_class(gate_err_t code);
/* The code for a class that a peer named; GATE_RAISED when it is no code's. */
gate_err_t gi_err_of_class(const char *cls);

/* An error with strings of its own. Zeroed memory is a valid empty one. */
typedef struct gi_error {
    gate_error_t story;
    char *owned; /* one block holding the three strings; NULL = static ones */
} gi_error_t;
void gi_error_init(gi_error_t *self); /* GATE_OK, "", "", "" */
void gi_error_fini(gi_error_t *self);
/* Copies; also from gate_error(). Replaces what was there. */
void gi_error_set(gi_error_t *self, const gate_error_t *story);
void gi_error_story(gi_error_t *self, gate_err_t code, const char *cls,
                    const char *text, const char *traceback);
/* Makes it this thread's story; returns its code. */
gate_err_t gi_error_publish(const gi_error_t *self);

#endif
