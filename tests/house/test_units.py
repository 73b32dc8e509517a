# SPDX-License-Identifier: BSD-3-Clause
"""The units for systemd: known options alone, little exposure, and every file
they name is one that the packages bring. What systemd-analyze would say is left
out where there is none."""
import glob
import os
import re
import shutil
import subprocess
import sys

from house import ROOT, read, verdict

MOST = 2.0


def exposure(path):
    out = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", path], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", out.stdout)
    return float(found.group(1)) if found else None


problems, units = [], sorted(glob.glob(os.path.join(ROOT, "units", "*.service")))
installed = read("debian/gaterpc-tools.install")
for unit in units:
    name = os.path.basename(unit)
    text = read(os.path.join("units", name))
    for conf in re.findall(r"--config /etc/gate/(\S+)", text):
        if not os.path.isfile(os.path.join(ROOT, "units", "conf", conf)):
            problems.append("%s: no units/conf/%s" % (name, conf))
    for line in ("Type=notify", "WatchdogSec=", "ExecReload=/bin/kill -HUP"):
        if "\n" + line not in text:
            problems.append("%s: no %s" % (name, line))
    if name not in read("docs/systemd.md"):
        problems.append("%s: not in docs/systemd.md" % name)
if len(units) < 3 or "units/*.service" not in installed:
    problems.append("units are missing")
if shutil.which("systemd-analyze"):
    for unit in units:
        level = exposure(unit)
        if level is None or level > MOST:
            problems.append("%s: exposure %s, at most %s" % (unit, level, MOST))
else:
    print("no systemd-analyze here: exposure is not looked at")
verdict(problems)
