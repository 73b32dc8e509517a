# SPDX-License-Identifier: BSD-3-Clause
"""examples/wordcount.c: its sums are wc's."""
import glob
import os
import subprocess
import sys

from gate import Gate

files = sorted(f for f in glob.glob("include/**", recursive=True)
               if os.path.isfile(f))
files = [os.path.abspath(f) for f in files] * 20
lines = words = size = 0
for name in files:
    with open(name, "rb") as f:
        data = f.read()
    lines += data.count(b"\n")
    words += len(data.split())
    size += len(data)

with Gate("--demo") as gate:
    run = subprocess.run([sys.argv[1], gate.frontend, "Demo.wc", "50"],
                         input="".join(f + "\0" for f in files), text=True,
                         stdout=subprocess.PIPE, timeout=100)
    assert run.returncode == 0, run
    assert run.stdout == "%d %d %d\n" % (lines, words, size), run.stdout
    # A file that is not there fails its own call alone.
    run = subprocess.run([sys.argv[1], gate.frontend, "Demo.wc", "50"],
                         input="/nonexistent\0" + files[0] + "\0", text=True,
                         stdout=subprocess.PIPE, timeout=100)
    assert run.returncode == 1 and not run.stdout.startswith("0 "), run
