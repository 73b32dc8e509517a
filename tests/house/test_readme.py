# SPDX-License-Identifier: BSD-3-Clause
"""The README's first example does what it says: its C service is built, its
Python caller calls it through a broker of the command."""
import os
import re
import subprocess
import sys
import tempfile

from house import BUILD, GATE, ROOT, read

blocks = re.findall(r"```(\w+)\n(.*?)```", read("README.md"), re.S)
service = next(text for kind, text in blocks if kind == "c")
caller = next(text for kind, text in blocks if kind == "python")


def main(folder):
    front, back = ("ipc://%s/%s" % (folder, x) for x in "fb")
    with open(os.path.join(folder, "math.c"), "w") as f:
        f.write(service.replace("tcp://127.0.0.1:5556", back))
    program = os.path.join(folder, "math")
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, program + ".c",
                    "-I", os.path.join(ROOT, "include"), "-L", BUILD,
                    "-Wl,-rpath," + BUILD, "-lgaterpc", "-lmsgpackc"],
                   check=True)
    started = [subprocess.Popen([GATE, "broker", "--frontend", front,
                                 "--backend", back],
                                stdout=subprocess.PIPE, text=True)]
    try:
        assert started[0].stdout.readline().startswith("ready ")
        started.append(subprocess.Popen([program]))
        for _ in range(100):  # until it has registered
            names = subprocess.run([GATE, "services", "--broker", front],
                                   stdout=subprocess.PIPE, text=True).stdout
            if "Math\n" in names:
                break
        out = subprocess.run([sys.executable, "-c", caller.replace(
            "tcp://127.0.0.1:5555", front)], stdout=subprocess.PIPE,
            text=True, timeout=20, check=True).stdout
        assert out == "{'result': 5, 'exception': None}\n", out
    finally:
        for process in reversed(started):
            process.terminate()
            assert process.wait(20) == 0


with tempfile.TemporaryDirectory() as d:
    main(d)
