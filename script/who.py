# SPDX-License-Identifier: BSD-3-Clause
"""who.py FILE...     which tests cover a file of src: those of unit, fuzz and stress
                   that include its header, and those of api, wire, fault and cli
                   that run most of it (tests/covers.txt)
who.py --record    makes tests/covers.txt anew: builds the cov preset, runs these
                   tests one by one and asks gcov; a quarter of an hour"""
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "tests", "covers.txt")
BUILD = os.path.join(ROOT, "build", "cov")
MOST = 6  # tests a file
INCLUDE = re.compile(r'^\s*#\s*include\s+"(?:[^"]*/)?([^"/]+)\.h"', re.M)
HEAD = """# Which tests of api, wire, fault and cli run most of a file (gcov), most first:
# script/who.py --record. What gcov does not see (forked workers end by _exit) is
# written by hand, and stays.
"""


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as f:
        return f.read()


# ---- the answer ---------------------------------------------------------------
def table():
    """source -> tests"""
    if not os.path.exists(TABLE):
        return {}
    lines = [line for line in read("tests/covers.txt").split("\n")
             if line and not line.startswith("#")]
    return {line.partition(":")[0]: line.partition(":")[2].split()
            for line in lines}


def including():
    """A header's base name -> the tests whose files include it, by themselves or
    by a header that lies beside them, or bear its name."""
    found = {}
    for kind in ("unit", "fuzz", "stress"):
        for name in glob.glob(os.path.join(ROOT, "tests", kind, "**", "*.c"),
                              recursive=True):
            name = os.path.relpath(name, ROOT)
            headers = set(INCLUDE.findall(read(name)))
            headers.add(os.path.splitext(os.path.basename(name))[0])
            for h in list(headers):
                beside = os.path.join(os.path.dirname(name), h + ".h")
                if os.path.exists(os.path.join(ROOT, beside)):
                    headers |= set(INCLUDE.findall(read(beside)))
            for h in headers:
                found.setdefault(h, []).append(name)
    return found


def covers(source, by_include, by_run):
    """(those that include its header, those that run it)"""
    base = os.path.splitext(os.path.basename(source))[0]
    return sorted(by_include.get(base, [])), by_run.get(source, [])


def answer(names):
    by_include, by_run = including(), table()
    sources = [os.path.relpath(s, ROOT) for s in glob.glob(
        os.path.join(ROOT, "src", "**", "*.c"), recursive=True)]
    for name in names:
        wanted = [s for s in sources if name in (s, os.path.basename(s))
                  or s.endswith("/" + name)]
        if not wanted:
            sys.exit("who: %s: no such file below src" % name)
        for source in wanted:
            print(source)
            including_it, running_it = covers(source, by_include, by_run)
            for test in including_it:
                print("  includes it  " + test)
            for test in running_it:
                print("  runs it      " + test)
            if not including_it and not running_it:
                print("  (none that is known; script/test --who --record)")


# ---- the table ----------------------------------------------------------------
def run(*words, **more):
    subprocess.run(words, cwd=ROOT, check=True, **more)


def tests():
    listing = json.loads(subprocess.run(
        ["ctest", "--test-dir", BUILD, "--show-only=json-v1"], cwd=ROOT,
        check=True, stdout=subprocess.PIPE, text=True).stdout)
    for test in listing["tests"]:
        labels = [p["value"] for p in test.get("properties", ())
                  if p["name"] == "LABELS"]
        label = labels[0][0] if labels else ""
        if label in ("wire", "fault", "cli") or test["name"].startswith(
                ("api_", "bench_verbs", "bench_gate")):
            yield test["name"]


def lines_run(name):
    """Runs one test; source -> lines that it ran."""
    prefix = os.path.join(BUILD, "runs", name)
    shutil.rmtree(prefix, ignore_errors=True)
    subprocess.run(["ctest", "--test-dir", BUILD, "-R", "^%s$" % name], cwd=ROOT,
                   env={**os.environ, "GCOV_PREFIX": prefix},
                   stdout=subprocess.DEVNULL)
    found = {}
    data = glob.glob(prefix + "/**/*.gcda", recursive=True)
    for at in data:
        notes = at[len(prefix):-len("gcda")] + "gcno"
        if os.path.exists(notes):
            os.symlink(notes, at[:-len("gcda")] + "gcno")
    for i in range(0, len(data), 50):
        done = subprocess.run(["gcov", "--json-format", "--stdout",
                               *data[i:i + 50]], cwd=prefix, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in done.stdout.splitlines():
            for f in json.loads(line)["files"] if line.startswith("{") else ():
                source = os.path.relpath(os.path.normpath(
                    os.path.join(BUILD, f["file"])), ROOT)
                n = sum(1 for each in f["lines"] if each["count"])
                if source.startswith("src/") and source.endswith(".c") and n:
                    found[source] = max(n, found.get(source, 0))
    shutil.rmtree(prefix, ignore_errors=True)
    return found


def record():
    run("cmake", "--preset", "cov")
    programs = [os.path.basename(name)[:-2] for name in
                glob.glob(os.path.join(ROOT, "tests", "fault", "fault_*.c"))]
    programs += ["api_" + os.path.basename(name)[:-2] for name in
                 glob.glob(os.path.join(ROOT, "tests", "api", "*.c"))]
    run("cmake", "--build", "--preset", "cov", "--target", "gate", "gate_clock",
        "cli_fragile", *programs)
    old = table()
    best = {os.path.relpath(s, ROOT): [] for s in glob.glob(
        os.path.join(ROOT, "src", "**", "*.c"), recursive=True)}
    names = list(tests())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, found in zip(names, pool.map(lines_run, names)):
            print("%s: %d files" % (name, len(found)), flush=True)
            for source, n in found.items():
                best.setdefault(source, []).append((-n, name))
    with open(TABLE, "w") as f:
        f.write(HEAD)
        for source, all_ in sorted(best.items()):
            found = [name for _, name in sorted(all_)[:MOST]]
            f.write("%s: %s\n" % (source, " ".join(found or old.get(source, []))))


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        record()
    elif sys.argv[1:]:
        answer(sys.argv[1:])
    else:
        sys.exit(__doc__)
