/* SPDX-License-Identifier: BSD-3-Clause */
/* signals.c -- see signals.h. */
#include "runtime/signals.h"

#include <poll.h>
#include <stddef.h>
#include <time.h>

static volatile sig_atomic_t s_ends, s_reloads; /* how many came */

static void s_on_end(int number) {
    (void)number;
    s_ends++;
}

static void s_on_reload(int number) {
    (void)number;
    s_reloads++;
}

static const struct {
    int number;
    bool always;
    void (*fn)(int number);
} s_taken[GI_SIGNALS] = {{SIGTERM, true, s_on_end},
                         {SIGINT, true, s_on_end},
                         {SIGHUP, false, s_on_reload},
                         {SIGUSR1, false, s_on_reload},
                         {SIGUSR2, false, s_on_reload}};

void gi_signals_take(gi_signals_t *self) {
    sigset_t ours;
    sigemptyset(&ours);
    s_ends = s_reloads = 0;
    for (size_t i = 0; i < GI_SIGNALS; i++) {
        sigaction(s_taken[i].number, NULL, &self->before[i]);
        self->ours[i] =
            s_taken[i].always || self->before[i].sa_handler == SIG_DFL;
        if (self->ours[i])
            sigaddset(&ours, s_taken[i].number);
    }
    pthread_sigmask(SIG_BLOCK, &ours, &self->mask);
    self->open = self->mask;
    for (size_t i = 0; i < GI_SIGNALS; i++) {
        const struct sigaction take = {.sa_handler = s_taken[i].fn};
        if (!self->ours[i])
            continue;
        sigaction(s_taken[i].number, &take, NULL);
        sigdelset(&self->open, s_taken[i].number);
    }
}

void gi_signals_give(const gi_signals_t *self) {
    for (size_t i = 0; i < GI_SIGNALS; i++)
        if (self->ours[i])
            sigaction(s_taken[i].number, &self->before[i], NULL);
    pthread_sigmask(SIG_SETMASK, &self->mask, NULL);
}

void gi_signals_wait(const gi_signals_t *self, int timeout_ms) {
    const struct timespec time = {timeout_ms / 1000,
                                  timeout_ms % 1000 * 1000000L};
    ppoll(NULL, 0, &time, &self->open);
}

int gi_signals_ends(void) { return s_ends; }

bool gi_signals_reload(void) {
    bool came = s_reloads != 0;
    s_reloads = 0;
    return came;
}
