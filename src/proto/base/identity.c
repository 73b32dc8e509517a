/* SPDX-License-Identifier: BSD-3-Clause */
/* identity.c -- wire.md 0: identities are UUIDv5(DNS, name), 16 raw bytes,
 * which may hold and start with NUL. */
#include "base/identity.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uuid/uuid.h>

static const uuid_t s_dns = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1,
                             0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

void gi_identity_of(const char *name, unsigned char id[GI_ID_SIZE]) {
    uuid_generate_sha1(id, s_dns, name, strlen(name));
}

/* Where getrandom is not allowed (a container's filter), or not there. */
static ssize_t s_random_file(void *out, size_t size) {
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size);
    if (fd >= 0)
        close(fd);
    return n;
}

void gi_random(void *out, size_t size) {
    unsigned char *at = out;
    while (size) {
        ssize_t n = getrandom(at, size, 0);
        if (n < 0 && errno != EINTR)
            n = s_random_file(at, size);
        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "gaterpc: no random numbers: %s\n",
                    strerror(errno));
            abort(); /* ids and nonces that others can guess are worse */
        }
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
}

void gi_identity_fresh(const char *prefix, char *out, size_t room) {
    uint64_t digits;
    gi_random(&digits, sizeof digits);
    assert(room >= strlen(prefix) + 17);
    snprintf(out, room, "%s%016llx", prefix, (unsigned long long)digits);
}
