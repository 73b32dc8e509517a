/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor.h -- what a broker sees: calls by outcome, class of error and method,
 * with histograms of their times; as a value, and as text for Prometheus. A
 * program with an HTTP server of its own serves /metrics with it in five lines;
 * gate broker --monitor does. Names, units and bounds: docs/observe.md.
 * Thread: any. */
#ifndef GATERPC_MONITOR_H
#define GATERPC_MONITOR_H

#include <gaterpc/broker.h>

GATE_BEGIN_DECLS

/* Gives: what Gate.observe tells: {broker: {...}, services: [...]}. Blocks until
 * the broker's actor answers. NULL with gate_error() set: it does not run, or no
 * memory. */
GATE_API gate_value_t *gate_monitor_snapshot(gate_broker_t *broker);
/* Takes size bytes of text; anything but GATE_OK ends the writing. */
typedef gate_err_t gate_write_fn(void *ctx, const char *text, size_t size);
/* Writes a snapshot (of gate_monitor_snapshot, or the answer of Gate.observe) in
 * the text format 0.0.4 of Prometheus, or as OpenMetrics 1.0. GATE_BADARG: it is
 * none; else what write returned. */
GATE_API gate_err_t gate_monitor_metrics(const gate_value_t *snapshot,
                                         bool openmetrics, gate_write_fn *write,
                                         void *ctx) GATE_MUST;

GATE_END_DECLS

#endif
