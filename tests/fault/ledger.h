/* SPDX-License-Identifier: BSD-3-Clause */
/* ledger.h -- every call of a test, the value it must bring and what it
 * brought. The test's law: at the end nothing is lost, double or wrong.
 * Thread: open, value and error from any; the rest by one.
 * Units: times in milliseconds. */
#ifndef LEDGER_H
#define LEDGER_H

#include <gaterpc.h>

typedef struct ledger ledger_t;

/* Room for that many calls; ends the program for lack of memory. */
ledger_t *ledger_new(const char *name, size_t calls);
void ledger_destroy(ledger_t **self_p);
/* An error that a call may end with here; any other counts as wrong. */
void ledger_allow(ledger_t *self, gate_err_t e);

/* A call begins; its value shall be want. SIZE_MAX when the room is used up. */
size_t ledger_open(ledger_t *self, int64_t want);
/* Its final answer: a value, or an error. */
void ledger_value(ledger_t *self, size_t id, int64_t got);
void ledger_error(ledger_t *self, size_t id, gate_err_t e);
/* Either of the two, by e. */
void ledger_final(ledger_t *self, size_t id, gate_err_t e, int64_t got);

size_t ledger_opened(const ledger_t *self);
size_t ledger_right(const ledger_t *self);
/* The longest that a call took, finished or not. */
double ledger_longest_ms(const ledger_t *self);
/* Of the right answers; 0 without any. */
double ledger_p99_ms(const ledger_t *self);
/* Prints one line of figures; false when the law is broken. */
bool ledger_close(ledger_t *self);

#endif
