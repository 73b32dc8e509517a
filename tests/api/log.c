/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c -- where lines go: levels by part, a user's sink, a file rotated at
 * midnight, the drop counter. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

/* The tests' own variables are no settings: each would be a line of the log. */
__attribute__((constructor)) static void s_clean_environment(void) {
    unsetenv("GATE_SCALE");
    unsetenv("GATE_LONG");
    unsetenv("GATE_SLOW");
}

typedef struct s_seen {
    int n;
    gate_level_t level;
    char part[40], text[200];
} s_seen_t;

static void s_sink(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    s_seen_t *seen = ctx;
    seen->n++;
    seen->level = level;
    snprintf(seen->part, sizeof seen->part, "%s", part);
    snprintf(seen->text, sizeof seen->text, "%s", text);
}

static gate_runtime_t *s_runtime(const char *name, const char *value) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_stderr", gate_bool(false));
    if (name)
        gate_settings_set(settings, name, value);
    gate_runtime_t *rt = gate_runtime_new(settings);
    cr_assert_eq(gate_runtime_start(rt), GATE_OK, "%s", gate_error()->text);
    return rt;
}

Test(log, sink_gets_what_passes_its_level, .timeout = 30) {
    s_seen_t seen = {0};
    gate_runtime_t *rt = s_runtime("log_levels", "loud=debug,quiet=error");
    gate_log_sink(s_sink, &seen);
    gate_log(GATE_DEBUG, "loud", "one %d", 1);
    gate_log(GATE_WARN, "quiet", "two");
    gate_log(GATE_DEBUG, "other", "three");
    cr_assert(gate_log_flush(2000));
    cr_assert_eq(seen.n, 1);
    cr_assert_str_eq(seen.part, "loud");
    cr_assert_str_eq(seen.text, "one 1");
    gate_log(GATE_ERROR, "quiet", "four");
    gate_log(GATE_INFO, "other", "five");
    cr_assert(gate_log_flush(2000));
    cr_assert_eq(seen.n, 3);
    gate_log_sink(NULL, NULL);
    gate_log(GATE_ERROR, "other", "six");
    cr_assert(gate_log_flush(2000));
    cr_assert_eq(seen.n, 3);
    gate_runtime_destroy(&rt);
}

static void s_slow(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    (void)ctx, (void)level, (void)part, (void)text;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Callers never wait: a ring that is full drops, and counts. */
Test(log, full_ring_drops_and_counts, .timeout = 60) {
    gate_runtime_t *rt = s_runtime(NULL, NULL);
    uint64_t before = gate_log_dropped();
    gate_log_sink(s_slow, NULL);
    for (int i = 0; i < 20000; i++)
        gate_log(GATE_INFO, "flood", "line %d", i);
    cr_assert_gt(gate_log_dropped(), before);
    gate_log_sink(NULL, NULL);
    gate_runtime_destroy(&rt);
}

static int s_files(const char *dir, const char *prefix) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (d)
        closedir(d);
    return n;
}

static void s_old_file(const char *path, int days) {
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    cr_assert_eq(write(fd, "old\n", 4), 4);
    close(fd);
    struct timeval at[2] = {{.tv_sec = time(NULL) - days * 86400L}};
    at[1] = at[0];
    utimes(path, at);
}

/* A file of an earlier day is put aside under that day's date; ten are kept. */
Test(log, file_is_rotated_by_day, .timeout = 30) {
    char dir[] = "/tmp/gate-log-XXXXXX", path[300], command[80];
    cr_assert_not_null(mkdtemp(dir));
    for (int i = 2; i < 16; i++) {
        snprintf(path, sizeof path, "%s/gate.log.2020-01-%02d", dir, i);
        s_old_file(path, 100);
    }
    snprintf(path, sizeof path, "%s/gate.log", dir);
    s_old_file(path, 1);
    gate_runtime_t *rt = s_runtime("log_file", path);
    gate_log(GATE_INFO, "test", "of today");
    cr_assert(gate_log_flush(2000));
    gate_runtime_destroy(&rt);
    char text[400] = "";
    FILE *file = fopen(path, "r");
    cr_assert_not_null(fgets(text, sizeof text, file));
    fclose(file);
    cr_assert(strstr(text, "of today") && !strstr(text, "\x1b["), "%s", text);
    cr_assert_eq(s_files(dir, "gate.log."), 10);
    time_t yesterday = time(NULL) - 86400;
    struct tm tm;
    localtime_r(&yesterday, &tm);
    snprintf(path, sizeof path, "%s/gate.log.%04d-%02d-%02d", dir,
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    cr_assert_eq(access(path, R_OK), 0, "%s is missing", path);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

Test(log, unwritable_file_is_an_error) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_file", "/proc/no/such/file");
    gate_runtime_t *rt = gate_runtime_new(settings);
    cr_assert_eq(gate_runtime_start(rt), GATE_SYSTEM);
    cr_assert(strstr(gate_error()->text, "/proc/no/such/file"));
    gate_runtime_destroy(&rt);
}

/* stderr is a file here: no colour. */
Test(log, stderr_without_a_terminal_has_no_colour, .timeout = 30) {
    char path[] = "/tmp/gate-stderr-XXXXXX", text[400] = "";
    int fd = mkstemp(path), saved = dup(2);
    dup2(fd, 2);
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_err_t e = gate_runtime_start(rt);
    gate_log(GATE_ERROR, "test", "plain");
    gate_log_flush(2000);
    gate_runtime_destroy(&rt);
    dup2(saved, 2);
    cr_assert_eq(e, GATE_OK);
    cr_assert_gt(pread(fd, text, sizeof text - 1, 0), 0);
    unlink(path);
    close(fd);
    cr_assert(strstr(text, "ERROR"), "%s", text);
    cr_assert(strstr(text, "test: plain\n"), "%s", text);
    cr_assert_null(strchr(text, '\x1b'));
}

/* stderr is a terminal: colour. */
Test(log, stderr_on_a_terminal_has_colour, .timeout = 30) {
    int master, slave, saved = dup(2);
    char text[400] = "";
    if (openpty(&master, &slave, NULL, NULL, NULL))
        cr_skip_test("no terminal can be made here: %s", strerror(errno));
    dup2(slave, 2);
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_err_t e = gate_runtime_start(rt);
    gate_log(GATE_ERROR, "test", "in red");
    gate_log_flush(2000);
    gate_runtime_destroy(&rt);
    dup2(saved, 2);
    cr_assert_eq(e, GATE_OK);
    cr_assert_gt(read(master, text, sizeof text - 1), 0);
    cr_assert(strstr(text, "in red") && strstr(text, "\x1b["), "%s", text);
    close(master);
    close(slave);
}

/* Where no journald runs, the test takes its place for a moment. */
Test(log, journal, .timeout = 30) {
    static const char path[] = "/run/systemd/journal/socket";
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[2000] = "", of[2000] = "", tid[40];
    strcpy(at.sun_path, path);
    bool made_outer = mkdir("/run/systemd", 0755) == 0;
    bool made_inner = mkdir("/run/systemd/journal", 0755) == 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (access(path, F_OK) == 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        close(fd);
        cr_skip_test("a journald runs here, or %s cannot be made", path);
    }
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_stderr", gate_bool(false));
    gate_settings_set(settings, "log_journal", gate_bool(true));
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_err_t e = gate_runtime_start(rt);
    gate_log(GATE_WARN, "test", "for the journal");
    gate_log_flush(2000);
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    gate_log(GATE_ERROR, "service.Demo", "of a service\nand\1 more");
    gate_log_flush(2000);
    ssize_t n_of = recv(fd, of, sizeof of - 1, MSG_DONTWAIT);
    gate_runtime_destroy(&rt);
    close(fd);
    unlink(path);
    if (made_inner)
        rmdir("/run/systemd/journal");
    if (made_outer)
        rmdir("/run/systemd");
    cr_assert_eq(e, GATE_OK);
    cr_assert_gt(n, 0, "no datagram came");
    snprintf(tid, sizeof tid, "\nTID=%d\n", gettid());
    cr_assert(strstr(text, "MESSAGE=test: for the journal\n"), "%s", text);
    cr_assert(strstr(text, "\nPRIORITY=4\n"), "%s", text);
    cr_assert(strstr(text, "\nGATE_PART=test\n"), "%s", text);
    cr_assert(strstr(text, "\nSYSLOG_IDENTIFIER="), "%s", text);
    cr_assert(strstr(text, tid), "%s", text);
    cr_assert_null(strstr(text, "GATE_SERVICE"), "%s", text);
    cr_assert_gt(n_of, 0, "the second one did not come");
    cr_assert(strstr(of, "=service.Demo: of a service and  more\n"), "%s", of);
    cr_assert(strstr(of, "\nPRIORITY=3\n"), "%s", of);
    cr_assert(strstr(of, "\nGATE_SERVICE=Demo\n"), "%s", of);
}
