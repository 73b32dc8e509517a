# SPDX-License-Identifier: BSD-3-Clause
"""Packed messages (docs/extensions.md) by raw peers: our broker answers whoever
sent one in kind, and everybody else as ever."""
import struct

import kit
import peers
from peers import pack, unpack

GXP = b"\xc1GXP"
ROOM = 1024


def packed(*frames):
    """[the packed frame, frames that follow outside...]."""
    lengths, inside, outside = b"", b"", []
    room = ROOM - len(GXP) - 1 - len(frames)
    for frame in frames:
        need = len(frame) + (4 if len(frame) >= 254 else 0)
        if need > room:
            lengths += b"\xff"
            outside.append(frame)
            continue
        room -= need
        inside += frame
        lengths += (bytes([len(frame)]) if len(frame) < 254
                    else b"\xfe" + struct.pack(">I", len(frame)))
    return [GXP + bytes([len(frames)]) + lengths + inside] + outside


def unpacked(message):
    """The frames of a packed message, without the empty one."""
    head, outside = message[0], list(message[1:])
    assert head[:4] == GXP, message
    at, sizes = 5, []
    for _ in range(head[4]):
        size = head[at]
        at += 1
        if size == 254:
            size, at = struct.unpack(">I", head[at:at + 4])[0], at + 4
        sizes.append(None if size == 255 else size)
    frames = []
    for size in sizes:
        if size is None:
            frames.append(outside.pop(0))
        else:
            frames.append(head[at:at + size])
            at += size
    assert at == len(head) and not outside and at <= ROOM
    return frames


class Packed(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker("ipc://%s/f" % cls.shared_dir))

    def worker(self, name):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register(name)
        return worker

    def client(self):
        return self.keep(peers.RawClient(self.broker.front))

    def call(self, client, service, args, pack_it):
        rid = peers.new_id()
        frames = [peers.MDPC, service, rid, pack("echo"), pack(args)]
        client.send(*(packed(*frames) if pack_it else [b""] + frames))
        return rid

    def test_announced(self):
        info = self.client().call("Gate", "info")
        self.assertIn("GXP", info["ext"])

    def test_each_in_kind(self):
        """Packed client, plain worker; plain client, packed worker."""
        for i, size in enumerate((0, 10, 300, 900, 1010, 2000, 100000)):
            name = b"S%d" % i
            worker, client = self.worker(name.decode()), self.client()
            rid = self.call(client, name, [b"x" * size], True)
            request = worker.expect(peers.REQUEST)
            self.assertEqual(request[-1], pack([b"x" * size]))
            worker.answer(request, peers.result(b"y" * size))
            reply = unpacked(client.recv())
            self.assertEqual(reply[:3], [peers.MDPC, name, rid])
            self.assertEqual(unpack(reply[3])["result"], b"y" * size)
            # the worker speaks packed now: its answer tells that the broker
            # has seen that
            worker.send(*packed(peers.MDPW, b"\x04"))
            rid = self.call(client, name, [], False)
            self.assertIsNotNone(worker.recv())
            worker.send(*packed(peers.MDPW, b"\x03", client.ident, b"", rid,
                                peers.result(0)))
            self.assertIsNotNone(client.reply(rid))
            rid = self.call(client, name, [b"z" * size], False)
            request = unpacked(worker.recv())
            self.assertEqual(request[:2], [peers.MDPW, b"\x02"])
            self.assertEqual(request[-1], pack([b"z" * size]))
            worker.send(*packed(peers.MDPW, b"\x03", request[2], b"", rid,
                                peers.result(None)))
            self.assertIsNone(unpack(client.reply(rid)[0])["result"])

    def test_malformed_is_dropped(self):
        client = self.client()
        for bad in ([GXP], [GXP + b"\x01"], [GXP + b"\x02\x01\x01x"],
                    [GXP + b"\x01\xff"], [GXP + b"\x01\x01x", b"more"],
                    [GXP + b"\x01\xfe\xff\xff\xff\xffx"], packed(b"nobody")):
            client.send(*bad)
        self.assertEqual(client.call("Gate", "keepalive", b"heartbeat"),
                         b"200")


class Off(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker("ipc://%s/f" % cls.shared_dir,
                                             packed=0))

    def test_not_announced(self):
        client = self.keep(peers.RawClient(self.broker.front))
        self.assertNotIn("GXP", client.call("Gate", "info")["ext"])


if __name__ == "__main__":
    kit.main()
