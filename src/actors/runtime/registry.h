/* SPDX-License-Identifier: BSD-3-Clause */
/* registry.h -- what lives in one runtime: services by name, and which endpoint
 * belongs to which broker of the runtime. So a call may skip the sockets.
 * Thread: any. */
#ifndef GI_REGISTRY_H
#define GI_REGISTRY_H

#include <gaterpc/service.h>
#include "base/buf.h"

typedef struct gi_registry gi_registry_t;
gi_registry_t *gi_registry_new(void); /* NULL: no memory */
void gi_registry_destroy(gi_registry_t **self_p);
gi_registry_t *gi_runtime_registry(gate_runtime_t *rt);

/* A broker's endpoints; owner is any pointer that names the broker. */
gate_err_t gi_registry_endpoint(gi_registry_t *self, const char *endpoint,
                                const void *owner) GATE_MUST;
/* Takes out all endpoints of owner. */
void gi_registry_endpoints_gone(gi_registry_t *self, const void *owner);
/* Whose endpoint it is; NULL: nobody's here. */
const void *gi_registry_owner(gi_registry_t *self, const char *endpoint);

/* Services; the registry shares none: gone must come before they die. */
typedef struct gi_registered {
    gate_service_t *service;
    const char *name;   /* copied */
    const void *broker; /* that it is attached to; NULL: none */
    gate_service_t *(*share)(gate_service_t *service);
} gi_registered_t;
gate_err_t gi_registry_service(gi_registry_t *self,
                               const gi_registered_t *what) GATE_MUST;
void gi_registry_service_gone(gi_registry_t *self, gate_service_t *service);
/* The first service of that name that is attached to broker (NULL: to none),
 * shared (gi_service_release it); NULL: none. */
gate_service_t *gi_registry_find(gi_registry_t *self, gate_bytes_t name,
                                 const void *broker);
/* The names of those attached to broker (NULL: to none), packed as a msgpack
 * array of str, in order of registration. False: no memory. */
bool gi_registry_names(gi_registry_t *self, const void *broker, gi_buf_t *out);
/* Changes whenever anything was added or taken out. */
uint64_t gi_registry_version(const gi_registry_t *self);

#endif
