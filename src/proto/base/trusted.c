/* SPDX-License-Identifier: BSD-3-Clause */
/* trusted.c -- see trusted.h. Root's own files are believed whoever their group
 * is: root gave it that. */
#include "base/trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"

#define S_PIPE_MS 10000
#define S_PIPEFS 0x50495045 /* linux/magic.h: an anonymous pipe */

/* ---- owner and mode ------------------------------------------------------ */
static bool s_is_ours(const struct stat *st) {
    return st->st_uid == geteuid() || st->st_uid == 0;
}

static const char *s_kind(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISLNK(mode)  ? "a link"
           : S_ISREG(mode)  ? "a file"
                            : "a device";
}

static const char *s_whose(mode_t mode, mode_t others) {
    return mode & others ? "everybody" : "its group";
}

static gate_err_t s_owner(const char *what, const char *file,
                          const struct stat *st) {
    return s_is_ours(st)
               ? GATE_OK
               : gi_err(GATE_SYSTEM,
                        "%s %s belongs to uid %u: must be ours (uid %u) or "
                        "root's, or trust_others = true",
                        what, file, (unsigned)st->st_uid, (unsigned)geteuid());
}

gate_err_t gi_trusted_look(const char *what, const char *file, unsigned how,
                           const struct stat *st) {
    if (how & GI_TRUST_OTHERS)
        return GATE_OK;
    gate_err_t e = s_owner(what, file, st);
    if (e)
        return e;
    mode_t mode = st->st_mode & 07777;
    mode_t writes =
        st->st_uid == 0 && geteuid() != 0 ? S_IWOTH : S_IWGRP | S_IWOTH;
    mode_t reads =
        st->st_uid == 0 && geteuid() != 0 ? S_IROTH : S_IRGRP | S_IROTH;
    if (mode & writes)
        return gi_err(GATE_SYSTEM,
                      "%s %s can be written by %s (mode %04o): chmod go-w, or "
                      "trust_others = true",
                      what, file, s_whose(mode, S_IWOTH), (unsigned)mode);
    if (how & GI_TRUST_SECRET && mode & reads)
        return gi_err(GATE_SYSTEM,
                      "%s %s can be read by %s (mode %04o): chmod go-r, or "
                      "trust_others = true",
                      what, file, s_whose(mode, S_IROTH), (unsigned)mode);
    return GATE_OK;
}

/* ---- a file -------------------------------------------------------------- */
static bool s_is_pipe(int fd, const struct stat *st) {
    struct statfs fs;
    return S_ISFIFO(st->st_mode) && fstatfs(fd, &fs) == 0 &&
           fs.f_type == S_PIPEFS;
}

/* As read(); a pipe is waited for, but not for ever. */
static ssize_t s_some(int fd, void *to, size_t room) {
    for (;;) {
        ssize_t n = read(fd, to, room);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        struct pollfd p = {fd, POLLIN, 0};
        if (errno == EAGAIN && poll(&p, 1, S_PIPE_MS) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

static gate_err_t s_text(const char *what, const char *file, int fd, size_t max,
                         gi_trusted_t *out) {
    size_t room = out->st.st_size > 0 && (size_t)out->st.st_size < max
                      ? (size_t)out->st.st_size
                      : max;
    ssize_t n = 1;
    out->size = 0;
    out->text = gi_mem_calloc(1, room + 2);
    if (!out->text)
        return gi_err(GATE_NOMEM, "%s %s", what, file);
    while (n > 0 && out->size <= room) {
        n = s_some(fd, out->text + out->size, room + 1 - out->size);
        if (n > 0)
            out->size += (size_t)n;
    }
    out->text[out->size <= room ? out->size : room] = 0;
    if (n < 0)
        return gi_err_errno("%s %s", what, file);
    if (out->size > max)
        return gi_err(GATE_TOOBIG, "%s %s: more than %zu bytes", what, file,
                      max);
    return GATE_OK;
}

static bool s_same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* /dev/null: nothing, said on purpose. */
static bool s_is_null(const struct stat *st) {
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

static gate_err_t s_read(const char *what, const char *file, int fd,
                         unsigned how, size_t max, gi_trusted_t *out) {
    struct stat after;
    if (fstat(fd, &out->st) < 0)
        return gi_err_errno("%s %s", what, file);
    if (s_is_null(&out->st))
        return s_text(what, file, fd, max, out);
    bool pipe = how & GI_TRUST_PIPE && s_is_pipe(fd, &out->st);
    if (!S_ISREG(out->st.st_mode) && !pipe)
        return gi_err(GATE_SYSTEM, "%s %s is %s: must be a regular file", what,
                      file, s_kind(out->st.st_mode));
    gate_err_t e = pipe ? GATE_OK : gi_trusted_look(what, file, how, &out->st);
    if (!e)
        e = s_text(what, file, fd, max, out);
    if (!e && !pipe && (fstat(fd, &after) < 0 || !s_same(&after, &out->st)))
        e = gi_err(GATE_SYSTEM, "%s %s changed while it was read", what, file);
    return e;
}

gate_err_t gi_trusted_read(const char *what, const char *file, unsigned how,
                           size_t max, gi_trusted_t *out) {
    *out = (gi_trusted_t){.size = 0};
    /* a FIFO without a writer would be waited for, for ever */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return gi_err_errno("%s %s", what, file);
    gate_err_t e = s_read(what, file, fd, how, max, out);
    close(fd);
    if (e)
        gi_trusted_fini(out);
    return e;
}

void gi_trusted_fini(gi_trusted_t *self) {
    if (self->text)
        explicit_bzero(self->text, self->size);
    gi_mem_free(self->text);
    self->text = NULL;
}

/* ---- a directory --------------------------------------------------------- */
/* part is dir's own first bytes. A link may be root's or ours; what it leads to
 * is looked at then. */
static gate_err_t s_part(const char *what, const char *part, unsigned how) {
    struct stat st;
    bool foreign = how & GI_TRUST_FOREIGN;
    if (lstat(part, &st) < 0)
        return foreign ? GATE_OK : gi_err_errno("%s %s", what, part);
    if (foreign)
        return S_ISLNK(st.st_mode) ? s_owner(what, part, &st) : GATE_OK;
    gate_err_t e = s_owner(what, part, &st);
    if (!e && S_ISLNK(st.st_mode)) {
        if (stat(part, &st) < 0)
            return gi_err_errno("%s %s", what, part);
        e = s_owner(what, part, &st);
    }
    if (e)
        return e;
    if (!S_ISDIR(st.st_mode))
        return gi_err(GATE_SYSTEM, "%s %s is %s: must be a directory", what,
                      part, s_kind(st.st_mode));
    mode_t mode = st.st_mode & 07777;
    bool lent = st.st_uid == 0 && (geteuid() != 0 || how & GI_TRUST_STICKY);
    mode_t others = lent ? S_IWOTH : S_IWGRP | S_IWOTH;
    if (how & GI_TRUST_STICKY && mode & S_ISVTX)
        return GATE_OK;
    if (mode & others)
        return gi_err(GATE_SYSTEM,
                      "%s %s can be written by %s (mode %04o): chmod go-w, or "
                      "trust_others = true",
                      what, part, s_whose(mode, S_IWOTH), (unsigned)mode);
    return GATE_OK;
}

gate_err_t gi_trusted_dir(const char *what, const char *dir, unsigned how) {
    char path[PATH_MAX];
    size_t n = strlen(dir);
    if (how & GI_TRUST_OTHERS)
        return GATE_OK;
    if (n >= sizeof path)
        return gi_err(GATE_TOOBIG, "%s: a path of more than %zu bytes", what,
                      sizeof path - 1);
    memcpy(path, dir, n + 1);
    for (char *p = path; *p && (p = strchr(p + 1, '/')) && p[1];) {
        *p = 0;
        gate_err_t e = s_part(what, path, how | GI_TRUST_STICKY);
        *p = '/';
        if (e)
            return e;
    }
    return s_part(what, *path ? path : ".", how);
}
