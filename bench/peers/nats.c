/* SPDX-License-Identifier: BSD-3-Clause */
/* nats.c -- NATS request/reply: nats-server between two connections of its C
 * client. With one call outstanding natsConnection_Request; with more, requests
 * with an inbox of the lane's own and NextMsg from it. Three forms, since its
 * manual leaves the choice between throughput and latency to the user:
 *   nats        buffered; its own thread flushes, a millisecond later
 *   nats-asap   SendAsap on both sides
 *   nats-flush  the client buffers and flushes once a batch, the service sends
 *               at once */
#include "peers.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_BATCH = 256, S_CALL_MS = 20000 };
#define S_SUBJECT "bench.echo"

typedef struct s_nats {
    gi_spec_t *spec;
    pid_t server;
    natsConnection *connection;
    natsSubscription *service, *answers;
    natsInbox *inbox;
    char *payload;
    bool flush, unflushed; /* asked for; something was published since */
} s_nats_t;

static bool s_ok(natsStatus status) {
    return status == NATS_OK ||
           gi_peer_fail("nats", natsStatus_GetText(status));
}

static bool s_connect(s_nats_t *self, bool asap) {
    natsOptions *options = NULL;
    bool ok = s_ok(natsOptions_Create(&options)) &&
              s_ok(natsOptions_SetURL(options, self->spec->frontend)) &&
              s_ok(natsOptions_SetSendAsap(options, asap)) &&
              s_ok(natsConnection_Connect(&self->connection, options));
    natsOptions_Destroy(options);
    return ok;
}

static bool s_up_server(s_nats_t *self) {
    char port[16];
    int number = gi_peer_port();
    snprintf(port, sizeof port, "%d", number);
    const char *const argv[] = {"nats-server", "-a", "127.0.0.1",
                                "-p",          port, NULL};
    snprintf(self->spec->frontend, sizeof self->spec->frontend,
             "nats://127.0.0.1:%d", number);
    self->server = gi_peer_spawn(argv, number);
    return self->server > 0;
}

static void s_echo(natsConnection *connection, natsSubscription *sub,
                   natsMsg *message, void *ctx) {
    (void)sub;
    (void)ctx;
    natsConnection_Publish(connection, natsMsg_GetReply(message),
                           natsMsg_GetData(message),
                           natsMsg_GetDataLength(message));
    natsMsg_Destroy(message);
}

static bool s_up_service(s_nats_t *self) {
    return s_ok(natsConnection_Subscribe(&self->service, self->connection,
                                         S_SUBJECT, s_echo, NULL)) &&
           s_ok(natsSubscription_SetPendingLimits(self->service, -1, -1)) &&
           s_ok(natsConnection_Flush(self->connection));
}

static void s_down(void *arg) {
    s_nats_t *self = arg;
    natsSubscription_Destroy(self->service);
    natsSubscription_Destroy(self->answers);
    natsInbox_Destroy(self->inbox);
    natsConnection_Destroy(self->connection);
    if (self->server > 0)
        gi_peer_end(self->server);
    free(self->payload);
    free(self);
}

static void *s_up(gi_spec_t *spec, bool asap, bool flush) {
    s_nats_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->spec = spec;
    self->flush = flush;
    bool ok =
        spec->parts & GI_BROKER ? s_up_server(self) : s_connect(self, asap);
    if (ok && spec->parts & GI_SERVICE)
        ok = s_up_service(self);
    if (ok)
        return self;
    s_down(self);
    return NULL;
}

static void *s_up_buffered(gi_spec_t *spec) { return s_up(spec, false, false); }

static void *s_up_asap(gi_spec_t *spec) { return s_up(spec, true, false); }

static void *s_up_flush(gi_spec_t *spec) {
    return s_up(spec, spec->parts & GI_SERVICE, true);
}

/* ---- the client ---------------------------------------------------------- */
static void s_end(gi_lane_t *lane, natsMsg *message) {
    uint64_t stamp = 0;
    bool ok = natsMsg_GetDataLength(message) == (int)lane->load->size;
    if (ok)
        memcpy(&stamp, natsMsg_GetData(message), sizeof stamp);
    natsMsg_Destroy(message);
    gi_lane_done(lane, stamp, ok);
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_nats_t *self = lane->self;
    int size = (int)lane->load->size;
    natsMsg *answer = NULL;
    memcpy(self->payload, &stamp, sizeof stamp);
    self->unflushed = self->flush;
    if (lane->load->outstanding > 1)
        return natsConnection_PublishRequest(self->connection, S_SUBJECT,
                                             self->inbox, self->payload,
                                             size) == NATS_OK;
    if (s_ok(natsConnection_Request(&answer, self->connection, S_SUBJECT,
                                    self->payload, size, S_CALL_MS)))
        s_end(lane, answer);
    else
        gi_lane_done(lane, stamp, false);
    return true;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_nats_t *self = lane->self;
    natsMsg *answer = NULL;
    if (self->unflushed)
        natsConnection_Flush(self->connection);
    self->unflushed = false;
    for (int i = 0; i < S_BATCH; i++) {
        int64_t wait_ms = i || !wait_ns ? 0 : (wait_ns + 999999) / 1000000;
        if (natsSubscription_NextMsg(&answer, self->answers, wait_ms))
            return;
        s_end(lane, answer);
    }
}

static bool s_prepare(gi_lane_t *lane) {
    s_nats_t *self = lane->self;
    free(self->payload);
    self->payload = calloc(1, lane->load->size);
    return self->payload && lane->load->size >= GI_PEER_HEAD;
}

static bool s_lane(void *arg, int i, gi_lane_t *lane) {
    s_nats_t *self = arg;
    (void)i;
    *lane = (gi_lane_t){
        .self = self, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    return s_ok(natsInbox_Create(&self->inbox)) &&
           s_ok(natsConnection_SubscribeSync(&self->answers, self->connection,
                                             self->inbox)) &&
           s_ok(natsSubscription_SetPendingLimits(self->answers, -1, -1)) &&
           s_ok(natsConnection_Flush(self->connection));
}

enum { S_ALL = GI_BROKER | GI_SERVICE | GI_CLIENT };

const gi_kind_t gi_kind_nats = {"nats", S_ALL, s_up_buffered, s_lane, s_down};
const gi_kind_t gi_kind_nats_asap = {"nats-asap", S_ALL, s_up_asap, s_lane,
                                     s_down};
const gi_kind_t gi_kind_nats_flush = {"nats-flush", S_ALL, s_up_flush, s_lane,
                                      s_down};
