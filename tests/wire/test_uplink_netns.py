# SPDX-License-Identifier: BSD-3-Clause
"""Joined brokers whose network fails, in network namespaces of this test's own: a
cable that is pulled for less than three heartbeats and for more, packets that go
one way alone, packets that are late or lost. Skipped, with a reason, where that
is not allowed or not there."""
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time

import kit
import peers
from joined import BEAT_MS, CALM_MS, SERVER, missing

INSIDE = "GATE_TEST_NETNS"
CLONE_NEWNET = 0x40000000
SERVER_AT, BROKER_AT = "10.77.0.1", "10.77.0.2"
LOST_MS = 3 * BEAT_MS + 200


def why_not():
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return "no " + tool
    done = subprocess.run(["unshare", "-Urn", "ip", "link", "add", "va", "type",
                           "veth", "peer", "name", "vb"],
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return "no network namespaces here: " + done.stderr.strip()
    return missing()


def ip(*args):
    subprocess.run(["ip", *args], check=True)


class Far:
    """A namespace with a cable to ours, where the nats-server is."""

    def __init__(self, lossy=None):
        self.wire = None
        self.holder = subprocess.Popen(
            ["sleep", "100000"],
            preexec_fn=lambda: kit.die_with_the_test() or
            kit.LIBC.unshare(CLONE_NEWNET))
        if lossy:
            ours = Lossy.device()
            with self:
                self.wire = Lossy(ours, Lossy.device(), *lossy)
        else:
            ip("link", "add", "cable", "type", "veth", "peer", "name", "wire")
            ip("link", "set", "wire", "netns", str(self.holder.pid))
            ip("link", "set", "cable", "name", "wire")
        ip("addr", "add", SERVER_AT + "/24", "dev", "wire")
        ip("link", "set", "wire", "up")
        self.run("ip", "addr", "add", BROKER_AT + "/24", "dev", "wire")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "link", "set", "wire", "up")

    def run(self, *command):
        subprocess.run(["nsenter", "-t", str(self.holder.pid), "-n", *command],
                       check=True)

    def cable(self, up):
        ip("link", "set", "wire", "up" if up else "down")

    def mute(self, on):
        """What it sends is lost; it still hears."""
        self.run("ip", "route", "add" if on else "del", "blackhole",
                 SERVER_AT + "/32")

    def __enter__(self):
        """What this thread starts is in there."""
        self.ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open("/proc/%d/ns/net" % self.holder.pid, os.O_RDONLY)
        self.enter(there)
        os.close(there)

    def __exit__(self, *_):
        self.enter(self.ours)
        os.close(self.ours)

    @staticmethod
    def enter(fd):
        if kit.LIBC.setns(ctypes.c_int(fd), CLONE_NEWNET):
            raise OSError("setns")

    def end(self):
        if self.wire:
            self.wire.stop()
        else:
            ip("link", "del", "wire")
        self.holder.kill()
        self.holder.wait()


class Lossy(threading.Thread):
    """A wire between two TUN devices: so much of what is read is lost, all else
    comes late. What netem does, where the kernel has none."""
    SETIFF, TUN_NO_PI = 0x400454ca, 0x1001

    def __init__(self, ours, theirs, loss, delay):
        super().__init__(daemon=True)
        self.ends = {ours: theirs, theirs: ours}
        self.loss, self.delay = loss, delay
        self.lost = self.passed = 0
        self.stopped = threading.Event()
        self.start()

    @classmethod
    def device(cls):
        """In the namespace of whoever calls."""
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, cls.SETIFF, struct.pack("16sH22x", b"wire",
                                                cls.TUN_NO_PI))
        return fd

    def run(self):
        chance, late, order = random.Random(1), [], 0
        while not self.stopped.is_set():
            now = time.monotonic()
            wait = min(late[0][0] - now, 0.1) if late else 0.1
            for fd in select.select(list(self.ends), [], [], max(wait, 0))[0]:
                packet = os.read(fd, 65536)
                order += 1
                if chance.random() < self.loss:
                    self.lost += 1
                else:
                    heapq.heappush(late, (time.monotonic() + self.delay, order,
                                          self.ends[fd], packet))
            while late and late[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(late)
                try:
                    os.write(to, packet)
                    self.passed += 1
                except OSError:  # it is not up yet
                    self.lost += 1

    def stop(self):
        self.stopped.set()
        self.join()
        for fd in self.ends:
            os.close(fd)


class Apart(kit.Case):
    """nats-server and A here, B and its service behind the cable."""
    BEAT = BEAT_MS
    LOSSY = None

    def setUp(self):
        super().setUp()
        self.far = Far(self.LOSSY)
        self.addCleanup(self.far.end)
        self.nats = subprocess.Popen(
            [SERVER, "-a", "0.0.0.0", "-p", "4222"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=kit.die_with_the_test)
        self.addCleanup(self.nats.wait)
        self.addCleanup(self.nats.kill)
        self.broker("a", "127.0.0.1")
        with self.far:
            self.broker("b", SERVER_AT)
        self.keep(kit.OurService(self.ipc("b.b")))
        self.until(lambda: "Demo" in kit.run(
            "services", "--broker", self.ipc("a.f")).out, 30, "Demo at A")

    def broker(self, name, server):
        broker = self.keep(kit.Command(
            "broker", "--frontend", self.ipc(name + ".f"), "--backend",
            self.ipc(name + ".b"), "--uplink", "nats://%s:4222" % server,
            "--uplink-name", name.upper(),
            mdp_heartbeat_interval=kit.CALM_MS, uplink_heartbeat_ms=self.BEAT))
        self.assertIn("uplink=", broker.line())

    def call(self, *args, timeout=60000, **more):
        return kit.run("call", "--broker", self.ipc("a.f"), "--timeout",
                       str(timeout), *args, **more)

    def stats(self):
        return json.loads(self.call("Gate.stats").out)["uplink"]

    def right(self):
        return self.call("Demo.add", "2", "3").out.strip() == "5"


class Cut(Apart):
    def back_in_time(self):
        begin = time.monotonic()
        self.until(self.right, 60, "calls again")
        took = 1000 * (time.monotonic() - begin)
        print("back after %.0f ms" % took)
        if kit.LONG:
            self.assertLess(took, 2 * BEAT_MS)

    def named(self, cut, mend):
        """A call under way ends with B's name; then all is back."""
        running = self.keep(kit.Command("call", "--broker", self.ipc("a.f"),
                                        "--timeout", "600000", "Demo.sleep",
                                        "500000"))
        self.until(lambda: json.loads(self.call("Gate.stats").out)["in_flight"],
                   20, "the call")
        begin = time.monotonic()
        cut()
        self.assertNotEqual(running.wait(), 0)
        took = 1000 * (time.monotonic() - begin)
        print("named after %.0f ms" % took)
        self.assertIn("The broker B is lost.", "".join(running.err))
        if kit.LONG:
            self.assertLess(took, LOST_MS + 100)  # the command's end as well
        self.assertIn("ServiceUnAvailableError",
                      self.call("Demo.add", "1", "1").err)
        time.sleep(max(0, 30 - took / 1000) if kit.LONG else 0)
        mend()
        self.back_in_time()

    def test_a_cable_that_is_pulled_for_long(self):
        self.named(lambda: self.far.cable(False), lambda: self.far.cable(True))

    def test_one_way_alone(self):
        self.named(lambda: self.far.mute(True), lambda: self.far.mute(False))


class Bad(Apart):
    BEAT = BEAT_MS if kit.LONG else CALM_MS

    def load(self, harm):
        """Calls and a stream while it is done: nobody may notice."""
        failed, done, stop = [], [0], threading.Event()

        def lane():
            client = peers.Client(self.ipc("a.f"))
            client.connect()
            while not stop.is_set():
                try:
                    if client.call("Demo", "add", done[0], 1) != done[0] + 1:
                        failed.append("wrong")
                except Exception as e:  # any is one too many
                    failed.append(repr(e))
                done[0] += 1
            client.close()
        thread = threading.Thread(target=lane)
        stream = self.keep(kit.Command("call", "--broker", self.ipc("a.f"),
                                       "Demo.slow_gen", "300", "5"))
        thread.start()
        try:
            harm()
            before = done[0]
            self.until(lambda: done[0] > before + 10 or failed, 60,
                       "calls go on")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(stream.wait(), 0, stream.err)
        self.assertEqual("".join(stream.out).split(),
                         [str(i) for i in range(300)])
        self.assertEqual(self.stats()["links_lost"], 0)
        print("%d calls" % done[0])

    def test_a_cable_that_is_pulled_for_a_second(self):
        def harm():
            self.far.cable(False)
            time.sleep(1)
            self.far.cable(True)
        self.load(harm)


class Late(Bad):
    LOSSY = 0.05, 0.1
    test_a_cable_that_is_pulled_for_a_second = None

    def setUp(self):
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            self.skipTest("no /dev/net/tun here")
        super().setUp()

    def test_loss_and_delay(self):
        self.load(lambda: time.sleep(20 if kit.LONG else 2))
        data = self.call("--raw", "Demo.huge", "1000000", "random", text=False)
        self.assertEqual((data.code, len(data.out)), (0, 1000000), data.err)
        print("%d packets, %d lost" % (self.far.wire.passed,
                                       self.far.wire.lost))
        self.assertGreater(self.far.wire.lost, 0)


if __name__ == "__main__":
    if INSIDE not in os.environ:
        reason = why_not()
        if reason:
            print("skipped: " + reason)
            raise SystemExit(77)
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-Urn", sys.executable, *sys.argv])
    ip("link", "set", "lo", "up")
    kit.main()
