/* SPDX-License-Identifier: BSD-3-Clause */
/* mutate.h -- messages made from the golden vectors of tests/wire/vectors (what
 * real Python peers sent) and from our own extensions, changed at random. The
 * same seed gives the same messages. Thread: one. */
#ifndef MUTATE_H
#define MUTATE_H

#include <gaterpc.h>
#include <stdint.h>

#define MUTATE_FRAMES 80

typedef struct mutate mutate_t;

typedef struct message {
    size_t n;
    gate_bytes_t frame[MUTATE_FRAMES];
} message_t;

/* direction: "client->broker", "broker->worker" and so on. Ends the program
 * when there are no such vectors below the working directory. */
mutate_t *mutate_new(const char *direction, uint64_t seed);
void mutate_destroy(mutate_t **self_p);
/* One more message to start from. Borrows the frames. */
void mutate_add(mutate_t *self, const message_t *message);
/* A message of the vectors as it stands. Valid as long as self. */
const message_t *mutate_pick(mutate_t *self);
/* Changes a copy one to four times, now and then not at all. What comes back is
 * valid until the next call. */
const message_t *mutate_change(mutate_t *self, const message_t *message);
/* The same frames as docs/extensions.md packs them, some of them outside; how
 * many is up to chance. Valid until the next change. */
const message_t *mutate_pack(mutate_t *self, const message_t *message);
/* A changed message that is packed now and then, before or after its change. */
const message_t *mutate_packed(mutate_t *self, const message_t *message);
/* 0 .. below - 1. */
uint32_t mutate_random(mutate_t *self, uint32_t below);
/* So many messages have been changed. */
size_t mutate_count(const mutate_t *self);
/* GATE_SEED, or 1; says which. */
uint64_t mutate_seed(void);

#endif
