#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Jobs that use CPU, per second on two processes: ours by gate_submit, by
gate_pool_map and as methods over ipc, a prefork pool over pipes, and Python's
pools, in one run.

    bench/jobs_peers.py PATH/TO/bench_jobs [size]

Prints a table and, as the last line, JSON. Efficiency is the rate, divided by
the workers and by what one process alone does; Python's jobs are Python, and
held against Python's own serial rate.
"""
import json
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from procs_peers import executor, mp_pool

WORKERS = 2
WAYS = ("submit", "map", "method", "pipes", "executor", "mp_pool")


def job(n):
    total = 0
    for i in range(n):
        total += i
    return total & 1


def calibrate(us):
    n, best = 100000, 1e9
    for _ in range(20):
        began = time.perf_counter()
        job(n)
        best = min(best, time.perf_counter() - began)
    return int(us * 1e-6 * n / best)


def serial(n, span):
    jobs, began = 0, time.monotonic()
    while time.monotonic() - began < span:
        job(n)
        jobs += 1
    return jobs / (time.monotonic() - began)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    table = json.loads(subprocess.run([sys.argv[1], str(size)], check=True,
                                      stdout=subprocess.PIPE).stdout)["jobs"]
    with ProcessPoolExecutor(WORKERS) as ppe, \
            multiprocessing.Pool(WORKERS) as mp:
        executor(ppe, job, 0, 2, 0.2)
        mp_pool(mp, job, 0, 2, 0.2)
        for length, row in table.items():
            us = int(length[:-2])
            n, span = calibrate(us), max(size * 0.02, 0.2, us * 8e-6)
            window = 64 if us < 10000 else 2 * WORKERS
            alone = us and serial(n, span / 4)
            row["executor"] = executor(ppe, job, n, window, span)
            row["mp_pool"] = mp_pool(mp, job, n, window, span)
            row["efficiency"] = {
                way: round(row[way] / WORKERS / (
                    alone if way in ("executor", "mp_pool")
                    else row["serial"]), 3) for way in WAYS} if us else {}
    print("%-10s" % "jobs/s" + "".join("%18s" % w for w in WAYS))
    for length, row in table.items():
        print("%-10s" % length + "".join(
            "%18s" % ("%.0f%s" % (row[w], " (%.2f)" % row["efficiency"][w]
                                  if row["efficiency"] else ""))
            for w in WAYS))
    print(json.dumps({"workers": WORKERS, "jobs": table}))


if __name__ == "__main__":
    main()
