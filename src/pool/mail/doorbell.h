/* SPDX-License-Identifier: BSD-3-Clause */
/* doorbell.h -- an eventfd that is rung only when its owner sleeps.
 * Thread: ring by any; the rest by the one owner.
 * Law: owner declares sleep, looks at its queues again, then polls; a ringer
 * publishes, then looks at the flag: one of the two sees the other. The ringer
 * touches the bell after it has published, so whoever destroys a bell must know
 * that no ringer is inside (a mailbox does; a static bell is never destroyed).
 */
#ifndef GI_DOORBELL_H
#define GI_DOORBELL_H

#include <gaterpc/error.h>
#include <stdatomic.h>

typedef struct gi_doorbell {
    int fd;        /* poll it for POLLIN */
    uint64_t owed; /* owner: rings announced whose write has not been read */
    char pad[48];
    atomic_int sleeping; /* on a line of its own: ringers read it each time */
    char pad2[60];
} gi_doorbell_t;

gate_err_t gi_doorbell_init(gi_doorbell_t *self) GATE_MUST;
void gi_doorbell_fini(gi_doorbell_t *self);
void gi_doorbell_ring(gi_doorbell_t *self);
/* Before polling; look at the queues after it and before the poll. */
void gi_doorbell_sleep(gi_doorbell_t *self);
/* After polling, or when the look found something; empties the eventfd if it
 * was rung. */
void gi_doorbell_wake(gi_doorbell_t *self);

#endif
