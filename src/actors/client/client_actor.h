/* SPDX-License-Identifier: BSD-3-Clause */
/* client_actor.h -- what the client's actor alone owns, and the files that run
 * on its thread. Made and freed on it. */
#ifndef GI_CLIENT_ACTOR_H
#define GI_CLIENT_ACTOR_H

#include "client/client_impl.h"
#include "net/conn.h"

typedef struct gi_client_actor {
    gate_client_t *client;
    gi_client_core_t *core;
    gi_conn_t conn;
    gi_sock_t formers[GI_CFORMERS_MAX]; /* raw NULL: none */
    unsigned n_formers;                 /* that are there */
    int64_t now_ms;
    bool brief;       /* callers know that there is a lane */
    char codecs[256]; /* that we read */
    gi_cargs_t *args; /* huge arguments going out */
    gi_frames_t in;   /* last: touched when something comes */
} gi_client_actor_t;

static inline gi_pending_t *gi_pending_of(gi_ccall_t *call) {
    return (gi_pending_t *)(void *)((char *)call -
                                    offsetof(gi_pending_t, call));
}

/* ---- client_pending.c: the core's effects on a call ---------------------- */
gate_err_t gi_pending_answer(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                             unsigned at);
gate_err_t gi_pending_item(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                           unsigned at);
gate_err_t gi_pending_row_item(void *ctx, gi_ccall_t *call, gate_bytes_t item);
void gi_pending_end(void *ctx, gi_ccall_t *call);
void gi_pending_fail(void *ctx, gi_ccall_t *call, const gate_error_t *story);
void gi_pending_times(void *ctx, gi_ccall_t *call, const gi_times_t *times);
int64_t gi_pending_idle_ms(void *ctx, gi_ccall_t *call, int64_t now_ms);
void gi_pending_left(void *ctx, gi_ccall_t *call);

/* ---- client_huge.c ------------------------------------------------------- */
gate_err_t gi_client_huge_begin(void *ctx, gi_ccall_t *call,
                                const gi_ext_t *ext);
gate_err_t gi_client_huge_chunk(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                                unsigned at);
gate_err_t gi_client_huge_end(void *ctx, gi_ccall_t *call);
/* Mail from its receiver. */
void gi_client_huge_mail(gi_client_actor_t *self, gi_cmail_t *mail);
/* The call is done with it, whether it has ended or not. */
void gi_client_huge_leave(gi_pending_t *p);

#endif
