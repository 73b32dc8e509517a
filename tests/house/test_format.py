# SPDX-License-Identifier: BSD-3-Clause
"""clang-format decides; script/format does what it says."""
import re
import shutil
import subprocess

from house import ROOT, files, skip, verdict

tool = shutil.which("clang-format-14")
if not tool:
    skip("no clang-format-14")
found = subprocess.run([tool, "--dry-run", *files(".c", ".h")], cwd=ROOT,
                       text=True, check=True, stderr=subprocess.PIPE).stderr
names = re.findall(r"^(\S+?):\d+:\d+: warning", found, re.M)
verdict(["%s: %d places; run script/format" % (n, names.count(n))
         for n in sorted(set(names))])
