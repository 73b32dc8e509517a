/* SPDX-License-Identifier: BSD-3-Clause */
/* version.c -- the version of the library that is linked. */
#include <gaterpc/base.h>

const char *gate_version(void) { return GATE_VERSION; }
