/* SPDX-License-Identifier: BSD-3-Clause */
/* service_mail.h -- what comes into a service's mailbox. */
#ifndef GI_SERVICE_MAIL_H
#define GI_SERVICE_MAIL_H

#include <stddef.h>

typedef struct gi_scall gi_scall_t;

/* Mail kinds; the mail is a member of what it is about. */
typedef enum gi_smail_kind {
    GI_SMAIL_LOCAL,    /* gi_slocal: a call from this process */
    GI_SMAIL_OPEN,     /* gi_scall: the same, for a stream */
    GI_SMAIL_LEFT,     /* gi_sleft: the caller of a gi_slocal left */
    GI_SMAIL_RETURNED, /* gi_scall: its handler returned on a pool */
    GI_SMAIL_FINISHED, /* gi_scall: a kept call has its outcome */
    GI_SMAIL_JOBDONE,  /* gi_sjob: a pool job of gate_call_run ended */
    GI_SMAIL_ITEM,     /* gi_sitem: one yielded item */
    GI_SMAIL_LOST,     /* gi_scall: one was lost, there was no memory */
    GI_SMAIL_CREDIT,   /* gi_scall: a local reader took items */
    GI_SMAIL_CANCEL,   /* gi_scall: a local reader left */
    GI_SMAIL_BEGIN,    /* gi_shuge: a huge result was begun */
    GI_SMAIL_PIECE,    /* gi_sitem: bytes of it */
    GI_SMAIL_END,      /* gi_shuge: that was all, or its failure */
    GI_SMAIL_ARGS,     /* gi_scall: huge arguments were inflated */
    GI_SMAIL_READY     /* gate_service: compressed blocks are there */
} gi_smail_kind_t;

typedef struct gi_smail {
    gi_smail_kind_t kind;
    struct gi_smail *next; /* of those that the actor sends itself */
} gi_smail_t;

/* One yielded item on its way to the actor. */
typedef struct gi_sitem {
    gi_smail_t mail;
    gi_scall_t *call;
    struct gi_sitem *next; /* piece of a huge result: in its queue */
    size_t at, size;       /* of those, at: bytes used so far */
    bool flush;            /* of those: behind it */
    unsigned char data[];
} gi_sitem_t;

#endif
