/* SPDX-License-Identifier: BSD-3-Clause */
/* tags.h -- the wire's constants (docs/wire.md, constants). */
#ifndef GI_TAGS_H
#define GI_TAGS_H

#define GI_MDP_CLIENT "MDPC01"
#define GI_MDP_WORKER "MDPW01"
#define GI_MDP_TAG_SIZE 6
#define GI_STREAM_TAG "GateStreamGenerator"
#define GI_STREAM_END "GateStreamEnd"
#define GI_STREAM_EXCEPTION "GateStreamException"
#define GI_HUGE_TAG \
    "GateStreamHugData" /* sic: one e short, as the peers have it */
#define GI_HUGE_END "HugeDataEND"
#define GI_HUGE_EXCEPTION "HugeDataException"
#define GI_ZAP_PLAIN "PLAIN"
#define GI_ID_SIZE 16

/* Worker commands, one byte each. EXT is ours (docs/extensions.md): only
 * between peers that announced it. */
enum {
    GI_MDP_READY = 1,
    GI_MDP_REQUEST = 2,
    GI_MDP_REPLY = 3,
    GI_MDP_HEARTBEAT = 4,
    GI_MDP_DISCONNECT = 5,
    GI_MDP_EXT = 6
};

#endif
