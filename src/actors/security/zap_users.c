/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_users.c -- the users file: lines "user:hash" or "user:hash:domain", taken
 * as a whole or not at all. One that is cut must not let anybody in who was
 * kept out: each line ends in a newline, each hash is as long as its kind is,
 * a colon has something behind it. */
#include "security/zap_impl.h"

#include <crypt.h>
#include <errno.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/trusted.h"
#include "security/rested.h"
#include "sync/clock.h"

#define S_LINE_MAX 2046
#define S_FILE_MAX (16 * 1024 * 1024)
#define S_HASTE_MS 1000 /* a file that never rests is waited for so often */

/* ---- users --------------------------------------------------------------- */
void gi_zap_users_free(gi_zap_user_t **list) {
    while (*list) {
        gi_zap_user_t *user = *list;
        *list = user->next;
        gi_mem_free(user->domain);
        gi_mem_free(user->name);
        if (user->secret)
            explicit_bzero(user->secret, strlen(user->secret));
        gi_mem_free(user->secret);
        gi_mem_free(user);
    }
}

gate_err_t gi_zap_users_add(gi_zap_user_t **list, const char *domain,
                            const char *name, const char *secret, bool hashed) {
    gi_zap_user_t *user = gi_mem_calloc(1, sizeof *user);
    if (!user)
        return gi_err(GATE_NOMEM, "no memory for users");
    user->next = *list;
    *list = user;
    user->hashed = hashed;
    user->domain = gi_mem_strdup(domain);
    user->name = gi_mem_strdup(name);
    user->secret = gi_mem_strdup(secret);
    return user->domain && user->name && user->secret
               ? GATE_OK
               : gi_err(GATE_NOMEM, "no memory for users");
}

/* ---- a hash -------------------------------------------------------------- */
/* What crypt(5) has behind the last '$' of each kind, or in all. */
static const struct {
    const char *prefix;
    size_t tail, all; /* 0: not asked */
} s_hashes[] = {
    {"$y$", 43, 0}, {"$gy$", 43, 0}, {"$7$", 43, 0},    {"$2", 0, 60},
    {"$6$", 86, 0}, {"$5$", 43, 0},  {"$sha1$", 28, 0}, {"$md5", 22, 0},
    {"$1$", 22, 0}, {"$3$", 32, 0},  {"_", 0, 20},      {"", 0, 13},
};

static bool s_is_whole(const char *hash) {
    size_t i = 0;
    while (strncmp(hash, s_hashes[i].prefix, strlen(s_hashes[i].prefix)) != 0)
        i++;
    const char *last = strrchr(hash, '$');
    if (s_hashes[i].all)
        return strlen(hash) == s_hashes[i].all;
    return last && strlen(last + 1) == s_hashes[i].tail;
}

/* ---- the text ------------------------------------------------------------ */
/* line is cut up. */
static gate_err_t s_line(gi_zap_user_t **list, char *line, const char *file,
                         int number) {
    if (strlen(line) > S_LINE_MAX)
        return gi_err(GATE_BADDATA, "%s:%d: a line of more than %d bytes", file,
                      number, S_LINE_MAX);
    line[strcspn(line, "\r")] = 0;
    if (!*line || *line == '#')
        return GATE_OK;
    char *hash = strchr(line, ':');
    if (!hash || hash == line || !hash[1])
        return gi_err(GATE_BADDATA, "%s:%d: user:hash expected", file, number);
    *hash++ = 0;
    char *domain = strchr(hash, ':');
    if (domain)
        *domain++ = 0;
    if (domain && (!*domain || strchr(domain, ':')))
        return gi_err(GATE_BADDATA,
                      "%s:%d: behind the second colon stands one domain, or "
                      "leave the colon away",
                      file, number);
    if (crypt_checksalt(hash) == CRYPT_SALT_INVALID)
        return gi_err(GATE_BADDATA, "%s:%d: no hash of crypt(3)", file, number);
    if (!s_is_whole(hash))
        return gi_err(GATE_BADDATA,
                      "%s:%d: a hash that is cut, or longer than its kind is",
                      file, number);
    return gi_zap_users_add(list, domain ? domain : "*", line, hash, true);
}

gate_err_t gi_zap_users_parse(char *text, size_t size, const char *file,
                              gi_zap_user_t **list) {
    gate_err_t e = GATE_OK;
    char *at = text, *end;
    int n = 1;
    if (size == 0 && strcmp(file, "/dev/null") == 0)
        return GATE_OK;
    if (size == 0)
        return gi_err(GATE_BADDATA,
                      "%s: empty: leave a line with a # for nobody at all",
                      file);
    if (memchr(text, 0, size))
        return gi_err(GATE_BADDATA, "%s: a NUL byte inside", file);
    for (; !e && (end = memchr(at, '\n', size - (size_t)(at - text)));
         at = end + 1, n++) {
        *end = 0;
        e = s_line(list, at, file, n);
    }
    if (!e && at < text + size)
        e = gi_err(GATE_BADDATA,
                   "%s:%d: the last line does not end in a newline: the file "
                   "may be cut",
                   file, n);
    return e;
}

/* ---- the file ------------------------------------------------------------ */
static bool s_changed(const struct stat *a, const struct stat *b) {
    return a->st_ino != b->st_ino || a->st_size != b->st_size ||
           a->st_dev != b->st_dev || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
           a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_ctim.tv_sec != b->st_ctim.tv_sec ||
           a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

static gate_err_t s_read(gi_zap_judge_t *self, gi_zap_user_t **fresh) {
    gi_trusted_t text;
    gate_err_t e = gi_trusted_read("users file", self->file, self->trusts,
                                   S_FILE_MAX, &text);
    if (e)
        return e;
    self->read = text.st;
    e = gi_zap_users_parse(text.text, text.size, self->file, fresh);
    gi_trusted_fini(&text);
    return e;
}

/* Since it rested, while it was read: what was read may be half of it. */
static bool s_was_written(const gi_zap_judge_t *self, const struct stat *then) {
    struct stat now;
    return stat(self->file, &now) == 0 && s_changed(&now, then);
}

gate_err_t gi_zap_judge_read(gi_zap_judge_t *self) {
    gi_zap_user_t *fresh = NULL;
    struct stat now;
    if (!self->file)
        return GATE_OK;
    if (stat(self->file, &now) < 0)
        return gi_err_errno("users file %s", self->file);
    if (!s_changed(&now, &self->read))
        return GATE_OK;
    if (gi_clock_ms() < self->haste_ms &&
        gi_rested_is_open(self->file) != GI_RESTED_CLOSED)
        return GATE_OK; /* whoever wrote then may not have ended */
    if (!gi_rested(self->file, &now)) {
        self->haste_ms = gi_clock_ms() + S_HASTE_MS;
        return errno ? gi_err_errno("users file %s", self->file)
                     : gi_err(GATE_SYSTEM,
                              "users file %s is written to all the time",
                              self->file);
    }
    self->read = now; /* a bad one is not read again until it changes */
    gate_err_t e = s_read(self, &fresh);
    if (s_was_written(self, &now)) {
        gi_zap_users_free(&fresh);
        self->read = (struct stat){.st_size = -1};
        return gi_err(GATE_SYSTEM, "users file %s changed while it was read",
                      self->file);
    }
    if (e) {
        gi_zap_users_free(&fresh);
        return e;
    }
    gi_zap_users_free(&self->of_file);
    self->of_file = fresh;
    return GATE_OK;
}
