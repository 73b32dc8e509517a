/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_uplink.h -- the broker's side of its uplink: what the core sends to
 * other brokers becomes records in blocks, and blocks that come become events of
 * the core. Thread: the broker's, but make, start, stop and free: the one that
 * builds it. Blocks: never on the broker's. */
#ifndef GI_BROKER_UPLINK_H
#define GI_BROKER_UPLINK_H

#include "broker/core/broker_core.h"
#include "broker/far/broker_far_calls.h"
#include "uplink/uplink.h"

typedef struct gi_broker_uplink gi_broker_uplink_t;

/* NULL in *out: urls is "", no uplink is wanted. Borrows urls until free. */
gate_err_t gi_broker_uplink_make(const gate_settings_t *settings,
                                 const char *urls,
                                 gi_broker_uplink_t **out) GATE_MUST;
gate_err_t gi_broker_uplink_start(gi_broker_uplink_t *self,
                                  gi_mailbox_t *broker) GATE_MUST;
void gi_broker_uplink_stop(gi_broker_uplink_t *self);
void gi_broker_uplink_free(gi_broker_uplink_t **self_p);
/* "NAME@CLUSTER" as people see it. */
const char *gi_broker_uplink_name(const gi_broker_uplink_t *self);

/* On the broker's thread, before anything else there. */
gate_err_t gi_broker_uplink_join(gi_broker_uplink_t *self,
                                 gi_broker_core_t *core) GATE_MUST;
/* effects->send to a socket that is none, effects->share. */
int gi_broker_uplink_send(gi_broker_uplink_t *self, unsigned socket,
                          gi_frames_t *frames, int64_t now_ms);
void gi_broker_uplink_share(gi_broker_uplink_t *self, const unsigned char *node,
                            uint32_t index, uint32_t share, int64_t now_ms);
/* The end of a pass: gives what was made to the uplink. */
void gi_broker_uplink_work(gi_broker_uplink_t *self, int64_t now_ms);
int64_t gi_broker_uplink_next(const gi_broker_uplink_t *self, int64_t now_ms);

/* ---- broker_uplink_in.c -------------------------------------------------- */
/* Blocks of the uplink. */
void gi_broker_uplink_mail(gi_broker_uplink_t *self, void **items, size_t n,
                           int64_t now_ms);

/* ---- broker_uplink_news.c ------------------------------------------------ */
/* effects->brokers, ->uplink. */
void gi_broker_uplink_brokers(gi_broker_uplink_t *self, gi_buf_t *out,
                              int64_t now_ms);
void gi_broker_uplink_stats(gi_broker_uplink_t *self, gi_buf_t *out);

#endif
