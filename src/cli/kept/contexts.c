/* SPDX-License-Identifier: BSD-3-Clause */
/* contexts.c -- see contexts.h: {"use": NAME, "contexts": {NAME: {FIELD: TEXT}}}. */
#include "kept/contexts.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const gi_context_fields[GI_CONTEXT_FIELDS] = {
    "broker",        "config",      "user",
    "password-file", "plain-user",  "plain-password-file",
    "curve-cert",    "curve-server"};

#define S_PATH_MAX 4096
enum { S_NAME_MAX = 64 };

struct gi_contexts {
    json_t *root;
    json_t *all;          /* root's "contexts" */
    char dir[S_PATH_MAX]; /* "": there is no place for it */
    char path[S_PATH_MAX + 16];
    int lock; /* of the folder, while it is changed; -1 */
};

/* ---- where ---------------------------------------------------------------- */
static void s_place(gi_contexts_t *self) {
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;
    if (base && base[0] == '/') /* others are to be ignored: XDG base dirs */
        n = snprintf(self->dir, S_PATH_MAX, "%s/gate", base);
    else if (home && home[0] == '/')
        n = snprintf(self->dir, S_PATH_MAX, "%s/.config/gate", home);
    if (n >= S_PATH_MAX)
        self->dir[0] = '\0';
    snprintf(self->path, sizeof self->path, "%s/contexts.json", self->dir);
}

static bool s_fail(const char *what, const char *why) {
    fprintf(stderr, "gate: %s: %s\n", what, why);
    return false;
}

/* The folders above are made as other programs make them. */
static bool s_make_dir(const gi_contexts_t *self) {
    char path[S_PATH_MAX];
    snprintf(path, sizeof path, "%s", self->dir);
    for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST
               ? true
               : s_fail(path, strerror(errno));
}

static bool s_lock(gi_contexts_t *self) {
    if (!self->dir[0])
        return s_fail("contexts", "neither XDG_CONFIG_HOME nor HOME is set");
    if (!s_make_dir(self))
        return false;
    self->lock = open(self->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->lock < 0 || flock(self->lock, LOCK_EX) < 0)
        return s_fail(self->dir, strerror(errno));
    return true;
}

/* ---- reading ---------------------------------------------------------------- */
static bool s_is_field(const char *name) {
    for (size_t i = 0; i < GI_CONTEXT_FIELDS; i++)
        if (strcmp(gi_context_fields[i], name) == 0)
            return true;
    return false;
}

bool gi_contexts_name(const char *name) {
    size_t n = strlen(name);
    if (!n || n > S_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

/* NULL, or what one of them is not. */
static const char *s_wrong_one(const char *name, json_t *one) {
    const char *field;
    json_t *value;
    if (!gi_contexts_name(name) || !json_is_object(one))
        return "a context is a name and a map";
    json_object_foreach(one, field, value) {
        if (!s_is_field(field))
            return "a field of a context is none that is known";
        if (!json_is_string(value))
            return "a field of a context is no text";
    }
    return json_object_get(one, "broker") ? NULL : "a context has no broker";
}

static const char *s_wrong(const gi_contexts_t *self) {
    const char *name;
    json_t *one, *use = json_object_get(self->root, "use");
    if (!json_is_object(self->root) || !json_is_object(self->all))
        return "it is no map with \"contexts\" in it";
    if (use && !json_is_string(use))
        return "\"use\" is no text";
    json_object_foreach(self->all, name, one) {
        const char *why = s_wrong_one(name, one);
        if (why)
            return why;
    }
    return NULL;
}

/* Who writes it says to whom passwords go. */
static bool s_is_ours(const gi_contexts_t *self, int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return s_fail(self->path, strerror(errno));
    if ((st.st_uid != geteuid() && st.st_uid != 0) || !S_ISREG(st.st_mode))
        return s_fail(self->path, "it is somebody else's, or no file");
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return s_fail(self->path, "others may write it: chmod 600 it first");
    return true;
}

static bool s_read(gi_contexts_t *self, int fd) {
    json_error_t error;
    self->root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!self->root) {
        fprintf(stderr, "gate: %s:%d: %s\n", self->path, error.line,
                error.text);
        return false;
    }
    self->all = json_object_get(self->root, "contexts");
    const char *why = s_wrong(self);
    return why ? s_fail(self->path, why) : true;
}

static bool s_none(gi_contexts_t *self) {
    self->root = json_pack("{s:{}}", "contexts");
    self->all = json_object_get(self->root, "contexts");
    return self->all ? true : s_fail("contexts", "no memory");
}

static bool s_load(gi_contexts_t *self) {
    int fd = self->dir[0] ? open(self->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 && self->dir[0] && errno != ENOENT && errno != ENOTDIR)
        return s_fail(self->path, strerror(errno));
    if (fd < 0)
        return s_none(self);
    bool ok = s_is_ours(self, fd) && s_read(self, fd);
    close(fd);
    return ok;
}

gi_contexts_t *gi_contexts_open(bool write) {
    gi_contexts_t *self = calloc(1, sizeof *self);
    if (!self) {
        s_fail("contexts", "no memory");
        return NULL;
    }
    self->lock = -1;
    s_place(self);
    if ((write && !s_lock(self)) || !s_load(self))
        gi_contexts_close(&self);
    return self;
}

void gi_contexts_close(gi_contexts_t **self_p) {
    gi_contexts_t *self = *self_p;
    if (!self)
        return;
    if (self->lock >= 0)
        close(self->lock);
    json_decref(self->root);
    free(self);
    *self_p = NULL;
}

/* ---- asking ----------------------------------------------------------------- */
const char *gi_contexts_used(const gi_contexts_t *self) {
    return json_string_value(json_object_get(self->root, "use"));
}

bool gi_contexts_has(const gi_contexts_t *self, const char *name) {
    return json_object_get(self->all, name);
}

const char *gi_contexts_get(const gi_contexts_t *self, const char *name,
                            const char *field) {
    return json_string_value(
        json_object_get(json_object_get(self->all, name), field));
}

static int s_compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void gi_contexts_each(const gi_contexts_t *self,
                      void (*fn)(void *ctx, const char *name), void *ctx) {
    size_t n = 0;
    const char *name,
        **names = calloc(json_object_size(self->all) + 1, sizeof *names);
    json_t *one;
    json_object_foreach(self->all, name, one) if (names) names[n++] = name;
    if (n)
        qsort(names, n, sizeof *names, s_compare);
    for (size_t i = 0; i < n; i++)
        fn(ctx, names[i]);
    free(names);
}

/* ---- changing ---------------------------------------------------------------- */
bool gi_contexts_put(gi_contexts_t *self, const char *name,
                     const char *const values[GI_CONTEXT_FIELDS]) {
    json_t *one = json_object();
    bool ok = one;
    for (size_t i = 0; ok && i < GI_CONTEXT_FIELDS; i++)
        if (values[i])
            ok = !json_object_set_new(one, gi_context_fields[i],
                                      json_string(values[i]));
    if (ok)
        return !json_object_set_new(self->all, name, one);
    json_decref(one);
    return false;
}

void gi_contexts_remove(gi_contexts_t *self, const char *name) {
    const char *used = gi_contexts_used(self);
    if (used && strcmp(used, name) == 0)
        json_object_del(self->root, "use");
    json_object_del(self->all, name);
}

bool gi_contexts_use(gi_contexts_t *self, const char *name) {
    if (name)
        return !json_object_set_new(self->root, "use", json_string(name));
    json_object_del(self->root, "use");
    return true;
}

bool gi_contexts_save(const gi_contexts_t *self) {
    char path[sizeof self->path + 8];
    snprintf(path, sizeof path, "%s.XXXXXX", self->path);
    int fd = mkostemp(path, O_CLOEXEC); /* mode 0600 */
    bool made = fd >= 0;
    bool ok = made && json_dumpfd(self->root, fd, JSON_INDENT(2)) == 0 &&
              write(fd, "\n", 1) == 1 && fsync(fd) == 0 &&
              rename(path, self->path) == 0;
    if (!ok)
        s_fail(self->path, strerror(errno));
    if (made)
        close(fd);
    if (made && !ok)
        unlink(path);
    return ok;
}
