/* SPDX-License-Identifier: BSD-3-Clause */
/* gaterpc.h -- gate-rpc in C: everything a program may use. One header a
 * class; include this one, or only those you need.
 *
 * Life       new / destroy(&x); destroy is idempotent and sets NULL.
 * Setters    return nothing: their first error sticks and comes out of start.
 * Ownership  each pointer is one of: borrows (until return; the default) |
 *            keeps (until destroy) | takes (T **, nulled) | gives (you destroy
 *            or free it) | shares (reference counted).
 * Threads    every object may be used from any thread unless its header says
 *            otherwise. Nothing here may be used in a child made by fork(). */
#ifndef GATERPC_H
#define GATERPC_H

#include <gaterpc/base.h>
#include <gaterpc/error.h>
#include <gaterpc/value.h>
#include <gaterpc/settings.h>
#include <gaterpc/log.h>
#include <gaterpc/runtime.h>
#include <gaterpc/future.h>
#include <gaterpc/stream.h>
#include <gaterpc/dict.h>
#include <gaterpc/queue.h>
#include <gaterpc/pool.h>
#include <gaterpc/shared.h>
#include <gaterpc/call.h>
#include <gaterpc/huge.h>
#include <gaterpc/trace.h>
#include <gaterpc/service.h>
#include <gaterpc/supervisor.h>
#include <gaterpc/broker.h>
#include <gaterpc/monitor.h>
#include <gaterpc/client.h>
#include <gaterpc/zap.h>
#include <gaterpc/curve.h>
#include <gaterpc/password.h>
#include <gaterpc/foreign.h>

#endif
