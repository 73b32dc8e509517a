/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_credentials.c -- in-band credentials (docs/wire.md, ZAP): who sent a
 * message, before anything is done with it.
 *
 *   message --believed--> handled         at once, as that user
 *      `--unknown--> waits --verdict--> handled | refused | told of an outage
 *
 * One question per peer is under way at a time; what comes meanwhile waits
 * behind it, in order. A yes is believed for a while and asked again in the
 * second half of that, so that a short outage goes by unnoticed; a no and an
 * outage are never kept. Wrong credentials cost tokens: without one a peer is
 * refused unasked and not at once, so guessing is slow, whatever connections it
 * comes over. */
#include "broker/trust/broker_credentials.h"

#include <gaterpc/log.h>
#include <string.h>
#include "base/bytes.h"
#include "base/utf8.h"
#include "broker/trust/broker_trust.h"

#define S_PART "broker"

/* ---- judging a message --------------------------------------------------- */
static void s_admit(gi_broker_core_t *core, gi_broker_peer_t *peer,
                    gi_frames_t *frames, gi_broker_user_t *user) {
    core->users.current = gi_broker_user_share(user); /* it may go meanwhile */
    gi_broker_admit(core, peer, frames);
    core->users.current = NULL;
    gi_broker_user_drop(core, user);
    gi_frames_close(frames);
}

/* Still believed; in the second half of that time it is asked about again. */
static bool s_believed(gi_broker_core_t *core, gi_broker_trust_t *trust,
                       gi_frames_t *frames) {
    if (!gi_broker_trust_same(&trust->granted, frames) ||
        core->clock.now_ms > trust->until_ms)
        return false;
    if (core->clock.now_ms - trust->since_ms >
            trust->until_ms - core->clock.now_ms &&
        !trust->asking && !trust->held && trust->n_waiting == 0)
        gi_broker_ask(core, trust, frames);
    return true;
}

/* False: it must wait, for a verdict or since wrong ones were too many; late:
 * it has waited for that. */
static bool s_judge(gi_broker_core_t *core, gi_broker_trust_t *trust,
                    gi_frames_t *frames, bool late) {
    gi_broker_peer_t *peer = trust->peer;
    if (!gi_broker_trust_named(frames)) {
        core->count.zap_missing++;
        if (core->sockets[peer->socket].backend)
            gi_broker_tell(core, GI_TELL_BARE,
                           "a service was refused: it came without a user and "
                           "a password, which this broker asks for");
        gi_broker_reject(core, peer, frames, "AccessDeniedError",
                         "This broker asks for a user and a password (PLAIN).");
    } else if (gi_broker_trust_same(&core->auth.inside, frames)) {
        s_admit(core, peer, frames, core->users.local);
    } else if (s_believed(core, trust, frames)) {
        s_admit(core, peer, frames, trust->user);
    } else if (trust->asking || trust->held) {
        return false;
    } else if (!late && !gi_broker_trust_may_try(core, trust, frames)) {
        gi_broker_trust_hold(core, trust);
        return false;
    } else if (late) { /* whoever was held as well would see the same token */
        core->count.zap_throttled++;
        gi_broker_reject(
            core, peer, frames, "AccessDeniedError",
            "Too many wrong credentials: not looked at, come later.");
    } else if (!gi_broker_ask(core, trust, frames)) {
        core->count.zap_outages++;
        gi_broker_reject_later(core, peer, frames);
    } else {
        return false;
    }
    return true;
}

static void s_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                      gi_frames_t *frames) {
    gi_broker_trust_t *trust = gi_broker_trust_of(core, peer);
    if (trust == NULL)
        return;
    if (trust->n_waiting == 0 && s_judge(core, trust, frames, false))
        return;
    if (gi_broker_trust_wait(core, trust, frames, false))
        return;
    core->count.zap_overflows++;
    gi_broker_reject(core, peer, frames, "BusyWorkerError",
                     "Too many messages wait for the authentication service.");
}

/* ---- verdicts ------------------------------------------------------------ */
/* The first message that waited for the verdict, or comes after one. */
static void s_go(gi_broker_core_t *core) {
    gi_broker_trust_t *trust =
        GI_OF(core->work.judged.next, gi_broker_trust_t, judged);
    gi_frames_t *frames = &core->auth.late;
    gi_broker_peer_t *peer = trust->peer;
    gi_broker_verdict_t verdict = trust->verdict;
    if (trust->n_waiting == 0 || trust->asking || trust->held) {
        gi_list_remove(&trust->judged);
        return;
    }
    bool late = trust->n_late > 0;
    trust->n_late -= late;
    if (!gi_broker_message_restore(core, frames,
                                   gi_broker_trust_first(core, trust)))
        return; /* the message is lost; its peer hears of it by its own time */
    bool same = gi_broker_trust_named(frames) &&
                gi_broker_trust_same(&trust->asked, frames);
    if (same && verdict == GI_VERDICT_NO) {
        gi_broker_reject(core, peer, frames, "AccessDeniedError",
                         "Wrong user or password.");
    } else if (same && verdict == GI_VERDICT_OUTAGE) {
        gi_broker_reject_later(core, peer, frames);
    } else if (!s_judge(core, trust, frames, late)) {
        trust->n_late = 0;
        gi_list_remove(&trust->judged);
        if (!gi_broker_trust_wait(core, trust, frames, true))
            gi_broker_reject_later(core, peer, frames);
    }
}

static void s_let_go(gi_broker_core_t *core, gi_broker_trust_t *trust,
                     gi_broker_verdict_t verdict) {
    gi_broker_ask_end(core, trust);
    trust->verdict = verdict;
    if (trust->n_waiting && gi_list_empty(&trust->judged))
        gi_list_append(&core->work.judged, &trust->judged);
}

static void s_yes(gi_broker_core_t *core, gi_broker_trust_t *trust,
                  gate_bytes_t name) {
    if (name.size == 0)
        name = (gate_bytes_t){trust->asked.data, trust->asked.user_size};
    gi_broker_user_t *user = gi_broker_user_of(core, name);
    if (user == NULL) {
        s_let_go(core, trust, GI_VERDICT_OUTAGE);
        return;
    }
    gi_broker_trust_unbelieve(core, trust);
    trust->granted = trust->asked;
    trust->asked = (gi_secret_t){0};
    trust->user = user;
    trust->since_ms = core->clock.now_ms;
    gi_broker_guess_right(core, gi_broker_trust_address(trust),
                          &trust->granted);
    trust->until_ms =
        core->clock.now_ms + gi_settings_ms(core->settings->zap_cache_ttl_s);
    gi_list_append(&core->auth.believed, &trust->believed);
    if (++core->auth.n_believed > (size_t)core->settings->zap_cache_max)
        gi_broker_trust_unbelieve(
            core, GI_OF(core->auth.believed.next, gi_broker_trust_t, believed));
    s_let_go(core, trust, GI_VERDICT_YES);
}

static void s_no(gi_broker_core_t *core, gi_broker_trust_t *trust) {
    core->count.zap_refused++;
    gi_broker_trust_wrong(core, trust);
    if (gi_secret_equal(&trust->granted, &trust->asked))
        gi_broker_trust_unbelieve(core, trust); /* the password was changed */
    gate_log(GATE_WARN, S_PART, "a %s was refused: wrong user or password",
             core->sockets[trust->peer->socket].backend ? "worker" : "client");
    s_let_go(core, trust, GI_VERDICT_NO);
}

/* "" version key status text user metadata */
static void s_verdict(gi_broker_core_t *core, gi_frames_t *frames) {
    gi_broker_trust_t *trust = NULL;
    if (frames->n == 7 && gi_frames_at(frames, 0).size == 0)
        trust = gi_broker_ask_find(core, gi_frames_at(frames, 2));
    if (trust == NULL) {
        core->count.zap_late++;
        return;
    }
    gate_bytes_t status = gi_frames_at(frames, 3),
                 name = gi_frames_at(frames, 5);
    if (gi_bytes_is(status, "200") && name.size <= GI_CREDENTIALS_USER_MAX &&
        gi_utf8_valid(name.data, name.size) &&
        memchr(name.data, 0, name.size) == NULL) {
        s_yes(core, trust, name);
    } else if (gi_bytes_is(status, "400")) {
        s_no(core, trust);
    } else {
        core->count.zap_outages++;
        gate_log(GATE_WARN, S_PART, "the authentication service failed: %.*s",
                 (int)(status.size < 16 ? status.size : 16),
                 (const char *)status.data);
        s_let_go(core, trust, GI_VERDICT_OUTAGE);
    }
}

static void s_due(gi_broker_core_t *core, gi_broker_timer_t *timer) {
    gi_broker_trust_t *trust = GI_OF(timer, gi_broker_trust_t, due);
    if (trust->held) {
        gi_broker_trust_release(core, trust);
        trust->n_late = trust->n_waiting;
        s_let_go(core, trust, GI_VERDICT_NONE);
        return;
    }
    core->count.zap_outages++;
    gate_log(GATE_WARN, S_PART,
             "the authentication service does not answer within %g s",
             core->settings->zap_reply_timeout);
    s_let_go(core, trust, GI_VERDICT_OUTAGE);
}

static void s_fini(gi_broker_core_t *core) {
    gi_secret_forget(&core->auth.inside);
    gi_guesses_destroy(&core->auth.guesses);
    gi_guess_destroy(&core->auth.told);
}

/* ---- switching it on ----------------------------------------------------- */
static const gi_broker_auth_ops_t s_ops = {.message = s_message,
                                           .verdict = s_verdict,
                                           .due = s_due,
                                           .go = s_go,
                                           .waits = gi_broker_trust_waits,
                                           .forget = gi_broker_trust_forget,
                                           .fini = s_fini,
                                           .valid = gi_broker_trust_valid};

gate_err_t gi_broker_core_zap(gi_broker_core_t *self, const char *domain,
                              const char *user, const char *password) {
    self->auth.ops = &s_ops;
    self->auth.domain = domain;
    self->auth.guesses = gi_guesses_new();
    self->auth.told = gi_guess_new(1000.0 / (double)self->clock.beat_ms, 1.0);
    if (self->auth.guesses && self->auth.told &&
        (user == NULL ||
         gi_secret_set(&self->auth.inside, (gate_bytes_t){user, strlen(user)},
                       (gate_bytes_t){password, strlen(password)})))
        return GATE_OK;
    return gi_err(GATE_NOMEM, "no memory for a broker");
}

const gi_broker_user_t *gi_broker_auth_user(const gi_broker_peer_t *peer) {
    return peer->trust ? peer->trust->user : peer->user;
}
