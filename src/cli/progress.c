/* SPDX-License-Identifier: BSD-3-Clause */
/* progress.c -- size so far, speed, and percent when the size is known. */
#include "cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define S_EVERY_NS 100000000
#define S_WIDTH 30

static int64_t s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void gi_bar_begin(gi_bar_t *self) {
    *self = (gi_bar_t){.on = isatty(STDERR_FILENO), .began_ns = s_now()};
}

/* "12.3 MiB" */
static void s_size(char *out, size_t room, double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    for (; bytes >= 1024 && u < 4; u++)
        bytes /= 1024;
    snprintf(out, room, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

static void s_draw(const gi_bar_t *self, const gate_progress_t *p) {
    char done[32], speed[32], bar[S_WIDTH + 1];
    double seconds = (double)(s_now() - self->began_ns) / 1e9;
    s_size(done, sizeof done, (double)p->done);
    s_size(speed, sizeof speed,
           (double)p->done / (seconds > 0 ? seconds : 1e-9));
    if (p->total == UINT64_MAX || !p->total) {
        fprintf(stderr, "\r%10s  %12s/s \033[K", done, speed);
        return;
    }
    double part = (double)p->done / (double)p->total;
    for (int i = 0; i < S_WIDTH; i++)
        bar[i] = i < (int)(part * S_WIDTH) ? '#' : '.';
    bar[S_WIDTH] = 0;
    fprintf(stderr, "\r[%s] %3.0f%%  %10s  %12s/s \033[K", bar, part * 100,
            done, speed);
}

void gi_bar_show(gi_bar_t *self, const gate_progress_t *p) {
    int64_t now = self->on ? s_now() : 0;
    if (!self->on || now - self->drawn_ns < S_EVERY_NS)
        return;
    self->drawn_ns = now;
    s_draw(self, p);
}

void gi_bar_end(gi_bar_t *self, const gate_progress_t *p) {
    if (!self->on || !self->drawn_ns)
        return; /* it was over before anybody could look */
    s_draw(self, p);
    fputc('\n', stderr);
}
