/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_own.c -- the functions of the internal service that are the broker's
 * own, as a table; broker_internal.c runs them. */
#include "broker/gate/broker_gate.h"

#include <string.h>
#include <strings.h>
#include "base/bytes.h"
#include "base/err.h"
#include "base/pack.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"
#include "broker/far/broker_far.h"
#include "broker/trust/broker_credentials.h"

#define S_CLIENTS_MAX 1000 /* of one answer */

static void s_pack_names(gi_broker_core_t *core, msgpack_packer *pk,
                         bool internal) {
    size_t n = 0;
    gi_list_t *l;
    for (l = core->order.next; l != &core->order; l = l->next)
        n += !GI_OF(l, gi_broker_service_t, order)->guessed;
    msgpack_pack_array(pk, n + internal);
    for (l = core->order.next; l != &core->order; l = l->next)
        if (!GI_OF(l, gi_broker_service_t, order)->guessed)
            gi_pack_text(pk, GI_OF(l, gi_broker_service_t, order)->name);
    if (internal)
        gi_pack_text(pk, core->internal.data);
}

static gate_err_t s_get_services(const gi_broker_ask_t *ask,
                                 const msgpack_object *arg,
                                 msgpack_packer *pk) {
    (void)arg;
    s_pack_names(ask->core, pk, true);
    return GATE_OK;
}

/* Python's own Client packs the name twice (a bin): the answer is nil. */
static gate_err_t s_query_service(const gi_broker_ask_t *ask,
                                  const msgpack_object *arg,
                                  msgpack_packer *pk) {
    gi_broker_service_t *service = NULL;
    if (arg->type == MSGPACK_OBJECT_STR)
        service = gi_broker_service_find(
            ask->core, (gate_bytes_t){arg->via.str.ptr, arg->via.str.size});
    if (service)
        gi_pack_text(pk, service->description);
    else
        msgpack_pack_nil(pk);
    return GATE_OK;
}

static gate_err_t s_info(const gi_broker_ask_t *ask, const msgpack_object *arg,
                         msgpack_packer *pk) {
    (void)arg;
    ask->client->asked = true;
    msgpack_pack_map(pk, 3);
    gi_pack_text(pk, "my_id");
    msgpack_pack_bin_with_body(pk, ask->core->id, GI_ID_SIZE);
    gi_pack_text(pk, "services");
    s_pack_names(ask->core, pk, false);
    gi_pack_text(pk, "ext");
    bool packed = ask->core->settings->packed;
    int64_t max = ask->core->settings->message_bytes_max;
    bool bounded = max != GI_FRAME_DEFAULT;
    const char *offer = ask->core->effects->offer;
    msgpack_pack_array(pk, 3u + 3u * packed + bounded + (offer != NULL));
    gi_pack_text(pk, "GX1");
    gi_pack_text(pk, "HA1");
    gi_pack_text(pk, "TR1");
    if (packed) {
        gi_pack_text(pk, "GXP");
        gi_pack_text(pk, "GXB");
        gi_pack_text(pk, "GXI");
    }
    if (bounded) {
        char limit[32];
        snprintf(limit, sizeof limit, "MB%lld", (long long)max);
        gi_pack_text(pk, limit);
    }
    if (offer) {
        char lane[200];
        snprintf(lane, sizeof lane, GI_LANE_NAME "%s", offer);
        gi_pack_text(pk, lane);
    }
    return GATE_OK;
}

static gate_err_t s_keepalive(const gi_broker_ask_t *ask,
                              const msgpack_object *arg, msgpack_packer *pk) {
    static const char beat[] = "heartbeat";
    (void)ask;
    bool right = arg->type == MSGPACK_OBJECT_BIN &&
                 arg->via.bin.size == sizeof beat - 1 &&
                 memcmp(arg->via.bin.ptr, beat, sizeof beat - 1) == 0;
    msgpack_pack_bin_with_body(pk, right ? "200" : "400", 3);
    return GATE_OK;
}

static gate_err_t s_stats(const gi_broker_ask_t *ask, const msgpack_object *arg,
                          msgpack_packer *pk) {
    (void)arg;
    return gi_broker_core_stats(ask->core, pk->data);
}

static gi_broker_service_t *s_service_of(const gi_broker_ask_t *ask,
                                         const msgpack_object *arg) {
    if (arg->type != MSGPACK_OBJECT_STR)
        return NULL;
    return gi_broker_service_find(
        ask->core, (gate_bytes_t){arg->via.str.ptr, arg->via.str.size});
}

static void s_worker(const gi_broker_ask_t *ask,
                     const gi_broker_worker_t *worker, msgpack_packer *pk) {
    char id[2 * GI_ID_MAX + 1], where[GI_BROKER_WHERE_MAX] = "";
    const gi_broker_core_t *core = ask->core;
    gi_broker_peer_hex(id, worker->peer);
    if (core->effects->where && !worker->peer->closed)
        core->effects->where(core->ctx, worker->peer->srcfd, where);
    gi_pack_text(pk, id);
    msgpack_pack_map(pk, worker->far ? 8 : 7);
    if (worker->far)
        gi_pack_str(pk, "far", worker->far->node->name);
    gi_pack_int(pk, "in_flight", worker->in_flight);
    gi_pack_int(pk, "max", worker->max);
    gi_pack_bool(pk, "ext", worker->ext);
    gi_pack_bool(pk, "draining", worker->draining);
    gi_pack_int(pk, "silent_ms", core->clock.now_ms - worker->peer->seen_ms);
    gi_pack_text(pk, "user");
    gi_tally_pack_text(pk, worker->user ? worker->user->name : "",
                       worker->user ? worker->user->size : 0);
    gi_pack_text(pk, "address");
    gi_tally_pack_text(pk, where, strlen(where));
}

static void s_workers_of(const gi_broker_ask_t *ask,
                         const gi_broker_service_t *service,
                         msgpack_packer *pk) {
    msgpack_pack_map(pk, service->n_workers);
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next)
        s_worker(ask, GI_OF((uintptr_t)l, gi_broker_worker_t, of_service), pk);
}

/* {id: {in_flight, max, ext, draining, silent_ms, user, address}} of a
 * service's workers. */
static gate_err_t s_workers(const gi_broker_ask_t *ask,
                            const msgpack_object *arg, msgpack_packer *pk) {
    const gi_broker_service_t *service = s_service_of(ask, arg);
    if (service == NULL)
        return gi_err(GATE_NOSERVICE, "no service of that name");
    s_workers_of(ask, service, pk);
    return GATE_OK;
}

/* The same of every service: [[name, {...}], ...], as the services are. */
static gate_err_t s_workers_all(const gi_broker_ask_t *ask,
                                const msgpack_object *arg, msgpack_packer *pk) {
    (void)arg;
    msgpack_pack_array(pk, ask->core->n_services);
    for (gi_list_t *l = ask->core->order.next; l != &ask->core->order;
         l = l->next) {
        const gi_broker_service_t *service =
            GI_OF(l, gi_broker_service_t, order);
        msgpack_pack_array(pk, 2);
        gi_tally_pack_text(pk, service->name, service->name_size);
        s_workers_of(ask, service, pk);
    }
    return GATE_OK;
}

/* Tells a service's workers to finish and leave: all, or the one with that id
 * (""). How many were told; -1: no such worker. One that knows no extensions
 * cannot be told. */
static int64_t s_tell(const gi_broker_ask_t *ask, gi_broker_service_t *service,
                      gate_bytes_t only) {
    char id[2 * GI_ID_MAX + 1];
    int64_t n = -1;
    for (gi_list_t *l = service->workers.next, *next; l != &service->workers;
         l = next) {
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, of_service);
        next = l->next;    /* one that turns out to be gone leaves the list */
        if (worker->far || /* its broker's to tell */
            (only.size && only.size != 2u * worker->peer->id_size))
            continue;
        gi_broker_peer_hex(id, worker->peer);
        if (only.size && strncasecmp(id, only.data, only.size) != 0)
            continue;
        n += (n < 0) + gi_broker_worker_drain(ask->core, worker);
    }
    return n;
}

/* By a service's name, or by a worker's id. */
static gate_err_t s_drain(const gi_broker_ask_t *ask, const msgpack_object *arg,
                          msgpack_packer *pk) {
    gi_broker_service_t *service = s_service_of(ask, arg);
    gate_bytes_t none = {"", 0}, id = none;
    int64_t n = service ? s_tell(ask, service, none) : -1;
    if (arg->type == MSGPACK_OBJECT_STR)
        id = (gate_bytes_t){arg->via.str.ptr, arg->via.str.size};
    gi_list_t *l = ask->core->order.next;
    for (; id.size && n < 0 && l != &ask->core->order; l = l->next)
        n = s_tell(ask, GI_OF(l, gi_broker_service_t, order), id);
    if (n < 0)
        return gi_err(GATE_NOSERVICE, "no worker serves that name, and none "
                                      "has that id");
    msgpack_pack_int64(pk, n);
    return GATE_OK;
}

/* ---- who is connected, what is set, what was slow ------------------------ */
static int64_t s_number_of(const msgpack_object *arg, int64_t most) {
    if (!arg || arg->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return -1;
    return arg->via.u64 < (uint64_t)most ? (int64_t)arg->via.u64 : most;
}

static void s_client(const gi_broker_ask_t *ask, msgpack_packer *pk,
                     const gi_broker_peer_t *peer) {
    char text[2 * GI_ID_MAX + 1], where[GI_BROKER_WHERE_MAX] = "";
    const gi_broker_core_t *core = ask->core;
    const gi_broker_user_t *user = gi_broker_auth_user(peer);
    gi_broker_peer_hex(text, peer);
    if (core->effects->where && !peer->closed)
        core->effects->where(core->ctx, peer->srcfd, where);
    msgpack_pack_map(pk, 9);
    gi_pack_str(pk, "id", text);
    gi_pack_text(pk, "user");
    gi_tally_pack_text(pk, user ? user->name : "", user ? user->size : 0);
    gi_pack_text(pk, "address");
    gi_tally_pack_text(pk, where, strlen(where));
    gi_pack_int(pk, "since_ms", core->clock.now_ms - peer->since_ms);
    gi_pack_int(pk, "silent_ms", core->clock.now_ms - peer->seen_ms);
    gi_pack_int(pk, "calls", (int64_t)peer->n_requests);
    gi_pack_int(pk, "in_flight", (int64_t)peer->n_calls);
    gi_pack_int(pk, "queued_bytes", (int64_t)peer->queued_bytes);
    gi_pack_bool(pk, "packed", peer->packed);
}

/* Packs those from the offset-th on, limit of them; pk NULL: counts them. Whose
 * connection is closed is none that is connected, though it may come back. */
static int64_t s_each_client(const gi_broker_ask_t *ask, msgpack_packer *pk,
                             int64_t offset, int64_t limit) {
    const gi_broker_core_t *core = ask->core;
    int64_t n = 0;
    for (unsigned i = 0; i < core->n_sockets; i++) {
        const gi_table_t *t = &core->sockets[i].peers;
        for (size_t j = 0; j <= t->mask && !core->sockets[i].backend; j++)
            for (gi_node_t *at = t->slots[j]; at; at = at->next) {
                const gi_broker_peer_t *peer =
                    GI_OF(at, gi_broker_peer_t, node);
                if (peer->closed || peer->gone)
                    continue;
                if (pk && n >= offset && n - offset < limit)
                    s_client(ask, pk, peer);
                n++;
            }
    }
    return n;
}

/* (offset=0, limit=100): {total, offset, clients: [...]} */
static gate_err_t s_clients(const gi_broker_ask_t *ask,
                            const msgpack_object *arg, msgpack_packer *pk) {
    int64_t offset = 0, limit = 100;
    if (ask->n > 0 && (offset = s_number_of(arg, INT32_MAX)) < 0)
        return gi_err(GATE_BADARG, "clients: offset is a number from 0 on");
    if (ask->n > 1 && (limit = s_number_of(arg + 1, S_CLIENTS_MAX)) < 0)
        return gi_err(GATE_BADARG, "clients: limit is a number, %d at most",
                      S_CLIENTS_MAX);
    int64_t total = s_each_client(ask, NULL, 0, 0);
    int64_t n = total > offset ? total - offset : 0;
    msgpack_pack_map(pk, 3);
    gi_pack_int(pk, "total", total);
    gi_pack_int(pk, "offset", offset);
    gi_pack_text(pk, "clients");
    msgpack_pack_array(pk, (size_t)(n < limit ? n : limit));
    s_each_client(ask, pk, offset, limit);
    return GATE_OK;
}

typedef struct s_config {
    const gate_settings_t *settings;
    msgpack_packer *pk; /* NULL: counts */
    size_t n;
} s_config_t;

static void s_setting(void *ctx, const char *name, const char *type,
                      const char *value, const char *doc) {
    s_config_t *config = ctx;
    (void)type, (void)doc;
    if (!gi_settings_is_set(config->settings, name))
        return;
    config->n++;
    if (!config->pk)
        return;
    bool secret = strstr(name, "password") || strstr(name, "_token") ||
                  strstr(name, "_key");
    gi_pack_text(config->pk, name);
    if (secret)
        gi_pack_text(config->pk, "***");
    else
        gi_tally_pack_text(config->pk, value, strlen(value));
}

/* {name: text} of the settings that are not at their defaults. */
static gate_err_t s_config(const gi_broker_ask_t *ask,
                           const msgpack_object *arg, msgpack_packer *pk) {
    s_config_t config = {ask->core->settings, NULL, 0};
    (void)arg;
    gate_settings_each(config.settings, s_setting, &config);
    msgpack_pack_map(pk, config.n);
    config.pk = pk;
    gate_settings_each(config.settings, s_setting, &config);
    return GATE_OK;
}

/* (since=0): the slow calls behind that number, oldest first. */
static gate_err_t s_slow(const gi_broker_ask_t *ask, const msgpack_object *arg,
                         msgpack_packer *pk) {
    int64_t since = 0;
    if (ask->n > 0 && (since = s_number_of(arg, INT64_MAX)) < 0)
        return gi_err(GATE_BADARG, "slow: since is a number from 0 on");
    gi_broker_seen_pack_slow(ask->core, pk, (uint64_t)since);
    return GATE_OK;
}

/* What workers tell of themselves; from now on, for a while, they do. */
static gate_err_t s_reports(const gi_broker_ask_t *ask,
                            const msgpack_object *arg, msgpack_packer *pk) {
    (void)arg;
    gi_broker_seen_look(ask->core);
    gi_broker_seen_pack_reports(ask->core, pk);
    return GATE_OK;
}

/* ---- other brokers ------------------------------------------------------- */
/* [{name, node, state, zone, rtt_ms, services, to, from, ...}]. */
static gate_err_t s_brokers(const gi_broker_ask_t *ask,
                            const msgpack_object *arg, msgpack_packer *pk) {
    (void)arg;
    if (ask->core->effects->brokers)
        ask->core->effects->brokers(ask->core->ctx, pk->data);
    else
        msgpack_pack_array(pk, 0);
    return GATE_OK;
}

/* ---- all of it ----------------------------------------------------------- */
static bool s_asks(const msgpack_object *what, const char *part) {
    const msgpack_object_array *list = &what->via.array;
    for (uint32_t i = 0; i < list->size; i++)
        if (list->ptr[i].type == MSGPACK_OBJECT_STR &&
            gi_bytes_is((gate_bytes_t){list->ptr[i].via.str.ptr,
                                       list->ptr[i].via.str.size},
                        part))
            return true;
    return false;
}

static const struct {
    const char *name;
    gate_err_t (*run)(const gi_broker_ask_t *ask, const msgpack_object *arg,
                      msgpack_packer *pk);
} s_parts[] = {{"workers", s_workers_all},
               {"clients", s_clients},
               {"slow", s_slow},
               {"config", s_config},
               {"reports", s_reports}};
#define S_PARTS (sizeof s_parts / sizeof *s_parts)

/* (what=[]): broker and services, and the parts that are named. */
static gate_err_t s_observe(const gi_broker_ask_t *ask,
                            const msgpack_object *arg, msgpack_packer *pk) {
    const gi_broker_ask_t plain = {ask->core, ask->client, 0};
    size_t n = 0;
    if (ask->n > 0 && arg->type != MSGPACK_OBJECT_ARRAY)
        return gi_err(GATE_BADARG, "observe: what is a list of workers, "
                                   "clients, slow, config, reports");
    for (size_t i = 0; i < S_PARTS; i++)
        n += ask->n > 0 && s_asks(arg, s_parts[i].name);
    msgpack_pack_map(pk, GI_BROKER_OBSERVED + n);
    gi_broker_stats_observe(ask->core, pk);
    for (size_t i = 0; i < S_PARTS; i++)
        if (ask->n > 0 && s_asks(arg, s_parts[i].name)) {
            gi_pack_text(pk, s_parts[i].name);
            gate_err_t e = s_parts[i].run(&plain, NULL, pk);
            if (e)
                return e;
        }
    return GATE_OK;
}

static void s_pack_setting(void *ctx, const gate_setting_t *one) {
    msgpack_packer *pk = ctx;
    gi_pack_text(pk, one->name);
    msgpack_pack_map(pk, 5);
    gi_pack_str(pk, "value", one->value);
    gi_pack_str(pk, "default", one->usual);
    gi_pack_str(pk, "source", one->source);
    gi_pack_str(pk, "type", one->type);
    gi_pack_str(pk, "doc", one->doc);
}

static void s_count_setting(void *ctx, const gate_setting_t *one) {
    (void)one;
    (*(size_t *)ctx)++;
}

/* {name: {value, default, source, type, doc}}: what is in force, and why. */
static gate_err_t s_settings(const gi_broker_ask_t *ask,
                             const msgpack_object *arg, msgpack_packer *pk) {
    size_t n = 0;
    (void)arg;
    gate_settings_list(ask->core->settings, s_count_setting, &n);
    msgpack_pack_map(pk, n);
    gate_settings_list(ask->core->settings, s_pack_setting, pk);
    return GATE_OK;
}

static gate_err_t s_interfaces(const gi_broker_ask_t *ask,
                               const msgpack_object *arg, msgpack_packer *pk);

static const gi_broker_own_t s_functions[] = {
    {"keepalive", s_keepalive, 1, 1, true, "(beat)", "Are you there?"},
    {"get_services", s_get_services, 0, 0, true, "()", "Names, its own last."},
    {"info", s_info, 0, 0, true, "()", "Who it is, and its extensions."},
    {"query_service", s_query_service, 1, 1, true, "(name)",
     "A service's description."},
    {"get_interfaces", s_interfaces, 0, 0, true, "()", "These functions."},
    {"stats", s_stats, 0, 0, false, "()", "Counters, and numbers by service."},
    {"drain", s_drain, 1, 1, false, "(name)",
     "Tells the workers of a service, or one by its id, to leave."},
    {"workers", s_workers, 1, 1, false, "(name)", "A service's workers."},
    {"observe", s_observe, 0, 1, false, "(what=[])",
     "Everything with histograms; what: workers, clients, slow, config, "
     "reports."},
    {"clients", s_clients, 0, 2, false, "(offset=0, limit=100)",
     "Who is connected."},
    {"brokers", s_brokers, 0, 0, false, "()", "Brokers it is joined with."},
    {"config", s_config, 0, 0, false, "()", "Settings not at their defaults."},
    {"slow", s_slow, 0, 1, false, "(since=0)", "The slowest calls."},
    {"settings", s_settings, 0, 0, false, "()",
     "Each setting: value, default, source, type, doc."},
};
#define S_FUNCTIONS (sizeof s_functions / sizeof *s_functions)

const gi_broker_own_t *gi_broker_own_find(gate_bytes_t name) {
    for (size_t i = 0; i < S_FUNCTIONS; i++)
        if (gi_bytes_is(name, s_functions[i].name))
            return &s_functions[i];
    return NULL;
}

static gate_err_t s_interfaces(const gi_broker_ask_t *ask,
                               const msgpack_object *arg, msgpack_packer *pk) {
    (void)ask, (void)arg;
    msgpack_pack_map(pk, S_FUNCTIONS);
    for (size_t i = 0; i < S_FUNCTIONS; i++) {
        gi_pack_text(pk, s_functions[i].name);
        msgpack_pack_map(pk, 3);
        gi_pack_str(pk, "doc", s_functions[i].doc);
        gi_pack_str(pk, "signature", s_functions[i].signature);
        gi_pack_str(pk, "runs", "broker");
    }
    return GATE_OK;
}
