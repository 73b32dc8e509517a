/* SPDX-License-Identifier: BSD-3-Clause */
/* spare.c -- one pointer that is exchanged. */
#include "memory/spare.h"
#include <malloc.h>
#include <stdatomic.h>
#include "base/mem.h"
#include "memory/pages.h"

static _Atomic(void *) s_spare;

void *gi_spare_take(size_t size, size_t *room) {
    void *data = size >= GI_SPARE_MIN && size <= GI_SPARE_MAX
                     ? atomic_exchange(&s_spare, NULL)
                     : NULL;
    *room = malloc_usable_size(data);
    if (data && *room >= size && !gi_mem_refused())
        return data;
    gi_mem_free(data);
    data = gi_mem_alloc(size);
    *room = size;
    if (data)
        gi_pages_large(data, size);
    return data;
}

void gi_spare_give(void *data) {
    size_t room = malloc_usable_size(data);
    if (room >= GI_SPARE_MIN && room <= GI_SPARE_MAX) {
        gi_pages_lazy(data, room);
        data = atomic_exchange(&s_spare, data);
    }
    gi_mem_free(data);
}
