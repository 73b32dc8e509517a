/* SPDX-License-Identifier: BSD-3-Clause */
/* chaos.h -- a tcp proxy that misbehaves: between two of our peers it delays,
 * throttles, cuts, and falls silent without closing. What it carries stays in
 * order and whole, as tcp does.
 * Thread: its own; the functions from any. Law: nothing is kept in it beyond
 * CHAOS_BUFFER a direction: it reads no further then. */
#ifndef CHAOS_H
#define CHAOS_H

#include <stdbool.h>
#include <stddef.h>

#define CHAOS_BUFFER (256 * 1024)

typedef struct chaos chaos_t;

/* Each way, from now on. */
typedef struct chaos_rules {
    double delay_ms, jitter_ms; /* jitter: 0 to so much more */
    double bytes_per_s;         /* 0: as fast as it goes */
    double cut_ms; /* each connection lives half to double of it; 0: on */
    double loss;   /* the part of all pieces read that are lost: a cut each */
    bool frozen;   /* half-open: nothing is carried, nothing is closed */
} chaos_rules_t;

/* Listens on loopback and connects to the endpoint "tcp://127.0.0.1:PORT" for
 * each peer that comes; dies when it cannot. */
chaos_t *chaos_new(const char *endpoint);
void chaos_destroy(chaos_t **self_p);
const char *chaos_endpoint(const chaos_t *self);
void chaos_rule(chaos_t *self, chaos_rules_t rules);
void chaos_cut(chaos_t *self);           /* all connections, once */
size_t chaos_connections(chaos_t *self); /* that came so far */

#endif
