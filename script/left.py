# SPDX-License-Identifier: BSD-3-Clause
"""left.py [BEFORE]: what a run may leave on the machine, a line each: processes
of programs under this tree, our files in /dev/shm and /tmp/gate*, files that git
does not know. With BEFORE (an earlier list) only what is new and stays for
PATIENCE seconds, since others may test at the same time; exit code 1 if any."""
import glob
import os
import subprocess
import sys
import time

PATIENCE = 30
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def ancestors():
    """We and who started us."""
    pid, own = os.getpid(), set()
    while pid > 0 and pid not in own:
        own.add(pid)
        try:
            with open("/proc/%d/stat" % pid) as f:
                pid = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
    return own


def processes():
    for folder in glob.glob("/proc/[0-9]*"):
        pid = int(os.path.basename(folder))
        try:
            program = os.readlink(folder + "/exe")
            with open(folder + "/cmdline", "rb") as f:
                words = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended, or is another user's
        ours = [w for w in [program] + words if w.startswith(ROOT + os.sep)]
        if ours and pid not in OWN:
            yield "process %d: %s" % (pid, " ".join(words).strip()[:200])


def files():
    for name in glob.glob("/dev/shm/*") + glob.glob("/tmp/gate*"):
        try:
            if os.lstat(name).st_uid == os.getuid():
                yield "file " + name
        except OSError:
            pass  # gone again


def tree():
    if not os.path.isdir(os.path.join(ROOT, ".git")) and not os.path.isfile(
            os.path.join(ROOT, ".git")):
        return []
    done = subprocess.run(["git", "-c", "safe.directory=*", "status",
                           "--porcelain"], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return ["git: " + line for line in done.stdout.splitlines()]


def now():
    return sorted({*processes(), *files(), *tree()})


OWN = ancestors()
if len(sys.argv) < 2:
    print("\n".join(now()))
    sys.exit(0)
with open(sys.argv[1]) as before:
    known = set(before.read().splitlines())
end = time.monotonic() + PATIENCE
while new := [line for line in now() if line not in known]:
    if time.monotonic() > end:
        print("\n".join(new))
        sys.exit(1)
    time.sleep(1)
