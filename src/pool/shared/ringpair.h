/* SPDX-License-Identifier: BSD-3-Clause */
/* ringpair.h -- two rings of records in memory that two processes share which
 * need not trust each other: one for each direction, one producer and one
 * consumer each. This file alone touches that memory.
 *
 * Law: what the other side writes can spoil this pair and nothing else. Each
 * side has its positions for itself and never reads back a word that it wrote;
 * of the other's it takes one look, and believes it only where it fits. A record
 * is copied out first and looked at then.
 * Law: nobody waits here. There is no room, or nothing there: that is said.
 *
 * A sleeper says so and looks again, a producer publishes and looks who sleeps,
 * all four seq_cst: one of the two sees the other. Room is told the same way.
 *
 * Thread: one a side. Units: bytes. Owns: nothing, the memory is borrowed. */
#ifndef GI_RINGPAIR_H
#define GI_RINGPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GI_RINGPAIR_MIN 4096 /* of one ring; a power of two */
#define GI_RINGPAIR_MAX (64 << 20)

/* One side's view. */
typedef struct gi_ringpair {
    struct gi_ring *in, *out;
    unsigned char *in_data, *out_data;
    uint64_t size;
    uint64_t in_pos;   /* read up to there */
    uint64_t in_seen;  /* published up to there, at the last look */
    uint64_t in_told;  /* our last word on what is read */
    uint64_t out_pos;  /* written up to there */
    uint64_t out_free; /* read by the other up to there, at the last look */
    uint32_t in_size;  /* of the record that next has shown; 0: none */
    uint32_t load;     /* our last word on it */
    bool asleep;       /* our last word on that */
    bool took;         /* since we looked who waits for room */
    bool bad;          /* the other side broke the law: for good */
} gi_ringpair_t;

/* What a pair of rings of that size takes. */
size_t gi_ringpair_bytes(size_t ring);
/* Memory of zeros, or of a pair that both open at that position (0; others are
 * for tests). One side is the first. */
void gi_ringpair_open(gi_ringpair_t *self, void *memory, size_t ring,
                      bool first, uint64_t at);

/* ---- producer ------------------------------------------------------------- */
/* The largest record; what is larger goes in pieces. */
size_t gi_ringpair_most(const gi_ringpair_t *self);
/* Where a record of size (1..most) is to be written; NULL: no room. The other
 * side rings when there is half of it. */
void *gi_ringpair_room(gi_ringpair_t *self, size_t size);
/* Publishes what was written there; more: it is not the last piece. */
void gi_ringpair_put(gi_ringpair_t *self, size_t size, bool more);
/* True: the other side sleeps, and is to be rung (true once a sleep). */
bool gi_ringpair_sleeper(gi_ringpair_t *self);
/* What this side has under way, for the other's ideas of when to sleep. */
void gi_ringpair_load(gi_ringpair_t *self, uint32_t load);

/* ---- consumer ------------------------------------------------------------- */
/* 1: a record is next, of so many bytes, which take copies and ends. 0: none;
 * -1: bad. */
int gi_ringpair_next(gi_ringpair_t *self, size_t *size, bool *more);
void gi_ringpair_take(gi_ringpair_t *self, void *to);
/* After some takes. True: the producer waits for room and has some now, and is
 * to be rung. */
bool gi_ringpair_freed(gi_ringpair_t *self);
bool gi_ringpair_there(const gi_ringpair_t *self); /* next has an answer */
/* From now on it rings. False: something is there, do not sleep. */
bool gi_ringpair_sleep(gi_ringpair_t *self);
void gi_ringpair_wake(gi_ringpair_t *self);
uint32_t gi_ringpair_other_load(const gi_ringpair_t *self);

#endif
