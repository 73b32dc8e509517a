/* SPDX-License-Identifier: BSD-3-Clause */
#include "mail/logring.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static int s_attach(void) {
    int fd = -1;

    cr_assert_eq(gi_logring_attach(&fd), GATE_OK);
    return fd;
}

Test(log, levels) {
    gi_log_levels(GATE_WARN, "broker=debug, service.Demo=silent,bad,=x,y=zzz");
    cr_assert(gi_log_enabled(GATE_DEBUG, "broker"));
    cr_assert_not(gi_log_enabled(GATE_ERROR, "service.Demo"));
    cr_assert(gi_log_enabled(GATE_WARN, "other"));
    cr_assert_not(gi_log_enabled(GATE_INFO, "other"));
    cr_assert_not(gi_log_enabled(GATE_INFO, "y"));
    /* A rule is for all below it, and the longest one decides. */
    gi_log_levels(GATE_WARN, "service.Demo=debug,service=silent,serv=debug");
    cr_assert(gi_log_enabled(GATE_DEBUG, "service.Demo"));
    cr_assert_not(gi_log_enabled(GATE_ERROR, "service.Other"));
    cr_assert_not(gi_log_enabled(GATE_ERROR, "service"));
    cr_assert(gi_log_enabled(GATE_WARN, "services"));
    cr_assert_not(gi_log_enabled(GATE_INFO, "services"));
    gi_log_levels(GATE_SILENT, NULL);
    cr_assert_not(gi_log_enabled(GATE_ERROR, "broker"));
    cr_assert_not(gi_log_enabled(GATE_SILENT, "broker"));
    cr_assert_str_eq(gate_level_name(GATE_WARN), "warn");
}

Test(log, ring_keeps_order_and_text) {
    gi_log_line_t line;
    char text[1200];
    int fd = s_attach(), other;

    cr_assert_eq(gi_logring_attach(&other), GATE_BUSY);
    gate_log(GATE_INFO, "broker", "one %d\ntwo", 1);
    gate_log(GATE_DEBUG, "broker", "not at this level");
    gate_log(GATE_ERROR, "service.Demo", "bad");
    cr_assert(gi_logring_pop(&line));
    cr_assert_str_eq(line.text, "one 1 two", "one line stays one line");
    cr_assert_str_eq(line.part, "broker");
    cr_assert_eq(line.thread, gettid());
    cr_assert(gi_logring_pop(&line));
    cr_assert_eq(line.level, GATE_ERROR);
    cr_assert_not(gi_logring_pop(&line));
    line.wall_us = 1500;
    size_t size = gi_log_format(&line, false, text, sizeof text);
    cr_assert_eq(size, strlen(text));
    cr_assert_str_eq(text + 19, ".001 ERROR service.Demo: bad\n");
    gi_logring_about(GATE_WARN, "service", "Demo", "add", "slow");
    cr_assert(gi_logring_pop(&line));
    cr_assert_str_eq(line.part, "service.Demo");
    cr_assert_str_eq(line.method, "add");
    gi_log_format(&line, true, text, sizeof text);
    cr_assert_eq(text[0], '\033');
    cr_assert(gi_logring_sleep());
    gate_log(GATE_INFO, "x", "wake");
    struct pollfd item = {fd, POLLIN, 0};
    cr_assert_eq(poll(&item, 1, 0), 1);
    gi_logring_wake();
    cr_assert_not(gi_logring_sleep(), "a line waits");
    gi_logring_detach();
}

Test(log, long_lines_are_cut) {
    gi_log_line_t line;
    char text[3000], out[64];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    s_attach();
    gate_log(GATE_INFO, text, "%s", text);
    cr_assert(gi_logring_pop(&line));
    cr_assert_eq(strlen(line.text), sizeof line.text - 1);
    cr_assert_eq(strlen(line.part), sizeof line.part - 1);
    cr_assert_eq(gi_log_format(&line, false, out, sizeof out), 63);
    cr_assert_eq(out[62], '\n');
    gi_logring_detach();
}

Test(log, full_drops_and_counts) {
    gi_log_line_t line;
    uint64_t n = 0;

    s_attach();
    for (int i = 0; i < 10000; i++)
        gate_log(GATE_INFO, "x", "%d", i);
    cr_assert_gt(gate_log_dropped(), 0);
    while (gi_logring_pop(&line))
        n++;
    cr_assert_eq(n + gate_log_dropped(), 10000);
    gate_log(GATE_INFO, "x", "again");
    cr_assert(gi_logring_pop(&line));
    cr_assert_str_eq(line.text, "again");
    gi_logring_detach();
}

static void *s_consume(void *arg) {
    gi_log_line_t line;

    usleep(50000);
    while (gi_logring_pop(&line))
        gi_log_call_sink(&line);
    gi_logring_written();
    return arg;
}

static int s_seen;

static void s_sink(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    cr_assert_eq(ctx, &s_seen);
    cr_assert_eq(level, GATE_WARN);
    cr_assert_str_eq(part, "p");
    cr_assert_str_eq(text, "t");
    s_seen++;
}

Test(log, flush_and_sink, .timeout = 20) {
    pthread_t thread;

    s_attach();
    cr_assert(gate_log_flush(0), "nothing to wait for");
    gate_log_sink(s_sink, &s_seen);
    gate_log(GATE_WARN, "p", "t");
    cr_assert_not(gate_log_flush(5));
    pthread_create(&thread, NULL, s_consume, NULL);
    cr_assert(gate_log_flush(10000));
    cr_assert_eq(s_seen, 1);
    pthread_join(thread, NULL);
    gate_log_sink(NULL, NULL);
    gate_log(GATE_WARN, "q", "u");
    s_consume(NULL);
    cr_assert_eq(s_seen, 1);
    gi_logring_detach();
}

/* What is said without a consumer, without its time. */
static const char *s_said(const char *what) {
    static char text[512];
    int ends[2], saved = dup(STDERR_FILENO);

    memset(text, 0, sizeof text);
    cr_assert_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    gate_log(GATE_WARN, "main", "%s", what);
    dup2(saved, STDERR_FILENO);
    cr_assert_gt(read(ends[0], text, sizeof text - 1), 23);
    close(ends[0]);
    close(ends[1]);
    close(saved);
    return text + 23;
}

/* Not attached: to stderr, a line in one write. */
Test(log, stderr_before_attach) {
    cr_assert_str_eq(s_said("hello there"), " WARN  main: hello there\n");
}

/* The name may lie in memory that is gone when a thread left behind speaks. */
Test(log, a_speaker_is_a_copy) {
    char name[160] = "Math.add", wanted[256];

    gi_logring_speak_for(name);
    memset(name, 'x', sizeof name - 1);
    cr_assert_str_eq(s_said("a"), " WARN  main: Math.add: a\n");
    gi_logring_speak_for(name);
    snprintf(wanted, sizeof wanted, " WARN  main: %.103s: b\n", name);
    cr_assert_str_eq(s_said("b"), wanted, "%s", s_said("b"));
    gi_logring_speak_for("a");
    cr_assert_str_eq(s_said("c"), " WARN  main: a: c\n");
    gi_logring_speak_for(NULL);
    cr_assert_str_eq(s_said("d"), " WARN  main: d\n");
}
