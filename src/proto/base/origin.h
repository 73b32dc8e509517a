/* SPDX-License-Identifier: BSD-3-Clause */
/* origin.h -- who made an error, and whether its call ran: told by the third
 * part of an exception, which every peer hands on (docs/wire.md, 6). */
#ifndef GI_ORIGIN_H
#define GI_ORIGIN_H

#include <gaterpc/error.h>

/* The third part of what a broker, a worker or a library says. */
#define GI_UNRUN "  (not run)\n"
/* That of a handler's exception when its traceback is kept back. */
#define GI_BY_HANDLER "  (raised by the handler)\n"

typedef enum gi_origin {
    GI_ORIGIN_PEER,   /* broker, worker or library; it may have run */
    GI_ORIGIN_UNRUN,  /* the same, and the call did not run */
    GI_ORIGIN_HANDLER /* a handler: the class is its own, whatever it is */
} gi_origin_t;

/* Borrows; NULL is "". */
gi_origin_t gi_origin_of(const char *traceback);
/* The code of an error of that class and traceback: GATE_RAISED for whatever a
 * handler raised. */
gate_err_t gi_origin_code(const char *cls, const char *traceback);

#endif
