/* SPDX-License-Identifier: BSD-3-Clause */
/* service_huge.h -- huge results of a service: from whoever feeds them
 * (service_feed.c) through a pack to their readers (service_huge.c), in a codec
 * that those read (service_codecs.c). Part of service_impl.h. */
#ifndef GI_SERVICE_HUGE_H
#define GI_SERVICE_HUGE_H

#include "bulk/huge_pack.h"
#include "jobs/huge_feed.h"
#include "mail/credit.h"
#include "service/core/life.h"
#include "service/service_mail.h"

typedef struct gi_scall gi_scall_t;
typedef struct gi_link gi_link_t;
typedef struct gi_shuge gi_shuge_t;

/* A huge result on its way. Whoever feeds it has a reference to its call. */
struct gi_shuge {
    gi_smail_t begin_mail, end_mail;
    gi_scall_t *call;
    gi_huge_begin_t begin;
    gi_credit_t feed; /* room for pieces */
    gi_error_t error; /* what END said; written before its mail */
    /* the actor's */
    gi_shuge_t *prev, *next; /* of those under way */
    unsigned char head_bytes[8];
    gate_bytes_t head, data; /* what is left of a source in memory */
    void *kept;              /* of that: for release */
    void (*release)(void *);
    gi_sitem_t *first, *newest; /* pieces that wait */
    gi_huge_pack_t *pack;       /* NULL: local, bytes go as they are */
    gi_buf_t whole;             /* local, for a future */
    bool by_items;              /* fed by a pool's job */
    bool ends_kept;             /* its end was a kept call's last word */
    bool ended;                 /* no more input comes */
    bool finished;              /* and the pack knows */
    bool sent;                  /* a chunk went out */
    bool closed;                /* its last message went out */
    bool probing;               /* does its reader know credit? */
    int64_t probe_ms;           /* since when it is out of credit */
    int64_t look_ms;            /* when to pull it though nothing was told */
    int64_t stalled_ns;         /* since when it could send and may not */
};

/* ---- service_huge.c ------------------------------------------------------ */
/* The result in call.out is one for chunks. */
bool gi_shuge_wants(const gi_life_t *life); /* of the core */
/* Of the core: the handler has come back with outcome, the huge result goes on
 * alone, made of call.out when none was begun. */
gate_err_t gi_shuge_go_on(gi_life_t *life, gate_err_t outcome) GATE_MUST;
void gi_shuge_fail_call(gi_life_t *life, const gate_error_t *story);
/* One that was begun becomes the call's. */
void gi_shuge_attach(gi_shuge_t *h);
/* Ends it with an exception, now. */
void gi_shuge_fail(gi_shuge_t *h, const gate_error_t *story);
void gi_shuge_credit(gi_scall_t *c, int64_t items, int64_t bytes);
bool gi_shuge_pull(gate_service_t *self);
int64_t gi_shuge_next(const gate_service_t *self);

/* ---- service_feed.c ------------------------------------------------------ */
extern const gi_huge_ops_t gi_sfeed_ops;
gi_shuge_t *gi_sfeed_new(gi_scall_t *c, const gi_huge_begin_t *begin);
void gi_sfeed_free(gi_shuge_t **h_p);
/* Lets go of all input. */
void gi_sfeed_drop(gi_shuge_t *h);
/* Input for the pack, as much as it takes. */
gate_err_t gi_sfeed_supply(gi_shuge_t *h) GATE_MUST;
/* Local: the next bytes as they are; borrows until used. GATE_WOULDBLOCK,
 * GATE_EOS. */
gate_err_t gi_sfeed_peek(gi_shuge_t *h, gate_bytes_t *chunk) GATE_MUST;
void gi_sfeed_used(gi_shuge_t *h, size_t size);
void gi_sfeed_piece(gi_sitem_t *item);
/* An item from a job that is a part; takes it. */
void gi_sfeed_item(gi_sitem_t *item, int kind, gate_bytes_t part);
void gi_sfeed_begin(gi_shuge_t *h); /* mail */
void gi_sfeed_end(gi_shuge_t *h);   /* mail */

/* ---- service_codecs.c ------------------------------------------------- */
/* What a request said of its caller. */
void gi_readers_note(gate_service_t *self, const gi_link_t *link,
                     gate_bytes_t client, gate_bytes_t codecs);
/* The codecs that the call's caller reads, comma separated; NULL: it never said
 * so. */
const char *gi_readers_codecs(const gi_scall_t *c);
void gi_readers_free(gate_service_t *self);

#endif
