# SPDX-License-Identifier: BSD-3-Clause
"""What the house tests share: the files of the project, and skipping."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("GATE_BUILD", os.path.join(ROOT, "build", "debug"))
GATE = os.environ.get("GATE_COMMAND", os.path.join(BUILD, "gate"))


def skip(reason):
    print("skipped: " + reason)
    sys.exit(77)


def files(*suffixes, under=""):
    """The project's own files, relative: what git tracks or would track, or
    all of a tree without git but not its build directories."""
    try:
        names = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-co",
             "--exclude-standard"], cwd=ROOT, text=True, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, found in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", ".git")]
            names += [os.path.relpath(os.path.join(folder, f), ROOT)
                      for f in found]
    return sorted(n for n in names if n.startswith(under)
                  and n.endswith(suffixes or "")
                  and os.path.isfile(os.path.join(ROOT, n)))


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8",
              errors="replace") as f:
        return f.read()


def verdict(problems):
    """Prints them; exit code 1 if there are any."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
