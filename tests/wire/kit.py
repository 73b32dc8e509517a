# SPDX-License-Identifier: BSD-3-Clause
"""Starts the command under test and ends it again: by pid, never by name."""
import ctypes
import os
import pty
import queue
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GATE = os.environ.get("GATE_COMMAND",
                      os.path.join(ROOT, "build", "debug", "gate"))
# Sanitizers and loaded machines: upper time bounds are stretched by this.
SLOW = float(os.environ.get("GATE_SLOW", "1"))
# Figures are asserted in the long form alone; else ten times as much is a hang.
LONG = "GATE_LONG" in os.environ
CALM_MS = int(peers.CALM_HB * 1000)
BAD = re.compile(r"Sanitizer|runtime error:|Assertion|assertion")


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_the_test(limits=()):
    """In the child: nothing outlives a test that ctest kills."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for what, most in limits:
        resource.setrlimit(what, (most, most))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_tcp():
    return "tcp://127.0.0.1:%d" % free_port()


def environment(**settings):
    """The process's own, without its GATE_*, plus these settings. With
    GATE_TEST_LANE the setting lane is that where a test says nothing of it."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("GATE_")}
    if "GATE_TEST_LANE" in os.environ:
        settings.setdefault("lane", os.environ["GATE_TEST_LANE"])
    env["XDG_CONFIG_HOME"] = "/nonexistent"  # nobody's own contexts
    for name, value in settings.items():
        name = name.upper()
        if not name.startswith(("GATE_", "XDG_", "HOME", "LISTEN_")):
            name = "GATE_" + name
        env[name] = str(value)
    return env


class Command:
    """A running `gate ...`; its lines on stdout come through `line`."""

    def __init__(self, *args, limits=(), under=(), **settings):
        """limits: pairs for resource.setrlimit; under: a command that runs
        it."""
        self.args = args
        self.lines = queue.Queue()
        self.out, self.err = [], []
        self.process = subprocess.Popen(
            [*under, GATE, *args], env=environment(**settings), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: die_with_the_test(limits))
        self.pid = self.process.pid
        self._readers = [
            threading.Thread(target=self._read, daemon=True,
                             args=(self.process.stdout, self.out, self.lines)),
            threading.Thread(target=self._read, daemon=True,
                             args=(self.process.stderr, self.err, None))]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe, into, lines):
        for line in pipe:
            into.append(line)
            if lines:
                lines.put(line.rstrip("\n"))
        if lines:
            lines.put(None)

    def line(self, timeout=60.0):
        """The next line of stdout; fails when none comes."""
        try:
            line = self.lines.get(timeout=timeout * SLOW)
        except queue.Empty:
            line = None
        if line is None:
            raise AssertionError("%s said nothing; stderr: %s" % (
                " ".join(self.args), "".join(self.err)[-2000:]))
        return line

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=60.0):
        code = self.process.wait(timeout * SLOW)
        for reader in self._readers:
            reader.join(5)
        return code

    def kill(self):
        self.process.kill()
        self.wait()

    def end(self, timeout=60.0):
        """SIGTERM, then its exit code; SIGKILL if it does not end."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            code = self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end on SIGTERM: %s" % (
                " ".join(self.args), "".join(self.err)[-2000:]))
        finally:
            self.process.stdout.close()
            self.process.stderr.close()
        text = "".join(self.err)
        if BAD.search(text):
            print(text, file=sys.stderr)
            raise AssertionError("%s complained: %s" % (
                " ".join(self.args), text[-2000:]))
        return code


class OurBroker(Command):
    """`gate broker` on free endpoints."""

    def __init__(self, frontend="tcp://127.0.0.1:*",
                 backend="tcp://127.0.0.1:*", options=(), **settings):
        settings.setdefault("mdp_heartbeat_interval", CALM_MS)
        super().__init__("broker", "--frontend", frontend, "--backend",
                         backend, *options, **settings)
        line = self.line()
        found = re.fullmatch(r"ready frontend=(\S+) backend=(\S+)", line)
        if not found:
            raise AssertionError("not the ready line: %r" % line)
        self.front, self.back = found.groups()


class OurService(Command):
    """`gate serve --demo`; waits for ready unless told otherwise."""

    def __init__(self, backend, *args, ready=True, **settings):
        settings.setdefault("mdp_heartbeat_interval", CALM_MS)
        super().__init__("serve", "--demo", "--backend", backend, *args,
                         **settings)
        if ready:
            self.ready()

    def ready(self):
        line = self.line()
        if line != "ready service=Demo":
            raise AssertionError("not the ready line: %r" % line)


class Ended:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err = code, out, err
        self.seconds = seconds


def run(*args, timeout=90.0, text=True, **settings):
    """Runs `gate ...` to its end."""
    settings.setdefault("mdp_heartbeat_interval", CALM_MS)
    begin = time.monotonic()
    done = subprocess.run([GATE, *args], env=environment(**settings),
                          capture_output=True, timeout=timeout * SLOW,
                          stdin=subprocess.DEVNULL)
    seconds = time.monotonic() - begin
    err = done.stderr.decode(errors="replace")
    if BAD.search(err):
        print(err, file=sys.stderr)
        raise AssertionError("gate %s complained: %s" % (
            " ".join(args), err[-2000:]))
    out = done.stdout.decode() if text else done.stdout
    return Ended(done.returncode, out, err, seconds)


def terminal():
    """Both ends of one; where none can be made, the test is skipped."""
    try:
        return pty.openpty()
    except OSError as e:
        raise unittest.SkipTest("no terminal can be made here: %s" % e)


class Case(unittest.TestCase):
    """Has a directory for ipc sockets; ends what it started, last first."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="gate-wire-")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def ipc(self, name):
        return "ipc://%s/%s" % (self.dir, name)

    def keep(self, thing):
        """Ends, stops or closes it when the test is over."""
        for verb in ("end", "stop", "close"):
            if hasattr(thing, verb):
                self.addCleanup(getattr(thing, verb))
                return thing
        raise TypeError(thing)

    def until(self, test, timeout=5.0, what="it"):
        end = time.monotonic() + peers.patient(timeout) * SLOW
        while not test():
            if time.monotonic() > end:
                self.fail("%s did not happen within %.1f s" % (what, timeout))
            time.sleep(0.005)

    def between(self, seconds, low, high, what=""):
        """Upper bounds stretch on slow builds and, being figures, in the short
        form; lower ones never."""
        self.assertGreaterEqual(seconds, low, what)
        self.assertLessEqual(seconds, high * SLOW * (1 if LONG else 10), what)


class Shared(Case):
    """The same with things that live as long as the class."""

    @classmethod
    def setUpClass(cls):
        cls._things = []
        cls.shared_dir = tempfile.mkdtemp(prefix="gate-wire-")
        try:
            cls.start()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def start(cls):
        """Starts what the class's tests share."""

    @classmethod
    def share(cls, thing):
        cls._things.append(thing)
        return thing

    @classmethod
    def tearDownClass(cls):
        try:
            for thing in reversed(cls._things):
                for verb in ("end", "stop", "close"):
                    if hasattr(thing, verb):
                        getattr(thing, verb)()
                        break
        finally:
            shutil.rmtree(cls.shared_dir, True)


def main():
    if not os.access(GATE, os.X_OK):
        print("no command at %s" % GATE, file=sys.stderr)
        sys.exit(1)
    unittest.main(verbosity=2)
