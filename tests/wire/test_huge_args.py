# SPDX-License-Identifier: BSD-3-Clause
"""Arguments in chunks on the wire: nobody who has not announced that he takes
them sees any, and what peers send that know of them is held to the rules."""
import os
import struct
import tempfile
import time
import zlib

import kit
import peers
from peers import HUGE, HUGE_END, REQUEST, pack, unpack

MIB = 1 << 20
GX1 = b"\xc1GX1"
EXT = b"\x06"


def ext(**keys):
    return GX1 + pack(keys)


def keys(frame):
    assert frame.startswith(GX1), frame
    return unpack(frame[4:])


def gz(data):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


class Client(peers.RawClient):
    """Speaks of huge arguments as docs/extensions.md says."""

    def head(self, service, func, **more):
        rid = peers.new_id()
        self.send(b"", peers.MDPC, service, rid, pack(func), b"\x90", b"\x80",
                  ext(**more))
        return rid

    def chunk(self, service, rid, data):
        self.send(b"", peers.MDPC, service, rid, HUGE, data)

    def cancel(self, service, rid):
        self.send(b"", peers.MDPC, service, rid, ext(x=True))


class Strangers(kit.Case):
    """A broker of ours, workers that announced nothing."""

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker())

    def test_refused_at_once_and_by_name(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc")
        client = self.keep(Client(self.broker.front))
        for size in (100, 40 * MIB, 2 ** 62):
            begin = time.monotonic()
            rid = client.head(b"Svc", "f", ha=size, hk=1)
            body = client.reply(rid)
            self.between(time.monotonic() - begin, 0, 1)
            story = unpack(body[0])["exception"]
            self.assertEqual(story[0], "ValueError")
            self.assertIn("msgpack_bin_max", story[1])
            self.assertIn("33554432", story[1])
            self.assertIn(str(size + 1), story[1])
        self.assertEqual(worker.idle(0.2), [])

    def test_a_file(self):
        """What fits into a message goes as one, to anybody; beyond it the error
        names the limit."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc")
        data = os.urandom(40 * MIB)
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            done = kit.run("call", "--broker", self.broker.front, "Svc.f",
                           "--file", f.name)
            self.assertEqual(done.code, 1, done.err)
            self.assertIn("ValueError", done.err)
            self.assertIn("33554432", done.err)
            self.assertIn("msgpack_bin_max", done.err)
            self.assertEqual(worker.idle(0.1), [])
            f.truncate(30 * MIB)
            call = self.keep(kit.Command("call", "--broker", self.broker.front,
                                         "Svc.f", "7", "--file", f.name))
            request = worker.expect(REQUEST, 20)
            self.assertEqual(unpack(request[4]), [7, data[:30 * MIB]])
            worker.answer(request, peers.result(3))
            self.assertEqual(call.wait(), 0)

    def test_half_announced_is_not_announced(self):
        """GX1 alone, without h: as before."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc")
        worker.command(peers.HEARTBEAT, ext())
        time.sleep(0.1)
        client = self.keep(Client(self.broker.front))
        rid = client.head(b"Svc", "f", ha=5)
        self.assertEqual(unpack(client.reply(rid)[0])["exception"][0],
                         "ValueError")

    def announced(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc")
        worker.command(peers.HEARTBEAT, ext(h=True))
        time.sleep(0.1)
        return worker

    def test_chunks_and_credit_pass(self):
        worker = self.announced()
        client = self.keep(Client(self.broker.front))
        rid = client.head(b"Svc", "f", ha=10)
        request = worker.expect(REQUEST)
        self.assertEqual(request[2], rid)
        self.assertEqual(keys(request[-1])["ha"], 10)
        worker.command(EXT, request[0], b"", rid, ext(cb=1000))
        self.assertEqual(keys(client.reply(rid)[0]), {"cb": 1000})
        client.chunk(b"Svc", rid, b"abc")
        self.assertEqual(worker.expect(EXT)[2:], [rid, HUGE, b"abc"])
        client.chunk(b"Svc", rid, HUGE_END)
        self.assertEqual(worker.expect(EXT)[2:], [rid, HUGE, HUGE_END])
        worker.answer(request, peers.result(7))
        self.assertEqual(unpack(client.reply(rid)[0])["result"], 7)

    def test_chunks_about_nothing_are_dropped(self):
        worker = self.announced()
        client = self.keep(Client(self.broker.front))
        client.chunk(b"Svc", peers.new_id(), b"abc")
        plain = client.request("Svc", "f")
        request = worker.expect(REQUEST)
        client.chunk(b"Svc", plain, b"abc")  # that call has its arguments
        worker.command(EXT, request[0], b"", plain, ext(cb=5))
        self.assertEqual(worker.idle(0.3), [])
        worker.answer(request, peers.result(1))
        self.assertEqual(unpack(client.reply(plain)[0])["result"], 1)

    def test_credit_for_nobody_is_cancelled(self):
        worker = self.announced()
        client = self.keep(Client(self.broker.front))
        rid = client.head(b"Svc", "f", ha=10)
        request = worker.expect(REQUEST)
        client.cancel(b"Svc", rid)
        self.assertEqual(keys(worker.expect(EXT)[-1]), {"x": True})
        for _ in range(2):
            worker.command(EXT, request[0], b"", rid, ext(cb=1000))
            self.assertEqual(keys(worker.expect(EXT)[-1]), {"x": True})
        worker.answer(request, peers.result(7))
        worker.command(EXT, request[0], b"", rid, ext(cb=1000))
        self.assertEqual(keys(worker.expect(EXT)[-1]), {"x": True})

    def test_worker_lost(self):
        worker = self.announced()
        client = self.keep(Client(self.broker.front))
        rid = client.head(b"Svc", "f", ha=10)
        worker.expect(REQUEST)
        worker.close()
        self.assertEqual(unpack(client.reply(rid, 5)[0])["exception"][0],
                         "WorkerLostError")

    def test_client_gone_while_it_sends(self):
        """Credit that cannot be handed on ends the call at the worker."""
        worker = self.announced()
        client = self.keep(Client(self.broker.front))
        rid = client.head(b"Svc", "f", ha=10)
        request = worker.expect(REQUEST)
        client.close()
        time.sleep(0.3)
        worker.command(EXT, request[0], b"", rid, ext(cb=0))
        self.assertEqual(keys(worker.expect(EXT)[-1]), {"x": True})


class ToOurs(kit.Shared):
    """Our service, a raw client."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(
            cls.broker.back, huge_max_bytes=8 * MIB, reply_timeout=2))

    def client(self):
        return self.keep(Client(self.broker.front))

    def story(self, body):
        return unpack(body[0])["exception"]

    def begin(self, client, raw, func="echo", **more):
        more = dict({"ha": len(raw), "ac": "gzip"}, **more)
        rid = client.head(b"Demo", func, **more)
        body = client.reply(rid)
        self.assertTrue(body[0].startswith(GX1), body)
        self.assertGreater(keys(body[0])["cb"], 0)
        return rid

    def last(self, client, rid):
        while True:
            body = client.reply(rid, 10 * kit.SLOW)
            self.assertIsNotNone(body)
            if not body[0].startswith(GX1):
                return body

    def send(self, data, raw, **more):
        client = self.client()
        rid = self.begin(client, raw, **more)
        for at in range(0, len(data), 60000):
            client.chunk(b"Demo", rid, data[at:at + 60000])
        client.chunk(b"Demo", rid, HUGE_END)
        return self.last(client, rid)

    def test_as_if_plain(self):
        value = "x" * 300000
        raw = pack([value])
        body = self.send(gz(raw), raw)
        self.assertEqual(unpack(body[0])["result"]["args"], [value])
        kwargs = pack({})
        body = self.send(gz(raw + kwargs), raw, hk=len(kwargs))
        self.assertEqual(unpack(body[0])["result"]["args"], [value])

    def test_refused_before_anything_is_sent(self):
        client = self.client()
        for word, more in (("huge_max_bytes", dict(ha=9 * MIB)),
                           ("huge_max_bytes", dict(ha=MIB, hk=8 * MIB)),
                           ("huge_max_bytes", dict(ha=2 ** 63 - 1, hk=2 ** 62)),
                           ("snappy", dict(ha=5, ac="snappy"))):
            rid = client.head(b"Demo", "echo", **more)
            story = self.story(client.reply(rid))
            self.assertIn(story[0], ("ValueError", "NotImplementedError"))
            self.assertIn(word, story[1])
        rid = client.head(b"Demo", "nothing", ha=5)
        self.assertEqual(self.story(client.reply(rid))[0], "AttributeError")

    def test_what_is_wrong_is_named(self):
        raw = pack(["x" * 200000])
        data = gz(raw)
        bad = bytearray(data)
        bad[len(bad) // 2] ^= 0x55
        for sent, size in ((data[:-9], len(raw)), (bytes(bad), len(raw)),
                           (data, len(raw) - 1), (data, len(raw) + 1),
                           (raw, len(raw)), (b"", len(raw)),
                           (data + data, len(raw)),
                           (gz(bytes(100 * MIB)), 1000)):
            body = self.send(sent, raw, ha=size)
            self.assertEqual(self.story(body)[0], "ValueError", body)
        nested = b"\x91" * 100000 + b"\xc0"
        self.assertEqual(self.story(self.send(gz(nested), nested))[0],
                         "ValueError")
        done = kit.run("call", "--broker", self.broker.front, "Demo.add", "1",
                       "2")
        self.assertEqual(done.out, "3\n")

    def test_more_than_its_credit(self):
        """Random bytes without end and without asking: refused, bounded."""
        client = self.client()
        rid = self.begin(client, b"x" * (8 * MIB))
        store = zlib.compressobj(0, zlib.DEFLATED, 31)
        head = store.compress(bytes(MIB)) + store.flush(zlib.Z_SYNC_FLUSH)
        client.chunk(b"Demo", rid, head)
        for _ in range(100):
            client.chunk(b"Demo", rid, struct.pack("<BHH", 0, 0, 0xffff)
                         * 40000)
        body = self.last(client, rid)
        self.assertIn(self.story(body)[0], ("ValueError", "BusyWorkerError"))

    def test_silence_ends_it(self):
        client = self.client()
        raw = pack(["x" * 200000])
        rid = self.begin(client, raw)
        begin = time.monotonic()
        client.chunk(b"Demo", rid, gz(raw)[:100])
        body = self.last(client, rid)
        self.assertEqual(self.story(body)[0], "TimeoutError")
        self.between(time.monotonic() - begin, 1.5, 6)


class Room(kit.Case):
    """Who may have how much of a service's room for huge arguments: 32 MiB
    here, 24 for all and 8 for the oldest."""

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker())
        self.service = self.keep(kit.OurService(
            self.broker.back, huge_max_bytes=8 * MIB, heartbeat=500))

    def heads(self, n, func="blob"):
        client = self.keep(Client(self.broker.front))
        return client, [client.head(b"Demo", func, ha=8 * MIB, ac="gzip")
                        for _ in range(n)]

    def honest(self, n):
        """As the command: one argument of n bytes, more than goes plain."""
        with tempfile.NamedTemporaryFile() as f:
            f.write(os.urandom(n))
            f.flush()
            return kit.run("call", "--broker", self.broker.front, "Demo.blob",
                           "--file", f.name, timeout=40 * kit.SLOW,
                           message_bytes_max=MIB)

    def test_heads_take_no_room(self):
        """A head costs what has come of it, and little ahead."""
        for _ in range(4):
            client, rids = self.heads(1)
            self.assertGreater(keys(client.reply(rids[0])[0])["cb"], 0)
        done = self.honest(7 * MIB)
        self.assertEqual((done.out, done.code), ("%d\n" % (7 * MIB), 0))

    def test_who_stands_still_loses_it(self):
        """All room is taken by heads, and by values that lack their end: the
        honest one waits for it, and has it after two heartbeats or so."""
        client, rids = self.heads(40)
        for _ in range(4):
            other, (rid,) = self.heads(1)
            other.chunk(b"Demo", rid, gz(bytes(7 * MIB))[:-8])
        done = self.honest(7 * MIB)
        self.assertEqual((done.out, done.code), ("%d\n" % (7 * MIB), 0))
        said = set()
        for rid in rids:
            body = client.reply(rid, 0.2)
            while body and body[0].startswith(GX1):
                body = client.reply(rid, 0.2)
            if body:
                said.add(tuple(unpack(body[0])["exception"])[0])
        self.assertEqual(said, {"BusyWorkerError"})

    def test_before_credit(self):
        """Chunks of one that has no room yet are a mistake."""
        client, rids = self.heads(60)
        client.chunk(b"Demo", rids[-1], b"abc")
        body = client.reply(rids[-1], 10 * kit.SLOW)
        self.assertEqual(unpack(body[0])["exception"][0], "ValueError", body)


class PythonBroker(kit.Case):
    def test_refused_by_the_client_itself(self):
        """A broker that knows nothing: no call is made."""
        broker = peers.Broker(self.ipc("f"), self.ipc("b"), hb=0.3)
        with peers.Background(broker):
            worker = self.keep(peers.RawWorker(self.ipc("b")))
            worker.register("Svc")
            done = kit.run("call", "--broker", self.ipc("f"), "Svc.f",
                           "x" * 100000, message_bytes_max=50000)
            with tempfile.NamedTemporaryFile() as f:
                f.write(bytes(100000))
                f.flush()
                filed = kit.run("call", "--broker", self.ipc("f"), "Svc.f",
                                "--file", f.name, message_bytes_max=50000)
            self.assertEqual(worker.idle(0.1), [])
        for ended in (done, filed):
            self.assertNotEqual(ended.code, 0)
            self.assertIn("ValueError", ended.err)
            self.assertIn("message_bytes_max", ended.err)


if __name__ == "__main__":
    kit.main()
