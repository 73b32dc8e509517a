/* SPDX-License-Identifier: BSD-3-Clause */
/* map_room.c -- a map whose pool others have filled, with nothing of its own
 * under way whose end could wake it: a thread waits for room. */
#include <time.h>

#include "jobs/map.h"
#include "sync/later.h"

#define S_ROOM_MS 100

/* False: not yet, look again. */
static bool s_has_room(gi_map_t *self) {
    static const struct timespec pause = {.tv_nsec = 5000000};
    gate_pool_t *pool = gi_pool_enter(self->pool);
    gate_err_t e = GATE_OK;

    if (!pool)
        return true; /* the next submission says so */
    if (pool->ops->room)
        e = pool->ops->room(pool, S_ROOM_MS);
    gi_pool_leave(self->pool);
    if (!pool->ops->room)
        nanosleep(&pause, NULL);
    return e != GATE_TIMEOUT;
}

static bool s_is_over(gi_map_t *self) {
    bool over;

    pthread_mutex_lock(&self->mutex);
    over = self->over;
    pthread_mutex_unlock(&self->mutex);
    return over;
}

static void s_room_thread(void *map) {
    gi_map_t *self = map;

    while (!s_is_over(self) && !s_has_room(self))
        ;
    pthread_mutex_lock(&self->mutex);
    self->waiting = false;
    pthread_mutex_unlock(&self->mutex);
    gi_map_run(self, false);
    gi_map_drop(self);
}

void gi_map_room_wait(gi_map_t *self) {
    gi_ref_take(&self->ref);
    if (gi_later(s_room_thread, self))
        return;
    pthread_mutex_lock(&self->mutex);
    self->waiting = false;
    gi_map_run_fail(self, self->redo ? self->redo->index : self->pushed,
                    gate_error());
    pthread_mutex_unlock(&self->mutex);
    gi_map_drop(self);
}
