/* SPDX-License-Identifier: BSD-3-Clause */
/* nkey.c -- see the header. */
#include "text/nkey.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <string.h>

#define S_KEY 32
#define S_SUM 2
#define S_SEED_OF (18 << 3) /* so that it begins with S */
#define S_USER (20 << 3)    /* and with U */

/* CRC-16/XMODEM, least significant byte first. */
static void s_sum(unsigned char *data, size_t size) {
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            sum = sum & 0x8000 ? (sum << 1 ^ 0x1021) & 0xffff : sum << 1;
    }
    data[size] = sum & 0xff;
    data[size + 1] = sum >> 8 & 0xff;
}

static void s_base32(const unsigned char *data, size_t size, char *to) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    unsigned bits = 0, n = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        for (n += 8; n >= 5; n -= 5)
            *to++ = digits[bits >> (n - 5) & 31];
    }
    if (n)
        *to++ = digits[bits << (5 - n) & 31];
    *to = 0;
}

static bool s_keys(unsigned char *secret, unsigned char *public_key) {
    size_t size = S_KEY;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    bool ok = key && EVP_PKEY_get_raw_private_key(key, secret, &size) == 1 &&
              EVP_PKEY_get_raw_public_key(key, public_key, &size) == 1;
    EVP_PKEY_free(key);
    return ok;
}

bool gi_nkey_user(char seed[GI_NKEY_SEED + 1],
                  char public_key[GI_NKEY_PUBLIC + 1]) {
    unsigned char secret[2 + S_KEY + S_SUM] = {S_SEED_OF | S_USER >> 5,
                                               (S_USER & 31) << 3};
    unsigned char known[1 + S_KEY + S_SUM] = {S_USER};
    bool ok = s_keys(secret + 2, known + 1);
    s_sum(secret, 2 + S_KEY);
    s_sum(known, 1 + S_KEY);
    if (ok) {
        s_base32(secret, sizeof secret, seed);
        s_base32(known, sizeof known, public_key);
    }
    explicit_bzero(secret, sizeof secret);
    return ok;
}
