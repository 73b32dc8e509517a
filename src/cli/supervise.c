/* SPDX-License-Identifier: BSD-3-Clause */
/* supervise.c -- a crash inside a process takes the process: so the serving one
 * is a child of this one, which does nothing but start it again. It is one
 * child of a supervisor, whose settings hold. */
#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/peer.h"

enum { S_LOOK_MS = 50, S_SIGNALLED = 128, S_UNHEARD = 1 << 8 };

typedef struct s_process {
    char **argv;           /* of the child */
    const gi_auth_t *auth; /* its passwords come to it by standard input */
    int secrets[2];        /* the pipe for them; -1: none are needed */
    pid_t pid;             /* 0: none */
    pid_t starter;         /* the thread whose end is the child's to end */
    int status;            /* of waitpid, once it has ended */
    bool had_one;          /* a process was there once */
} s_process_t;

static void s_stop_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

/* A line each, in the order in which gi_auth_check reads them. */
static void s_write_secrets(const s_process_t *self) {
    const char *words[] = {self->auth->password.word,
                           self->auth->plain_password.word};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i])
            dprintf(self->secrets[1], "%s\n", words[i]);
}

static bool s_open_secrets(s_process_t *self) {
    self->secrets[0] = self->secrets[1] = -1;
    if (!self->auth->password.word && !self->auth->plain_password.word)
        return true;
    if (pipe2(self->secrets, O_CLOEXEC) < 0)
        return false;
    s_write_secrets(self); /* a pipe holds more than two */
    return true;
}

static void s_close_secrets(s_process_t *self) {
    for (int i = 0; i < 2; i++)
        if (self->secrets[i] >= 0)
            close(self->secrets[i]);
}

/* Between fork and exec: only what a process of many threads may do there. */
static void s_become(const s_process_t *self, pid_t parent) {
    sigset_t reloads; /* not before it takes them */
    gi_interrupt_reloads(&reloads);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(GI_EXIT_OK);
    sigprocmask(SIG_SETMASK, &reloads, NULL);
    if (self->secrets[0] >= 0)
        dup2(self->secrets[0], STDIN_FILENO);
    execv("/proc/self/exe", self->argv);
    _exit(GI_EXIT_USAGE);
}

/* The first one that cannot be had is told to who starts this, and not tried
 * again and again behind its back: BADARG is final. */
static gate_err_t s_none(const s_process_t *self, const char *what) {
    perror(what);
    return self->had_one ? GATE_SYSTEM : GATE_BADARG;
}

/* Until it has become another program: the end of this thread, which may come
 * next, is its end only then. */
static void s_await_birth(const int born[2]) {
    char c;
    close(born[1]);
    while (read(born[0], &c, 1) < 0 && errno == EINTR)
        ;
    close(born[0]);
}

static gate_err_t s_start(void *ctx) {
    s_process_t *self = ctx;
    pid_t parent = getpid();
    self->starter = gettid();
    if (!s_open_secrets(self))
        return s_none(self, "gate: pipe");
    int born[2];
    if (pipe2(born, O_CLOEXEC) < 0) {
        s_close_secrets(self);
        return s_none(self, "gate: pipe");
    }
    self->pid = fork();
    if (self->pid == 0)
        s_become(self, parent);
    s_await_birth(born);
    s_close_secrets(self);
    self->had_one |= self->pid > 0;
    if (self->pid > 0)
        return GATE_OK;
    self->pid = 0;
    return s_none(self, "gate: fork");
}

/* True: it has ended, self->status says how. Other children are orphans that
 * came to us as the first process of a container: they are let go. */
static bool s_has_ended(s_process_t *self) {
    int status = 0;
    pid_t pid = 1;
    while (self->pid > 0 && pid > 0) {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == ECHILD) {
            pid = self->pid; /* somebody else has heard it */
            status = S_UNHEARD;
        }
        if (pid == self->pid) {
            self->status = status;
            self->pid = 0;
        }
    }
    return self->pid == 0;
}

/* Exit 0 is an end as it should be, bad usage is not mended by a restart. */
static gate_err_t s_check(void *ctx) {
    s_process_t *self = ctx;
    if (!s_has_ended(self))
        return GATE_OK;
    if (WIFSIGNALED(self->status)) {
        gate_log(GATE_ERROR, "serve",
                 "the serving process was killed by signal %d (%s)",
                 WTERMSIG(self->status), strsignal(WTERMSIG(self->status)));
        return GATE_WORKERLOST;
    }
    int code = WEXITSTATUS(self->status);
    if (code)
        gate_log(GATE_ERROR, "serve", "the serving process ended with %d",
                 code);
    return code == 0               ? GATE_EOS
           : code == GI_EXIT_USAGE ? GATE_BADARG
                                   : GATE_WORKERLOST;
}

/* The end of the thread that started it has sent SIGTERM already. A second
 * signal of the user's goes there too. */
static void s_stop(void *ctx) {
    s_process_t *self = ctx;
    sigset_t stop;
    s_stop_signals(&stop);
    if (!s_has_ended(self) && self->starter == gettid())
        kill(self->pid, SIGTERM);
    while (!s_has_ended(self)) {
        const struct timespec look = {0, S_LOOK_MS * 1000000L};
        int number = sigtimedwait(&stop, NULL, &look);
        if (number > 0 && self->pid > 0)
            kill(self->pid, number);
    }
}

/* What gi_opts_parse has wiped, or what would be asked once more. */
static bool s_is_secret(const char *word, bool *with_value) {
    static const char *const options[] = {"--password", "--password-file",
                                          "--plain-password",
                                          "--plain-password-file"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        size_t n = strlen(options[i]);
        if (strncmp(word, options[i], n) == 0 && (!word[n] || word[n] == '=')) {
            *with_value = !word[n];
            return true;
        }
    }
    return false;
}

/* "gate serve ..." without --supervise, passwords by standard input; one block
 * to free. */
static char **s_words(const gi_auth_t *auth, int argc, char **argv) {
    static char in_band[] = "--password-file=-",
                transport[] = "--plain-password-file=-", gate[] = "gate";
    char **words = calloc((size_t)argc + 4, sizeof *words);
    int n = 0;
    bool with_value, options = true;
    if (!words)
        return NULL;
    words[n++] = gate;
    words[n++] = argv[0];
    if (auth->password.word)
        words[n++] = in_band;
    if (auth->plain_password.word)
        words[n++] = transport;
    for (int i = 1; i < argc; i++) {
        options = options && strcmp(argv[i], "--") != 0;
        if (options && strcmp(argv[i], "--supervise") == 0)
            continue;
        if (options && s_is_secret(argv[i], &with_value))
            i += with_value;
        else
            words[n++] = argv[i];
    }
    return words;
}

/* Both write the log, and both have the rules. */
static void s_reload(gate_runtime_t *runtime, const s_process_t *process,
                     int number) {
    pid_t pid = process->pid;
    if (pid > 0)
        kill(pid, number);
    if (gate_runtime_reload(runtime))
        return; /* it is in the log */
}

/* Until the child has ended for good, or a signal: true. */
static bool s_wait(gate_runtime_t *runtime, gate_supervisor_t *supervisor,
                   const s_process_t *process) {
    const struct timespec look = {0, S_LOOK_MS * 1000000L};
    sigset_t stop, reloads, both;
    s_stop_signals(&stop);
    gi_interrupt_reloads(&reloads);
    sigorset(&both, &stop, &reloads);
    while (!gate_supervisor_over(supervisor)) {
        int number = sigtimedwait(&both, NULL, &look);
        if (number > 0 && sigismember(&stop, number))
            return true;
        if (number > 0)
            s_reload(runtime, process, number);
    }
    return false;
}

/* Told to stop, it may not have come so far that it could drain. */
static int s_exit_code(const s_process_t *process, bool told) {
    if (!process->had_one)
        return told ? GI_EXIT_OK : GI_EXIT_USAGE;
    if (WIFEXITED(process->status))
        return WEXITSTATUS(process->status);
    bool by_us = WTERMSIG(process->status) == SIGTERM ||
                 WTERMSIG(process->status) == SIGINT;
    return told && by_us ? GI_EXIT_OK : GI_EXIT_REMOTE;
}

static int s_run(gate_runtime_t *runtime, s_process_t *process) {
    const gate_child_t child = {.name = "the serving process",
                                .start = s_start,
                                .check = s_check,
                                .stop = s_stop,
                                .ctx = process,
                                .restart = GATE_TRANSIENT};
    const gate_supervisor_options_t options = {.check_ms = S_LOOK_MS};
    gate_supervisor_t *supervisor = gate_supervisor_new(runtime, &options);
    if (!supervisor)
        return gi_peer_fail(GATE_NOMEM, false);
    gate_supervisor_add(supervisor, &child);
    gate_err_t e = gate_supervisor_start(supervisor);
    if (e) {
        gate_supervisor_destroy(&supervisor);
        return gi_peer_fail(e, false);
    }
    bool told = s_wait(runtime, supervisor, process);
    gate_supervisor_destroy(&supervisor); /* which stops it */
    return s_exit_code(process, told);
}

/* ---- the first process of a container ------------------------------------ */
/* Those of the terminal have reached the other one as well. */
static int s_first(pid_t pid, const sigset_t *all) {
    siginfo_t info;
    int status;
    for (;;) {
        int number = sigwaitinfo(all, &info);
        pid_t ended = 1;
        if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
            kill(pid, number);
        while (number == SIGCHLD && ended > 0) {
            ended = waitpid(-1, &status, WNOHANG);
            if (ended == pid)
                return WIFEXITED(status) ? WEXITSTATUS(status)
                                         : S_SIGNALLED + WTERMSIG(status);
        }
    }
}

int gi_supervise_first(int argc, char **argv) {
    sigset_t all, before;
    /* The serving process, of /proc/self/exe, would be called "exe". */
    prctl(PR_SET_NAME, program_invocation_short_name);
    if (getpid() != 1)
        return -1;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--supervise") == 0)
            return -1; /* which does it */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid > 0)
        return s_first(pid, &all);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return -1; /* it, or we when there cannot be one */
}

int gi_supervise(const char *config, const gi_auth_t *auth, int argc,
                 char **argv) {
    s_process_t process = {.argv = s_words(auth, argc, argv), .auth = auth};
    gi_interrupt_stay();
    GATE_OWN(gate_runtime) runtime = gi_peer_runtime(config);
    int code = GI_EXIT_USAGE;
    if (runtime)
        code = process.argv ? s_run(runtime, &process)
                            : gi_peer_fail(GATE_NOMEM, false);
    free(process.argv);
    return code;
}
