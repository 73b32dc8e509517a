/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c -- the gate command: a const table of verbs. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const gi_verb_t s_verbs[] = {
    {"dev", gi_dev_main, GI_WORDS_NONE,
     "broker, demo service and page at once, for a first look"},
    {"broker", gi_broker_main, GI_WORDS_NONE,
     "route calls between clients and services"},
    {"serve", gi_serve_main, GI_WORDS_FILES,
     "run services: the demo service or modules"},
    {"call", gi_call_main, GI_WORDS_METHOD,
     "call a method and print its result as JSON"},
    {"services", gi_services_main, GI_WORDS_NONE,
     "list the services of a broker"},
    {"brokers", gi_brokers_main, GI_WORDS_NONE,
     "list the brokers that one is joined with"},
    {"drain", gi_drain_main, GI_WORDS_SERVICE,
     "let the workers of a service finish and leave"},
    {"keygen", gi_keygen_main, GI_WORDS_FILES, "make a CURVE certificate"},
    {"zap", gi_zap_main, GI_WORDS_NONE, "tell brokers who may come in"},
    {"inspect", gi_inspect_main, GI_WORDS_SERVICE,
     "list the methods of a service"},
    {"top", gi_top_main, GI_WORDS_NONE,
     "see a broker as it is now, again and again"},
    {"doctor", gi_doctor_main, GI_WORDS_NONE,
     "say in words what is wrong with a broker"},
    {"health", gi_health_main, GI_WORDS_NONE,
     "say whether a broker answers, or is ready"},
#ifdef GATE_HAVE_MONITOR
    {"monitor", gi_monitor_main, GI_WORDS_NONE,
     "show a broker over HTTP: page, metrics"},
#endif
    {"context", gi_context_main, GI_WORDS_CONTEXT,
     "keep brokers by name, and which one is meant"},
    {"settings", gi_settings_main, GI_WORDS_NONE,
     "list the settings: in force, usual, why"},
#ifdef GATE_HAVE_BENCH
    {"bench", gi_bench_main, GI_WORDS_NONE, "measure throughput and latency"},
#endif
};
static const size_t s_n_verbs = sizeof s_verbs / sizeof *s_verbs;

static void s_usage(FILE *to) {
    fprintf(to, "usage: gate VERB [OPTION]... [WORD]...\n"
                "       gate help [VERB] | gate --version | gate --help\n\n");
    for (size_t i = 0; i < s_n_verbs; i++)
        fprintf(to, "  %-10s %s\n", s_verbs[i].name, s_verbs[i].brief);
    fprintf(to, "\nExit codes: 0 done, 1 remote exception, 2 usage or bad "
                "input,\n3 unreachable or no answer in time, 4 refused.\n");
}

static int s_lost; /* errno of what stdout did not take first */

void gi_main_stdout_lost(void) {
    if (!s_lost)
        s_lost = errno;
}

/* Results that did not reach stdout are no results. */
static int s_flushed(int code) {
    if (!fflush(stdout) && !ferror(stdout))
        return code;
    gi_main_stdout_lost();
    fprintf(stderr, "gate: stdout: %s\n", strerror(s_lost));
    return code ? code : GI_EXIT_REMOTE;
}

/* errno, or 0. */
static int s_write_line(const char *text) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    size_t size = strlen(text);
    if (poll(&out, 1, GI_READY_MS) == 0)
        return ETIMEDOUT; /* nobody reads it */
    while (size) {
        ssize_t n = write(STDOUT_FILENO, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? errno : EIO;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

/* A pipe without a reader is an error like others: SIGPIPE waits meanwhile. */
void gi_main_ready(const char *line) {
    const struct timespec now = {0, 0};
    sigset_t broken, before;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigprocmask(SIG_BLOCK, &broken, &before);
    int e = s_write_line(line);
    if (e)
        fprintf(stderr, "gate: stdout: %s: it did not take the line: %s",
                strerror(e), line);
    if (!sigismember(&before, SIGPIPE))
        sigtimedwait(&broken, NULL, &now);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* Of 0..2 none is closed: what we opened next would be written to by whatever
 * prints. Reading the one and writing the others fails as before. */
static bool s_hold_standard(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            return false;
    return true;
}

static const gi_verb_t *s_find(const char *name) {
    for (size_t i = 0; i < s_n_verbs; i++)
        if (!strcmp(name, s_verbs[i].name))
            return &s_verbs[i];
    return NULL;
}

static int s_no_verb(const char *name) {
    const char *near = NULL;
    size_t least = 64;
    for (size_t i = 0; i < s_n_verbs; i++)
        if (gi_opts_near(name, strlen(name), s_verbs[i].name, &least))
            near = s_verbs[i].name;
    if (gi_opts_near(name, strlen(name), "help", &least))
        near = "help";
    if (near)
        fprintf(stderr, "gate: no verb '%s': is %s meant?\n", name, near);
    else if (*name)
        fprintf(stderr, "gate: no verb '%s'\n", name);
    s_usage(stderr);
    return GI_EXIT_USAGE;
}

/* gate help VERB is gate VERB --help. */
static int s_help(const char *name) {
    static char help[] = "--help";
    if (name && !strcmp(name, "help"))
        name = NULL;
    const gi_verb_t *verb = name ? s_find(name) : NULL;
    if (name && !verb)
        return s_no_verb(name);
    if (verb)
        return verb->run(2, (char *[]){(char *)(uintptr_t)name, help, NULL});
    s_usage(stdout);
    return GI_EXIT_OK;
}

static bool s_is(const char *word, const char *a, const char *b) {
    return !strcmp(word, a) || !strcmp(word, b);
}

int main(int argc, char **argv) {
    if (!s_hold_standard())
        return GI_EXIT_USAGE; /* there is nowhere to say so */
    signal(SIGCHLD, SIG_DFL); /* ignored, it would hide our children's ends */
    int code = gi_supervise_first(argc, argv);
    if (code >= 0)
        return code;
    const char *word = argc > 1 ? argv[1] : "";
    if (s_is(word, "--version", "-V")) {
        printf("gate %s\n", gate_version());
        return s_flushed(GI_EXIT_OK);
    }
    if (s_is(word, "--help", "-h"))
        return s_flushed(s_help(NULL));
    if (!strcmp(word, "help"))
        return s_flushed(s_help(argc > 2 ? argv[2] : NULL));
    if (!strcmp(word, "--complete"))
        return gi_complete_main(s_verbs, s_n_verbs, argc - 2, argv + 2);
    const gi_verb_t *verb = s_find(word);
    return verb ? s_flushed(verb->run(argc - 1, argv + 1)) : s_no_verb(word);
}
