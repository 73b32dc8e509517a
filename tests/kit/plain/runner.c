/* SPDX-License-Identifier: BSD-3-Clause */
/* runner.c -- main() of tests that were written for Criterion, where it does not
 * run: each test in a fresh process of its own, one after another, as there. What
 * ThreadSanitizer reports becomes its exit code, so it counts as a failure.
 *   PROGRAM [SUITE/NAME]...   only these; words with a dash are Criterion's
 *   PROGRAM =SUITE/NAME       this one, in this process: for a debugger */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOWER = 5,
    TIMEOUT_S = 120,
    SLOW_S = 5,
    NAME_MAX = 256,
    FAILED = 1,
    SKIPPED = 77
};

static plain_test_t *s_tests, **s_tail = &s_tests;
static const plain_test_t *s_now; /* which runs in this process */
static bool s_failed;

void plain_add(plain_test_t *test) {
    *s_tail = test;
    s_tail = &test->next;
}

void plain_failed(bool fatal, const char *file, int line, const char *what,
                  const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s:%d: %s/%s: not so: %s:%s\n", file, line, s_now->suite,
            s_now->name, what, text);
    s_failed = true;
    if (fatal)
        _exit(FAILED);
}

void plain_skip(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("skipped: %s/%s: ", s_now->suite, s_now->name);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(NULL);
    _exit(SKIPPED);
}

static const plain_options_t *s_suite(const char *name) {
    static const plain_options_t none;
    for (plain_test_t *t = s_tests; t; t = t->next)
        if (!t->name && strcmp(t->suite, name) == 0)
            return t->options;
    return &none;
}

/* In its own process: does not return. */
static void s_run(const plain_test_t *test) {
    const plain_options_t *suite = s_suite(test->suite), *own = test->options;
    void (*before[])(void) = {suite->init, own->init};
    void (*after[])(void) = {own->fini, suite->fini};
    s_now = test;
    for (int i = 0; i < 2; i++)
        if (before[i])
            before[i]();
    test->run();
    for (int i = 0; i < 2; i++)
        if (after[i])
            after[i]();
    exit(s_failed ? FAILED : 0);
}

/* The child: itself anew, with this test alone. */
static void s_exec(const plain_test_t *test, pid_t parent) {
    char word[NAME_MAX];
    double timeout = test->options->timeout * SLOWER;
    snprintf(word, sizeof word, "=%s/%s", test->suite, test->name);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(timeout > 0 ? (unsigned)timeout + 1 : TIMEOUT_S);
    if (getppid() == parent)
        execl("/proc/self/exe", program_invocation_short_name, word,
              (char *)NULL);
    _exit(FAILED);
}

static bool s_is(const plain_test_t *test, const char *word) {
    size_t n = strlen(test->suite);
    return strncmp(test->suite, word, n) == 0 && word[n] == '/' &&
           strcmp(test->name, word + n + 1) == 0;
}

static bool s_wanted(const plain_test_t *test, char **words) {
    bool any = false;
    for (; *words; words++) {
        any |= **words != '-';
        if (s_is(test, *words))
            return true;
    }
    return !any;
}

/* Runs it in a child; true: as it should be. */
static bool s_one(const plain_test_t *test, int *skipped) {
    int status = 0;
    time_t began = time(NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        s_exec(test, parent);
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        perror("a test's process");
        return false;
    }
    if (time(NULL) - began >= SLOW_S)
        printf("%s/%s took %ld s\n", test->suite, test->name,
               (long)(time(NULL) - began));
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    if (code == SKIPPED) {
        ++*skipped;
        return true;
    }
    if (code == test->options->exit_code)
        return true;
    printf("FAIL: %s/%s ended with %d%s\n", test->suite, test->name, code,
           code == -SIGALRM ? " (out of time)" : "");
    return false;
}

int main(int argc, char **argv) {
    int failed = 0, skipped = 0, n = 0;
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 2 && *argv[1] == '=')
        for (plain_test_t *t = s_tests; t; t = t->next)
            if (t->name && s_is(t, argv[1] + 1))
                s_run(t);
    for (plain_test_t *t = s_tests; t; t = t->next) {
        if (!t->name || t->options->disabled || !s_wanted(t, argv + 1))
            continue;
        n++;
        failed += !s_one(t, &skipped);
    }
    printf("%d tests, %d failed, %d skipped\n", n, failed, skipped);
    if (n && n == skipped)
        return SKIPPED;
    return failed || !n;
}
