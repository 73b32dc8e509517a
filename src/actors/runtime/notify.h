/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.h -- what the service manager is told (sd_notify(3)): one datagram to
 * NOTIFY_SOCKET. Without that, or when nobody takes it, nothing happens.
 * Thread: the one in gate_runtime_wait; gi_notify any. */
#ifndef GI_NOTIFY_H
#define GI_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Lines of VARIABLE=value. False: nobody was told. */
bool gi_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For all of gate_runtime_wait. */
typedef struct gi_notify_watch {
    int64_t every_ms; /* 0: no watchdog */
    int64_t next_ms;
    bool missed; /* an actor did not answer, and that is in the log */
} gi_notify_watch_t;

/* Says that we are ready. */
void gi_notify_begin(gi_notify_watch_t *self, int64_t now_ms);
/* The watchdog is to be told now. */
bool gi_notify_due(const gi_notify_watch_t *self, int64_t now_ms);
/* It is told, unless an actor has been in one pass of its loop since the last
 * time. */
void gi_notify_alive(gi_notify_watch_t *self, bool stuck, int64_t now_ms);
/* Around gate_runtime_reload, with the time systemd asks for. */
void gi_notify_reloading(void);
void gi_notify_reloaded(void);
/* Draining begins, and may last so long. */
void gi_notify_stopping(int64_t most_ms);

#endif
