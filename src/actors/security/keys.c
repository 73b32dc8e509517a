/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c -- see keys.h. Sorted by key; made anew when a fingerprint of the
 * directory (each file's number, size and times) has changed. */
#include "security/keys.h"

#include <dirent.h>
#include <gaterpc/log.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "net/curve.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/trusted.h"
#include "security/rested.h"

#define S_FILES_MS 1000
#define S_TELL_MS 60000

typedef struct s_key {
    char key[GI_CURVE_KEY + 1];
    char name[GI_CURVE_NAME];
} s_key_t;

typedef struct s_list {
    s_key_t *keys;
    size_t n, room;
    unsigned trusts;
} s_list_t;

struct gi_keys {
    char *dir;
    unsigned trusts; /* GI_TRUST_OTHERS, or 0 */
    s_list_t list;
    struct timespec changed; /* the directory's, when it was read */
    uint64_t files;          /* the fingerprint */
    int64_t looked_ms;       /* at the files */
    int64_t told_ms;         /* when it is logged again that it is no good */
};

/* ---- the directory ------------------------------------------------------- */
static bool s_is_secret(const char *name) {
    static const char end[] = "_secret";
    size_t n = strlen(name);
    return n >= sizeof end - 1 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

/* Calls fn for each certificate file; false: no such directory any more, or fn
 * said so. */
static bool s_each(const gi_keys_t *self,
                   bool (*fn)(void *ctx, const char *path,
                              const struct stat *st),
                   void *ctx) {
    char path[PATH_MAX];
    struct dirent *entry;
    struct stat st;
    bool ok = true;
    DIR *dir = opendir(self->dir);
    while (dir && ok && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && !s_is_secret(entry->d_name) &&
            snprintf(path, sizeof path, "%s/%s", self->dir, entry->d_name) <
                (int)sizeof path &&
            stat(path, &st) == 0 && S_ISREG(st.st_mode))
            ok = fn(ctx, path, &st);
    if (dir)
        closedir(dir);
    return dir && ok;
}

/* In no order: the sum of what each file is. */
static bool s_mix(void *ctx, const char *path, const struct stat *st) {
    uint64_t *sum = ctx, h = (uint64_t)st->st_ino;
    (void)path;
    h = h * 31 + (uint64_t)st->st_size;
    h = h * 31 + (uint64_t)st->st_mtim.tv_sec;
    h = h * 31 + (uint64_t)st->st_mtim.tv_nsec;
    h = h * 31 + (uint64_t)st->st_ctim.tv_nsec;
    *sum += (h ^ h >> 31) * UINT64_C(0x9e3779b97f4a7c15);
    return true;
}

static bool s_add(void *ctx, const char *path, const struct stat *st) {
    s_list_t *list = ctx;
    (void)st;
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        s_key_t *keys = gi_mem_realloc(list->keys, room * sizeof *keys);
        if (!keys)
            return false;
        list->keys = keys;
        list->room = room;
    }
    s_key_t *key = &list->keys[list->n];
    bool is_one;
    if (gi_curve_public(path, list->trusts, key->key, key->name, &is_one))
        gate_log(GATE_WARN, "authority", "%s; its key is not let in",
                 gate_error()->text);
    list->n += is_one;
    return true;
}

/* Of two certificates with the same key the one that sorts first by name. */
static int s_compare(const void *a, const void *b) {
    const s_key_t *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : strcmp(y->name, x->name);
}

static int s_compare_key(const void *key, const void *b) {
    return strcmp(key, ((const s_key_t *)b)->key);
}

static bool s_read(gi_keys_t *self) {
    s_list_t fresh = {.trusts = self->trusts};
    if (!s_each(self, s_add, &fresh)) {
        gi_mem_free(fresh.keys);
        return false;
    }
    if (fresh.n)
        qsort(fresh.keys, fresh.n, sizeof *fresh.keys, s_compare);
    gi_mem_free(self->list.keys);
    self->list = fresh;
    return true;
}

static bool s_rests(void *ctx, const char *path, const struct stat *st) {
    struct stat now;
    (void)ctx, (void)st;
    return gi_rested(path, &now);
}

/* A certificate that is being copied in is waited for. */
static bool s_rested(gi_keys_t *self) { return s_each(self, s_rests, NULL); }

/* What others could write since then has no say. */
static bool s_refused(gi_keys_t *self, int64_t now_ms) {
    if (!gi_trusted_dir("directory of allowed keys", self->dir, self->trusts))
        return false;
    if (now_ms >= self->told_ms)
        gate_log(GATE_ERROR, "authority", "%s; the keys read before hold",
                 gate_error()->text);
    self->told_ms = now_ms + S_TELL_MS;
    return true;
}

static void s_look(gi_keys_t *self, int64_t now_ms) {
    struct stat st;
    uint64_t files = 0;
    if (stat(self->dir, &st) < 0)
        return;
    bool same = st.st_mtim.tv_sec == self->changed.tv_sec &&
                st.st_mtim.tv_nsec == self->changed.tv_nsec;
    if (same && now_ms - self->looked_ms < S_FILES_MS)
        return;
    self->looked_ms = now_ms;
    if (!s_each(self, s_mix, &files) || (same && files == self->files))
        return;
    if (!s_rested(self) || s_refused(self, now_ms))
        return;
    if (s_read(self)) {
        self->files = files;
        self->changed = st.st_mtim;
    }
}

/* ---- life ---------------------------------------------------------------- */
gate_err_t gi_keys_new(const char *dir, unsigned trusts, gi_keys_t **out) {
    struct stat st;
    if (stat(dir, &st) < 0)
        return gi_err_errno("directory of allowed keys %s", dir);
    if (!S_ISDIR(st.st_mode))
        return gi_err(GATE_BADARG, "%s is no directory of allowed keys", dir);
    gate_err_t bad = gi_trusted_dir("directory of allowed keys", dir, trusts);
    if (bad)
        return bad;
    gi_keys_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || !(self->dir = gi_mem_strdup(dir))) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "no memory for the keys of %s", dir);
    }
    self->trusts = trusts;
    if (!s_each(self, s_mix, &self->files) || !s_read(self)) {
        gate_err_t e = gi_err_errno("directory of allowed keys %s", dir);
        gi_keys_destroy(&self);
        return e;
    }
    self->changed = st.st_mtim;
    *out = self;
    return GATE_OK;
}

void gi_keys_destroy(gi_keys_t **self_p) {
    gi_keys_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_mem_free(self->list.keys);
    gi_mem_free(self->dir);
    gi_mem_free(self);
}

const char *gi_keys_find(gi_keys_t *self, const char *key, int64_t now_ms) {
    s_look(self, now_ms);
    const s_key_t *found = self->list.n
                               ? bsearch(key, self->list.keys, self->list.n,
                                         sizeof *found, s_compare_key)
                               : NULL;
    if (!found)
        return NULL;
    while (found > self->list.keys && !strcmp(found[-1].key, key))
        found--; /* the first of equals */
    return *found->name ? found->name : found->key;
}
