/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_users.c -- a users file that is cut anywhere lets nobody in whom the whole
 * one kept out, and nobody out whom it let in: it is not taken, and the one
 * before it holds. */
#include "base/trusted.h"
#include "security/zap_impl.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define S_MD5 "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/" /* of "password" */

static char s_path[64];

static void s_open(void) {
    umask(022);
    strcpy(s_path, "/tmp/gate-users-XXXXXX");
    int fd = mkstemp(s_path);
    cr_assert(fd >= 0 && close(fd) == 0);
}

static void s_close(void) { unlink(s_path); }

static void s_write(const char *text, size_t size) {
    FILE *out = fopen(s_path, "w");
    cr_assert(out && fwrite(text, 1, size, out) == size && fclose(out) == 0);
}

static bool s_ask(gi_zap_judge_t *judge, const char *domain, const char *user,
                  const char *password) {
    const char *why;
    const gate_zap_request_t request = {
        .domain = domain, .user = user, .password = password};
    return *gi_zap_judge_ask(judge, &request, &why) == '2';
}

static gate_err_t s_parse(const char *text, size_t size, size_t *n) {
    gi_zap_user_t *list = NULL;
    char *copy = malloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = 0;
    gate_err_t e = gi_zap_users_parse(copy, size, "users", &list);
    *n = 0;
    for (gi_zap_user_t *at = list; at; at = at->next)
        ++*n;
    gi_zap_users_free(&list);
    free(copy);
    return e;
}

/* Each place to cut at but those between lines. */
Test(zap_users, cut_anywhere, .timeout = 20) {
    static const char text[] = "# who\nann:" S_MD5 ":only\nbob:" S_MD5 "\n";
    size_t n;
    cr_expect_eq(s_parse(text, sizeof text - 1, &n), GATE_OK);
    cr_expect_eq(n, 2);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        bool between = i > 0 && text[i - 1] == '\n';
        cr_expect_eq(s_parse(text, i, &n), between ? GATE_OK : GATE_BADDATA,
                     "cut at %zu", i);
        if (!between && i)
            cr_expect(strstr(gate_error()->text, "users:"), "%s",
                      gate_error()->text);
    }
}

Test(zap_users, lines, .timeout = 20) {
    static const struct {
        const char *line, *word; /* word NULL: taken */
    } rows[] = {
        {"ann:" S_MD5 "\n", NULL},
        {"ann:" S_MD5 "\r\n", NULL},
        {"ann:" S_MD5 ":gate\n", NULL},
        {"# nobody\n", NULL},
        {"\n", NULL},
        {"ann:" S_MD5 ":\n", "users:1: behind the second colon"},
        {"ann:" S_MD5 ":gate:\n", "users:1: behind the second colon"},
        {"#\nann:\n", "users:2: user:hash expected"},
        {":" S_MD5 "\n", "users:1: user:hash expected"},
        {"ann\n", "users:1: user:hash expected"},
        {"ann:$1$saltsalt$qjXMvbEw8oaL.CzflDta\n",
         "users:1: a hash that is cut"},
        {"ann:" S_MD5 "x\n", "users:1: a hash that is cut, or longer"},
        {"ann:$1$saltsalt$\n", "users:1: a hash that is cut"},
        {"ann:$6$salt$abc\n", "users:1: a hash that is cut"},
        {"ann:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W."
         "zEaKlOBL35rC\n",
         NULL},
        {"ann:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W."
         "zEaKlOBL35r\n",
         "users:1: a hash that is cut"},
        {"ann:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe\n",
         "users:1: a hash that is cut"},
        {"ann:plain-text\n", "users:1: "},
        {"", "empty"},
    };
    size_t n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gate_err_t e = s_parse(rows[i].line, strlen(rows[i].line), &n);
        cr_expect_eq(e, rows[i].word ? GATE_BADDATA : GATE_OK, "%s: %s",
                     rows[i].line, gate_error()->text);
        if (rows[i].word)
            cr_expect(strstr(gate_error()->text, rows[i].word), "%s: %s",
                      rows[i].line, gate_error()->text);
    }
    cr_expect_eq(s_parse("ann:" S_MD5 "\n\0\n", strlen(S_MD5) + 7, &n),
                 GATE_BADDATA);
}

Test(zap_users, the_last_good_one_holds, .init = s_open, .fini = s_close,
     .timeout = 20) {
    static const char whole[] = "ann:" S_MD5 ":only\n";
    gi_zap_judge_t judge = {.file = strdup(s_path)};
    s_write(whole, sizeof whole - 1);
    cr_assert_eq(gi_zap_judge_read(&judge), GATE_OK);
    static const size_t cuts[] = {0, 3, 10, sizeof whole - 7, sizeof whole - 2};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        s_write(whole, cuts[i]);
        cr_expect(s_ask(&judge, "only", "ann", "password"), "%zu", cuts[i]);
        cr_expect(!s_ask(&judge, "other", "ann", "password"), "%zu", cuts[i]);
    }
    s_write(whole, sizeof whole - 1);
    cr_assert_eq(chmod(s_path, 0666), 0);
    cr_expect_eq(gi_zap_judge_read(&judge), GATE_SYSTEM);
    cr_expect(s_ask(&judge, "only", "ann", "password"));
    cr_assert_eq(chmod(s_path, 0600), 0);
    s_write("# nobody any more\n", 18);
    cr_expect(!s_ask(&judge, "only", "ann", "password"));
    cr_assert_eq(unlink(s_path) | mkfifo(s_path, 0600), 0);
    cr_expect_eq(gi_zap_judge_read(&judge), GATE_SYSTEM); /* and at once */
    gi_zap_judge_fini(&judge);
}

/* ---- rewritten in place -------------------------------------------------- */
static atomic_bool s_stop;

static void *s_rewrite(void *arg) {
    (void)arg;
    while (!s_stop) {
        FILE *out = fopen(s_path, "w");
        for (int i = 0; i < 50; i++)
            fprintf(out, "u%d:%s\n", i, S_MD5);
        fflush(out);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        fprintf(out, "ann:%s\n", S_MD5);
        fclose(out);
        nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
    }
    return NULL;
}

/* Half a file may end at a line. */
Test(zap_users, being_written, .init = s_open, .fini = s_close, .timeout = 60) {
    gi_zap_judge_t judge = {.file = strdup(s_path)};
    pthread_t writer;
    s_write("ann:" S_MD5 "\n", strlen(S_MD5) + 5);
    cr_assert_eq(gi_zap_judge_read(&judge), GATE_OK);
    cr_assert_eq(pthread_create(&writer, NULL, s_rewrite, NULL), 0);
    for (int i = 0; i < 150; i++) {
        cr_expect(s_ask(&judge, "gate", "ann", "password"), "%d", i);
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    }
    s_stop = true;
    pthread_join(writer, NULL);
    cr_expect(s_ask(&judge, "gate", "u49", "password"));
    gi_zap_judge_fini(&judge);
}

/* /dev/null is nobody, said on purpose; an empty file is one that is being
 * written, or was lost. */
Test(zap_users, the_null_device_is_nobody) {
    gi_trusted_t text;
    gi_zap_user_t *list = NULL;
    cr_assert_eq(gi_trusted_read("users file", "/dev/null", 0, 4096, &text),
                 GATE_OK, "%s", gate_error()->text);
    cr_assert_eq(gi_zap_users_parse(text.text, text.size, "/dev/null", &list),
                 GATE_OK);
    cr_assert_null(list);
    gi_trusted_fini(&text);
    cr_assert_eq(gi_trusted_read("users file", "/dev/zero", 0, 4096, &text),
                 GATE_SYSTEM);
}
