/* SPDX-License-Identifier: BSD-3-Clause */
/* interrupt.c -- a thread waits for the signals, since the one that made the
 * call may be asleep in its stream, which no signal wakes, or in a write to a
 * stdout that nobody reads. That write is cut by a signal of ours; a later one
 * goes to /dev/null. */
#include "cli/interrupt.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define S_LEAVE_S 3

static struct {
    gate_client_t **client;
    pthread_t main, watcher;
    bool running;
    int caught;
    sigset_t set;
} s_self;

static void s_nothing(int number) { (void)number; }

static void s_free_stdout(void) {
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        dup2(fd, STDOUT_FILENO);
    pthread_kill(s_self.main, SIGUSR2);
}

static void *s_watch(void *arg) {
    int number = 0;
    while (sigwait(&s_self.set, &number))
        ;
    if (number == SIGUSR1) /* it is over */
        return arg;
    s_self.caught = number;
    alarm(S_LEAVE_S);
    gate_client_destroy(s_self.client);
    s_free_stdout();
    return arg;
}

void gi_interrupt_hold(void) {
    sigemptyset(&s_self.set);
    sigaddset(&s_self.set, SIGINT);
    sigaddset(&s_self.set, SIGTERM);
    sigaddset(&s_self.set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s_self.set, NULL);
}

void gi_interrupt_begin(gate_client_t **client) {
    struct sigaction cut = {.sa_handler = s_nothing}; /* no restart */
    sigaction(SIGUSR2, &cut, NULL);
    s_self.client = client;
    s_self.main = pthread_self();
    s_self.running = pthread_create(&s_self.watcher, NULL, s_watch, NULL) == 0;
    if (!s_self.running) /* as without us */
        pthread_sigmask(SIG_UNBLOCK, &s_self.set, NULL);
}

int gi_interrupt_end(void) {
    if (!s_self.running)
        return 0;
    pthread_kill(s_self.watcher, SIGUSR1);
    pthread_join(s_self.watcher, NULL);
    s_self.running = false;
    if (!s_self.caught)
        return 0;
    clearerr(stdout);
    return 128 + s_self.caught;
}

/* ---- verbs that stay ------------------------------------------------------ */
void gi_interrupt_reloads(sigset_t *set) {
    static const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2};
    struct sigaction now;
    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
            sigaddset(set, numbers[i]);
}

void gi_interrupt_stay(void) {
    sigset_t set;
    gi_interrupt_reloads(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGXFSZ); /* a file that is full is an error of its write */
    sigprocmask(SIG_BLOCK, &set, NULL);
}
