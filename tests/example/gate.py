# SPDX-License-Identifier: BSD-3-Clause
"""A broker and services of the command under test, in a directory of their
own, ended by pid."""
import os
import subprocess
import tempfile

GATE = os.environ["GATE_COMMAND"]


class Gate:
    """with Gate("--demo") as gate: gate.call("Demo.add", "2", "3")"""

    def __init__(self, *serve):
        self.serve = serve
        self.started = []

    def _start(self, *args):
        process = subprocess.Popen([GATE, *args], stdout=subprocess.PIPE,
                                   text=True)
        self.started.append(process)
        line = process.stdout.readline()
        assert line.startswith("ready "), (args, line)
        return line

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory()
        self.frontend = "ipc://%s/f" % self.dir.name
        backend = "ipc://%s/b" % self.dir.name
        try:
            self._start("broker", "--frontend", self.frontend,
                        "--backend", backend)
            self.ready = self._start("serve", "--backend", backend,
                                     *self.serve)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        codes = []
        for process in reversed(self.started):
            process.terminate()
            try:
                codes.append(process.wait(60))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append("hung")
        self.dir.cleanup()
        assert not any(codes), codes

    def call(self, *args):
        return subprocess.run(
            [GATE, "call", "--broker", self.frontend, *args], timeout=60,
            stdout=subprocess.PIPE, text=True, check=True).stdout
