/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_link_core.c -- two halves of a link over a carrier that does whatever the
 * input says, then is well again: link_world.h has what must hold. */
#include "../kit/link_world.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static w_world_t world;
    if (size < 2)
        return 0;
    w_init(&world, (uint64_t)data[0] + 1);
    for (size_t i = 1; i + 1 < size && i < 400; i += 2)
        w_step(&world, data[i], data[i + 1]);
    w_heal(&world);
    w_fini(&world);
    return 0;
}
