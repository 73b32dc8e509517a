/* SPDX-License-Identifier: BSD-3-Clause */
/* ipc.h -- sockets of files: making them without taking anybody's place, and
 * whose they are. Thread: any. Blocks: while another process makes one in the
 * same directory, 2 s at most.
 * Law: what is no socket, or may have somebody behind it, is never removed. */
#ifndef GI_IPC_H
#define GI_IPC_H

#include <gaterpc/error.h>
#include <stdint.h>
#include <sys/types.h>

/* The file that a listener made; zeroed: none. Numbers are soon used again, so
 * its birth (0 where that is not kept) counts too. */
typedef struct gi_ipc_file {
    uint64_t dev, ino;
    int64_t born_ns;
} gi_ipc_file_t;

/* "ipc:///path" -> "/path"; NULL: no endpoint of a file. */
const char *gi_ipc_path(const char *endpoint);
/* A listening socket at path ("@name": of no file), in the place of a dead one
 * but of nothing else; mode 0: as umask has it. name is for errors, GATE_SYSTEM:
 * "address in use" when somebody listens there. */
gate_err_t gi_ipc_listen(const char *name, const char *path, int type,
                         mode_t mode, gi_ipc_file_t *file, int *out) GATE_MUST;
gi_ipc_file_t gi_ipc_file(const char *path); /* what is there now */
/* Unless another file is there by now. */
void gi_ipc_remove(const char *path, const gi_ipc_file_t *file);

/* Whether an endpoint (other than ipc: always) may be asked who gets in, and at
 * start GATE_SYSTEM with the reason: its directory and its socket are ours or
 * root's. *watch gets the path when others could put one of theirs there while
 * the service is away: ask gi_ipc_is_ours each time, then. how: base/trusted.h
 */
gate_err_t gi_ipc_look(const char *what, const char *endpoint, unsigned how,
                       const char **watch) GATE_MUST;
bool gi_ipc_is_ours(const char *path);
/* Who is at the other end (of an ipc socket) runs as us or as root. */
bool gi_ipc_peer_is_ours(int fd);

#endif
