# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 in the middle of huge arguments, all of them real processes: whoever
is left is told by name within the liveness window, rests, and has its memory
back. (Workers of pools: tests/stress/huge_process.c.) And what `gate call` does with sizes that no memory holds."""
import fcntl
import hashlib
import os
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

import kit

MIB = 1 << 20
SCALE = float(os.environ.get("GATE_SCALE", "1"))
LIMIT = 64 * MIB if kit.SLOW == 1 else 400 * MIB
SIZE = 200 * MIB
HB = 500  # ms; a peer is given up after 3
WINDOW = 2.5


def status(pid, field):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(field + r":\s+(\d+)", f.read()).group(1)) * 1024


def cpu(pid):
    """Ticks of 10 ms."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def noise_file(test, size):
    f = tempfile.NamedTemporaryFile(prefix="gate-huge-")
    test.addCleanup(f.close)
    block = os.urandom(MIB)
    for _ in range(size // MIB):
        f.write(block)
    f.flush()
    return f.name


class Case(kit.Case):
    def call(self, broker, *args, **settings):
        settings = dict({"mdp_heartbeat_interval": HB, "reply_timeout": 60},
                        **settings)
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=kit.environment(**settings),
            preexec_fn=kit.die_with_the_test)
        self.addCleanup(self.reap, call)
        return call

    @staticmethod
    def reap(call):
        if call.poll() is None:
            call.kill()
            call.wait()
        call.stdout.close()
        call.stderr.close()

    def rests(self, what, pid):
        """Hardly any CPU within half a second."""
        def quiet():
            before = cpu(pid)
            time.sleep(0.5)
            return cpu(pid) - before <= 5
        self.until(quiet, 10, "rest of the " + what)


class Deaths(Case):
    """A client sends SIZE bytes of a file; the service has the first of them
    and is stopped, so that whatever dies does so in the middle."""

    def middle(self):
        self.broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=HB))
        self.service = self.keep(kit.OurService(
            self.broker.back, mdp_heartbeat_interval=HB,
            huge_window_bytes=4 * MIB))
        kit.run("call", "--broker", self.broker.front, "Demo.echo",
                "x" * 100000)
        self.small = {p: status(p.pid, "VmRSS")
                      for p in (self.broker, self.service)}
        path = noise_file(self, SIZE)
        call = self.call(self.broker, "Demo.echo", "--file", path)
        self.until(lambda: call.poll() is not None or
                   status(self.service.pid, "RssAnon") >
                   self.small[self.service] + 16 * MIB, 20, "the middle")
        self.assertIsNone(call.poll(), "it was over too soon")
        self.service.signal(signal.SIGSTOP)
        self.assertLess(status(call.pid, "VmRSS"), LIMIT)
        return call

    def ends(self, call, cls, begin):
        """The client's last word, in time."""
        out, err = call.communicate(timeout=30 * kit.SLOW)
        self.between(time.monotonic() - begin, 0, WINDOW)
        self.assertNotEqual(call.returncode, 0)
        self.assertEqual(out, b"")
        self.assertEqual(err.decode().splitlines()[-1].split(":")[0], cls, err)

    def shrinks(self, process):
        """No more than before, and what allocators keep."""
        self.until(lambda: status(process.pid, "VmRSS") <
                   self.small[process] + (24 * MIB if kit.SLOW == 1
                                          else 800 * MIB), 10, "memory's end")

    def serves(self):
        done = kit.run("call", "--broker", self.broker.front, "Demo.add", "1",
                       "2")
        self.assertEqual(done.out, "3\n", done.err)

    def test_client_killed(self):
        call = self.middle()
        call.kill()
        call.wait()
        self.service.signal(signal.SIGCONT)
        self.shrinks(self.service)
        self.shrinks(self.broker)
        self.rests("service", self.service.pid)
        self.rests("broker", self.broker.pid)
        self.serves()

    def test_service_killed(self):
        call = self.middle()
        begin = time.monotonic()
        self.service.process.kill()
        self.ends(call, "WorkerLostError", begin)
        self.shrinks(self.broker)
        self.rests("broker", self.broker.pid)
        self.keep(kit.OurService(self.broker.back))
        self.serves()

    def test_broker_killed(self):
        call = self.middle()
        self.service.signal(signal.SIGCONT)
        self.assertIsNone(call.poll())
        begin = time.monotonic()
        self.broker.process.kill()
        self.ends(call, "ConnectionLostError", begin)
        self.shrinks(self.service)
        self.rests("service", self.service.pid)

    def test_service_stopped_and_lost(self):
        """It does not die, it stands: as lost."""
        call = self.middle()
        self.ends(call, "WorkerLostError", time.monotonic())
        self.service.signal(signal.SIGCONT)
        self.shrinks(self.service)
        self.rests("service", self.service.pid)
        self.serves()


class Sizes(Case):
    def test_file_argument(self):
        """Read while it is sent: the client has no more than the window."""
        n = max(80 * MIB, int(SIZE * SCALE) // MIB * MIB)
        broker = self.keep(kit.OurBroker())
        service = self.keep(kit.OurService(broker.back))
        path = noise_file(self, n)
        call = self.call(broker, "Demo.add", "--file", path)
        most = 0
        while call.poll() is None:
            most = max(most, self.hwm(call.pid))
            time.sleep(0.001)
        self.assertIn("TypeError", call.stderr.read().decode())
        self.assertGreater(status(service.pid, "VmHWM"), n)  # all of it came
        self.assertGreater(most, 0)
        self.assertLess(most, LIMIT)

    @staticmethod
    def hwm(pid):
        try:
            return status(pid, "VmHWM")
        except (OSError, AttributeError):
            return 0

    def test_raw_to_a_pipe(self):
        """Constant memory, whatever its size."""
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        most = {}
        for n in (32 * MIB, max(128 * MIB, int(600 * MIB * SCALE))):
            call = self.call(broker, "--raw", "Demo.huge", str(n), "random")
            size = most[n] = 0
            while True:
                piece = call.stdout.read(MIB)
                if not piece:
                    break
                size += len(piece)
                most[n] = max(most[n], self.hwm(call.pid))
            self.assertEqual((call.wait(), size), (0, n), call.stderr.read())
            self.assertGreater(most[n], 0)
            self.assertLess(most[n], LIMIT, most)
        one, other = most.values()
        self.assertLess(other - one, 16 * MIB if kit.SLOW == 1 else LIMIT,
                        most)

    def on_a_terminal(self, broker, *args):
        """What it draws, when standard error is one."""
        ours, theirs = kit.terminal()
        self.addCleanup(os.close, ours)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, 80, 0, 0))
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--raw", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
            env=kit.environment(), preexec_fn=kit.die_with_the_test)
        os.close(theirs)
        drawn, size = b"", 0
        out = call.stdout.fileno()
        while True:
            ready = select.select([out], [], [], 60 * kit.SLOW)[0]
            self.assertTrue(ready, "silence")
            drawn += self.seen(ours)
            if out in ready:
                piece = os.read(out, 65536)
                if not piece:
                    break
                size += len(piece)
                if size < 8 * MIB:
                    time.sleep(0.004)  # so that there is something to see
        call.stdout.close()
        self.assertEqual(call.wait(), 0, drawn)
        return (drawn + self.seen(ours)).decode(), size

    @staticmethod
    def seen(ours):
        """What was drawn since."""
        drawn = b""
        while select.select([ours], [], [], 0)[0]:
            try:
                drawn += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        return drawn

    def test_progress(self):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        drawn, size = self.on_a_terminal(broker, "Demo.huge", str(20 * MIB),
                                         "random")
        self.assertEqual(size, 20 * MIB)
        last = re.findall(
            r"\r\[([#.]+)\] +(\d+)% +([0-9.]+ [KMGT]?i?B) +[0-9.]+ "
            r"[KMGT]?i?B/s", drawn)
        self.assertGreater(len(last), 2, drawn)
        percents = [int(p) for _, p, _ in last]
        self.assertEqual(percents, sorted(percents))
        self.assertLess(percents[0], 100)
        self.assertEqual(last[-1][1:], ("100", "20.0 MiB"))
        self.assertEqual(set(last[-1][0]), {"#"})
        self.assertTrue(drawn.endswith("\n"), repr(drawn[-20:]))

    def test_no_progress_but_on_a_terminal(self):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        done = kit.run("call", "--broker", broker.front, "--raw", "Demo.huge",
                       str(4 * MIB), text=False)
        self.assertEqual((done.code, done.err, len(done.out)), (0, "", 4 * MIB))
        self.assertEqual(len(hashlib.sha256(done.out).digest()), 32)


if __name__ == "__main__":
    kit.main()
