/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.c -- sd_notify's protocol is its documented interface: a datagram of
 * lines, to a path or, behind '@', an abstract name. */
#include "runtime/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <gaterpc/log.h>

#define S_PART "runtime"
#define S_TEXT_MAX 256

/* Bytes of the address; 0: there is none that we know. */
static socklen_t s_address(struct sockaddr_un *at) {
    const char *name = getenv("NOTIFY_SOCKET");
    size_t n = name ? strlen(name) : 0;
    if (n < 2 || n >= sizeof at->sun_path || (name[0] != '/' && name[0] != '@'))
        return 0;
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(at->sun_path, name, n);
    if (name[0] == '@')
        at->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

bool gi_notify(const char *format, ...) {
    char text[S_TEXT_MAX];
    struct sockaddr_un at;
    socklen_t size = s_address(&at);
    va_list args;
    if (size == 0)
        return false;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool told =
        n > 0 && n < (int)sizeof text &&
        sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (void *)&at, size) == n;
    close(fd);
    return told;
}

/* A watchdog's variables may be another process's, whose child we are. */
static int64_t s_watchdog_ms(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    int64_t us = strtoll(usec, NULL, 10);
    return us > 0 ? us / 1000 : 0;
}

void gi_notify_begin(gi_notify_watch_t *self, int64_t now_ms) {
    int64_t all_ms = s_watchdog_ms();
    *self = (gi_notify_watch_t){.every_ms = all_ms > 3 ? all_ms / 3 : all_ms,
                                .next_ms = now_ms};
    gi_notify("READY=1");
}

bool gi_notify_due(const gi_notify_watch_t *self, int64_t now_ms) {
    return self->every_ms > 0 && now_ms >= self->next_ms;
}

void gi_notify_alive(gi_notify_watch_t *self, bool stuck, int64_t now_ms) {
    if (stuck && !self->missed)
        gate_log(GATE_ERROR, S_PART,
                 "an actor has been busy with one thing for %lld ms: the "
                 "watchdog is not told that we live",
                 (long long)self->every_ms);
    self->missed = stuck;
    if (!stuck)
        gi_notify("WATCHDOG=1");
    self->next_ms = now_ms + self->every_ms;
}

void gi_notify_reloading(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    gi_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
              (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void gi_notify_reloaded(void) { gi_notify("READY=1"); }

void gi_notify_stopping(int64_t most_ms) {
    gi_notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld",
              ((long long)most_ms + 1000) * 1000);
}
