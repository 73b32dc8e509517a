# SPDX-License-Identifier: BSD-3-Clause
"""What is wrong with a huge value is named within 100 ms of the chunk that shows
it, and costs the process that takes it less than 16 MiB: results at a client,
arguments at a service, the same kinds for both. (The figures are asserted in the
long form, ten times as much else.)"""
import bz2
import lzma
import os
import random
import re
import select
import subprocess
import time
import zlib

import kit
import peers
from peers import HUGE, HUGE_END, pack, unpack

MIB = 1 << 20
GX1 = b"\xc1GX1"
CAP = 4 * MIB  # huge_max_bytes of those who take it
FLUSH = zlib.Z_SYNC_FLUSH
PAUSE = 0.2 if kit.LONG else 0.05


def ext(**keys):
    return GX1 + pack(keys)


def gz(data, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def cut(data, size=50000):
    return [data[i:i + size] for i in range(0, len(data), size)]


def noise(n):
    return random.Random(n).randbytes(n)


class Kind:
    """Chunks that are harmless, then the one (or END) that shows what is wrong,
    and what the error says of it. size: what is announced to a service. codec:
    what it is in."""

    def __init__(self, before, offending, text, size, codec="gzip"):
        self.before, self.offending = before, offending
        self.text, self.size, self.codec = text, size, codec


def bomb(packed, name):
    """Of 200 MiB, far more than announced."""
    return Kind([], packed[:100000], "more than|expands more", CAP, name)


def damaged(parts, size):
    """The first chunk that zlib stumbles over, or END when there is none."""
    inflate = zlib.decompressobj(31)
    for i, part in enumerate(parts):
        try:
            inflate.decompress(part)
        except zlib.error:
            return Kind(parts[:i], part, ".", size)
    return Kind(parts, HUGE_END, ".", size)


def corrupted(at):
    raw = pack(noise(150000))
    data = bytearray(gz(raw, 0))
    data[at] ^= 0x55
    return damaged(cut(bytes(data)), len(raw))


def reordered():
    raw = pack([noise(40)[:20].hex() + str(i) for i in range(20000)])
    parts = cut(gz(raw), 9000)
    parts[3], parts[4] = parts[4], parts[3]
    return damaged(parts, len(raw))


def truncated(n):
    raw = pack(noise(150000))
    return Kind(cut(gz(raw)[:n]), HUGE_END, ".", len(raw))


def endless_data():
    """Stored noise; the chunk that passes the cap shows it."""
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    first = packer.compress(b"\xc6\xff\xff\xff\xff") + packer.flush(FLUSH)
    block = packer.compress(noise(250000)) + packer.flush(FLUSH)
    n = CAP // 250000
    return Kind([first] + [block] * n, block, "more than", CAP)


def endless_nothing():
    """Empty blocks: much comes, and nothing in it."""
    packer = zlib.compressobj(0, zlib.DEFLATED, 31)
    first = packer.compress(b"\xc6\x00\x00\xff\xff") + packer.flush(FLUSH)
    block = b"\0\0\0\xff\xff" * 40000
    return Kind([first] + [block] * 5, block, "without data", CAP)


def whole(raw):
    """One good stream of bad msgpack: its end shows it."""
    return Kind(cut(gz(raw)), HUGE_END, ".", len(raw))


def nested(head, n=100000):
    return whole(head * n + b"\xc0")


def kinds():
    zeros = bytes(200 * MIB)
    made = [
        ("bomb gzip", bomb(gz(pack(zeros), 9), "gzip")),
        ("bomb bz2", bomb(bz2.compress(pack(zeros[:50 * MIB])), "bz2")),
        ("bomb lzma", bomb(lzma.compress(pack(zeros[:50 * MIB])), "lzma")),
        ("nested lists", nested(b"\x91")),
        ("nested maps", nested(b"\x81\xa1k")),
        ("nested claims of lists", nested(b"\xdd\xff\xff\xff\xff", 20000)),
        ("nested claims of maps", nested(b"\xdf\xff\xff\xff\xff", 20000)),
        ("claim of a bin", whole(b"\xc6\xff\xff\xff\xff" + bytes(1000))),
        ("truncated in the header", truncated(7)),
        ("truncated in the data", truncated(99999)),
        ("truncated in the trailer", truncated(-3)),
        ("nothing at all", Kind([], HUGE_END, "empty", 10)),
        ("corrupted magic", corrupted(0)),
        ("corrupted length of a block", corrupted(11)),
        ("corrupted data", corrupted(60000)),
        ("corrupted checksum", corrupted(-6)),
        ("corrupted size", corrupted(-2)),
        ("reordered", reordered()),
        ("not compressed", Kind([], pack("x" * 50000), ".", 50003)),
        ("two streams", Kind([gz(pack([1]))], gz(pack([1])), "after the end",
                             2)),
        ("endless data", endless_data()),
        ("endless nothing", endless_nothing())]
    return made


KINDS = kinds()
CLASSES = ("ValueError", "NotImplementedError")


def memory(pid, field):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(field + r":\s+(\d+)", f.read()).group(1)) * 1024


class Peak:
    """What a process takes at most from now on, beyond what it has."""

    def __init__(self, pid):
        self.pid = pid
        with open("/proc/%d/clear_refs" % pid, "w") as f:
            f.write("5")
        self.before = self.most = memory(pid, "VmRSS")

    def more(self):
        """As far as it is there still."""
        try:
            self.most = max(self.most, memory(self.pid, "VmHWM"))
        except (OSError, AttributeError):
            pass
        return self.most - self.before


class Refused(kit.Shared):
    def check(self, name, kind, cls, text, seconds, more):
        print("%-28s %5.1f ms %6.2f MiB  %s: %s" % (
            name, seconds * 1000, more / MIB, cls, text[:60].strip()), flush=True)
        self.assertIn(cls, CLASSES, (name, text))
        self.assertRegex(text, kind.text, name)
        self.between(seconds, 0, 0.1, name)
        self.assertLess(more, 16 * MIB if kit.SLOW == 1 else 400 * MIB, name)


class AtClient(Refused):
    """A raw worker answers, `gate call` takes it: as a value, or as bytes."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.worker = cls.share(peers.RawWorker(cls.broker.back))
        cls.worker.register("Svc")

    def call(self, *args, **settings):
        settings = dict({"huge_max_bytes": CAP, "reply_timeout": 30}, **settings)
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", self.broker.front, *args, "Svc.x"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, env=kit.environment(**settings),
            preexec_fn=kit.die_with_the_test)
        self.addCleanup(self.reap, call)
        request = self.worker.expect(peers.REQUEST, 10)
        self.assertIsNotNone(request)
        return call, request

    @staticmethod
    def reap(call):
        if call.returncode is None:
            call.kill()
            call.wait()
        call.stderr.close()

    def refuse(self, name, kind, *args, more=(), **settings):
        call, request = self.call(
            *args, huge_data_compress_module=kind.codec, **settings)
        peak = Peak(call.pid)
        for i, chunk in enumerate(kind.before + [kind.offending]):
            if i == len(kind.before):
                time.sleep(PAUSE)  # what is harmless was taken
                self.assertIsNone(call.poll(), name)
                begin = time.monotonic()
            self.worker.answer(request, HUGE, chunk, *(more if i == 0 else ()))
        end = begin + 20
        while not select.select([call.stderr], [], [], 0.002)[0]:
            peak.more()
            self.assertLess(time.monotonic(), end, name)
        line = os.read(call.stderr.fileno(), 4000).decode()
        seconds = time.monotonic() - begin
        more = peak.more()
        call.wait()
        cls, _, text = line.partition(": ")
        self.check(" ".join((name,) + args), kind, cls, text, seconds, more)

    def test_each_kind_as_a_value(self):
        for name, kind in KINDS:
            self.refuse(name, kind)

    def test_each_kind_as_bytes(self):
        """But what only a value can be: as bytes it means nothing."""
        for name, kind in KINDS:
            if not name.startswith(("nested", "claim", "endless data")):
                self.refuse(name, kind, "--raw")

    def test_more_or_less_than_announced(self):
        """A worker that says the size."""
        raw = pack(noise(150000))
        parts = cut(gz(raw))
        for more, text in ((-1, "more than"), (1, "fewer than")):
            n = len(raw) + more
            self.refuse("announced %+d" % more,
                        Kind(parts[:-1], parts[-1], text, n),
                        more=[ext(hc="gzip", hs=n)])
        self.refuse("announced 1 TiB", Kind([], gz(raw)[:1000],
                                            "huge_max_bytes", 0),
                    more=[ext(hc="gzip", hs=1 << 40)])
        self.refuse("codec not announced", Kind([], gz(raw)[:1000],
                                                "snappy", 0),
                    more=[ext(hc="snappy")])


class AtService(Refused):
    """A raw client asks with them, `gate serve` takes them."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(
            cls.broker.back, huge_max_bytes=CAP, reply_timeout=30))

    def refuse(self, name, kind):
        client = self.keep(peers.RawClient(self.broker.front))
        peak = Peak(self.service.pid)
        rid = peers.new_id()
        to = (b"", peers.MDPC, b"Demo", rid)
        client.send(*to, pack("echo"), b"\x90", b"\x80",
                    ext(ha=kind.size, ac=kind.codec))
        self.assertGreater(unpack(client.reply(rid)[0][4:])["cb"], 0)
        for chunk in kind.before:
            client.send(*to, HUGE, chunk)
        time.sleep(PAUSE)
        begin = time.monotonic()
        client.send(*to, HUGE, kind.offending)
        while True:
            frames = client.reply(rid, 20)
            self.assertIsNotNone(frames, name)
            if not frames[0].startswith(GX1):
                break
        seconds = time.monotonic() - begin
        cls, text, _ = unpack(frames[0])["exception"]
        self.check(name, kind, cls, text, seconds, peak.more())

    def test_each_kind(self):
        for name, kind in KINDS:
            self.refuse(name, kind)
        client = self.keep(peers.RawClient(self.broker.front))
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)


if __name__ == "__main__":
    kit.main()
