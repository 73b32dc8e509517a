# SPDX-License-Identifier: BSD-3-Clause
"""nats-servers on loopback, brokers that are joined over them, and somebody who
lies to those."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import kit
import msgpack

SERVER = shutil.which("nats-server") or "/usr/sbin/nats-server"
LIBRARY = os.path.join(os.path.dirname(kit.GATE), "libgaterpc-uplink-nats.so")
BEAT_MS = 1000  # of tests in which a broker is to be lost
CALM_MS = 4000  # of others: a machine that stands still is no partition


def missing():
    if not os.access(SERVER, os.X_OK):
        return "nats-server is not installed"
    if not os.path.exists(LIBRARY):
        return "built without libnats: no " + os.path.basename(LIBRARY)
    return None


class Nats:
    """A nats-server; routes make it one of a cluster."""

    def __init__(self, port=None, cluster=None, routes=(), args=()):
        self.port = port or kit.free_port()
        self.args = [SERVER, "-a", "127.0.0.1", "-p", str(self.port), *args]
        if cluster:
            self.args += ["--cluster_name", "t", "--cluster",
                          "nats://127.0.0.1:%d" % cluster, "--routes",
                          ",".join("nats://127.0.0.1:%d" % r for r in routes)]
        self.url = "nats://127.0.0.1:%d" % self.port
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=kit.die_with_the_test)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()


class Joined(kit.Command):
    """`gate broker --uplink` on free endpoints."""

    def __init__(self, urls, name, *options, **settings):
        settings.setdefault("mdp_heartbeat_interval", kit.CALM_MS)
        settings.setdefault("uplink_heartbeat_ms", CALM_MS)
        super().__init__("broker", "--frontend", "tcp://127.0.0.1:*",
                         "--backend", "tcp://127.0.0.1:*", "--uplink", urls,
                         "--uplink-name", name, *options, **settings)
        line = self.line()
        found = re.fullmatch(
            r"ready frontend=(\S+) backend=(\S+) uplink=(\S+)", line)
        if not found:
            raise AssertionError("not the ready line: %r" % line)
        self.front, self.back, self.called = found.groups()

    def services(self):
        return kit.run("services", "--broker", self.front).out.split()


def call(broker, *args, **settings):
    return kit.run("call", "--broker", broker.front, *args, **settings)


def stats(broker):
    done = call(broker, "Gate.stats")
    return json.loads(done.out) if done.code == 0 else {"uplink": {}}


def pair(case, url, **settings):
    """A has the callers, B the service."""
    a, b = (case.keep(Joined(url, n, **settings)) for n in "AB")
    case.keep(kit.OurService(b.back))
    case.until(lambda: "Demo" in a.services(), 30, "Demo at A")
    return a, b


def head(kind, node, gen=0, peer_gen=0, seq=0, ack=1, grant=1 << 20, rest=b"",
         version=1):
    return (b"\xc1GXL" + bytes([version, ord(kind)]) + b"\0\0" + node +
            struct.pack(">IIQQQII", gen, peer_gen, seq, ack, grant, 0,
                        len(rest)) + rest)


class Liar(threading.Thread):
    """Publishes what it wants; links with whoever says hello, if it shall."""
    TEXT = "0123456789abcdefghijklmnopqrstuv"

    def __init__(self, port, node):
        super().__init__(daemon=True)
        self.node = node
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.lock = threading.Lock()
        self.gen, self.peers, self.got = 77, {}, []
        self.socket.sendall(b"CONNECT {\"verbose\":false,\"echo\":false}\r\n")
        self.socket.sendall(b"SUB gate.default.n." + self.text(node) +
                            b" 1\r\n")
        self.start()

    @classmethod
    def text(cls, node):
        bits = int.from_bytes(node, "big")
        return "".join(cls.TEXT[bits >> 5 * i & 31]
                       for i in range(12, -1, -1)).encode()

    def publish(self, subject, data):
        with self.lock:
            self.socket.sendall(b"PUB %s %d\r\n%s\r\n" % (subject, len(data),
                                                       data))

    def to_all(self, data):
        self.publish(b"gate.default.all", data)

    def announce(self, node=None, **more):
        news = {"n": "Liar", "z": "", "rev": 1, "hb": 1000, "d": False,
                "ask": False, "part": 0, "parts": 1, "s": []}
        news.update(more)
        self.to_all(head("A", node or self.node, rest=msgpack.packb(news)))

    def run(self):
        data = b""
        while True:
            try:
                more = self.socket.recv(65536)
                if not more:
                    return
                data = self.take(data + more)
            except OSError:  # closed, the test is over
                return

    def take(self, data):
        while b"\r\n" in data:
            line, rest = data.split(b"\r\n", 1)
            if line == b"PING":
                with self.lock:
                    self.socket.sendall(b"PONG\r\n")
            if not line.startswith(b"MSG"):
                data = rest
                continue
            size = int(line.split()[-1])
            if len(rest) < size + 2:
                return data
            self.message(rest[:size])
            data = rest[size + 2:]
        return data

    def message(self, m):
        node, gen = m[8:16], struct.unpack(">I", m[16:20])[0]
        self.got.append(chr(m[5]))
        self.peers[node] = gen
        if m[5] == ord("H"):
            self.say("H", node)

    def say(self, kind, node, **more):
        self.publish(b"gate.default.n." + self.text(node),
                     head(kind, self.node, gen=self.gen,
                          peer_gen=self.peers.get(node, 0), **more))

    def close(self):
        self.socket.close()
