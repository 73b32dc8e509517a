#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Echoes per second through two processes: ours, pipes, and Python's pools, in
one run.

    bench/procs_peers.py PATH/TO/bench_procs [size]

Prints a table and, as the last line, JSON: the figures and our ratios to each.
"""
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

LOADS = (("64x1", 64, 1), ("64x16", 64, 16), ("64x256", 64, 256),
         ("4096x256", 4096, 256), ("1Mx16", 1 << 20, 16))
WORKERS = 2


def echo(data):
    return data


def executor(pool, size, window, span):
    data, n, flying = bytes(size), 0, set()
    began = time.monotonic()
    while time.monotonic() - began < span or flying:
        while len(flying) < window and time.monotonic() - began < span:
            flying.add(pool.submit(echo, data))
            n += 1
        if flying:
            done, flying = wait(flying, return_when=FIRST_COMPLETED)
            assert all(len(f.result()) == size for f in done)
    return n / (time.monotonic() - began)


def mp_pool(pool, size, window, span):
    data, n = bytes(size), 0
    room = threading.Semaphore(window)
    began = time.monotonic()
    while time.monotonic() - began < span:
        room.acquire()
        pool.apply_async(echo, (data,), callback=lambda _: room.release())
        n += 1
    for _ in range(window):
        room.acquire()
    return n / (time.monotonic() - began)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    span = max(size * 0.02, 0.2)
    ours = json.loads(subprocess.run([sys.argv[1], str(size)], check=True,
                                     stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL).stdout)
    table = {}
    with ProcessPoolExecutor(WORKERS) as pool:
        executor(pool, 64, 2, 0.2)
        for name, n, window in LOADS:
            table[name] = dict(ours[name], executor=executor(pool, n, window,
                                                             span))
    with multiprocessing.Pool(WORKERS) as pool:
        mp_pool(pool, 64, 2, 0.2)
        for name, n, window in LOADS:
            table[name]["mp_pool"] = mp_pool(pool, n, window, span)
    columns = ("sink", "future", "pipes", "pipes_batched", "executor",
               "mp_pool")
    print("%-10s" % "echoes/s" + "".join("%15s" % c for c in columns))
    for name, row in table.items():
        print("%-10s" % name + "".join("%15.0f" % row[c] for c in columns))
    print("%-10s" % "sink /" + "".join("%15s" % c for c in columns[2:]))
    for name, row in table.items():
        row["ratios"] = {c: round(row["sink"] / row[c], 2)
                         for c in columns[2:]}
        print("%-10s" % name + "".join("%15.1f" % row["ratios"][c]
                                       for c in columns[2:]))
    print(json.dumps({"loads": table, "birth_us": ours["birth_us"]}))


if __name__ == "__main__":
    main()
