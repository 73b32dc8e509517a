/* SPDX-License-Identifier: BSD-3-Clause */
/* link_codec.h -- what brokers of a cluster send each other, as bytes: the head
 * of a message, and the records that a message of kind data is made of
 * (docs/extensions.md, GXL). Thread: any. Blocks: never. Owns: nothing, views
 * borrow. Survives: any bytes. Law: every length is looked at before it is
 * believed. Integers are written most significant byte first. */
#ifndef GI_LINK_CODEC_H
#define GI_LINK_CODEC_H

#include <gaterpc/error.h>

#define GI_LINK_VERSION 1
#define GI_LINK_HEAD 56      /* bytes of a head */
#define GI_LINK_NODE_SIZE 8  /* bytes of a node's id */
#define GI_LINK_NODE_TEXT 13 /* the same as base32hex */
#define GI_LINK_RECORD_HEAD 6
#define GI_LINK_FRAMES_MAX 64 /* in a record */

/* ---- messages ------------------------------------------------------------ */
typedef enum gi_link_kind {
    GI_LINK_ANNOUNCE = 'A', /* who I am and what I offer: link_news.h */
    GI_LINK_HELLO = 'H',    /* gens, ack and grant alone */
    GI_LINK_DATA = 'D',     /* records */
    GI_LINK_RESUME = 'R',   /* seq: the number that I have not got */
    GI_LINK_BYE = 'B'       /* this life of the link ends; the reason follows */
} gi_link_kind_t;

#define GI_LINK_ASKS 1u /* a flag: say what you have, by RESUME */

typedef struct gi_link_head {
    gi_link_kind_t kind;
    uint16_t flags;
    unsigned char node[GI_LINK_NODE_SIZE]; /* the sender */
    uint32_t gen, peer_gen; /* the sender's life of the link, and the
                               receiver's as it knows it; 0 = not */
    uint64_t seq, ack;      /* ack: the next number whose batch is not used */
    uint64_t grant;         /* bytes of records that may be sent, in all */
    uint32_t age_ms;        /* of the batch, when it was sent */
    uint32_t size;          /* of what follows the head */
} gi_link_head_t;

void gi_link_head_write(const gi_link_head_t *head,
                        unsigned char to[GI_LINK_HEAD]);
/* *rest views what follows. GATE_BADDATA: it is no message; GATE_NOTIMPL: of a
 * later version. */
gate_err_t gi_link_head_parse(gate_bytes_t message, gi_link_head_t *head,
                              gate_bytes_t *rest) GATE_MUST;
/* A node's id as subjects have it, NUL-terminated. */
void gi_link_node_text(const unsigned char node[GI_LINK_NODE_SIZE],
                       char to[GI_LINK_NODE_TEXT + 1]);

/* ---- records ------------------------------------------------------------- */
typedef enum gi_link_type {
    GI_LINK_REQUEST = 'Q',  /* service, client, request id, body... */
    GI_LINK_CONTROL = 'C',  /* service index, client, request id, body... */
    GI_LINK_REPLY = 'P',    /* client, request id, body... */
    GI_LINK_CREDIT = 'K',   /* client, request id, extension frame */
    GI_LINK_SHARE = 'S',    /* service index, so many more calls */
    GI_LINK_FRAGMENT = 'F', /* bytes of a larger record: id, bytes */
} gi_link_type_t;

#define GI_LINK_UNRUN 1u /* of a reply: the call did not run */
#define GI_LINK_LOST 2u  /* of a reply: its worker is lost */
#define GI_LINK_LAST 1u  /* of a fragment: it is whole now */

typedef struct gi_link_record {
    gi_link_type_t type;
    unsigned flags;
    gate_bytes_t body; /* its frames, packed */
} gi_link_record_t;

/* What a record of these frames takes; n at most GI_LINK_FRAMES_MAX. */
size_t gi_link_record_size(const gate_bytes_t *f, unsigned n);
/* Writes it; returns where it ends. */
unsigned char *gi_link_record_write(gi_link_type_t type, unsigned flags,
                                    const gate_bytes_t *f, unsigned n,
                                    unsigned char *to);
/* The record that rest begins with; rest is behind it afterwards. */
gate_err_t gi_link_record_next(gate_bytes_t *rest,
                               gi_link_record_t *out) GATE_MUST;
/* The frames of its body, at most max; *n of them. */
gate_err_t gi_link_record_frames(gate_bytes_t body, unsigned max,
                                 gate_bytes_t *f, unsigned *n) GATE_MUST;

void gi_link_put32(unsigned char *to, uint32_t value);
uint32_t gi_link_get32(const void *from);

#endif
