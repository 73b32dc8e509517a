/* SPDX-License-Identifier: BSD-3-Clause */
/* trusted.h -- reading what decides who gets in: users, certificates,
 * passwords, settings with rules in them. One reader and one look at
 * directories, so that each of them is asked the same.
 * Thread: any. Blocks: on the disk; at a pipe, 10 s at most. Never at a FIFO.
 * Law: what is read belongs to us or to root, nobody else may write it, it is
 * a regular file, and it did not change while it was read. */
#ifndef GI_TRUSTED_H
#define GI_TRUSTED_H

#include <gaterpc/error.h>
#include <sys/stat.h>

enum {
    GI_TRUST_SECRET = 1, /* others may not read it either */
    GI_TRUST_PIPE = 2,   /* an anonymous pipe will do: <(command), /dev/stdin */
    GI_TRUST_OTHERS = 4, /* whoever owns it, whatever its mode (trust_others) */
    GI_TRUST_STICKY = 8, /* a directory that all may write, as /tmp, will do */
    GI_TRUST_FOREIGN = 16 /* and one of anybody; a link on the way will not */
};

typedef struct gi_trusted {
    char *text; /* a NUL behind it */
    size_t size;
    struct stat st;
} gi_trusted_t;

/* what: "users file", for the error, which names file and cure: GATE_SYSTEM;
 * GATE_TOOBIG beyond max bytes; /dev/null is nothing. Fini it when it is
 * GATE_OK. */
gate_err_t gi_trusted_read(const char *what, const char *file, unsigned how,
                           size_t max, gi_trusted_t *out) GATE_MUST;
void gi_trusted_fini(gi_trusted_t *self); /* wipes */
/* Mode and owner of what was opened already, as gi_trusted_read has it. */
gate_err_t gi_trusted_look(const char *what, const char *file, unsigned how,
                           const struct stat *st) GATE_MUST;
/* A directory in which nobody but us and root can put or replace a file: it and
 * each one above it belong to us or root, and so do links among them; those
 * that all may write are sticky. */
gate_err_t gi_trusted_dir(const char *what, const char *dir,
                          unsigned how) GATE_MUST;

#endif
