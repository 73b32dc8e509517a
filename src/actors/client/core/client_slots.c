/* SPDX-License-Identifier: BSD-3-Clause */
/* client_slots.c -- which call an answer is for. Request ids are 8 random bytes,
 * a slot and a generation: the answer finds its call by index, and an answer to
 * an earlier user of the slot does not. */
#include "client/core/client_state.h"

#include <string.h>
#include "base/mem.h"

#define S_OWN 16 /* questions of the core itself */

bool gi_client_slots_init(gi_client_core_t *self) {
    gi_ctable_t *t = &self->table;
    t->n_slots = (unsigned)self->is.settings->message_max + S_OWN;
    t->free_slot = t->n_slots;
    t->slots = gi_mem_alloc(t->n_slots * sizeof *t->slots);
    return t->slots != NULL;
}

/* One that was used, or the next of the others. NULL: all are taken. */
static gi_cslot_t *s_free_slot(gi_ctable_t *t) {
    gi_cslot_t *slot = &t->slots[t->free_slot];
    if (t->free_slot < t->n_slots) {
        t->free_slot = slot->next_free;
        return slot;
    }
    if (t->n_used == t->n_slots)
        return NULL;
    slot = &t->slots[t->n_used++];
    slot->generation = 0;
    return slot;
}

bool gi_client_slots_take(gi_client_core_t *self, gi_ccall_t *call) {
    gi_ctable_t *t = &self->table;
    gi_cslot_t *slot = s_free_slot(t);
    if (!slot)
        return false;
    uint32_t number = call->slot = (unsigned)(slot - t->slots);
    slot->call = call;
    slot->generation++;
    memcpy(call->id, t->id_prefix, 8);
    memcpy(call->id + 8, &number, 4);
    memcpy(call->id + 12, &slot->generation, 4);
    return true;
}

void gi_client_slots_give(gi_client_core_t *self, unsigned i) {
    gi_ctable_t *t = &self->table;
    t->slots[i].call = NULL;
    t->slots[i].next_free = t->free_slot;
    t->free_slot = i;
}

bool gi_client_slots_is_ours(const gi_client_core_t *self, gate_bytes_t id) {
    return id.size == GI_ID_SIZE &&
           memcmp(id.data, self->table.id_prefix, 8) == 0;
}

gi_ccall_t *gi_client_slots_find(const gi_client_core_t *self,
                                 gate_bytes_t id) {
    const gi_ctable_t *t = &self->table;
    uint32_t i;
    if (!gi_client_slots_is_ours(self, id))
        return NULL;
    memcpy(&i, (const char *)id.data + 8, 4);
    gi_ccall_t *call = i < t->n_used ? t->slots[i].call : NULL;
    return call && memcmp(call->id, id.data, GI_ID_SIZE) == 0 ? call : NULL;
}
