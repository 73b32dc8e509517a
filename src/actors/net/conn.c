/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/conn.h"

#include <string.h>
#include "base/err.h"

#define S_EVENTS                                                       \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_CONNECT_RETRIED | \
     ZMQ_EVENT_DISCONNECTED)

void gi_conn_init(gi_conn_t *self, const char *endpoint) {
    *self = (gi_conn_t){.sock = {.fd = -1, .monitor_fd = -1},
                        .watched = strncmp(endpoint, "inproc:", 7) != 0};
    gi_reach_init(&self->reach);
}

static gate_err_t s_watch(gi_sock_t *sock) {
    int one = 1;
    zmq_setsockopt(sock->raw, ZMQ_IMMEDIATE, &one, sizeof one);
    return gi_sock_watch(sock, S_EVENTS);
}

gate_err_t gi_conn_open(gi_conn_t *self, const gi_login_t *login,
                        const char *endpoint,
                        const unsigned char id[GI_ID_SIZE],
                        const gate_settings_t *settings) {
    gate_err_t e = gi_sock_open(&self->sock, ZMQ_DEALER,
                                (gate_bytes_t){id, GI_ID_SIZE}, settings);
    if (e)
        return e;
    e = gi_login_apply(login, &self->sock);
    if (!e && self->watched)
        e = s_watch(&self->sock);
    if (!e)
        e = gi_sock_connect(&self->sock, endpoint);
    if (e)
        gi_sock_close(&self->sock);
    return e;
}

void gi_conn_close(gi_conn_t *self) {
    gi_sock_close(&self->sock);
    gi_reach_fini(&self->reach);
}

static const char *s_mismatch(const gi_login_t *login) {
    return login->curve_cert   ? "it does not speak CURVE, as we do"
           : login->plain_user ? "it does not speak PLAIN by the transport, as "
                                 "we do"
                               : "it asks for CURVE or PLAIN by the transport, "
                                 "and we have neither";
}

const char *gi_conn_refusal(const gi_login_t *login, int event, int value) {
    return event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
               ? "it does not accept our certificate, or our user and password"
           : value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
               ? s_mismatch(login)
               : "it is no ZeroMQ, or has another key than we were given";
}

static gi_conn_event_t s_refused(const gi_login_t *login, int event, int value,
                                 char *why) {
    snprintf(why, GI_CONN_WHY, "%s", gi_conn_refusal(login, event, value));
    return GI_CONN_REFUSED;
}

static gi_conn_event_t s_unreached(gi_conn_t *self, const char *endpoint,
                                   char *why) {
    gi_reach_again(&self->reach, endpoint);
    gi_reach_why(&self->reach, why, GI_CONN_WHY);
    return GI_CONN_UNREACHED;
}

gi_conn_event_t gi_conn_next(gi_conn_t *self, const gi_login_t *login,
                             const char *endpoint, char *why) {
    int event, value;
    if (!gi_sock_event(&self->sock, &event, &value))
        return GI_CONN_NOTHING;
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        gi_reach_fini(&self->reach);
        return GI_CONN_CONNECTED;
    case ZMQ_EVENT_DISCONNECTED:
        return GI_CONN_CLOSED;
    case ZMQ_EVENT_CONNECT_RETRIED:
        return s_unreached(self, endpoint, why);
    default:
        return s_refused(login, event, value, why);
    }
}
