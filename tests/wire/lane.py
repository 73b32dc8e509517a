# SPDX-License-Identifier: BSD-3-Clause
"""A lane by hand: the Unix socket, the mapped rings, and the words that go over
ZeroMQ beside them (docs/extensions.md, lanes)."""
import array
import mmap
import os
import socket
import struct
import time

import peers
from peers import MDPC, body, new_id

MAGIC = b"\xc1GXR"
DOWN = MAGIC + b"d"
LINES = 256  # of a ring, before its bytes
NAME = "GXR "


def offer_of(front):
    """What the broker offers to clients, or None."""
    client = peers.RawClient(front)
    try:
        names = client.call("Gate", "info")["ext"]
    finally:
        client.close()
    found = [n for n in names if n.startswith(NAME)]
    return found[0][len(NAME):] if found else None


def whole(*frames):
    """A packed message with no frame outside."""
    lengths = b"".join(bytes([len(f)]) if len(f) < 254
                       else b"\xfe" + struct.pack(">I", len(f))
                       for f in frames)
    return b"\xc1GXP" + bytes([len(frames)]) + lengths + b"".join(frames)


def frames_of(record):
    assert record[:4] == b"\xc1GXP", record
    n, at, sizes = record[4], 5, []
    for _ in range(n):
        size, at = record[at], at + 1
        if size == 254:
            size, at = struct.unpack(">I", record[at:at + 4])[0], at + 4
        sizes.append(size)
    frames = []
    for size in sizes:
        frames.append(record[at:at + size])
        at += size
    assert at == len(record)
    return frames


class Lane:
    """A peer's end. Each step by itself, so that tests can leave some out."""

    def __init__(self, offer):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(peers.PATIENCE)
        self.socket.connect("\0" + offer.split(" ")[3])
        self.map = None

    def hello(self):
        said = self.socket.recv(100)
        assert said[:5] == MAGIC + b"h" and len(said) == 21, said
        self.nonce = said[5:]
        return self

    def ask(self, peer, nonce=None):
        peer.send(MAGIC + b"a" + (nonce or self.nonce))
        return self

    def memory(self):
        """False: it was refused."""
        said, control, _, _ = self.socket.recvmsg(100, socket.CMSG_SPACE(4))
        if not said:
            return False
        assert said[:5] == MAGIC + b"m", said
        self.fd = array.array("i", control[0][2])[0]
        self.ring = struct.unpack("=Q", said[5:])[0]
        self.map = mmap.mmap(self.fd, 2 * (LINES + self.ring))
        self.into, self.out = 0, LINES + self.ring  # we are the second
        self.read = self.written = 0
        return True

    def up(self, peer):
        """Our last by ZeroMQ; and the broker's."""
        peer.send(MAGIC + b"u")
        while True:
            message = peer.recv(5)
            assert message is not None, "the broker does not come over"
            if message == [MAGIC + b"u"]:
                return self

    def open(self, peer):
        self.hello().ask(peer)
        assert self.memory()
        return self.up(peer)

    def room(self):
        return self.ring - (self.written - self.word(self.out + 64))

    def word(self, at, size=8):
        return int.from_bytes(self.map[at:at + size], "little")

    def write(self, at, value, size=8):
        self.map[at:at + size] = (value % (1 << 8 * size)).to_bytes(
            size, "little")

    def bell(self):
        try:
            self.socket.send(b"\0", socket.MSG_DONTWAIT)
        except OSError:
            pass  # rung already, or nobody is there

    def put_raw(self, data, length=None):
        """Bytes as a record; with another length than they have."""
        need = (4 + len(data) + 7) // 8 * 8
        at = self.written % self.ring
        if at + need > self.ring:
            self.write(self.out + LINES + at, 0xffffffff, 4)
            self.written += self.ring - at
            at = 0
        at += self.out + LINES
        self.write(at, len(data) if length is None else length, 4)
        self.map[at + 4:at + 4 + len(data)] = data
        self.written += need
        self.write(self.out, self.written)
        self.bell()

    def put(self, *frames):
        self.put_raw(whole(*frames))

    def down(self):
        """Our last record, and the broker's end behind it."""
        self.put_raw(DOWN)
        return self.ended()

    def take(self, timeout=5.0):
        """The frames of the next message, DOWN, None: none came."""
        end = time.monotonic() + peers.patient(timeout)
        record, more = b"", True
        while more:
            while self.word(self.into) == self.read:
                if time.monotonic() > end:
                    return None
                time.sleep(0.001)
            at = self.into + LINES + self.read % self.ring
            length = self.word(at, 4)
            if length == 0xffffffff:
                self.read += self.ring - self.read % self.ring
                continue
            more = length >> 31
            length &= 0x7fffffff
            record += self.map[at + 4:at + 4 + length]
            self.read += (4 + length + 7) // 8 * 8
            self.write(self.into + 64, self.read)
            self.bell()
        return record if record == DOWN else frames_of(record)

    def ended(self, timeout=5.0):
        """The broker has closed its end."""
        self.socket.settimeout(peers.patient(timeout))
        try:
            while self.socket.recv(100):
                pass
            return True
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()
        if self.map:
            self.map.close()
            self.map = os.close(self.fd)


class LaneClient(peers.RawClient):
    def lane(self, offer):
        self.way = Lane(offer).open(self)
        return self

    def call_by_lane(self, service, func, *args, timeout=5.0):
        rid = new_id()
        self.way.put(MDPC, service.encode(), rid, *body(func, args, {}))
        while True:
            got = self.way.take(timeout)
            if got is None or got[2] == rid:
                return got and peers.unpack(got[3])["result"]

    def by_zeromq(self):
        """A packed message: in kind, as what we said last was."""
        message = self.recv(5)
        assert message and len(message) == 1, message
        return frames_of(message[0])

    def close(self, linger=0):
        if hasattr(self, "way"):
            self.way.close()
        super().close(linger)
