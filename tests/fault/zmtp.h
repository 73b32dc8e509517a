/* SPDX-License-Identifier: BSD-3-Clause */
/* zmtp.h -- thousands of plain ZMTP 3.0 clients on one thread, one descriptor
 * each, as Python's would look on the wire: greeting, READY, requests in turn.
 * Thread: the one that made it. */
#ifndef ZMTP_H
#define ZMTP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct zmtp zmtp_t;

/* n clients of the endpoint "tcp://127.0.0.1:PORT"; each makes so many calls of
 * Demo.add, one after the other, and stays until destroy. All together make
 * rate calls a second at most. */
zmtp_t *zmtp_new(const char *endpoint, size_t n, int calls, double rate);
void zmtp_destroy(zmtp_t **self_p);
/* Goes on for at most so long; true when all calls of all have been answered.
 */
bool zmtp_run(zmtp_t *self, double ms);
size_t zmtp_connected(const zmtp_t *self); /* that had an answer, any */
size_t zmtp_right(const zmtp_t *self);     /* answers that are right */
size_t zmtp_wrong(const zmtp_t *self);     /* others, and lost connections */

/* A socket that is on its way to the endpoint; -1 when there is none left. */
int zmtp_knock(const char *endpoint);

#endif
