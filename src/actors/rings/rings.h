/* SPDX-License-Identifier: BSD-3-Clause */
/* rings.h -- how a peer of a broker and the broker come to a ring way
 * (docs/extensions.md, lanes): what is said on the Unix socket and, beside it,
 * on the connection of ZeroMQ, whose peer is known and which stays the truth of
 * who is there.
 *
 *   broker: offer ------------- Gate.info, heartbeats ---------------> peer
 *                 <--- connects to the Unix socket, whose owner is looked at
 *           hello (a nonce) --- Unix socket ------------------------->
 *                 <--- ZeroMQ ------------------------- ask (the nonce)
 *           memory, sealed ---- Unix socket ------------------------->
 *                 <--- ZeroMQ, its last message there ------------- up
 *           up, the last there - ZeroMQ ----------------------------->
 *
 *           down, its last there - rings ---------------------------->
 *                 <--- rings ------------------ down, its last there
 *           the end ------------ Unix socket ------------------------>
 *
 * Thread: any. Blocks: never. */
#ifndef GI_RINGS_H
#define GI_RINGS_H

#include <gaterpc/settings.h>
#include <sys/types.h>
#include "rings/ringway.h"

#define GI_RINGS_NONCE 16
#define GI_RINGS_OFFER 128 /* bytes of an offer, its NUL included */
#define GI_RINGS_MAGIC "\xc1GXR"
#define GI_RINGS_SAID (4 + 1 + GI_RINGS_NONCE) /* the longest of both below */

/* ---- over ZeroMQ: one frame, behind the routing id at the broker; DOWN is a
 * record of the rings --------------------------------------------------------- */
typedef enum gi_rings_word {
    GI_RINGS_NOTHING, /* it is another message */
    GI_RINGS_ASK,     /* with the nonce */
    GI_RINGS_UP,
    GI_RINGS_DOWN,
    GI_RINGS_NONSENSE /* it begins like one */
} gi_rings_word_t;
gi_rings_word_t gi_rings_read(gate_bytes_t frame,
                              unsigned char nonce[GI_RINGS_NONCE]);
size_t gi_rings_write(gi_rings_word_t word,
                      const unsigned char nonce[GI_RINGS_NONCE],
                      unsigned char to[GI_RINGS_SAID]);

/* ---- the setting lane ----------------------------------------------------- */
bool gi_rings_always(const gate_settings_t *settings);
/* Who encrypts what it says wants no memory that is not, unless always. */
bool gi_rings_wanted(const gate_settings_t *settings, bool encrypted);

/* ---- the offer ------------------------------------------------------------ */
/* Listens under a fresh name that no file has. name gets the offer; GATE_SYSTEM:
 * no lanes here. */
gate_err_t gi_rings_listen(char offer[GI_RINGS_OFFER], int *fd) GATE_MUST;
/* Connects. -1: it is not for us (another machine or network, another process
 * has the name), or not now. */
int gi_rings_connect(gate_bytes_t offer);
/* Who has connected there; false: not known. */
bool gi_rings_who(int fd, pid_t *process, uid_t *user);

/* ---- by the lane ---------------------------------------------------------- */
/* A record that is a word; false: no room. */
bool gi_rings_put(gi_ringway_t *way, gi_rings_word_t word);

/* ---- over the Unix socket ------------------------------------------------- */
bool gi_rings_hello(int fd, const unsigned char nonce[GI_RINGS_NONCE]);
/* Memory of our own for a pair: -1 there is none, with gate_error() set. */
int gi_rings_memory(size_t ring);
bool gi_rings_give(int fd, int memory, size_t ring);
/* What the broker says next. */
typedef enum gi_rings_told {
    GI_RINGS_WAIT, /* nothing yet */
    GI_RINGS_HELLO,
    GI_RINGS_MEMORY, /* which is the caller's */
    GI_RINGS_END     /* gone, or not what it should say */
} gi_rings_told_t;
gi_rings_told_t gi_rings_hear(int fd, unsigned char nonce[GI_RINGS_NONCE],
                              int *memory, size_t *ring);

/* The most bytes of a record, of messages whose frames have so many at most. */
static inline size_t gi_rings_most(int64_t message_bytes_max) {
    return 2 * (size_t)message_bytes_max + (1 << 20);
}

#endif
