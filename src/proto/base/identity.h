/* SPDX-License-Identifier: BSD-3-Clause */
/* identity.h -- routing ids as gate-rpc makes them: UUIDv5 in the DNS namespace
 * of a name; and fresh names. */
#ifndef GI_IDENTITY_H
#define GI_IDENTITY_H

#include <gaterpc/error.h>
#include "base/tags.h"

void gi_identity_of(const char *name, unsigned char id[GI_ID_SIZE]);
/* prefix + 16 random hex digits; out holds at least strlen(prefix) + 17. */
void gi_identity_fresh(const char *prefix, char *out, size_t room);
/* Random bytes from the kernel. */
void gi_random(void *out, size_t size);

#endif
