/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_urls.h -- the comma list of NATS servers, looked at before anything
 * tries to connect: a word that is no address is an error then, and not a server
 * that never answers. Thread: any. Blocks: never. Survives: any text. */
#ifndef GI_UPLINK_URLS_H
#define GI_UPLINK_URLS_H

#include <gaterpc/error.h>

/* GATE_BADARG names what is none. */
gate_err_t gi_uplink_urls_check(const char *urls) GATE_MUST;
/* One of them is tls://: then all are. */
bool gi_uplink_urls_secure(const char *urls);
/* The first that is not on loopback, or size 0. Borrows. */
gate_bytes_t gi_uplink_urls_away(const char *urls);

#endif
