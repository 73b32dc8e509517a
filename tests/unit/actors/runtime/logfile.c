/* SPDX-License-Identifier: BSD-3-Clause */
/* logfile.c -- one file, several who write it, and everybody else: two weeks of
 * nights, files moved, cut and deleted by others, no room. Each line that was
 * written stands in one file, once, or is counted. */
#include "runtime/logfile.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "settings/settings.h"

#define S_DAY_US (86400 * INT64_C(1000000))

static char s_dir[64], s_path[100];
static gate_settings_t *s_settings;

static void s_begin(void) {
    umask(022);
    setenv("TZ", "UTC", 1);
    tzset();
    unsetenv("GATE_LONG");
    unsetenv("GATE_SLOW");
    unsetenv("GATE_SCALE");
    strcpy(s_dir, "/tmp/gate-logfile-XXXXXX");
    cr_assert_not_null(mkdtemp(s_dir));
    snprintf(s_path, sizeof s_path, "%s/gate.log", s_dir);
    s_settings = gate_settings_new();
    gate_settings_set(s_settings, "log_file", s_path);
    gate_settings_set(s_settings, "log_keep", 100);
}

static void s_end(void) {
    char command[100];
    gate_settings_destroy(&s_settings);
    snprintf(command, sizeof command, "rm -rf %s", s_dir);
    cr_assert_eq(system(command), 0);
}

static int64_t s_today_us(void) {
    return (int64_t)(time(NULL) / 86400) * S_DAY_US;
}

static bool s_say(gi_logfile_t *file, int64_t wall_us, int number) {
    gi_log_line_t line = {.wall_us = wall_us, .level = GATE_INFO, .part = "t"};
    snprintf(line.text, sizeof line.text, "<%d>", number);
    gi_logfile_look(file);
    uint64_t before = file->n_lost;
    gi_logfile_write(file, &line);
    return file->n_lost <= before;
}

/* In the directory. */
static void s_shell(const char *command) {
    char text[300];
    snprintf(text, sizeof text, "cd %s && %s", s_dir, command);
    cr_assert_eq(system(text), 0, "%s", text);
}

/* How often each number stands in all files of the directory; the count of
 * files that begin with the name. */
static int s_count(int *seen, int n) {
    int files = 0;
    char path[400], text[300];
    memset(seen, 0, (size_t)n * sizeof *seen);
    DIR *dir = opendir(s_dir);
    for (struct dirent *e; (e = readdir(dir));) {
        if (*e->d_name == '.')
            continue;
        files++;
        snprintf(path, sizeof path, "%s/%s", s_dir, e->d_name);
        FILE *in = fopen(path, "r");
        while (fgets(text, sizeof text, in)) {
            char *at = strchr(text, '<');
            int number = at ? atoi(at + 1) : -1;
            if (at)
                cr_expect(text[4] == '-' && !strchr(at + 1, '<'),
                          "two lines in one: %s", text);
            if (number >= 0 && number < n)
                seen[number]++;
        }
        fclose(in);
    }
    closedir(dir);
    return files;
}

/* ---- nights -------------------------------------------------------------- */
/* Three who write, in any order around midnight, one of them asleep for days. */
Test(logfile, two_weeks_of_nights, .init = s_begin, .fini = s_end,
     .timeout = 60) {
    enum { WRITERS = 3, DAYS = 14, A_DAY = 40, N = DAYS * A_DAY };
    static int seen[N];
    gi_logfile_t files[WRITERS];
    unsigned seed = 7;
    for (int i = 0; i < WRITERS; i++)
        cr_assert_eq(gi_logfile_open(&files[i], s_settings), GATE_OK);
    for (int n = 0; n < N; n++) {
        int64_t at = s_today_us() + n / A_DAY * S_DAY_US +
                     (n % A_DAY - 2) * INT64_C(2000000); /* from 23:59:56 on */
        int who = rand_r(&seed) % WRITERS;
        if (who == 0 && n / A_DAY % 3)
            who = 1;
        cr_expect(s_say(&files[who], at, n));
    }
    for (int i = 0; i < WRITERS; i++)
        gi_logfile_close(&files[i]);
    int n_files = s_count(seen, N);
    for (int n = 0; n < N; n++)
        cr_expect_eq(seen[n], 1, "line %d stands there %d times", n, seen[n]);
    cr_expect_eq(n_files, DAYS, "%d files of %d days", n_files, DAYS);
}

/* The day's name is taken: by a file of somebody, and again. */
Test(logfile, never_over_another_file, .init = s_begin, .fini = s_end,
     .timeout = 20) {
    gi_logfile_t file;
    int seen[3];
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK);
    cr_expect(s_say(&file, s_today_us(), 0));
    s_shell("echo '2000-01-01 <2>' > gate.log.$(date -u +%F)");
    s_shell("touch gate.log.$(date -u +%F).2");
    cr_expect(s_say(&file, s_today_us() + S_DAY_US, 1));
    gi_logfile_close(&file);
    cr_expect_eq(s_count(seen, 3), 4);
    for (int n = 0; n < 3; n++)
        cr_expect_eq(seen[n], 1, "line %d: %d", n, seen[n]);
}

/* Only what is called as we call them, and is a file, is ours to remove. */
Test(logfile, other_peoples_files, .init = s_begin, .fini = s_end,
     .timeout = 20) {
    static const char *const theirs[] = {
        "gate.log.conf",          "gate.log.conf.bak",
        "gate.log.pid",           "gate.log.key",
        "gate.log.2020-01-01.gz", "gate.log.2020-01-01.old",
        "gate.log.2020-01-01.02", "gate.log.20200101",
        "gate.log.2020-1-1",      "gate.logs.2020-01-01",
        "gate.log.2020-02-30",    "gate.log.2020-13-01",
        "gate.log.2020-01-00",    "gate.log.2019-02-29",
        "gate.log2020-01-01",     "gate.log."};
    char path[200];
    gi_logfile_t file;
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        snprintf(path, sizeof path, "%s/%s", s_dir, theirs[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert(fd >= 0 && close(fd) == 0);
    }
    s_shell("mkdir gate.log.2020-01-05");
    s_shell("for i in 01 01.2 01.10 02 03; do touch gate.log.2020-01-$i; done");
    gate_settings_set(s_settings, "log_keep", 2);
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK);
    cr_expect(s_say(&file, s_today_us(), 0));
    cr_expect(s_say(&file, s_today_us() + S_DAY_US, 1));
    gi_logfile_close(&file);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        snprintf(path, sizeof path, "%s/%s", s_dir, theirs[i]);
        cr_expect_eq(access(path, F_OK), 0, "%s is gone", theirs[i]);
    }
    s_shell("test -d gate.log.2020-01-05 && test -e gate.log.2020-01-03");
    s_shell("! ls gate.log.2020-01-01.2 gate.log.2020-01-01.10 2>/dev/null");
    s_shell("! ls gate.log.2020-01-01 gate.log.2020-01-02 2>/dev/null");
}

/* A clock that was a year ahead; one that goes back for the winter hour. */
Test(logfile, clocks, .init = s_begin, .fini = s_end, .timeout = 20) {
    gi_logfile_t file;
    int seen[4];
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK);
    cr_expect(s_say(&file, s_today_us() + 365 * S_DAY_US, 0));
    cr_expect(s_say(&file, s_today_us(), 1));
    cr_expect(s_say(&file, s_today_us() + S_DAY_US, 2));
    int before = s_count(seen, 4);
    cr_expect(s_say(&file, s_today_us() + S_DAY_US - 1800000000, 3));
    gi_logfile_close(&file);
    cr_expect_eq(s_count(seen, 4), before, "half an hour back is no night");
    cr_expect_geq(before, 3);
    for (int n = 0; n < 4; n++)
        cr_expect_eq(seen[n], 1, "line %d: %d", n, seen[n]);
}

/* ---- what others do ------------------------------------------------------ */
Test(logfile, moved_cut_deleted, .init = s_begin, .fini = s_end,
     .timeout = 20) {
    gi_logfile_t file;
    int seen[6];
    int64_t now = s_today_us();
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK);
    cr_expect(s_say(&file, now, 0));
    s_shell("mv gate.log gate.log.1"); /* logrotate */
    cr_expect(s_say(&file, now, 1));
    s_shell("cp gate.log copy && : > gate.log"); /* its copytruncate */
    cr_expect(s_say(&file, now, 2));
    s_shell("mkdir away && mv gate.log* copy away/");
    cr_expect(s_say(&file, now, 3));
    s_count(seen, 6);
    cr_expect_eq(seen[3], 1, "a file that was deleted is there again");
    s_shell("cp gate.log away/more && cp away/* . && rm -r away gate.log");
    s_shell("rm -rf $PWD"); /* a cleaner of directories */
    cr_expect(s_say(&file, now, 4));
    s_count(seen, 6);
    cr_expect_eq(seen[4], 1, "with its directory");
    gi_logfile_close(&file);
}

/* What is lost is counted, told as soon as it can be, and half a line is not
 * glued to the next one. */
Test(logfile, no_room, .init = s_begin, .fini = s_end, .timeout = 20) {
    gi_logfile_t file;
    char text[4000] = "";
    int seen[50], lost = 0, n = 0;
    int64_t now = s_today_us();
    struct rlimit before, small = {700, RLIM_INFINITY};
    uint64_t dropped = gate_log_dropped();
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    for (; n < 40; n++)
        lost += !s_say(&file, now, n);
    setrlimit(RLIMIT_FSIZE, &before);
    cr_expect_gt(lost, 20);
    cr_expect_eq(gate_log_dropped() - dropped, (uint64_t)lost);
    for (; n < 50; n++)
        cr_expect(s_say(&file, now, n));
    gi_logfile_close(&file);
    s_count(seen, 50);
    for (int i = 0; i < 50; i++)
        cr_expect(seen[i] == 1 || (i >= 5 && i < 40), "line %d", i);
    FILE *in = fopen(s_path, "r");
    cr_assert_gt(fread(text, 1, sizeof text - 1, in), 0);
    fclose(in);
    char told[60];
    snprintf(told, sizeof told, "%d lines were lost: File too large", lost);
    cr_expect(strstr(text, told), "%s: %s", told, text);
}

/* ---- where it may lie ---------------------------------------------------- */
static void s_refused(const char *path, const char *word) {
    gi_logfile_t file;
    gate_settings_set(s_settings, "log_file", path);
    cr_expect_neq(gi_logfile_open(&file, s_settings), GATE_OK, "%s", path);
    cr_expect(strstr(gate_error()->text, word), "%s: %s", word,
              gate_error()->text);
}

Test(logfile, places, .init = s_begin, .fini = s_end, .timeout = 20) {
    static char longest[PATH_MAX + 100];
    gi_logfile_t file;
    memset(longest, 'd', sizeof longest - 1);
    longest[0] = '/';
    s_refused(longest, "a path of more than");
    s_refused(s_dir, "Is a directory");
    s_refused("/proc/no/such/file", "/proc/no/such/file");
    s_shell("mkfifo gate.log"); /* nobody reads it: it is not waited for */
    s_refused(s_path, "No such device");
    s_shell("rm gate.log && ln -s /dev/null gate.log");
    cr_expect_eq(gi_logfile_open(&file, s_settings), GATE_OK, "our own link");
    gi_logfile_close(&file);
    if (geteuid() != 0)
        return;
    s_shell("rm gate.log && ln -s victim gate.log && chown -h 12345 gate.log");
    s_refused(s_path, "uid 12345");
    s_shell("test ! -e victim && rm gate.log && echo x > victim");
    s_shell("ln victim gate.log && chmod 1777 .");
    s_refused(s_path, "second name");
}

/* The one that is used when nothing is named. */
Test(logfile, the_standard_place, .init = s_begin, .fini = s_end,
     .timeout = 20) {
    char path[200];
    gi_logfile_t file;
    snprintf(path, sizeof path, "%s/base", s_dir);
    gate_settings_set(s_settings, "base_path", path);
    gate_settings_set(s_settings, "log_file", "gate.log");
    gate_settings_set(s_settings, "log_path", ""); /* is none */
    cr_assert_eq(gi_logfile_open(&file, s_settings), GATE_OK, "%s",
                 gate_error()->text);
    gi_logfile_close(&file);
    s_shell("test -f base/log/gate.log");
}
