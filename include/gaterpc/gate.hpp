/* SPDX-License-Identifier: BSD-3-Clause */
/* gate.hpp -- the C++17 face of gaterpc: header only, over the functions of
 * gaterpc.h, each of which can be used beside it (every class gives its C
 * object by c()).
 *
 *     gate::runtime rt;
 *     gate::client client(rt, "tcp://127.0.0.1:5555");
 *     int sum = client.call<int>("Math.add", 2, 3);
 *
 *     gate::service math(rt, "Math");
 *     math.method("add", [](int a, int b) { return a + b; });
 *     math.start("tcp://127.0.0.1:5556");
 *
 * Life       constructors make, destructors destroy; objects are moved, never
 *            copied.
 * Errors     are thrown as gate::error: code, class, text, remote traceback.
 *            What a handler throws is the caller's exception.
 * Threads    as in the C headers. */
#ifndef GATERPC_GATE_HPP
#define GATERPC_GATE_HPP

#include <gaterpc/cpp/value.hpp>
#include <gaterpc/cpp/client.hpp>
#include <gaterpc/cpp/service.hpp>

#endif
