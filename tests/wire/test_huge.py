# SPDX-License-Identifier: BSD-3-Clause
"""Huge results on the wire: what we send to peers that know nothing of us and to
those that do, what we take from a Python worker, and what we refuse."""
import bz2
import gzip
import hashlib
import lzma
import os
import random
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import zlib

import kit
import peers
from peers import EXCEPTION, HUGE, HUGE_END, pack, unpack

MIB = 1 << 20
SCALE = float(os.environ.get("GATE_SCALE", "1"))
GX1 = b"\xc1GX1"


def ext(**keys):
    return GX1 + pack(keys)


def rss(pid, field="VmHWM"):
    """Bytes: the most that a process ever had resident."""
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(field)


class Reader(peers.RawClient):
    """A client that keeps every message of a huge answer."""

    def ask(self, *args, more=(), func="huge"):
        rid = peers.new_id()
        self.send(b"", peers.MDPC, b"Demo", rid,
                  *peers.body(func, args, {}), *more)
        return rid

    def credit(self, rid, **keys):
        self.send(b"", peers.MDPC, b"Demo", rid, ext(**keys))

    def chunks(self, rid, timeout=10.0):
        """Bodies up to the last message; fails when one does not come."""
        got = []
        while True:
            frames = self.reply(rid, timeout * kit.SLOW)
            if frames is None:
                raise AssertionError("silence after %d messages" % len(got))
            got.append(frames)
            if len(frames) == 1 or frames[1] in (HUGE_END, EXCEPTION):
                return got


def strict(data):
    """Exactly one gzip member, complete, and nothing behind it."""
    inflate = zlib.decompressobj(31)
    out = inflate.decompress(data) + inflate.flush()
    assert inflate.eof and not inflate.unused_data, "not one whole member"
    return out


class ToStrangers(kit.Shared):
    """A client that announces nothing: it gets what Python's client reads."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(cls.broker.back))

    def reader(self):
        return self.keep(Reader(self.broker.front))

    def test_plain_up_to_16_mib(self):
        reader = self.reader()
        got = reader.chunks(reader.ask(15 * MIB, "hex"))
        self.assertEqual(len(got), 1)
        self.assertEqual(len(unpack(got[0][0])["result"]), 15 * MIB)

    def test_what_is_not_meant_huge_is_plain_up_to_32_mib(self):
        """As much as a Python client decodes, as often as it likes."""
        reader = self.reader()
        for _ in range(2):
            got = reader.chunks(reader.ask("x" * (31 * MIB), func="upper"))
            self.assertEqual(len(got), 1)
            self.assertEqual(len(unpack(got[0][0])["result"]), 31 * MIB)

    def check_shape(self, got):
        """wire.md 7.1: what Python's client accepts, and no extension."""
        self.assertEqual(got[-1], [HUGE, HUGE_END])
        for frames in got:
            self.assertEqual((len(frames), frames[0]), (2, HUGE))
        first = got[0][1]
        self.assertGreater(len(first), 10)
        self.assertEqual(first[:4], b"\x1f\x8b\x08\x00")
        for frames in got[:-1]:
            self.assertLessEqual(len(frames[1]), 256 * 1024)
            self.assertNotEqual(frames[1], b"")
        return b"".join(f[1] for f in got[:-1])

    def test_gzip_beyond(self):
        reader = self.reader()
        for kind in ("json", "random", "zeros"):
            data = self.check_shape(reader.chunks(reader.ask(20 * MIB, kind)))
            value = unpack(strict(data))
            self.assertEqual(len(value), 20 * MIB)
            self.assertEqual(gzip.decompress(data), strict(data))
            if kind == "json":
                done = subprocess.run(["gunzip", "-c"], input=data,
                                      stdout=subprocess.PIPE, check=True)
                self.assertEqual(unpack(done.stdout), value)
            if kind == "zeros":
                self.assertEqual(value, bytes(20 * MIB))

    def test_huge_data_is_always_huge(self):
        path = self.shared_dir + "/file"
        data = os.urandom(3000)
        with open(path, "wb") as f:
            f.write(data)
        reader = self.reader()
        got = self.check_shape(reader.chunks(reader.ask(path, func="file")))
        self.assertEqual(unpack(strict(got)), data)

    def test_many_in_a_row(self):
        client = self.keep(peers.Client(self.broker.front, timeout=20))
        client.connect()
        for n in range(20):
            self.assertEqual(len(client.call("Demo", "huge", 17 * MIB + n)),
                             17 * MIB + n)


class Settings(kit.Case):
    def ask(self, n, *more, **settings):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back, **settings))
        reader = self.keep(Reader(broker.front))
        return reader.chunks(reader.ask(n, "hex", more=more))

    def test_huge_data_sizeof(self):
        """Alone it is threshold and chunk size, as in Python."""
        got = self.ask(9000, huge_data_sizeof=1000)
        self.assertEqual(got[-1], [HUGE, HUGE_END])
        self.assertTrue(all(len(f[1]) <= 1000 for f in got))
        data = b"".join(f[1] for f in got[:-1])
        self.assertEqual(len(unpack(strict(data))), 9000)
        self.assertEqual(len(self.ask(900, huge_data_sizeof=1000)), 1)

    def test_codecs(self):
        for name, opened in (("bz2", bz2.decompress),
                             ("lzma", lzma.decompress)):
            got = self.ask(200000, huge_threshold=5000,
                           huge_data_compress_module=name)
            data = b"".join(f[1] for f in got[:-1])
            self.assertEqual(len(unpack(opened(data))), 200000, name)

    def test_store_and_compress(self):
        def size(policy):
            got = self.ask(4 * MIB, huge_threshold=5000, huge_policy=policy)
            data = b"".join(f[1] for f in got[:-1])
            self.assertEqual(len(unpack(strict(data))), 4 * MIB)
            return len(data)
        self.assertGreater(size("store"), 4 * MIB)
        self.assertLess(size("compress"), 3 * MIB)


class ToOurs(kit.Shared):
    """A client that speaks GX1: announcements, credit, cancel."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(cls.broker.back))

    def reader(self):
        return self.keep(Reader(self.broker.front))

    def test_announced(self):
        """From 1 MiB on, and the first chunk says codec and size."""
        reader = self.reader()
        rid = reader.ask(3 * MIB, "hex", more=[ext(h=True, hc="gzip,zstd")])
        reader.credit(rid, cb=1 << 30)
        got = reader.chunks(rid)
        self.assertEqual(len(got[0]), 3)
        said = unpack(got[0][2][4:])
        self.assertEqual(said, {"hc": "gzip", "hs": 3 * MIB + 5})
        self.assertTrue(all(len(f) == 2 for f in got[1:]))
        data = b"".join(f[1] for f in got[:-1])
        self.assertEqual(len(unpack(strict(data))), 3 * MIB)
        # it is remembered for calls that say nothing
        rid = reader.ask(2 * MIB, "hex")
        reader.credit(rid, cb=1 << 30)
        self.assertEqual(reader.chunks(rid)[-1], [HUGE, HUGE_END])
        # but not of others
        other = self.reader()
        self.assertEqual(len(other.chunks(other.ask(2 * MIB, "hex"))), 1)

    def test_codec_that_is_read(self):
        """The setting's is not: then gzip, which every one of ours reads."""
        service = self.keep(kit.OurBroker())
        self.keep(kit.OurService(service.back,
                                 huge_data_compress_module="lzma"))
        reader = self.keep(Reader(service.front))
        rid = reader.ask(2 * MIB, "hex", more=[ext(h=True, hc="lz4,gzip")])
        reader.credit(rid, cb=1 << 30)
        got = reader.chunks(rid)
        self.assertEqual(unpack(got[0][2][4:])["hc"], "gzip")
        other = self.keep(Reader(service.front))
        rid = other.ask(2 * MIB, "hex", more=[ext(h=True, hc="lz4")])
        story = unpack(other.chunks(rid)[-1][-1])["exception"]
        self.assertEqual(story[0], "NotImplementedError")
        self.assertIn("lz4", story[1])

    def take(self, reader, rid, quiet=0.6):
        """Bytes of chunks until none comes for a while."""
        total, frames = 0, reader.reply(rid, 5 * kit.SLOW)
        while frames:
            self.assertEqual(frames[0], HUGE)
            total += len(frames[1])
            frames = reader.reply(rid, quiet * kit.SLOW)
        return total

    def test_stops_without_credit(self):
        reader = self.reader()
        rid = reader.ask(30 * MIB, "random",
                         more=[ext(h=True, hc="gzip", ci=1000, cb=500000)])
        got = self.take(reader, rid)
        self.assertGreaterEqual(got, 500000)
        self.assertLess(got, 500000 + 300000)
        reader.credit(rid, cb=2000000)
        more = self.take(reader, rid)
        self.assertGreaterEqual(got + more, 2500000)
        self.assertLess(got + more, 2500000 + 300000)
        reader.credit(rid, cb=1 << 40, ci=1 << 20)
        got = reader.chunks(rid)
        self.assertEqual(got[-1], [HUGE, HUGE_END])

    def test_first_window_of_an_announced_reader(self):
        reader = self.reader()
        rid = reader.ask(30 * MIB, "random", more=[ext(h=True, hc="gzip")])
        got = self.take(reader, rid)
        self.assertGreaterEqual(got, MIB)
        self.assertLess(got, MIB + 300000)
        reader.credit(rid, x=True)
        self.assertIsNone(reader.reply(rid, 0.3))

    def test_who_never_gives_credit_gets_all(self):
        """Nothing announced, no credit: after a while it knows none."""
        reader = self.reader()
        rid = reader.ask(30 * MIB, "random")
        data = b"".join(f[1] for f in reader.chunks(rid)[:-1])
        self.assertEqual(len(unpack(strict(data))), 30 * MIB)


# ---- what we take ------------------------------------------------------------
def gz(data, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


class FromStrangers(kit.Shared):
    """A Python worker that sends what it likes; our client reads."""

    @classmethod
    def start(cls):
        # this takes seconds in which the worker would not answer
        cls.bomb = gz(pack(bytes(200 * MIB)), 9)
        cls.broker = cls.share(kit.OurBroker())
        cls.worker = peers.RawWorker(cls.broker.back)
        cls.worker.register("Svc")
        cls.share(cls.worker)
        cls.plan = None
        cls.sent = 0
        cls._end = threading.Event()
        cls._thread = threading.Thread(target=cls.serve, daemon=True)
        cls._thread.start()

    @classmethod
    def tearDownClass(cls):
        cls._end.set()
        cls._thread.join(5)
        super().tearDownClass()

    @classmethod
    def serve(cls):
        while not cls._end.is_set():
            request = cls.worker.expect(peers.REQUEST, 0.1)
            if request is not None:
                for frames in cls.plan(request):
                    cls.worker.answer(request, *frames)
                    cls.sent += 1

    def call(self, plan, *args, code=None, **settings):
        type(self).plan = staticmethod(lambda request: plan)
        settings.setdefault("reply_timeout", 3)
        done = kit.run("call", "--broker", self.broker.front, *args,
                       "Svc.x", text=False, **settings)
        if code is not None:
            self.assertEqual(done.code, code, done.err)
        return done

    @staticmethod
    def shape(data, size=1000, end=((HUGE, HUGE_END),)):
        return [(HUGE, data[i:i + size])
                for i in range(0, len(data), size)] + list(end)

    def both(self, plan, value, **settings):
        """The same whole and as bytes."""
        done = self.call(plan, "--raw", code=0, **settings)
        self.assertEqual(done.out, value)
        done = self.call(plan, code=0, **settings)
        self.assertGreater(len(done.out), len(value))

    def refused(self, plan, cls, word, **settings):
        """By name, soon, in little memory, whole and as bytes."""
        for args in ((), ("--raw",)):
            done = self.call(plan, *args, **settings)
            self.assertNotEqual(done.code, 0)
            self.assertEqual(done.err.split(":")[0], cls, done.err)
            self.assertIn(word, done.err)

    def test_shapes_that_python_takes(self):
        value = os.urandom(50000)
        data = gz(pack(value))
        self.both(self.shape(data), value)
        self.both(self.shape(data, 65536), value)
        self.both(self.shape(data, len(data)), value)
        self.both(self.shape(data, 17), value)
        empties = []
        for frames in self.shape(data):
            empties += [(HUGE, b""), frames]
        self.both(empties, value)
        self.both(self.shape(data[:-8] + data[-8:]), value)
        # an END that is not a frame of its own, and one all the same
        self.both(self.shape(data + HUGE_END), value)
        flushed = zlib.compressobj(1, zlib.DEFLATED, 31)
        raw, whole = pack(value), b""
        for at in range(0, len(raw), 5000):
            whole += flushed.compress(raw[at:at + 5000])
            whole += flushed.flush(zlib.Z_FULL_FLUSH)
        whole += flushed.flush()
        self.both(self.shape(whole), value)

    def test_other_codecs_by_setting(self):
        value = os.urandom(5000)
        raw = pack(value)
        self.both(self.shape(bz2.compress(raw)), value,
                  huge_data_compress_module="bz2")
        self.both(self.shape(lzma.compress(raw)), value,
                  huge_data_compress_module="lzma")
        alone = lzma.compress(raw, lzma.FORMAT_ALONE)
        self.both(self.shape(alone), value, huge_data_compress_module="lzma")
        self.refused(self.shape(bz2.compress(raw)), "ValueError", "")
        self.refused(self.shape(gz(raw)), "TypeError", "no such codec",
                     huge_data_compress_module="snappy")

    def test_truncated(self):
        data = gz(pack(os.urandom(50000)))
        for cut in (0, 1, 9, 10, 11, 1000, len(data) - 9, len(data) - 3):
            self.refused(self.shape(data[:cut]), "ValueError", "")

    def test_corrupted(self):
        data = bytearray(gz(pack(b"abcdefgh" * 20000)))
        for at in (1, 3, 50, len(data) - 6, len(data) - 1):
            bad = bytearray(data)
            bad[at] ^= 0x55
            self.refused(self.shape(bytes(bad)), "ValueError", "")

    def test_reordered(self):
        frames = self.shape(gz(pack(os.urandom(20000))))
        frames[3], frames[4] = frames[4], frames[3]
        self.refused(frames, "ValueError", "")

    def test_other_formats(self):
        raw = pack(b"x" * 5000)
        for data in (raw, zlib.compress(raw), gz(raw) + gz(raw),
                     gz(raw) + b"junk", b"\x1f\x8b"):
            self.refused(self.shape(data), "ValueError", "")

    def test_not_one_value(self):
        for raw in (pack(1) + pack(2), b"", pack("x" * 100)[:-1]):
            done = self.call(self.shape(gz(raw)))
            self.assertNotEqual(done.code, 0)
            self.assertIn("ValueError", done.err)
        # as bytes: more or less than the head says
        for raw in (pack(b"x" * 10) + b"y", pack(b"x" * 70000)[:-1]):
            done = self.call(self.shape(gz(raw)), "--raw")
            self.assertNotEqual(done.code, 0)
            self.assertIn("ValueError", done.err)

    def test_nested(self):
        self.refused(self.shape(gz(b"\x91" * 100000 + b"\xc0")),
                     "ValueError", "")

    def most(self, *args, **settings):
        """Runs a call; what it said and the most memory it had."""
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", self.broker.front, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=kit.environment(**settings))
        err = call.stderr.read().decode()
        call.stderr.close()
        _, _, usage = os.wait4(call.pid, 0)
        call.returncode = 0
        return err, usage.ru_maxrss * 1024

    def test_bomb(self):
        """1000:1: refused at the cap, without the memory for more."""
        bomb = self.bomb
        self.assertLess(len(bomb), MIB)
        type(self).plan = staticmethod(
            lambda request: [(peers.result(1),)])
        _, usual = self.most("Svc.x")
        type(self).plan = staticmethod(lambda request: self.shape(bomb, 65536))
        begin = time.monotonic()
        err, most = self.most("Svc.x", huge_max_bytes=4 * MIB,
                              huge_ratio_max=2000)
        self.between(time.monotonic() - begin, 0, 2)
        self.assertIn("ValueError: a huge result of more than", err)
        self.assertLess(most - usual, 16 * MIB if kit.SLOW == 1 else 400 * MIB)
        for args in ((), ("--raw",)):
            err, most = self.most(*args, "Svc.x")
            self.assertIn("expands more than 500 times", err)
            self.assertLess(most - usual,
                            16 * MIB if kit.SLOW == 1 else 400 * MIB)

    def test_endless(self):
        """A stream without end to a client that is stopped by its cap."""
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        head = packer.compress(b"\xc6\xff\xff\xff\xff" + os.urandom(100000))
        head += packer.flush(zlib.Z_SYNC_FLUSH)
        body = packer.compress(os.urandom(60000))
        body += packer.flush(zlib.Z_SYNC_FLUSH)

        def plan(request):
            yield HUGE, head
            for _ in range(2000):
                yield HUGE, body
        type(self).plan = staticmethod(plan)
        begin = time.monotonic()
        call = self.keep(kit.Command(
            "call", "--broker", self.broker.front, "Svc.x",
            huge_max_bytes=8 * MIB, mdp_heartbeat_interval=500))
        self.assertNotEqual(call.wait(), 0)
        self.between(time.monotonic() - begin, 0, 5)
        self.assertIn("a huge result of more than", "".join(call.err))
        # its worker goes on for a while: nobody minds
        self.until(lambda: not self.busy(), 20, "the worker's end")

    def test_more_than_it_keeps(self):
        """A worker that knows no credit, a reader that has stopped: what waits
        is bounded, and the end says why."""
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        head = packer.compress(b"\xc6\x20\x00\x00\x00")
        head += packer.flush(zlib.Z_SYNC_FLUSH)
        body = packer.compress(os.urandom(250000))
        body += packer.flush(zlib.Z_SYNC_FLUSH)
        type(self).plan = staticmethod(
            lambda request: [(HUGE, head)] + [(HUGE, body)] * 200)
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", self.broker.front, "--raw", "Svc.x"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=kit.environment(
                mdp_heartbeat_interval=kit.CALM_MS))
        self.addCleanup(Deaths.reap, call)
        self.assertEqual(len(call.stdout.read(MIB)), MIB)
        self.until(lambda: not self.busy(), 20, "the worker's end")
        self.assertLess(rss(call.pid), 64 * MIB if kit.SLOW == 1
                        else 400 * MIB)
        size = MIB
        for piece in iter(lambda: call.stdout.read(MIB), b""):
            size += len(piece)
        self.assertLess(size, 200 * 250000)
        self.assertNotEqual(call.wait(), 0)
        self.assertIn("StreamOverflowError", call.stderr.read().decode())

    def test_chunks_without_bytes(self):
        """They are accepted, and are no sign of life."""
        value = os.urandom(50000)
        frames = []
        for frame in self.shape(gz(pack(value))):
            frames += [(HUGE, b"")] * 50 + [frame]
        self.both(frames, value)

        def plan(request):
            yield HUGE, gz(pack(value))[:1000]
            for _ in range(40):
                time.sleep(0.1)
                yield HUGE, b""
        for args in ((), ("--raw",)):
            type(self).plan = staticmethod(plan)
            begin = time.monotonic()
            done = kit.run("call", "--broker", self.broker.front, *args,
                           "Svc.x", text=False, reply_timeout=1)
            self.assertEqual(done.code, 3, done.err)
            self.assertLess(time.monotonic() - begin, 3.5 * kit.SLOW)
            self.until(lambda: not self.busy(), 20, "the worker's end")

    def busy(self):
        before = self.sent
        time.sleep(0.2)
        return self.sent != before

    def test_silence(self):
        data = gz(pack(os.urandom(50000)))
        for args in ((), ("--raw",)):
            begin = time.monotonic()
            done = self.call(self.shape(data, end=())[:-5], *args,
                             reply_timeout=1)
            self.assertEqual(done.code, 3, done.err)
            self.between(time.monotonic() - begin, 0.9, 4)
            self.assertIn("no chunk of", done.err)

    def test_exceptions(self):
        data = gz(pack(os.urandom(50000)))
        story = peers.triple("KeyError", "gone")
        self.refused(self.shape(data, end=((HUGE, EXCEPTION, story),)),
                     "KeyError", "gone")
        self.refused([(HUGE, EXCEPTION, story)], "KeyError", "gone")
        self.refused([(HUGE, HUGE_END)], "ValueError", "huge")

    def test_random_damage(self):
        """Whatever comes, the client ends by itself and says why."""
        rng = random.Random(7)
        value = bytes(rng.randrange(256) for _ in range(3000)) * 10
        for _ in range(20):
            data = bytearray(gz(pack(value)))
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(10, len(data))] = rng.randrange(256)
            done = self.call(self.shape(bytes(data), rng.randrange(1, 5000)),
                             "--raw")
            self.assertTrue(done.code or done.out == value, done.err)


# ---- deaths ------------------------------------------------------------------
class Deaths(kit.Case):
    def transfer(self, n=2000 * MIB):
        """A broker, a service, and a call whose reader has stopped."""
        broker = self.keep(kit.OurBroker())
        service = self.keep(kit.OurService(broker.back))
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--raw", "Demo.huge",
             str(n), "random"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=kit.environment(mdp_heartbeat_interval=500))
        self.addCleanup(self.reap, call)
        self.assertEqual(len(call.stdout.read(MIB)), MIB)
        return broker, service, call

    @staticmethod
    def reap(call):
        call.kill()
        call.wait()
        call.stdout.close()
        call.stderr.close()

    def drain(self, call):
        while call.stdout.read(MIB):
            pass
        err = call.stderr.read().decode()
        return call.wait(), err

    def test_sender_killed(self):
        broker, service, call = self.transfer()
        service.kill()
        begin = time.monotonic()
        code, err = self.drain(call)
        self.between(time.monotonic() - begin, 0, 2)
        self.assertEqual((code, err.split(":")[0]), (1, "WorkerLostError"))

    def test_broker_killed(self):
        broker, service, call = self.transfer()
        broker.kill()
        begin = time.monotonic()
        code, err = self.drain(call)
        self.between(time.monotonic() - begin, 0, 4)
        last = err.splitlines()[-1]
        self.assertEqual((code, last.split(":")[0]), (3, "ConnectionLostError"))
        self.idle(service)

    def test_reader_killed(self):
        broker, service, call = self.transfer()
        call.kill()
        call.wait()
        self.idle(service)
        done = kit.run("call", "--broker", broker.front, "Demo.add", "1", "2")
        self.assertEqual(done.out, "3\n")

    def idle(self, command):
        """It does not spin: hardly any CPU within half a second."""
        def cpu():
            with open("/proc/%d/stat" % command.pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        def quiet():
            before = cpu()
            time.sleep(0.5)
            return cpu() - before <= 5
        self.until(quiet, 10, "rest")

    def test_pool_worker_killed(self):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back, huge_policy="compress"))
        done = kit.run("call", "--broker", broker.front, "Demo.pid")
        if done.code:
            raise unittest.SkipTest(done.err)
        n = int(200 * MIB * SCALE)
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--raw", "Demo.huge",
             str(n)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=kit.environment())
        self.addCleanup(self.reap, call)
        digest, size = hashlib.sha256(call.stdout.read(MIB)), MIB
        os.kill(int(done.out), 9)
        while True:
            piece = call.stdout.read(MIB)
            if not piece:
                break
            digest.update(piece)
            size += len(piece)
        self.assertEqual((call.wait(), size), (0, n), call.stderr.read())
        again = kit.run("call", "--broker", broker.front, "--raw", "Demo.huge",
                        str(n), text=False, timeout=60)
        self.assertEqual(hashlib.sha256(again.out).digest(), digest.digest())


class Whole(kit.Case):
    """What comes compressed over tcp is what comes stored over ipc."""
    SIZES = (0, 1, 131071, 131072, 131073, 20 * MIB + 7)

    def digest(self, broker, n, kind):
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--raw", "Demo.huge",
             str(n), kind], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=kit.environment())
        self.addCleanup(Deaths.reap, call)
        digest, size = hashlib.sha256(), 0
        while True:
            piece = call.stdout.read(MIB)
            if not piece:
                break
            digest.update(piece)
            size += len(piece)
        self.assertEqual((call.wait(), size), (0, n), call.stderr.read())
        return digest.hexdigest()

    def test_every_byte(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        over = {}
        for policy, ends in (("compress", []), ("store", [
                "ipc://%s/front" % folder, "ipc://%s/back" % folder])):
            over[policy] = self.keep(kit.OurBroker(*ends))
            self.keep(kit.OurService(over[policy].back, huge_policy=policy))
        sizes = self.SIZES
        if os.environ.get("GATE_LONG"):
            sizes += (1 << 30,)
        for n in sizes:
            for kind in ("json", "hex", "random", "zeros"):
                one = self.digest(over["compress"], n, kind)
                self.assertEqual(one, self.digest(over["store"], n, kind),
                                 "%s of %d" % (kind, n))
                if kind == "zeros" and n <= 32 * MIB:
                    self.assertEqual(
                        one, hashlib.sha256(bytes(n)).hexdigest())


class Memory(kit.Case):
    def test_reader_that_stops(self):
        """Every process stays small, others are served, nothing is lost."""
        n = int(200 * MIB * SCALE)
        wait = 2 * SCALE
        broker = self.keep(kit.OurBroker())
        service = self.keep(kit.OurService(broker.back))
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--raw", "Demo.huge",
             str(n), "random"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=kit.environment())
        self.addCleanup(Deaths.reap, call)
        size = len(call.stdout.read(MIB))
        raw = self.keep(peers.RawClient(broker.front))
        end, times = time.monotonic() + wait, []
        while time.monotonic() < end:
            begin = time.monotonic()
            self.assertEqual(raw.call("Demo", "add", 1, 2), 3)
            times.append(time.monotonic() - begin)
            time.sleep(0.002)
        times.sort()
        self.assertLess(times[int(len(times) * 0.99)], kit.SLOW * (
                0.02 if os.environ.get("GATE_LONG") else 2))
        sizes = {name: rss(pid) for name, pid in
                 (("broker", broker.pid), ("service", service.pid),
                  ("client", call.pid))}
        limit = 64 * MIB if kit.SLOW == 1 else 400 * MIB
        for name, most in sizes.items():
            self.assertLess(most, limit, "%s: %r" % (name, sizes))
        while True:
            piece = call.stdout.read(MIB)
            if not piece:
                break
            size += len(piece)
        self.assertEqual((call.wait(), size), (0, n), call.stderr.read())
        self.assertLess(rss(service.pid), limit)

    def test_stopped_process(self):
        """SIGSTOP: what is under way is bounded by credit."""
        broker, service, call = Deaths.transfer(self)
        import signal
        call.send_signal(signal.SIGSTOP)
        time.sleep(2 * SCALE)
        limit = 64 * MIB if kit.SLOW == 1 else 400 * MIB
        self.assertLess(rss(broker.pid), limit)
        self.assertLess(rss(service.pid), limit)
        call.send_signal(signal.SIGCONT)


Memory.reap = staticmethod(Deaths.reap)

if __name__ == "__main__":
    kit.main()
