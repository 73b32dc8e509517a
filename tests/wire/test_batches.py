# SPDX-License-Identifier: BSD-3-Clause
"""Batches (docs/extensions.md) by raw peers: our broker reads them of anybody
and sends them to those who did; our service and client send them to a broker
that announced them, and to no other."""
import struct
import threading

import zmq

import kit
import peers
from peers import pack, unpack
from test_packed import packed, unpacked

GXB, GX1 = b"\xc1GXB", b"\xc1GX1"


def batch(*messages):
    """Of packed messages, each in one frame."""
    out = GXB
    for message in messages:
        size = len(message)
        out += (bytes([size]) if size < 254
                else b"\xfe" + struct.pack(">I", size)) + message
    return out


def split(frame):
    """The messages of a batch, as frames; at most what we promise."""
    assert frame[:4] == GXB and len(frame) <= 8000, frame[:40]
    at, messages = 4, []
    while at < len(frame):
        size, at = frame[at], at + 1
        if size == 254:
            size, at = struct.unpack(">I", frame[at:at + 4])[0], at + 4
        assert size < 254 or frame[at - 5] == 254
        assert at + size <= len(frame)
        messages.append(unpacked([frame[at:at + size]]))
        at += size
    assert 0 < len(messages) <= 64
    return messages


def messages(frames):
    """Whatever came, without routing id: messages without the empty frame."""
    if frames[0][:4] == GXB:
        assert len(frames) == 1, frames
        return split(frames[0])
    return [frames[1:] if frames[0] == b"" else unpacked(frames)]


class Broker(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker("ipc://%s/f" % cls.shared_dir))

    def worker(self, name):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register(name)
        # or the broker would wait for its calls at the end
        self.addCleanup(lambda: worker.socket.closed or worker.command(
            peers.DISCONNECT, b"bye"))
        return worker

    def client(self):
        return self.keep(peers.RawClient(self.broker.front))

    def stats(self, name):
        return self.client().call("Gate", "stats")[name]

    def request(self, name, args=(), func="echo"):
        rid = peers.new_id()
        return rid, packed(peers.MDPC, name, rid, pack(func), pack(list(args)))

    def gather(self, peer, n, batches):
        """n messages, no heartbeats; batches gets the number in each batch."""
        got = []
        while len(got) < n:
            frames = peer.recv(10)
            self.assertIsNotNone(frames, "%d of %d came" % (len(got), n))
            if frames[0][:4] == GXB:
                batches.append(len(split(frames[0])))
            got += [m for m in messages(frames)
                    if m[:2] != [peers.MDPW, peers.HEARTBEAT]]
        self.assertEqual(len(got), n)
        return got

    def test_announced(self):
        info = self.client().call("Gate", "info")
        self.assertIn("GXB", info["ext"])
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.ready("Announced")
        beat = worker.expect(peers.HEARTBEAT, 10, beat=False)
        self.assertEqual(beat[0][:4], GX1)
        said = unpack(beat[0][4:])
        self.assertTrue(said["p"] and said["pb"])

    def test_both_ways(self):
        """A batch of calls; the answers come in their order, some together
        when the worker's came together."""
        worker, client = self.worker("Both"), self.client()
        calls = [self.request(b"Both", [i]) for i in range(16)]
        client.send(batch(*[m[0] for _, m in calls]))
        sent, batches = [], []
        for rid, _ in calls: # the worker is plain: one by one, in frames
            request = worker.expect(peers.REQUEST)
            self.assertEqual(request[2], rid)
            sent.append(packed(peers.MDPW, b"\x03", request[0], b"", rid,
                               peers.result(len(sent)))[0])
        worker.send(batch(*sent))
        got = self.gather(client, 16, batches)
        self.assertEqual([m[2] for m in got], [rid for rid, _ in calls])
        self.assertEqual([unpack(m[3])["result"] for m in got],
                         list(range(16)))
        self.assertTrue(batches and sum(batches) >= 14, batches)
        # the worker has sent a batch: now requests come to it in some
        batches = []
        client.send(batch(*[m[0] for _, m in calls[:12]]))
        got = self.gather(worker, 12, batches)
        self.assertEqual([m[4] for m in got], [r for r, _ in calls[:12]])
        self.assertTrue(batches and sum(batches) >= 10, batches)

    def test_order_with_what_goes_alone(self):
        worker, client = self.worker("Order"), self.client()
        worker.send(batch(packed(peers.MDPW, b"\x04")[0]))
        sizes = [10, 10, 10, 2000, 10, 900, 900, 900, 100000, 10, 10]
        rids = []
        for size in sizes:
            rid, message = self.request(b"Order", [b"x" * size])
            client.send(*([batch(message[0])] if len(message) == 1
                          else message))
            rids.append(rid)
        got = self.gather(worker, len(sizes), [])
        self.assertEqual([m[4] for m in got], rids)
        self.assertEqual([len(unpack(m[6])[0]) for m in got], sizes)

    def test_nobody_else_sees_any(self):
        """Packed and plain peers between those that batch."""
        worker = self.worker("Else")
        kinds = {}
        for kind in ("plain", "packed", "batched"):
            kinds[kind] = client = self.client()
            for i in range(8):
                _, message = self.request(b"Else", [i])
                client.send(*{"plain": [b""] + unpacked(message),
                              "packed": message,
                              "batched": [batch(message[0])]}[kind])
        for _ in range(24):
            request = worker.expect(peers.REQUEST)
            worker.answer(request, peers.result(0))
        for kind, client in kinds.items():
            got, forms = 0, {"plain": (b"",), "packed": (b"\xc1GXP",),
                             "batched": (b"\xc1GXP", GXB)}[kind]
            while got < 8:
                frames = client.recv(10)
                self.assertIn(frames[0][:4], forms)
                got += len(messages(frames))

    def test_back_to_frames(self):
        """A client that speaks frame by frame again is answered so."""
        worker, client = self.worker("Back"), self.client()
        for form in (lambda m: [batch(m[0])], lambda m: [b""] + unpacked(m)):
            sent = []
            for i in range(6):
                rid, message = self.request(b"Back", [i])
                client.send(*form(message))
                request = messages(worker.recv(10))[0]
                self.assertEqual(request[4], rid)
                sent.append(packed(peers.MDPW, b"\x03", request[2], b"", rid,
                                   peers.result(i))[0])
            worker.send(batch(*sent))
            got, frames = [], []
            while len(got) < 6:
                frames = client.recv(10)
                got += messages(frames)
        self.assertEqual(frames[0], b"")

    def test_malformed(self):
        """What is right before the wrong place counts, what follows does not,
        and the peer goes on."""
        worker, client = self.worker("Bad"), self.client()
        before = self.stats("malformed")
        one = packed(peers.MDPC)[0]
        bad = [
            [GXB], [GXB + b"\x06"], [GXB + b"\x00"], [GXB + b"\xff" + one],
            [GXB + b"\xfe\x00\x00"], [GXB + b"\xfe\xff\xff\xff\xff" + one],
            [batch(b"MDPC01")], [batch(batch(one))],
            [GXB + bytes([len(one) + 1]) + one],
            [batch(b"\xc1GXP\x02\x01\x01x")],       # no packed message
            [batch(b"\xc1GXP\x02\xff\x01x"), b"outside"],
            [batch(b"\xc1GXP\x02\xff\x01x")],       # with a frame outside
            [batch(one), b"more"],
            [batch(*[packed(b"x" * 1000)[0]] * 8)], # more than 8,000 bytes
        ]
        for frames in bad:
            client.send(*frames)
        good = []
        for frames in bad[:6]:
            rid, message = self.request(b"Bad", ["x"])
            good.append(rid)
            client.send(batch(message[0]) + frames[0][4:])
        # two of these end right behind the good one: nothing is wrong there
        for rid in good:
            self.assertEqual(worker.expect(peers.REQUEST)[2], rid)
        self.assertEqual(client.call("Gate", "keepalive", b"heartbeat"),
                         b"200")
        self.assertGreaterEqual(self.stats("malformed") - before,
                                len(bad) + len(good) - 1)

    def test_too_many(self):
        worker, client = self.worker("Many"), self.client()
        calls = [packed(peers.MDPC, b"Many", b"%d" % i, pack("f"))[0]
                 for i in range(70)]
        client.send(batch(*calls))
        rid, message = self.request(b"Many")
        client.send(*message)
        got = [worker.expect(peers.REQUEST)[2] for _ in range(65)]
        self.assertEqual(got, [b"%d" % i for i in range(64)] + [rid])

    def test_of_a_worker_that_dies(self):
        """Answers of a last batch arrive; what it had not answered is lost at
        once."""
        worker, client = self.worker("Dies"), self.client()
        worker.send(batch(packed(peers.MDPW, b"\x04", GX1 + pack({}))[0]))
        calls = [self.request(b"Dies", [i]) for i in range(4)]
        client.send(batch(*[m[0] for _, m in calls]))
        got = self.gather(worker, 4, [])
        worker.send(batch(*[packed(peers.MDPW, b"\x03", m[2], b"", m[4],
                                   peers.result(1))[0] for m in got[:3]]))
        self.gather(client, 3, [])
        worker.close()
        last = self.gather(client, 1, [])[0]
        self.assertEqual(last[2], calls[3][0])
        self.assertIn("WorkerLostError", repr(last))


class Off(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker("ipc://%s/f" % cls.shared_dir,
                                             packed=0))

    def test_not_announced(self):
        client = self.keep(peers.RawClient(self.broker.front))
        self.assertNotIn("GXB", client.call("Gate", "info")["ext"])


class Router(peers.Raw):
    """A raw broker's socket. Everything that was in a batch is in batches,
    whatever came is in seen, by the first bytes of its frame."""

    def __init__(self, tag, announce):
        super().__init__(zmq.ROUTER, "tcp://127.0.0.1:*", bind=True)
        self.tag, self.announce, self.seen = tag, announce, []

    def take(self, timeout=10.0):
        """(identity, messages) without tag; None."""
        frames = self.within(timeout * kit.SLOW)
        if frames is None:
            return None
        self.seen.append(bytes(frames[1][:4]))
        got = messages(frames[1:])
        assert all(m[0] == self.tag for m in got), got
        return frames[0], [m[1:] for m in got]


class Ours(kit.Case):
    """Towards a raw broker."""

    def service(self, hello):
        router = self.keep(Router(peers.MDPW, hello))
        service = self.keep(kit.OurService(router.endpoint, ready=False))
        ident, got = router.take(20)
        self.assertEqual(got[0][0], peers.READY)
        router.send(ident, b"", peers.MDPW, peers.HEARTBEAT, hello)
        service.ready()
        self.addCleanup(service.kill) # this broker lets nobody drain
        router.ident = ident
        self.assertEqual(router.take()[1][0][0], peers.HEARTBEAT)
        return router

    def ask(self, router, n):
        """n calls in one batch; the answers' ids in their order."""
        calls = [packed(peers.MDPW, b"\x02", b"c", b"", b"id%d" % i,
                        *peers.body("add", [1, i], {}))[0] for i in range(n)]
        router.seen.clear()
        router.send(router.ident, batch(*calls))
        got = []
        while len(got) < n:
            _, some = router.take()
            got += [m[3] for m in some if m[0] == peers.REPLY]
        self.assertEqual(got, [b"id%d" % i for i in range(n)])

    def test_service_answers_in_batches(self):
        router = self.service(GX1 + pack({"p": True, "pb": True}))
        self.assertEqual(router.seen[-1], GXB)  # the first one is, always
        for _ in range(6):  # a method that is quick is known to be only then
            self.ask(router, 16)
        self.until(lambda: self.ask(router, 16) or GXB in router.seen, 20,
                   "a batch of answers")

    def test_service_does_not_where_none_are_announced(self):
        router = self.service(GX1 + pack({"p": True}))
        for _ in range(8):
            self.ask(router, 16)
            self.assertNotIn(GXB, router.seen)

    def test_service_drops_what_is_malformed(self):
        router = self.service(GX1 + pack({"p": True, "pb": True}))
        for bad in (GXB, GXB + b"\x07x", batch(b"MDPW01"),
                    batch(b"\xc1GXP\x09"), GXB + b"\xff"):
            router.send(router.ident, bad)
        self.ask(router, 3)

    def called(self, names):
        """What `gate call` has said after Gate.info: the forms."""
        router = self.keep(Router(peers.MDPC, None))
        done = []
        thread = threading.Thread(target=lambda: done.append(kit.run(
            "call", "--broker", router.endpoint, "Demo.add", "1", "2")))
        thread.start()
        while not done:
            got = router.take(0.05)
            if got is None:
                continue
            ident, some = got
            for service, rid, *body in some:
                value = 3 if service != b"Gate" else {
                    "my_id": b"x" * 16, "services": ["Demo"], "ext": names}
                if service == b"Gate":
                    router.seen.clear()
                router.send(ident, b"", peers.MDPC, service, rid,
                            peers.result(value))
        thread.join()
        self.assertEqual(done[0].code, 0, done[0].err)
        return set(router.seen)

    def test_client_hears_of_it(self):
        self.assertNotIn(GXB, self.called(["GX1"]))
        self.assertNotIn(GXB, self.called(["GX1", "GXP"]))
        self.assertNotIn(GXB, self.called(["GX1", "GXB"]))


if __name__ == "__main__":
    kit.main()
