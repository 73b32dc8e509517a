/* SPDX-License-Identifier: BSD-3-Clause */
/* guess.h -- who has guessed wrong how often: token buckets by text (an
 * address, an address and a user), a bounded number of them. Pure. Thread: one.
 * Law: what is forgotten when it is full is whatever has most tokens left, so
 * that nobody gets a fresh allowance by making others' entries. */
#ifndef GI_GUESS_H
#define GI_GUESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <gaterpc/value.h>

typedef struct gi_guess gi_guess_t;

/* burst wrong ones at once, then per_s. NULL: no memory. */
gi_guess_t *gi_guess_new(double per_s, double burst);
void gi_guess_destroy(gi_guess_t **self_p);
/* Whether one more try is looked at; costs nothing. */
bool gi_guess_may(gi_guess_t *self, const void *key, size_t size,
                  int64_t now_ms);
/* It was wrong. */
void gi_guess_wrong(gi_guess_t *self, const void *key, size_t size,
                    int64_t now_ms);

/* ---- passwords: an address's, and an address's for one user -------------- */
#define GI_GUESS_PER_S 5.0 /* for one user */
#define GI_GUESS_BURST 10.0

typedef struct gi_guesses gi_guesses_t;

gi_guesses_t *gi_guesses_new(void); /* NULL: no memory */
void gi_guesses_destroy(gi_guesses_t **self_p);
/* Of address and user 255 bytes count. */
bool gi_guesses_may(gi_guesses_t *self, gate_bytes_t address, gate_bytes_t user,
                    int64_t now_ms);
void gi_guesses_wrong(gi_guesses_t *self, gate_bytes_t address,
                      gate_bytes_t user, int64_t now_ms);
/* They were right, from there. Keeps a hash, for a quarter of an hour. */
void gi_guess_right(gi_guesses_t *self, gate_bytes_t address, gate_bytes_t user,
                    gate_bytes_t password, int64_t now_ms);
/* gi_guesses_may says no, but these were right from there not long ago: somebody
 * else's mistakes do not lock them out. Others cost the address a try, so
 * this, too, tells who guesses little. */
bool gi_guess_was_right(gi_guesses_t *self, gate_bytes_t address,
                        gate_bytes_t user, gate_bytes_t password,
                        int64_t now_ms);

#endif
