/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_file.c -- how much a descriptor has. A file's size is taken at its word
 * but for a small one: /proc says 0 and /sys a page of whatever they have, so
 * those are read to their end, as cat does, before anything is said of them. */
#include "jobs/huge_feed.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "settings/settings.h"

#define S_SMALL ((off_t)64 << 10)
#define S_PIECE ((size_t)128 << 10)

static gate_err_t s_read_some(int fd, gi_buf_t *to, ssize_t *n) {
    if (!gi_buf_reserve(to, S_PIECE))
        return gi_err(GATE_NOMEM, "no memory for a huge value's file");
    do
        *n = read(fd, to->data + to->size, S_PIECE);
    while (*n < 0 && errno == EINTR);
    if (*n < 0)
        return gi_err_errno("reading a huge value's file");
    to->size += (size_t)*n;
    return GATE_OK;
}

/* To its end; a file that says nothing of its size may have no end. */
static gate_err_t s_read_all(int fd, gi_buf_t *to) {
    size_t max = (size_t)gi_settings_defaults()->huge_max_bytes;
    ssize_t n = 1;
    gate_err_t e = GATE_OK;
    while (n && !e) {
        e = s_read_some(fd, to, &n);
        if (!e && to->size > max)
            e = gi_err(GATE_TOOBIG,
                       "a huge value's file has more than %zu bytes and does "
                       "not say how many: give its size",
                       max);
    }
    if (e)
        gi_buf_fini(to);
    return e;
}

gate_err_t gi_huge_file_look(int fd, const gate_huge_options_t *o,
                             gi_huge_file_t *out) {
    struct stat st;
    *out = (gi_huge_file_t){.size = o && o->size ? o->size : UINT64_MAX};
    if (fstat(fd, &st))
        return gi_err_errno("gate_huge_fd");
    out->regular = S_ISREG(st.st_mode);
    if (out->size != UINT64_MAX)
        return GATE_OK;
    off_t at = out->regular ? lseek(fd, 0, SEEK_CUR) : -1;
    off_t left = st.st_size > at ? st.st_size - at : 0;
    if (at < 0 && (!o || o->kind != GATE_HUGE_PACKED))
        return gi_err(GATE_BADARG, "gate_huge_fd: not a regular file: a bin "
                                   "or str needs its size given");
    if (at >= 0 && left > S_SMALL)
        out->size = (uint64_t)left;
    if (at < 0 || left > S_SMALL)
        return GATE_OK;
    gate_err_t e = s_read_all(fd, &out->content);
    out->size = out->content.size;
    return e;
}
