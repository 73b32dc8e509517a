#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Echoes per second through two processes: ours, pipes, Boost's message_queue
(if it was built) and Python's pools, in one run.

    bench/procs_peers.py PATH/TO/bench_procs [size]

Prints a table and, as the last line, JSON: the figures and our ratios to each.
"""
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

OURS = ("sink", "future", "queue", "zero_copy")
PEERS = ("pipes", "pipes_batched", "boost", "executor", "mp_pool")
LOADS = (("64x1", 64, 1), ("64x16", 64, 16), ("64x256", 64, 256),
         ("4096x256", 4096, 256), ("1Mx16", 1 << 20, 16),
         ("64Mx2", 64 << 20, 2))
WORKERS = 2


def echo(data):
    return data


def executor(pool, fn, arg, window, span):
    """Calls per second of fn(arg), so many under way."""
    n, flying = 0, set()
    began = time.monotonic()
    while time.monotonic() - began < span or flying:
        while len(flying) < window and time.monotonic() - began < span:
            flying.add(pool.submit(fn, arg))
            n += 1
        if flying:
            done, flying = wait(flying, return_when=FIRST_COMPLETED)
            for f in done:
                f.result()
    return n / (time.monotonic() - began)


def mp_pool(pool, fn, arg, window, span):
    n = 0
    room = threading.Semaphore(window)
    began = time.monotonic()
    while time.monotonic() - began < span:
        room.acquire()
        pool.apply_async(fn, (arg,), callback=lambda _: room.release())
        n += 1
    for _ in range(window):
        room.acquire()
    return n / (time.monotonic() - began)


def boost(path, size):
    """Figures of bench_procs_boost, where it was built beside bench_procs."""
    path = os.path.join(os.path.dirname(path) or ".", "bench_procs_boost")
    if not os.access(path, os.X_OK):
        return {}
    return json.loads(subprocess.run([path, str(size)], check=True,
                                     stdout=subprocess.PIPE).stdout)


def show(head, columns, rows):
    print("%-10s" % head + "".join("%14s" % c for c in columns))
    for name, row in rows:
        print("%-10s" % name + "".join(
            "%14s" % ("-" if row.get(c) is None else "%.*f" % (
                0 if row[c] >= 100 else 1, row[c])) for c in columns))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    span = max(size * 0.02, 0.2)
    ours = json.loads(subprocess.run([sys.argv[1], str(size)], check=True,
                                     stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL).stdout)
    table = {name: ours[name] for name, _, _ in LOADS}
    for name, rate in boost(sys.argv[1], size).items():
        table[name]["boost"] = rate
    with ProcessPoolExecutor(WORKERS) as pool:
        executor(pool, echo, bytes(64), 2, 0.2)
        for name, n, window in LOADS:
            table[name]["executor"] = executor(pool, echo, bytes(n), window,
                                               span)
    with multiprocessing.Pool(WORKERS) as pool:
        mp_pool(pool, echo, bytes(64), 2, 0.2)
        for name, n, window in LOADS:
            table[name]["mp_pool"] = mp_pool(pool, echo, bytes(n), window, span)
    for row in table.values():
        for kind in OURS:
            row["ratios_" + kind] = {p: round(row[kind] / row[p], 2)
                                     for p in PEERS if row.get(p)}
    show("echoes/s", OURS + PEERS, table.items())
    for kind in OURS:
        show(kind + " /", PEERS, [(name, row["ratios_" + kind])
                                  for name, row in table.items()])
    print(json.dumps({"loads": table, "birth_us": ours["birth_us"],
                      "spin": ours["spin"]}))


if __name__ == "__main__":
    main()
