# SPDX-License-Identifier: BSD-3-Clause
"""Instructions of one call through client, broker and service, by callgrind: a
slowdown is noticed without timing anything. Counts are divided by those of raw
ZeroMQ frames in the same run and held against the baseline of this libc; 3 %
more fails. A change that is worth its price records a new baseline:

    script/bench --instructions
"""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINES = os.path.join(HERE, "instructions.json")
BUILD = os.environ.get("GATE_BUILD", "build/release")
PROGRAM = os.path.join(BUILD, "bench_instructions")
# Two numbers of calls each: what one costs is the difference of the counts.
CALLS = {"reference": (200, 1200), "registry": (1000, 17000),
         "inproc": (500, 3500), "lane": (500, 3500),
         "thread": (1000, 9000), "thread-job": (1000, 17000),
         "process": (1000, 9000), "process-job": (1000, 9000)}
TOLERANCE = 0.03


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def count(mode, calls):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file="
             + os.path.join(folder, "out.%p"), PROGRAM, str(calls), mode],
            env=dict(os.environ, BENCH_COUNTED="1"), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=120)
    found = re.findall(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit("%s does not run: %s%s" % (mode, done.stdout, done.stderr))
    return sum(map(int, found))  # one of each process


def per_call(mode, rounds):
    """The least of some rounds: threads that wait cost more, never less."""
    few, many = CALLS[mode]
    least = [min(count(mode, n) for _ in range(rounds)) for n in (few, many)]
    return (least[1] - least[0]) / (many - few)


def measure(rounds):
    cost = {mode: per_call(mode, 1 if mode == "reference" else rounds)
            for mode in CALLS}
    return {mode: round(n, 1) for mode, n in cost.items()}


def check(now, base):
    """The modes that became dearer."""
    worse = []
    for mode in sorted(set(base) - {"reference"}):
        change = (now[mode] / now["reference"]) / (
            base[mode] / base["reference"]) - 1
        print("%s: %.0f instructions a call, %+.1f %% of the baseline's %.0f "
              "after scaling" % (mode, now[mode], 100 * change, base[mode]))
        if change > TOLERANCE:
            worse.append(mode)
        elif change < -TOLERANCE:
            print("%s is cheaper than its baseline: record it" % mode)
    return worse


def main():
    if not shutil.which("valgrind"):
        skip("valgrind is not installed")
    if not os.path.exists(PROGRAM):
        skip(PROGRAM + " is not built")
    with open(os.path.join(BUILD, "CMakeCache.txt")) as f:
        cache = f.read()
    if "CMAKE_BUILD_TYPE:STRING=Release" not in cache or re.search(
            r"^GATE_SANITIZE:STRING=.", cache, re.M):
        skip("the baselines are those of a release build")
    key = "-".join(platform.libc_ver()) + "-" + platform.machine()
    baselines = {}
    if os.path.exists(BASELINES):
        with open(BASELINES) as f:
            baselines = json.load(f)
    if sys.argv[1:] == ["--record"]:
        baselines[key] = measure(3)
        with open(BASELINES, "w") as f:
            json.dump(baselines, f, indent=1, sort_keys=True)
            f.write("\n")
        print(key, baselines[key])
        return
    if key not in baselines:
        skip("no baseline for %s; --record makes one" % key)
    worse = check(measure(1), baselines[key])
    if worse:
        print("once more, the least of three:")
        worse = check(measure(3), baselines[key])
    sys.exit("dearer by more than %d %%: %s" % (100 * TOLERANCE, worse)
             if worse else 0)


main()
