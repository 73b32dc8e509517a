# SPDX-License-Identifier: BSD-3-Clause
"""Rows of items (docs/extensions.md) by raw peers: our service sends them to who
said so, never beyond its credit; our broker hands them on and no others; our
client reads them."""
import struct
import threading

import kit
import peers
from peers import STREAM, END, EXCEPTION, pack, unpack

GXI, GX1 = b"\xc1GXI", b"\xc1GX1"
EXT = b"\x06"


def ext(**keys):
    return GX1 + pack(keys)


def row(*items):
    return b"".join(struct.pack(">H", len(i)) + i for i in items)


def split(frame):
    """The items of a row: at most what we promise."""
    assert len(frame) <= 7000, len(frame)
    items, at = [], 0
    while at < len(frame):
        size, = struct.unpack(">H", frame[at:at + 2])
        assert 0 < size <= 1024 and at + 2 + size <= len(frame)
        items.append(frame[at + 2:at + 2 + size])
        at += 2 + size
    assert 1 < len(items) <= 64, len(items)
    return items


class Rows(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(cls.broker.back))

    def client(self):
        return self.keep(peers.RawClient(self.broker.front))

    def ask(self, client, func, args, service=b"Demo", **keys):
        rid = peers.new_id()
        more = [ext(**keys)] if keys else []
        client.send(b"", peers.MDPC, service, rid,
                    *peers.body(func, args, {}), *more)
        return rid

    def read(self, client, rid, timeout=10.0):
        """(forms, items, how it ended); None: silence."""
        forms, items = [], []
        while True:
            body = client.reply(rid, timeout)
            if body is None or body[1:2] == [END]:
                return forms, items, body and END
            if len(body) == 1 or body[1] == EXCEPTION:
                return forms, items, unpack(body[-1])
            forms.append(body[0])
            self.assertEqual(len(body), 2)
            items += [unpack(i) for i in (
                split(body[1]) if body[0] == GXI else [body[1]])]

    # ---- our service, our broker, a raw client ------------------------------
    def told(self):
        """Its broker has told the service: it sends some."""
        client = self.client()
        self.until(lambda: GXI in self.read(client, self.ask(
            client, "gen", [200], ir=True, ci=1000))[0], 20, "rows")
        return client

    def test_announced(self):
        self.assertIn("GXI", self.client().call("Gate", "info")["ext"])
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.ready("Announced")
        beat = worker.expect(peers.HEARTBEAT, 10, beat=False)
        self.assertTrue(unpack(beat[0][4:])["ir"])

    def test_to_who_said_so(self):
        client = self.told()
        forms, items, end = self.read(client, self.ask(
            client, "gen", [5000], ir=True, ci=10000))
        self.assertEqual((items, end), (list(range(5000)), END))
        self.assertIn(GXI, forms)
        self.assertLess(len(forms), 4000)
        for keys in ({}, {"ci": 10000}):
            forms, items, end = self.read(client, self.ask(
                client, "gen", [300], **keys))
            self.assertEqual((items, end), (list(range(300)), END))
            self.assertEqual(set(forms), {STREAM}, keys)

    def test_one_alone_is_an_item(self):
        client = self.told()
        forms, items, _ = self.read(client, self.ask(
            client, "slow_gen", [3, 50], ir=True, ci=1000))
        self.assertEqual((forms, items), ([STREAM] * 3, [0, 1, 2]))

    def test_never_beyond_the_credit(self):
        client = self.told()
        rid = self.ask(client, "gen", [1000], ir=True, ci=10)
        self.assertEqual(self.read(client, rid, 0.5)[1:],
                         (list(range(10)), None))
        client.send(b"", peers.MDPC, b"Demo", rid, ext(ci=7))
        self.assertEqual(self.read(client, rid, 0.5)[1:],
                         (list(range(10, 17)), None))
        client.send(b"", peers.MDPC, b"Demo", rid, ext(ci=1000))
        self.assertEqual(self.read(client, rid)[1:],
                         (list(range(17, 1000)), END))

    def test_before_what_ends_it(self):
        client = self.told()
        for n in (1, 2, 63, 64, 65, 129):
            _, items, story = self.read(client, self.ask(
                client, "gen_boom", [n], ir=True, ci=1000))
            self.assertEqual(items, list(range(n)))
            self.assertEqual(story[0], "RuntimeError")

    def test_streams_beside_each_other(self):
        client = self.told()
        rids = [self.ask(client, "gen", [500], ir=True, ci=1000)
                for _ in range(8)]
        got = {rid: [] for rid in rids}
        while rids:
            frames = client.recv(10)
            self.assertIsNotNone(frames)
            rid, body = frames[-3], frames[-2:]
            if body[1] == END:
                rids.remove(rid)
                continue
            got[rid] += [unpack(i) for i in (
                split(body[1]) if body[0] == GXI else [body[1]])]
        for items in got.values():
            self.assertEqual(items, list(range(500)))

    # ---- a raw worker -------------------------------------------------------
    def worker(self, name):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register(name)
        self.addCleanup(lambda: worker.socket.closed or worker.command(
            peers.DISCONNECT, b"bye"))
        return worker

    def test_no_row_is_refused(self):
        worker, client = self.worker("Bad"), self.client()
        many = row(*[b"\x01"] * 65)
        for bad in (b"", b"\0", b"\0\0", b"\0\2\1", row(b"\1") + b"\0", many):
            rid = self.ask(client, "f", [], b"Bad")
            request = worker.expect(peers.REQUEST)
            worker.answer(request, GXI, bad)
            body = client.reply(rid)
            self.assertIsNotNone(body, bad)
            self.assertIn(b"ValueError", body[-1], bad)

    def answered(self, name, *bodies):
        """What `gate call` prints of them."""
        worker, done = self.worker(name), []
        thread = threading.Thread(target=lambda: done.append(kit.run(
            "call", "--broker", self.broker.front, name + ".f")))
        thread.start()
        request = worker.expect(peers.REQUEST, 20)
        for body in bodies:
            worker.answer(request, *body)
        thread.join()
        return done[0]

    def test_our_client_reads_them(self):
        items = [pack(i) for i in range(64)]
        done = self.answered("Read", (GXI, row(*items)), (STREAM, pack("one")),
                             (GXI, row(pack("x" * 1000), pack(None))),
                             (STREAM, END))
        self.assertEqual((done.code, done.out.splitlines()), (0, [
            str(i) for i in range(64)] + ['"one"', '"%s"' % ("x" * 1000),
                                          "null"]))

    def test_items_that_are_no_msgpack(self):
        done = self.answered("Odd", (GXI, row(b"\xc1", b"\xc1")), (STREAM, END))
        self.assertNotEqual(done.code, 0)
        self.assertIn("msgpack", done.err)


class Off(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(packed=0))

    def test_not_announced(self):
        client = self.keep(peers.RawClient(self.broker.front))
        self.assertNotIn("GXI", client.call("Gate", "info")["ext"])
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.ready("Off")
        beat = worker.expect(peers.HEARTBEAT, 10, beat=False)
        self.assertNotIn("ir", unpack(beat[0][4:]))


if __name__ == "__main__":
    kit.main()
