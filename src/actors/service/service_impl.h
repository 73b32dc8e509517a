/* SPDX-License-Identifier: BSD-3-Clause */
/* service_impl.h -- what the files of a service's shell share. What a call may
 * do next is decided in core/ (life.c); here is what it is made of:
 *
 *   service.c, service_methods.c   public face, life; methods
 *   service_actor.c    mail, sockets, timers in; what the core wants done out
 *   service_link.c     one connection to one broker; service_link_send.c
 *   service_call.c     a broker's request becomes a call; service_direct.c: one
 *                      of this process does
 *   service_upload.c   its arguments in chunks
 *   service_run.c, service_job.c   where its handler runs, and its job
 *   service_stream.c, service_huge.c (feed, codecs)   what it sends
 *   service_answer.c   how it is answered
 *   service_table.c    calls as objects; found by id
 *
 * A service is in parts that have one owner each: what is constant once it runs,
 * what is any thread's, and what is the actor's (service_own.h). */
#ifndef GI_SERVICE_IMPL_H
#define GI_SERVICE_IMPL_H

#include <gaterpc/service.h>
#include "net/actor.h"
#include "jobs/call.h"
#include "mail/credit.h"
#include "async/future.h"
#include "net/frames.h"
#include "jobs/huge_feed.h"
#include "bulk/huge_pack.h"
#include "bulk/huge_unpack.h"
#include "sync/lock.h"
#include "sync/gauge.h"
#include "sync/latch.h"
#include "sync/news.h"
#include "sync/ref.h"
#include "runtime/registry.h"
#include "wire/rpc.h"
#include "runtime/builder.h"
#include "net/login.h"
#include "runtime/runtime.h"
#include "service/service_direct.h"
#include "service/service_huge.h"
#include "service/service_link.h"
#include "net/sock.h"
#include "async/stream.h"
#include "async/trace.h"
#include "sync/wheel.h"

typedef struct gi_scall gi_scall_t;

/* ---- methods ------------------------------------------------------------- */
#define GI_METHOD_QUICK 64

typedef struct gi_smethod {
    const gate_method_t *m;
    size_t name_size;
    void *ctx;
    gate_runs_t runs;  /* resolved: never GATE_DEFAULT */
    gate_pool_t *pool; /* where, unless inline; NULL: the runtime's default */
    unsigned quick;    /* inline: of gi_run_here, up to GI_METHOD_QUICK */
    gi_life_counts_t counts;
} gi_smethod_t;

/* ---- the service --------------------------------------------------------- */
typedef struct gi_smethods {
    gi_smethod_t *all;
    size_t n, room;
    uint32_t *hash; /* index + 1, 0 = empty */
    size_t hash_size;
} gi_smethods_t;

/* Constant once it runs. */
typedef struct gi_service_config {
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_login_t login;
    char *name, *description;
    size_t name_size;
    int64_t limit; /* calls under way */
    int64_t life;  /* random: what tells it from one under the same identity */
    unsigned n_workers;
    gate_runs_t default_runs;
    gate_pool_t *default_pool;
    gi_smethods_t methods; /* but for their counts, the actor's */
    char *idempotent;      /* names, comma separated; "" */
    const void *broker;    /* of this runtime that the first link belongs to */
    gi_actor_t *actor;
    gi_mailbox_t *mailbox;
} gi_service_config_t;

/* Any thread's. */
typedef struct gi_service_shared {
    gi_gauge_t local_refused; /* local calls refused; only grows */
    gi_gauge_t local;         /* local calls in flight */
    gi_gauge_t told;          /* brokers that told it to drain */
    gi_news_t news;           /* of whether it is ready, or idle */
    gi_latch_t away;          /* calls running on pools */
    gi_drainable_t drainable; /* the runtime's */
    gi_lock_t lock;           /* of: */
    bool ready;               /* ready_mail is under way */
    gi_smail_t ready_mail;
    pthread_t thread; /* the actor's; written as it begins */
} gi_service_shared_t;

struct gate_service {
    gi_ref_t refs; /* the user's, kept calls', the registry's finders' */
    gi_builder_t builder;
    gi_service_config_t is;
    gi_service_shared_t shared;
    struct gi_service_own *own; /* the actor's: service_own.h */
};

/* ---- service_methods.c --------------------------------------------------- */
extern const gate_method_t gi_service_builtin[];
gate_err_t gi_service_build_table(gate_service_t *self) GATE_MUST;
gi_smethod_t *gi_service_method(gate_service_t *self, gate_bytes_t name);
/* Where it runs, in a word. */
const char *gi_service_runs_name(const gi_smethod_t *method);
/* How often a call of it may run in all. */
int gi_service_runs(const gate_service_t *self, const gate_method_t *m);

/* ---- service_actor.c ----------------------------------------------------- */
/* Any thread. The actor's own never waits for itself: its mail is read in the
 * same pass. Sets no story. */
gate_err_t gi_service_post(gate_service_t *self, gi_smail_t *mail,
                           int64_t timeout_ms) GATE_MUST;
bool gi_service_on_actor(const gate_service_t *self);
extern const gi_actor_ops_t gi_service_ops;

/* ---- service_table.c ----------------------------------------------------- */
/* What the actor owns, before it runs and after; false: no memory. */
bool gi_service_own_new(gate_service_t *self) GATE_MUST;
void gi_service_own_free(gate_service_t *self);

/* ---- service_run.c ------------------------------------------------------- */
gate_err_t gi_service_begin_processes(gate_service_t *self) GATE_MUST;

#endif
