/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_reject.c -- how a peer hears that its credentials do not do, or that
 * nobody could be asked about them. */
#include "broker/trust/broker_trust.h"

#include "base/bytes.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_workers.h"

/* A worker has no request to answer. A Python one that is told DISCONNECT comes
 * again at once, or never: it is told so seldom that its tries do not use up
 * those of others. */
static void s_reject_worker(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames, const char *why) {
    if (peer->worker)
        gi_broker_worker_lose(core, peer->worker, why);
    gate_bytes_t who = gi_broker_trust_named(frames)
                           ? gi_frames_at(frames, GI_CREDENTIALS_AT + 1)
                           : (gate_bytes_t){peer->id, peer->id_size};
    if (gi_broker_guess_may_tell(core, gi_broker_trust_address(peer->trust),
                                 who))
        gi_broker_worker_disconnect(core, peer);
}

/* The request id stands behind the credentials, whichever they are. */
static void s_reject_client(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames, const char *cls,
                            const char *text) {
    static const struct {
        const char *mechanism;
        unsigned n;
    } known[] = {{"PLAIN", 3}, {"NULL", 1}, {"CURVE", 2}, {"GSSAPI", 3}};
    unsigned id = GI_CREDENTIALS_AT;
    if (frames->n <= id || !gi_bytes_is(gi_frames_at(frames, 2), GI_MDP_CLIENT))
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (gi_bytes_is(gi_frames_at(frames, GI_CREDENTIALS_AT),
                        known[i].mechanism))
            id += known[i].n;
    if (id >= frames->n || gi_frames_at(frames, id).size == 0 ||
        gi_frames_at(frames, id).size > GI_ID_MAX ||
        gi_frames_at(frames, 3).size > GI_ID_MAX)
        return;
    gi_broker_refuse(core, peer, gi_frames_at(frames, 3),
                     gi_frames_at(frames, id), cls, text);
}

void gi_broker_reject(gi_broker_core_t *core, gi_broker_peer_t *peer,
                      gi_frames_t *frames, const char *cls, const char *text) {
    bool astray = gi_broker_astray(core, peer, frames);
    if (!astray && core->sockets[peer->socket].backend)
        s_reject_worker(core, peer, frames, "its credentials are not accepted");
    else if (!astray)
        s_reject_client(core, peer, frames, cls, text);
    gi_frames_close(frames);
}

void gi_broker_reject_later(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames) {
    const char *why = "the authentication service does not answer";
    if (peer->worker && !peer->worker->ext)
        gi_broker_worker_give_up(core, peer->worker, why); /* not for good */
    else if (core->sockets[peer->socket].backend && peer->past == NULL)
        s_reject_worker(core, peer, frames, why);
    else if (!core->sockets[peer->socket].backend)
        s_reject_client(core, peer, frames, "ServiceUnAvailableError",
                        "The authentication service does not answer.");
    gi_frames_close(frames);
}
