# SPDX-License-Identifier: BSD-3-Clause
"""Strangers and peers that send what costs more than it weighs: what it costs
is bounded by numbers, it is given back, and honest callers are served."""
import random
import os
import re
import socket
import struct
import threading
import time

import zmq

import kit
import peers

GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" +
            bytes(31))
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
MIB = 1 << 20
COST = 64 * MIB   # docs/reliability.md, Bounds: beyond what is set
STAYS = 32 * MIB  # of it, once it is over

# A sanitizer's broker keeps little of what was freed: else that is what is seen.
os.environ["ASAN_OPTIONS"] = ":".join(
    filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=4"]))


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * 4096


def frame(data=b"", more=True, large=False):
    if large or len(data) > 255:
        return bytes([2 | more]) + struct.pack(">Q", len(data)) + data
    return bytes([more, len(data)]) + data


def connect(endpoint):
    """A DEALER without libzmq; whoever does not read it waits 5 s at most."""
    if endpoint.startswith("ipc://"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5 * kit.SLOW)
        s.connect(endpoint[6:])
    else:
        host, port = endpoint[6:].rsplit(":", 1)
        s = socket.create_connection((host, int(port)), 5 * kit.SLOW)
    s.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    got = b""
    while len(got) < 64:
        got += s.recv(64 - len(got))
    return s


class Flood(kit.Case):
    """Memory of a process that is flooded, and calls beside it."""

    def watch(self, pid):
        self.pid, self.before = pid, resident(pid)
        self.most, self.calls, self.longest = 0, 0, 0.0

    def look(self):
        self.most = max(self.most, resident(self.pid) - self.before)

    def beside(self, broker):
        """Calls in the background until the test is over."""
        over = threading.Event()
        failed = []

        def run():
            client = peers.RawClient(broker.front)
            try:
                while not over.is_set():
                    begin = time.monotonic()
                    assert client.call("Demo", "add", 2, 3, timeout=20) == 5
                    self.longest = max(self.longest, time.monotonic() - begin)
                    self.calls += 1
                    self.look()
                    time.sleep(0.002)
            except BaseException as e:
                failed.append(e)
            client.close()

        thread = threading.Thread(target=run)

        def stop():
            over.set()
            thread.join()
            self.assertEqual(failed, [])
        thread.start()
        self.addCleanup(stop)
        return stop

    def pour(self, endpoint, piece, pace=0, most=48 * MIB, first=b""):
        """Sends it until the connection is broken: bytes that went; None: it
        never was."""
        s = connect(endpoint)
        self.addCleanup(s.close)
        chunk, sent = piece * max(1, 65536 // len(piece)), 0
        if pace:
            chunk = piece * (pace // 50 // len(piece))
        try:
            s.sendall(first)
            while sent < most:
                s.sendall(chunk)
                sent += len(chunk)
                self.look()
                if pace:
                    time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            self.look()
            return sent
        return None

    def bounded(self):
        print("%+.1f MiB at most; %d calls beside, the longest %.0f ms" % (
            self.most / MIB, self.calls, self.longest * 1000), flush=True)
        # on a busy machine it is looked at later than every 50 ms
        busy = min(4, max(1, os.getloadavg()[0] / os.cpu_count()))
        self.assertLess(self.most, COST * kit.SLOW * busy)
        if kit.SLOW == 1:  # a sanitizer keeps what was freed
            self.until(lambda: resident(self.pid) - self.before < STAYS,
                       what="memory comes back")


class Crumbs(Flood):
    """A message without end, in frames of next to nothing: libzmq keeps 64
    bytes of each."""

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(self.ipc("f")))
        self.keep(kit.OurService(self.broker.back))
        self.watch(self.broker.pid)

    def cut(self, piece, **how):
        sent = self.pour(self.broker.back, piece, **how)
        self.assertIsNotNone(sent, "it was not cut off")
        self.bounded()

    def test_empty_frames(self):
        self.cut(frame())

    def test_of_a_peer_that_is_known(self):
        hello = (frame() + frame(peers.MDPW) + frame(peers.READY) +
                 frame(b"Svc:x:1", more=False))
        self.cut(frame(), first=hello)

    def test_of_one_byte(self):
        self.cut(frame(b"x"))

    def test_with_large_heads(self):
        self.cut(frame(large=True))

    def test_of_what_is_kept_inside(self):
        self.cut(frame(b"x" * 33))

    def test_little_at_a_time(self):
        """libzmq is faster: the kernel has nothing to look at by itself, the
        longer between two pieces and the larger they are the less."""
        for pace in (MIB // 2, 2 * MIB, 6 * MIB):
            with self.subTest(pace=pace):
                self.cut(frame(), pace=pace, most=10 * pace)

    def test_over_ipc(self):
        sent = self.pour(self.broker.front, frame())
        self.assertIsNotNone(sent, "it was not cut off")
        self.bounded()

    def test_many_at_once(self):
        pieces, sent = [frame()] * 8, []
        threads = [threading.Thread(target=lambda p=p: sent.append(
            self.pour(self.broker.back, p))) for p in pieces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(sent), 8)
        self.assertNotIn(None, sent)
        self.bounded()


class Beside(Flood):
    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(self.broker.back))
        self.watch(self.broker.pid)

    def blob(self, body, between):
        """Sends it as one argument, slowly; the method answers its size."""
        client = connect(self.broker.front)
        self.addCleanup(client.close)
        args = b"\x91\xc6" + struct.pack(">I", len(body)) + body
        whole = (frame() + frame(peers.MDPC) + frame(b"Demo") + frame(b"id") +
                 frame(peers.pack("blob")) + frame(args) +
                 frame(b"\x80", more=False))
        for at in range(0, len(whole), MIB):
            client.sendall(whole[at:at + MIB])
            between(at // MIB)
        got = b""
        while b"result" not in got:
            more = client.recv(4096)
            self.assertTrue(more, "it was cut off")
            got += more
        self.assertIn(peers.pack(len(body)), got)

    def test_a_large_argument_beside_a_flood(self):
        def pour(i):
            if i % 4 == 0:
                self.assertIsNotNone(self.pour(self.broker.back, frame()))
        self.blob(random.Random(1).randbytes(12 * MIB), pour)

    def test_a_large_argument_that_looks_like_heads(self):
        """Of nothing but ones, while the broker keeps more and more for others:
        what it keeps is no flood."""
        busy = self.keep(peers.RawWorker(self.broker.back))
        busy.register("Busy", maximum=1)
        caller = self.keep(peers.RawClient(self.broker.front))

        def keep(i):
            before = resident(self.pid)
            for _ in range(8):
                caller.request("Busy", "f", (bytes(MIB // 2),))
            self.until(lambda: resident(self.pid) > before + 3 * MIB)
        self.blob(b"\x01" * (12 * MIB), keep)

    def test_a_finished_message_of_many_frames(self):
        """It ends its connection, and is thrown away a little at a time."""
        stop = self.beside(self.broker)
        for _ in range(3):
            s = connect(self.broker.front)
            self.addCleanup(s.close)
            try:
                s.sendall(frame() * 200000 + frame(more=False))
                s.settimeout(20 * kit.SLOW)
                while s.recv(64):
                    pass
            except ConnectionResetError:
                pass
        stop()
        self.bounded()
        stats = peers.RawClient(self.broker.front)
        self.keep(stats)
        count = stats.call("Gate", "stats")
        self.assertGreaterEqual(count["peers_cut"], 3)


class Many(Flood):
    """Connections by the hundred: what each may have waiting at libzmq is a
    little, and none of it stays."""

    def all_at_once(self, n, message, most, **settings):
        """n connections that send it as fast as they can, and read nothing;
        what the kernel keeps for them is little."""
        self.broker = self.keep(kit.OurBroker(
            zmq_sock="sndbuf=4096,rcvbuf=16384", **settings))
        self.watch(self.broker.pid)
        rests, data = {}, message * max(1, 65536 // len(message))
        over = threading.Event()

        def watch():
            while not over.wait(0.003):
                self.look()
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(n):
            s = connect(self.broker.front)
            for option in socket.SO_RCVBUF, socket.SO_SNDBUF:
                s.setsockopt(socket.SOL_SOCKET, option, 4096)
            self.addCleanup(s.close)
            s.setblocking(False)
            rests[s] = b""
        sent, end = 0, time.monotonic() + 60 * kit.SLOW
        while sent < most and rests and time.monotonic() < end:
            for s, rest in list(rests.items()):
                try:
                    rest = rest or data
                    went = s.send(rest)
                    rests[s] = rest[went:]
                    sent += went
                except BlockingIOError:
                    pass
                except OSError:
                    del rests[s]  # it was cut off
        over.set()
        watcher.join()
        for s in rests:
            s.close()

    def test_messages_that_nobody_has_taken_yet(self):
        """Of 64 empty frames, so one that takes 4 KiB."""
        self.all_at_once(200, frame() * 63 + frame(more=False), 60 * MIB,
                         broker_queue_max_bytes=256 * MIB)
        self.bounded()

    def test_answers_that_nobody_reads(self):
        """Each connection's are few; libzmq would keep a thousand of each."""
        request = [b"", peers.MDPC, b"nope", b"r" * 200, peers.pack("f"),
                   b"\x90", b"\x80"]
        self.all_at_once(200, b"".join(
            frame(f, i < len(request) - 1) for i, f in enumerate(request)),
            80 * MIB, broker_queue_max_bytes=16 * MIB)
        self.bounded()


class Unread(Flood):
    """Streams that nobody reads hold all slots of a service."""

    def test_others_are_served(self):
        beat = {"mdp_heartbeat_interval": 500, "mdp_heartbeat_liveness": 60}
        broker = self.keep(kit.OurBroker(**beat))
        self.keep(kit.OurService(broker.back, message_max=20, **beat))
        hog = self.keep(peers.RawClient(broker.front))
        nothing = b"\xc1GX1" + peers.pack({"ci": 0, "cb": 0})
        for _ in range(100):
            hog.send(b"", peers.MDPC, b"Demo", peers.new_id(),
                     *peers.body("gen", [3]), nothing)
        honest = self.keep(peers.RawClient(broker.front))
        for i in range(50):
            self.assertEqual(honest.call("Demo", "add", i, 1, timeout=20), i + 1)
        ended = [m for m in hog.drain(0.5 * kit.SLOW, 20 * kit.SLOW)
                 if b"BusyWorkerError" in m[-1]]
        self.assertGreaterEqual(len(ended), 80)
        count = honest.call("Gate", "stats")
        self.assertGreaterEqual(count["streams_stalled"], 10)


class Zap(Flood):
    def test_guesses_at_its_own_port(self):
        """Ten at once and five a second at one user; others are looked at."""
        zap = self.keep(kit.Command(
            "zap", "--bind", "tcp://127.0.0.1:*", "--user", "ann",
            "--password", "pw"))
        asker = self.keep(peers.Raw(
            zmq.DEALER, re.search(r"=(\S+)", zap.line()).group(1)))

        def ask(user, password):
            asker.send(b"", b"1.0", b"key", b"gate", b"i" * 16, b"i" * 16,
                       b"PLAIN", user, password)
            return asker.recv(20)[3:5]
        begin = time.monotonic()
        looked = sum(ask(b"ann", b"%d" % i)[1] != b"Too many wrong credentials"
                     for i in range(500))
        took = time.monotonic() - begin
        self.assertGreaterEqual(looked, 10)
        self.assertLess(looked, 11 + 5 * took + 1)
        self.assertEqual(ask(b"ann", b"pw")[0], b"400")
        self.assertEqual(ask(b"eve", b"x")[1], b"Invalid username")
        time.sleep(0.5)
        self.assertEqual(ask(b"ann", b"pw")[0], b"200")

    def test_crumbs(self):
        zap = self.keep(kit.Command("zap", "--bind", "tcp://127.0.0.1:*",
                                    "--user", "ann", "--password", "pw"))
        endpoint = re.search(r"=(\S+)", zap.line()).group(1)
        self.watch(zap.pid)
        for piece in frame(), frame(b"x" * 5000):
            self.assertIsNotNone(self.pour(endpoint, piece))
        for n in 11, 100000:
            s = connect(endpoint)
            self.addCleanup(s.close)
            s.sendall(frame() * n + frame(more=False))
        self.bounded()


if __name__ == "__main__":
    kit.main()
