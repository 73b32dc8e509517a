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
 * outage are never kept. Wrong credentials cost tokens: the peer's, its
 * address's, and its address's for that user; without one it is refused unasked
 * and not at once, so guessing is slow, whatever connections it comes over.
 *
 * Law: auth.asks holds exactly the trusts that are asking; one that asks or is
 * held has its timer; with messages that wait it is either, or in work.judged. */
#include "broker/trust/broker_credentials.h"

#include <gaterpc/log.h>
#include <string.h>
#include "base/bytes.h"
#include "base/identity.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_PART "broker"
#define S_CREDENTIALS 4 /* id "" tag service|command PLAIN user password */
#define S_KEY 16        /* random end of a question's key */
#define S_USER_MAX 255
#define S_PASSWORD_MAX 1024
#define S_WAIT_MAX 1024 /* messages of one peer */
#define S_WAIT_ALL (64 * 1024)
#define S_HOLD_MS 50 /* until somebody who guesses is refused */

typedef enum s_verdict { S_NONE, S_YES, S_NO, S_OUTAGE } s_verdict_t;

/* What is known of one peer's credentials. */
struct gi_broker_trust {
    gi_broker_peer_t *peer;
    gi_node_t ask;      /* in core->auth.asks while asking */
    gi_list_t believed; /* in core->auth.believed while granted, oldest first */
    gi_list_t judged;   /* in core->work.judged: waiting messages may go on */
    gi_list_t waiting;  /* messages */
    gi_broker_timer_t due; /* the answer's, or the end of being held */
    size_t n_waiting;
    size_t n_late; /* the first of them: they were held long enough */
    gi_secret_t granted, asked;
    gi_broker_user_t *user; /* of granted */
    int64_t since_ms, until_ms;
    s_verdict_t verdict; /* on asked, for the messages that wait */
    bool asking, held;   /* one of them at most */
    gi_bucket_t refusals;
    char address[GI_ADDRESS_MAX + 1]; /* where it asked from; "" not known */
    unsigned char key[S_KEY];
};
typedef gi_broker_trust_t s_trust_t;

/* ---- credentials --------------------------------------------------------- */
static bool s_has_credentials(gi_frames_t *frames) {
    return frames->n > S_CREDENTIALS + 2 &&
           gi_bytes_is(gi_frames_at(frames, S_CREDENTIALS), GI_ZAP_PLAIN) &&
           gi_frames_at(frames, S_CREDENTIALS + 1).size <= S_USER_MAX &&
           gi_frames_at(frames, S_CREDENTIALS + 2).size <= S_PASSWORD_MAX;
}

static bool s_same(const gi_secret_t *secret, gi_frames_t *frames) {
    return gi_secret_is(secret, gi_frames_at(frames, S_CREDENTIALS + 1),
                        gi_frames_at(frames, S_CREDENTIALS + 2));
}

static bool s_remember(gi_secret_t *secret, gi_frames_t *frames) {
    return gi_secret_set(secret, gi_frames_at(frames, S_CREDENTIALS + 1),
                         gi_frames_at(frames, S_CREDENTIALS + 2));
}

/* ---- guessing ------------------------------------------------------------ */
static gate_bytes_t s_address(const s_trust_t *trust) {
    return (gate_bytes_t){trust->address, strlen(trust->address)};
}

static bool s_may_try(gi_broker_core_t *core, s_trust_t *trust,
                      gi_frames_t *frames) {
    gi_broker_address(core, gi_frames_message(frames, 0), trust->address);
    return gi_bucket_has(&trust->refusals, GI_GUESS_PER_S, GI_GUESS_BURST,
                         core->clock.now_ms) &&
           gi_broker_guess_may(core, s_address(trust),
                               gi_frames_at(frames, S_CREDENTIALS + 1),
                               gi_frames_at(frames, S_CREDENTIALS + 2));
}

static void s_guessed_wrong(gi_broker_core_t *core, s_trust_t *trust) {
    gate_bytes_t user = {trust->asked.data, trust->asked.user_size};
    gi_bucket_take(&trust->refusals, GI_GUESS_PER_S, GI_GUESS_BURST,
                   core->clock.now_ms);
    gi_broker_guess_wrong(core, s_address(trust), user);
}

/* ---- life ---------------------------------------------------------------- */
static s_trust_t *s_trust(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    s_trust_t *trust = peer->trust;
    if (trust)
        return trust;
    trust = gi_mem_calloc(1, sizeof *trust);
    if (trust == NULL) {
        core->count.no_memory++;
        return NULL;
    }
    trust->peer = peer;
    trust->due.due = GI_DUE_ASK;
    gi_list_init(&trust->believed);
    gi_list_init(&trust->judged);
    gi_list_init(&trust->waiting);
    return peer->trust = trust;
}

static void s_unbelieve(gi_broker_core_t *core, s_trust_t *trust) {
    if (trust->granted.data)
        core->auth.n_believed--;
    gi_list_remove(&trust->believed);
    gi_secret_forget(&trust->granted);
    gi_broker_user_drop(core, trust->user);
    trust->user = NULL;
}

static void s_stop_asking(gi_broker_core_t *core, s_trust_t *trust) {
    if (!trust->asking)
        return;
    trust->asking = false;
    gi_table_remove(&core->auth.asks, &trust->ask);
    gi_broker_disarm(core, &trust->due);
}

/* From now on what it sends waits. */
static void s_hold(gi_broker_core_t *core, s_trust_t *trust) {
    if (trust->held)
        return;
    trust->held = true;
    gi_broker_arm(core, &trust->due, core->clock.now_ms + S_HOLD_MS);
}

static void s_release(gi_broker_core_t *core, s_trust_t *trust) {
    if (!trust->held)
        return;
    trust->held = false;
    gi_broker_disarm(core, &trust->due);
}

static gi_broker_message_t *s_first(gi_broker_core_t *core, s_trust_t *trust) {
    gi_broker_message_t *message =
        GI_OF(trust->waiting.next, gi_broker_message_t, link);
    gi_list_remove(&message->link);
    trust->n_waiting--;
    core->auth.n_waiting--;
    core->auth.waiting_bytes -= message->weight;
    return message;
}

static bool s_waits(const gi_broker_peer_t *peer) {
    return peer->trust && peer->trust->n_waiting > 0;
}

static void s_forget(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    s_trust_t *trust = peer->trust;
    if (trust == NULL)
        return;
    peer->trust = NULL;
    if (trust->asking)
        s_guessed_wrong(core, trust); /* it did not stay for the answer */
    s_stop_asking(core, trust);
    s_release(core, trust);
    s_unbelieve(core, trust);
    gi_secret_forget(&trust->asked);
    gi_list_remove(&trust->judged);
    while (!gi_list_empty(&trust->waiting))
        gi_broker_message_free(core, s_first(core, trust));
    gi_mem_free(trust);
}

/* ---- saying no ----------------------------------------------------------- */
/* A worker has no request to answer. A Python one that is told DISCONNECT comes
 * again at once, or never: it is told so seldom that its tries do not use up
 * those of others. */
static void s_reject_worker(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames, const char *why) {
    if (peer->worker)
        gi_broker_worker_lose(core, peer->worker, why);
    gate_bytes_t who = s_has_credentials(frames)
                           ? gi_frames_at(frames, S_CREDENTIALS + 1)
                           : (gate_bytes_t){peer->id, peer->id_size};
    if (gi_broker_guess_may_tell(core, s_address(peer->trust), who))
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
    unsigned id = S_CREDENTIALS;
    if (frames->n <= id || !gi_bytes_is(gi_frames_at(frames, 2), GI_MDP_CLIENT))
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (gi_bytes_is(gi_frames_at(frames, S_CREDENTIALS),
                        known[i].mechanism))
            id += known[i].n;
    if (id >= frames->n || gi_frames_at(frames, id).size == 0 ||
        gi_frames_at(frames, id).size > GI_ID_MAX ||
        gi_frames_at(frames, 3).size > GI_ID_MAX)
        return;
    gi_broker_refuse(core, peer, gi_frames_at(frames, 3),
                     gi_frames_at(frames, id), cls, text);
}

static void s_reject(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     gi_frames_t *frames, const char *cls, const char *text) {
    bool astray = gi_broker_astray(core, peer, frames);
    if (!astray && core->sockets[peer->socket].backend)
        s_reject_worker(core, peer, frames, "its credentials are not accepted");
    else if (!astray)
        s_reject_client(core, peer, frames, cls, text);
    gi_frames_close(frames);
}

static void s_outage(gi_broker_core_t *core, gi_broker_peer_t *peer,
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

/* ---- asking -------------------------------------------------------------- */
/* request_id- or worker_command-, and 16 random bytes (wire.md). */
static bool s_add_key(s_trust_t *trust, gi_frames_t *frames, bool worker,
                      gi_frames_t *out) {
    unsigned char key[8 + GI_ID_MAX + S_KEY];
    unsigned at = worker ? 3 : S_CREDENTIALS + 3;
    gate_bytes_t part =
        frames->n > at ? gi_frames_at(frames, at) : (gate_bytes_t){"", 0};
    size_t n = 0;
    if (worker) {
        memcpy(key, "worker_", 7);
        n = 7;
    }
    if (part.size > GI_ID_MAX)
        part.size = GI_ID_MAX;
    memcpy(key + n, part.data, part.size);
    n += part.size;
    key[n++] = '-';
    gi_random(trust->key, S_KEY);
    memcpy(key + n, trust->key, S_KEY);
    return gi_frames_add(out, key, n + S_KEY);
}

static bool s_compose(gi_broker_core_t *core, s_trust_t *trust,
                      gi_frames_t *frames) {
    gi_frames_t *out = &core->out;
    const gi_broker_peer_t *peer = trust->peer;
    const char *version = core->settings->zap_version;
    gate_bytes_t user = gi_frames_at(frames, S_CREDENTIALS + 1),
                 password = gi_frames_at(frames, S_CREDENTIALS + 2);
    gi_frames_close(out);
    return gi_frames_add(out, NULL, 0) &&
           gi_frames_add(out, version, strlen(version)) &&
           s_add_key(trust, frames, core->sockets[peer->socket].backend, out) &&
           gi_frames_add(out, core->auth.domain, strlen(core->auth.domain)) &&
           gi_frames_add(out, peer->id, peer->id_size) &&
           gi_frames_add(out, peer->id, peer->id_size) &&
           gi_frames_add(out, GI_ZAP_PLAIN, strlen(GI_ZAP_PLAIN)) &&
           gi_frames_add(out, user.data, user.size) &&
           gi_frames_add(out, password.data, password.size);
}

/* False: it cannot be asked. */
static bool s_ask(gi_broker_core_t *core, s_trust_t *trust,
                  gi_frames_t *frames) {
    bool sent = s_remember(&trust->asked, frames) &&
                s_compose(core, trust, frames) &&
                core->effects->ask(core->ctx, &core->out) == 0;
    gi_frames_close(&core->out);
    if (!sent)
        return false;
    core->count.zap_asked++;
    trust->asking = true;
    trust->verdict = S_NONE;
    trust->ask.hash = gi_table_hash(core->seed, trust->key, S_KEY);
    gi_table_insert(&core->auth.asks, &trust->ask);
    gi_broker_arm(core, &trust->due,
                  core->clock.now_ms +
                      gi_settings_ms(core->settings->zap_reply_timeout));
    return true;
}

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
static bool s_believed(gi_broker_core_t *core, s_trust_t *trust,
                       gi_frames_t *frames) {
    if (!s_same(&trust->granted, frames) ||
        core->clock.now_ms > trust->until_ms)
        return false;
    if (core->clock.now_ms - trust->since_ms >
            trust->until_ms - core->clock.now_ms &&
        !trust->asking && !trust->held && trust->n_waiting == 0)
        s_ask(core, trust, frames);
    return true;
}

/* False: it must wait, for a verdict or since wrong ones were too many; late:
 * it has waited for that. */
static bool s_judge(gi_broker_core_t *core, s_trust_t *trust,
                    gi_frames_t *frames, bool late) {
    gi_broker_peer_t *peer = trust->peer;
    if (!s_has_credentials(frames)) {
        core->count.zap_missing++;
        if (core->sockets[peer->socket].backend)
            gi_broker_tell(core, GI_TELL_BARE,
                           "a service was refused: it came without a user and "
                           "a password, which this broker asks for");
        s_reject(core, peer, frames, "AccessDeniedError",
                 "This broker asks for a user and a password (PLAIN).");
    } else if (s_same(&core->auth.inside, frames)) {
        s_admit(core, peer, frames, core->users.local);
    } else if (s_believed(core, trust, frames)) {
        s_admit(core, peer, frames, trust->user);
    } else if (trust->asking || trust->held) {
        return false;
    } else if (!late && !s_may_try(core, trust, frames)) {
        s_hold(core, trust);
        return false;
    } else if (late) { /* whoever was held as well would see the same token */
        core->count.zap_throttled++;
        s_reject(core, peer, frames, "AccessDeniedError",
                 "Too many wrong credentials: not looked at, come later.");
    } else if (!s_ask(core, trust, frames)) {
        core->count.zap_outages++;
        s_outage(core, peer, frames);
    } else {
        return false;
    }
    return true;
}

static bool s_wait(gi_broker_core_t *core, s_trust_t *trust,
                   gi_frames_t *frames, bool first) {
    if (!first &&
        (trust->n_waiting >= S_WAIT_MAX || core->auth.n_waiting >= S_WAIT_ALL ||
         !gi_broker_has_share(core, trust->peer)))
        return false;
    gi_broker_message_t *message =
        gi_broker_message_keep(core, frames, trust->peer);
    if (message == NULL)
        return false;
    if (first)
        gi_list_prepend(&trust->waiting, &message->link);
    else
        gi_list_append(&trust->waiting, &message->link);
    trust->n_waiting++;
    core->auth.n_waiting++;
    core->auth.waiting_bytes += message->weight;
    return true;
}

static void s_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                      gi_frames_t *frames) {
    s_trust_t *trust = s_trust(core, peer);
    if (trust == NULL)
        return;
    if (trust->n_waiting == 0 && s_judge(core, trust, frames, false))
        return;
    if (s_wait(core, trust, frames, false))
        return;
    core->count.zap_overflows++;
    s_reject(core, peer, frames, "BusyWorkerError",
             "Too many messages wait for the authentication service.");
}

/* ---- verdicts ------------------------------------------------------------ */
/* The first message that waited for the verdict, or comes after one. */
static void s_go(gi_broker_core_t *core) {
    s_trust_t *trust = GI_OF(core->work.judged.next, s_trust_t, judged);
    gi_frames_t *frames = &core->auth.late;
    gi_broker_peer_t *peer = trust->peer;
    s_verdict_t verdict = trust->verdict;
    if (trust->n_waiting == 0 || trust->asking || trust->held) {
        gi_list_remove(&trust->judged);
        return;
    }
    bool late = trust->n_late > 0;
    trust->n_late -= late;
    if (!gi_broker_message_restore(core, frames, s_first(core, trust)))
        return; /* the message is lost; its peer hears of it by its own time */
    bool same = s_has_credentials(frames) && s_same(&trust->asked, frames);
    if (same && verdict == S_NO) {
        s_reject(core, peer, frames, "AccessDeniedError",
                 "Wrong user or password.");
    } else if (same && verdict == S_OUTAGE) {
        s_outage(core, peer, frames);
    } else if (!s_judge(core, trust, frames, late)) {
        trust->n_late = 0;
        gi_list_remove(&trust->judged);
        if (!s_wait(core, trust, frames, true))
            s_outage(core, peer, frames);
    }
}

static void s_let_go(gi_broker_core_t *core, s_trust_t *trust,
                     s_verdict_t verdict) {
    s_stop_asking(core, trust);
    trust->verdict = verdict;
    if (trust->n_waiting && gi_list_empty(&trust->judged))
        gi_list_append(&core->work.judged, &trust->judged);
}

static void s_yes(gi_broker_core_t *core, s_trust_t *trust, gate_bytes_t name) {
    if (name.size == 0)
        name = (gate_bytes_t){trust->asked.data, trust->asked.user_size};
    gi_broker_user_t *user = gi_broker_user_of(core, name);
    if (user == NULL) {
        s_let_go(core, trust, S_OUTAGE);
        return;
    }
    s_unbelieve(core, trust);
    trust->granted = trust->asked;
    trust->asked = (gi_secret_t){0};
    trust->user = user;
    trust->since_ms = core->clock.now_ms;
    gi_broker_guess_right(core, s_address(trust), &trust->granted);
    trust->until_ms =
        core->clock.now_ms + gi_settings_ms(core->settings->zap_cache_ttl_s);
    gi_list_append(&core->auth.believed, &trust->believed);
    if (++core->auth.n_believed > (size_t)core->settings->zap_cache_max)
        s_unbelieve(core, GI_OF(core->auth.believed.next, s_trust_t, believed));
    s_let_go(core, trust, S_YES);
}

static void s_no(gi_broker_core_t *core, s_trust_t *trust) {
    core->count.zap_refused++;
    s_guessed_wrong(core, trust);
    if (gi_secret_equal(&trust->granted, &trust->asked))
        s_unbelieve(core, trust); /* the password was changed */
    gate_log(GATE_WARN, S_PART, "a %s was refused: wrong user or password",
             core->sockets[trust->peer->socket].backend ? "worker" : "client");
    s_let_go(core, trust, S_NO);
}

static s_trust_t *s_find(gi_broker_core_t *core, gate_bytes_t key) {
    if (key.size < S_KEY)
        return NULL;
    const unsigned char *end =
        (const unsigned char *)key.data + key.size - S_KEY;
    uint64_t hash = gi_table_hash(core->seed, end, S_KEY);
    for (gi_node_t *n = gi_table_chain(&core->auth.asks, hash); n;
         n = n->next) {
        s_trust_t *trust = GI_OF(n, s_trust_t, ask);
        if (n->hash == hash && memcmp(trust->key, end, S_KEY) == 0)
            return trust;
    }
    return NULL;
}

/* "" version key status text user metadata */
static void s_verdict(gi_broker_core_t *core, gi_frames_t *frames) {
    s_trust_t *trust = NULL;
    if (frames->n == 7 && gi_frames_at(frames, 0).size == 0)
        trust = s_find(core, gi_frames_at(frames, 2));
    if (trust == NULL) {
        core->count.zap_late++;
        return;
    }
    gate_bytes_t status = gi_frames_at(frames, 3),
                 name = gi_frames_at(frames, 5);
    if (gi_bytes_is(status, "200") && name.size <= S_USER_MAX &&
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
        s_let_go(core, trust, S_OUTAGE);
    }
}

static void s_due(gi_broker_core_t *core, gi_broker_timer_t *timer) {
    s_trust_t *trust = GI_OF(timer, s_trust_t, due);
    if (trust->held) {
        s_release(core, trust);
        trust->n_late = trust->n_waiting;
        s_let_go(core, trust, S_NONE);
        return;
    }
    core->count.zap_outages++;
    gate_log(GATE_WARN, S_PART,
             "the authentication service does not answer within %g s",
             core->settings->zap_reply_timeout);
    s_let_go(core, trust, S_OUTAGE);
}

static void s_fini(gi_broker_core_t *core) {
    gi_secret_forget(&core->auth.inside);
    gi_guesses_destroy(&core->auth.guesses);
    gi_guess_destroy(&core->auth.told);
}

static bool s_valid(const gi_broker_peer_t *peer, size_t *n_waiting,
                    size_t *n_believed, size_t *n_asking) {
    const s_trust_t *trust = peer->trust;
    if (trust == NULL)
        return true;
    *n_waiting += trust->n_waiting;
    *n_believed += trust->granted.data != NULL;
    *n_asking += trust->asking;
    return trust->peer == peer &&
           (trust->n_waiting > 0) == !gi_list_empty(&trust->waiting) &&
           (trust->granted.data != NULL) == !gi_list_empty(&trust->believed) &&
           trust->n_late <= trust->n_waiting &&
           !(trust->asking && trust->held) &&
           (trust->asking || trust->held) ==
               gi_timer_armed(&trust->due.timer) &&
           (trust->n_waiting == 0 || trust->asking || trust->held);
}

/* ---- switching it on ----------------------------------------------------- */
static const gi_broker_auth_ops_t s_ops = {.message = s_message,
                                           .verdict = s_verdict,
                                           .due = s_due,
                                           .go = s_go,
                                           .waits = s_waits,
                                           .forget = s_forget,
                                           .fini = s_fini,
                                           .valid = s_valid};

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
