/* SPDX-License-Identifier: BSD-3-Clause */
/* crumbs.h -- whether bytes from the middle of a ZMTP stream are a message in
 * crumbs: frame after frame with MORE, more of them than any message may have.
 * libzmq keeps 64 bytes of each until the last has come, and a frame of none is
 * two on the wire. Pure. */
#ifndef GI_CRUMBS_H
#define GI_CRUMBS_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes may begin anywhere in a frame of up to 255. */
bool gi_crumbs(const void *data, size_t size);

#endif
