/* SPDX-License-Identifier: BSD-3-Clause */
/* lock.h -- a mutex for the rooms above pool; never held while calling out. */
#ifndef GI_LOCK_H
#define GI_LOCK_H

#include <pthread.h>

typedef struct gi_lock {
    pthread_mutex_t mutex;
} gi_lock_t;

static inline void gi_lock_init(gi_lock_t *self) {
    pthread_mutex_init(&self->mutex, NULL);
}
static inline void gi_lock_fini(gi_lock_t *self) {
    pthread_mutex_destroy(&self->mutex);
}
static inline void gi_lock(gi_lock_t *self) {
    pthread_mutex_lock(&self->mutex);
}
static inline void gi_unlock(gi_lock_t *self) {
    pthread_mutex_unlock(&self->mutex);
}

#endif
