# SPDX-License-Identifier: BSD-3-Clause
"""examples/treehash.c: sums and digests of the process pool are right."""
import glob
import hashlib
import os
import subprocess
import sys

files = sorted(f for f in glob.glob("include/**", recursive=True)
               if os.path.isfile(f)) * 10
lines = words = size = 0
digests = hashlib.sha256()
for name in files:
    with open(name, "rb") as f:
        data = f.read()
    lines += data.count(b"\n")
    words += len(data.split())
    size += len(data)
    digests.update(hashlib.sha256(data).hexdigest().encode() + b"\n")
run = subprocess.run([sys.argv[1], "2"], text=True, stdout=subprocess.PIPE,
                     input="".join(f + "\0" for f in files), timeout=100)
assert run.returncode == 0, run
assert run.stdout == "%d %d %d %s\n" % (lines, words, size,
                                        digests.hexdigest()), run.stdout
