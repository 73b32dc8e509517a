/* SPDX-License-Identifier: BSD-3-Clause */
/* waitpoint.h -- a mutex with one condition, for the rooms above pool; never held
 * while calling out. */
#ifndef GI_MONITOR_H
#define GI_MONITOR_H

#include "sync/clock.h"
#include "sync/wait.h"

typedef struct gi_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
} gi_monitor_t;

static inline void gi_monitor_init(gi_monitor_t *self) {
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->changed);
}
static inline void gi_monitor_fini(gi_monitor_t *self) {
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
}
static inline void gi_monitor_enter(gi_monitor_t *self) {
    pthread_mutex_lock(&self->mutex);
}
static inline void gi_monitor_leave(gi_monitor_t *self) {
    pthread_mutex_unlock(&self->mutex);
}
/* Inside: wakes whoever waits. */
static inline void gi_monitor_notify(gi_monitor_t *self) {
    pthread_cond_broadcast(&self->changed);
}
/* Inside: waits for a notify, at most timeout_ms (< 0: for ever). */
static inline void gi_monitor_wait(gi_monitor_t *self, int64_t timeout_ms) {
    (void)gi_wait_cond(&self->changed, &self->mutex,
                       gi_wait_deadline(timeout_ms));
}

#endif
