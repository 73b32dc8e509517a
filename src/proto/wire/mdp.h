/* SPDX-License-Identifier: BSD-3-Clause */
/* mdp.h -- Majordomo envelopes, parsed over borrowed frames. Pure: what a
 * socket delivered goes in as an array of (data, size), positions come out.
 * Sources: docs/wire.md (client and broker; broker and worker). */
#ifndef GI_MDP_H
#define GI_MDP_H

#include <gaterpc/error.h>
#include "base/tags.h"

/* All frame arrays are without the routing id that a ROUTER puts in front.
 * Members named after frames are positions in the array; n_x counts. */

/* client -> broker: "" MDPC01 service {zap} request_id body+ */
typedef struct gi_mdp_request {
    unsigned service, zap, n_zap, request_id, body, n_body;
} gi_mdp_request_t;
/* zap: credential frames are expected (GATE_REFUSED when they are missing or
 * of an unknown mechanism). GATE_BADDATA for anything malformed. */
gate_err_t gi_mdp_parse_request(const gate_bytes_t *f, size_t n, bool zap,
                                gi_mdp_request_t *out) GATE_MUST;

/* broker -> client: "" MDPC01 service request_id body+ */
typedef struct gi_mdp_reply {
    unsigned service, request_id, body, n_body;
} gi_mdp_reply_t;
gate_err_t gi_mdp_parse_reply(const gate_bytes_t *f, size_t n,
                              gi_mdp_reply_t *out) GATE_MUST;

/* worker -> broker: "" MDPW01 command {zap} ...; REPLY and EXT have client_id,
 * request_id and body; READY has body = its line; HEARTBEAT and DISCONNECT
 * have n_body = extra frames. */
typedef struct gi_mdp_worker {
    int command;
    unsigned zap, n_zap, client_id, request_id, body, n_body;
} gi_mdp_worker_t;
gate_err_t gi_mdp_parse_worker(const gate_bytes_t *f, size_t n, bool zap,
                               gi_mdp_worker_t *out) GATE_MUST;
/* broker -> worker: the same without zap; REQUEST as REPLY above. */
gate_err_t gi_mdp_parse_broker(const gate_bytes_t *f, size_t n,
                               gi_mdp_worker_t *out) GATE_MUST;

/* READY's line "name:description:max"; a bare name is taken with
 * max = default_max; split at the first and the last colon. Borrows. */
typedef struct gi_mdp_ready {
    gate_bytes_t name, description;
    int64_t max;
} gi_mdp_ready_t;
gate_err_t gi_mdp_parse_ready(gate_bytes_t line, int64_t default_max,
                              gi_mdp_ready_t *out) GATE_MUST;
/* Gives a NUL-terminated line (gi_mem_free). GATE_BADARG: a ':' inside. */
gate_err_t gi_mdp_compose_ready(const char *name, const char *description,
                                int64_t max, char **out) GATE_MUST;

#endif
