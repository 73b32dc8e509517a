/* SPDX-License-Identifier: BSD-3-Clause */
/* ipc.c -- see ipc.h. Two that start at the same moment both find nobody there:
 * so looking, removing and binding is done under a lock on the directory, which
 * leaves no file behind. */
#include "net/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/trusted.h"

#define S_BACKLOG 4096
#define S_SOON_TRIES 50  /* of 4 ms: an endpoint that was just left */
#define S_LOCK_TRIES 500 /* the same: another one is starting */

static void s_soon(void) {
    nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
}

const char *gi_ipc_path(const char *endpoint) {
    static const char scheme[] = "ipc://";
    if (strncmp(endpoint, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *path = endpoint + sizeof scheme - 1;
    return *path && *path != '@' && strcmp(path, "*") != 0 ? path : NULL;
}

/* ---- making one ---------------------------------------------------------- */
static gate_err_t s_address(const char *name, const char *path,
                            struct sockaddr_un *out, socklen_t *size) {
    size_t n = strlen(path);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n == 0 || n >= sizeof out->sun_path)
        return gi_err(GATE_BADARG, "%s: a path of 1 to %zu bytes expected",
                      name, sizeof out->sun_path - 1);
    memcpy(out->sun_path, path, n);
    if (*path == '@')
        out->sun_path[0] = 0;
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
                        (*path != '@'));
    return GATE_OK;
}

static void s_parent(const char *path, char dir[PATH_MAX]) {
    char copy[PATH_MAX];
    strncpy(copy, path, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    strcpy(dir, dirname(copy));
}

/* -1 where it cannot be had: a directory that may not be read, or somebody who
 * does not let go. */
static int s_lock(const char *path) {
    char dir[PATH_MAX];
    s_parent(path, dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = -1;
    for (int i = 0; fd >= 0 && i < S_LOCK_TRIES; i++) {
        rc = flock(fd, LOCK_EX | LOCK_NB);
        if (rc == 0 || errno != EWOULDBLOCK)
            break;
        s_soon();
    }
    if (fd >= 0 && rc < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* 0: nobody there; errno of connect() otherwise, EISCONN when somebody is. */
static int s_knock(const struct sockaddr_un *address, socklen_t size,
                   int type) {
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int rc = connect(fd, (const struct sockaddr *)address, size) == 0 ||
                     errno == EAGAIN
                 ? EISCONN
                 : errno;
    close(fd);
    return rc == ECONNREFUSED || rc == ENOENT ? 0 : rc;
}

/* What a dead one left behind goes; everything else is an error. */
static gate_err_t s_free(const char *name, const char *path,
                         const struct sockaddr_un *address, socklen_t size,
                         int type) {
    struct stat st;
    int rc = EISCONN;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? GATE_OK : gi_err_errno("%s", name);
    if (!S_ISSOCK(st.st_mode))
        return gi_err(GATE_SYSTEM,
                      "%s: there is something that is no socket; it is left "
                      "alone: name another path",
                      name);
    for (int i = 0; rc == EISCONN && i < S_SOON_TRIES; i++) {
        if (i)
            s_soon();
        rc = s_knock(address, size, type);
    }
    if (rc == EISCONN)
        return gi_err(GATE_SYSTEM,
                      "%s: address in use: somebody listens there already",
                      name);
    errno = rc;
    if (rc)
        return gi_err_errno("%s: whether somebody listens there cannot be told",
                            name);
    if (unlink(path) < 0 && errno != ENOENT)
        return gi_err_errno("%s: a dead socket cannot be removed", name);
    return GATE_OK;
}

/* fchmod before bind: the file never has another mode. */
static gate_err_t s_open(const char *name, const struct sockaddr_un *address,
                         socklen_t size, int type, mode_t mode, int *out) {
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc = -1;
    for (int i = 0; fd >= 0 && i < S_SOON_TRIES; i++) {
        rc = mode ? fchmod(fd, mode) : 0;
        if (rc == 0)
            rc = bind(fd, (const struct sockaddr *)address, size);
        if (rc == 0 || errno != EADDRINUSE || *address->sun_path)
            break;
        s_soon(); /* a name of no file is given back some time after */
    }
    if (rc == 0)
        rc = listen(fd, S_BACKLOG);
    if (rc == 0) {
        *out = fd;
        return GATE_OK;
    }
    gate_err_t e = gi_err_errno("%s: cannot listen", name);
    if (fd >= 0)
        close(fd);
    return e;
}

gate_err_t gi_ipc_listen(const char *name, const char *path, int type,
                         mode_t mode, gi_ipc_file_t *file, int *out) {
    struct sockaddr_un address;
    socklen_t size = 0;
    int lock = -1;
    gate_err_t e = s_address(name, path, &address, &size);
    if (e)
        return e;
    if (*address.sun_path) {
        lock = s_lock(path);
        e = s_free(name, path, &address, size, type);
    }
    if (!e)
        e = s_open(name, &address, size, type, mode, out);
    *file =
        e || !*address.sun_path ? (gi_ipc_file_t){.ino = 0} : gi_ipc_file(path);
    if (lock >= 0)
        close(lock);
    return e;
}

gi_ipc_file_t gi_ipc_file(const char *path) {
    struct statx st;
    gi_ipc_file_t file = {.ino = 0};
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
              STATX_TYPE | STATX_INO | STATX_BTIME, &st) == 0 &&
        S_ISSOCK(st.stx_mode)) {
        file.dev = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
        file.ino = st.stx_ino;
        if (st.stx_mask & STATX_BTIME)
            file.born_ns =
                st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec;
    }
    return file;
}

void gi_ipc_remove(const char *path, const gi_ipc_file_t *file) {
    gi_ipc_file_t now = gi_ipc_file(path);
    if (now.ino && now.ino == file->ino && now.dev == file->dev &&
        now.born_ns == file->born_ns)
        unlink(path);
}

/* ---- whose it is --------------------------------------------------------- */
bool gi_ipc_is_ours(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
           (st.st_uid == geteuid() || st.st_uid == 0);
}

gate_err_t gi_ipc_look(const char *what, const char *endpoint, unsigned how,
                       const char **watch) {
    char dir[PATH_MAX];
    struct stat st;
    const char *path = gi_ipc_path(endpoint);
    *watch = NULL;
    if (how & GI_TRUST_OTHERS || strncmp(endpoint, "ipc://", 6) != 0)
        return GATE_OK;
    if (!path)
        return gi_err(GATE_SYSTEM,
                      "%s %s: whoever comes first has that name: use the path "
                      "of a file, or trust_others = true",
                      what, endpoint);
    s_parent(path, dir);
    if (gi_trusted_dir("directory", dir, 0))
        *watch = path;
    if (access(dir, F_OK) < 0)
        return GATE_OK; /* the service may make it yet */
    gate_err_t e =
        *watch ? gi_trusted_dir("directory", dir, GI_TRUST_STICKY) : GATE_OK;
    if (!e && lstat(path, &st) == 0 && !gi_ipc_is_ours(path))
        e = gi_err(GATE_SYSTEM,
                   "it belongs to uid %u: must be a socket of ours (uid %u) or "
                   "root's, or trust_others = true",
                   (unsigned)st.st_uid, (unsigned)geteuid());
    return e ? gi_err(e, "%s %s: %s", what, endpoint, gate_error()->text)
             : GATE_OK;
}

bool gi_ipc_peer_is_ours(int fd) {
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}
