/* SPDX-License-Identifier: BSD-3-Clause */
/* trusted.c -- what may say who gets in: a table of files and directories that
 * may not, each refused by a word of its error, at once. */
#include "base/trusted.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char s_dir[64], s_path[200];

static void s_open(void) {
    umask(022);
    strcpy(s_dir, "/tmp/gate-trusted-XXXXXX");
    cr_assert_not_null(mkdtemp(s_dir));
    snprintf(s_path, sizeof s_path, "%s/file", s_dir);
}

static void s_close(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", s_dir);
    cr_assert_eq(system(command), 0);
}

static void s_write(const char *text, mode_t mode) {
    FILE *out = fopen(s_path, "w");
    cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
    cr_assert_eq(chmod(s_path, mode), 0);
}

static gate_err_t s_read(unsigned how) {
    gi_trusted_t text;
    gate_err_t e = gi_trusted_read("the file", s_path, how, 100, &text);
    if (!e) {
        cr_expect_eq(strlen(text.text), text.size);
        gi_trusted_fini(&text);
    }
    return e;
}

static void s_refused(gate_err_t e, const char *word) {
    cr_expect_neq(e, GATE_OK, "%s", word);
    cr_expect(strstr(gate_error()->text, word) &&
                  strstr(gate_error()->text, s_dir),
              "%s: %s", word, gate_error()->text);
}

Test(trusted, modes, .init = s_open, .fini = s_close, .timeout = 20) {
    static const struct {
        mode_t mode;
        unsigned how;
        const char *word; /* NULL: taken */
    } rows[] = {{0600, GI_TRUST_SECRET, NULL},
                {0400, GI_TRUST_SECRET, NULL},
                {0644, 0, NULL},
                {0644, GI_TRUST_SECRET, "read by everybody"},
                {0640, GI_TRUST_SECRET, "read by its group"},
                {0604, GI_TRUST_SECRET, "read by everybody"},
                {0664, 0, "written by its group"},
                {0646, 0, "written by everybody"},
                {0666, GI_TRUST_OTHERS, NULL},
                {0666, GI_TRUST_SECRET | GI_TRUST_OTHERS, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        s_write("x", rows[i].mode);
        gate_err_t e = s_read(rows[i].how);
        if (rows[i].word)
            s_refused(e, rows[i].word);
        else
            cr_expect_eq(e, GATE_OK, "%04o: %s", rows[i].mode,
                         gate_error()->text);
    }
}

Test(trusted, sizes, .init = s_open, .fini = s_close, .timeout = 20) {
    char text[102];
    memset(text, 'x', sizeof text);
    for (size_t n = 98; n <= 101; n++) {
        text[n] = 0;
        s_write(text, 0600);
        cr_expect_eq(s_read(0), n > 100 ? GATE_TOOBIG : GATE_OK, "%zu", n);
        text[n] = 'x';
    }
    s_write("", 0600);
    cr_expect_eq(s_read(0), GATE_OK);
}

/* A FIFO without a writer is not waited for. */
Test(trusted, what_is_no_file, .init = s_open, .fini = s_close, .timeout = 20) {
    s_refused(s_read(0), "No such file");
    cr_assert_eq(mkfifo(s_path, 0600), 0);
    s_refused(s_read(0), "is a FIFO");
    s_refused(s_read(GI_TRUST_PIPE), "is a FIFO");
    unlink(s_path);
    cr_assert_eq(mkdir(s_path, 0700), 0);
    s_refused(s_read(0), "is a directory");
    rmdir(s_path);
    cr_assert_eq(symlink("/dev/zero", s_path), 0);
    s_refused(s_read(0), "is a device");
    unlink(s_path);
    cr_assert_eq(symlink(s_path, s_path), 0);
    s_refused(s_read(0), "symbolic links");
}

Test(trusted, a_pipe_where_it_may_be, .init = s_open, .fini = s_close,
     .timeout = 20) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], "secret\n", 7), 7);
    snprintf(s_path, sizeof s_path, "/dev/fd/%d", fds[0]);
    cr_expect_neq(s_read(0), GATE_OK);
    close(fds[1]);
    cr_expect_eq(s_read(GI_TRUST_PIPE | GI_TRUST_SECRET), GATE_OK, "%s",
                 gate_error()->text);
    close(fds[0]);
}

Test(trusted, another_owner, .init = s_open, .fini = s_close, .timeout = 20) {
    if (geteuid() != 0)
        cr_skip_test("only root can give files away");
    s_write("x", 0600);
    cr_assert_eq(chown(s_path, 12345, 12345), 0);
    s_refused(s_read(0), "belongs to uid 12345");
    cr_expect_eq(s_read(GI_TRUST_OTHERS), GATE_OK);
}

/* ---- directories --------------------------------------------------------- */
static gate_err_t s_look(const char *under, unsigned how) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", s_dir, under);
    return gi_trusted_dir("the directory", path, how);
}

Test(trusted, directories, .init = s_open, .fini = s_close, .timeout = 20) {
    char a[200], b[300];
    snprintf(a, sizeof a, "%s/a", s_dir);
    snprintf(b, sizeof b, "%s/a/b", s_dir);
    cr_assert_eq(mkdir(a, 0755) | mkdir(b, 0700), 0);
    cr_expect_eq(s_look("a/b", 0), GATE_OK, "%s", gate_error()->text);
    cr_assert_eq(chmod(b, 0777), 0);
    s_refused(s_look("a/b", 0), "written by everybody");
    cr_assert_eq(chmod(b, 01777), 0);
    s_refused(s_look("a/b", 0), "written by everybody");
    cr_expect_eq(s_look("a/b", GI_TRUST_STICKY), GATE_OK);
    cr_assert_eq(chmod(b, 0700) | chmod(a, 0777), 0);
    s_refused(s_look("a/b", 0), "written by everybody"); /* above it */
    cr_expect_eq(s_look("a/b", GI_TRUST_OTHERS), GATE_OK);
    cr_assert_eq(chmod(a, 01777), 0);
    cr_expect_eq(s_look("a/b", 0), GATE_OK);
    if (geteuid() != 0)
        return;
    cr_assert_eq(chown(b, 12345, 12345), 0);
    s_refused(s_look("a/b", 0), "belongs to uid 12345");
    cr_assert_eq(chown(b, 0, 0) | symlink(b, s_path), 0);
    cr_expect_eq(s_look("file", 0), GATE_OK, "a link of our own");
    cr_assert_eq(lchown(s_path, 12345, 12345), 0);
    s_refused(s_look("file", 0), "belongs to uid 12345");
}
