/* SPDX-License-Identifier: BSD-3-Clause */
/* carrier.h -- what carries links' messages between brokers: the interface that
 * a carrier's library gives, a table of functions. Thread: the uplink's, except
 * where said. Blocks: never for long. Law: a message comes whole
 * or not at all; it may be lost, doubled, late. */
#ifndef GI_CARRIER_H
#define GI_CARRIER_H

#include <gaterpc/error.h>

#define GI_CARRIER_VERSION 4
#define GI_CARRIER_LIBRARY "libgaterpc-uplink-nats.so"
#define GI_CARRIER_SYMBOL "gi_carrier_nats"
#define GI_CARRIER_TEXT 256
#define GI_CARRIER_URLS_MAX 16
#define GI_CARRIER_URLS_BYTES 2048
#define GI_CARRIER_NKEY 56 /* a public one, in base32 */

typedef struct gi_carrier gi_carrier_t;

/* What happened on a thread of the carrier's own, for told. */
typedef struct gi_carrier_word {
    int what;
    int value;
} gi_carrier_word_t;

typedef struct gi_carrier_wish {
    const char *urls;                           /* comma list */
    const char *name;                           /* as the server shows it */
    const char *creds, *nkey, *user, *password; /* NULL: none */
    const char *nkey_public;     /* goes with nkey, which is the seed's file */
    const char *ca, *cert, *key; /* files; NULL: none */
    bool secure;                 /* by TLS or not at all */
    int64_t beat_ms;
    const char *all, *mine; /* subjects that are listened to */
} gi_carrier_wish_t;

typedef struct gi_carrier_events {
    /* Borrows. to_all: it came to the first subject. */
    void (*message)(void *ctx, bool to_all, gate_bytes_t message);
    /* Any thread: have told called with this word soon. */
    void (*post)(void *ctx, gi_carrier_word_t word);
} gi_carrier_events_t;

typedef struct gi_carrier_ops {
    unsigned version;
    /* Begins to connect, once: it is up or over some time later. NULL: why
     * (GI_CARRIER_TEXT bytes) says what failed. Borrows wish, keeps events until
     * close. */
    gi_carrier_t *(*open)(const gi_carrier_wish_t *wish,
                          const gi_carrier_events_t *events, void *ctx,
                          char *why);
    void (*close)(gi_carrier_t *self);
    void (*told)(gi_carrier_t *self, gi_carrier_word_t word);
    bool (*is_up)(const gi_carrier_t *self);
    /* It has failed, or ended: close it and open another one. */
    bool (*is_over)(const gi_carrier_t *self);
    /* Why it is over; "" it is not, or nobody knows. */
    const char *(*why)(const gi_carrier_t *self);
    const char *(*server)(const gi_carrier_t *self);
    size_t (*message_max)(const gi_carrier_t *self);
    /* A descriptor to poll for reading, -1 none; *writes: for writing too. */
    int (*fd)(const gi_carrier_t *self, bool *writes);
    /* Reads and tells what came. Only when poll has said so: with TLS it would
     * wait else. */
    void (*read)(gi_carrier_t *self);
    /* More may be published now. */
    bool (*ready)(const gi_carrier_t *self);
    bool (*publish)(gi_carrier_t *self, const char *subject, const void *data,
                    size_t size);
    /* Writes what was published, as far as the socket takes it. */
    void (*flush)(gi_carrier_t *self);
} gi_carrier_ops_t;

#endif
