/* SPDX-License-Identifier: BSD-3-Clause */
/* nkey.h -- an NKEY of NATS, which is an Ed25519 key: as its tools write it, in
 * base32 behind a byte that says whose it is, with a sum behind it. Thread: any.
 * Blocks: never. */
#ifndef GI_NKEY_H
#define GI_NKEY_H

#include <stdbool.h>

#define GI_NKEY_SEED 58
#define GI_NKEY_PUBLIC 56

/* A fresh one for a user. False: OpenSSL makes none. */
bool gi_nkey_user(char seed[GI_NKEY_SEED + 1],
                  char public_key[GI_NKEY_PUBLIC + 1]);

#endif
