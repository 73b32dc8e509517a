#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A Python program calls a C service, with nothing but pyzmq and msgpack.

  python_client.py tcp://127.0.0.1:5555    against a broker with the demo service
  python_client.py --gate PATH-TO-GATE     starts both by itself

gate-rpc's own client does the same: see README.md."""
import subprocess
import sys
import tempfile
import uuid

import msgpack
import zmq

STREAM, END, EXCEPTION = b"GateStreamGenerator", b"GateStreamEnd", b"GateStreamException"


class RemoteError(Exception):
    pass


class Client:
    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.identity = uuid.uuid5(uuid.NAMESPACE_DNS, "example").bytes
        self.socket.rcvtimeo = 10000
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def call(self, service, method, *args, **kwargs):
        """The result, or a list of the items of a stream."""
        request_id = uuid.uuid4().bytes
        self.socket.send_multipart(
            [b"", b"MDPC01", service.encode(), request_id]
            + [msgpack.packb(part) for part in (method, args, kwargs)])
        items = []
        while True:
            empty, tag, _, got_id, *body = self.socket.recv_multipart()
            if (empty, tag, got_id) != (b"", b"MDPC01", request_id):
                continue
            if len(body) == 1:
                reply = msgpack.unpackb(body[0])
                if reply["exception"]:
                    raise RemoteError(*reply["exception"][:2])
                return reply["result"]
            if body[0] == STREAM and body[1] == END:
                return items
            if body[0] == STREAM and body[1] == EXCEPTION:
                raise RemoteError(*msgpack.unpackb(body[2])[:2])
            items.append(msgpack.unpackb(body[1]))


def check(client):
    assert client.call("Demo", "add", 2, b=3) == 5
    assert client.call("Demo", "echo", 1, b"x", k=[None]) == {
        "args": [1, b"x"], "kwargs": {"k": [None]}}
    assert client.call("Demo", "gen", 3) == [0, 1, 2]
    try:
        client.call("Demo", "boom", "oh")
        raise AssertionError("boom did not raise")
    except RemoteError as e:
        assert e.args == ("ValueError", "ValueError('oh')"), e.args
    print("python: add, echo, gen and boom are right")


def with_gate(gate):
    with tempfile.TemporaryDirectory() as d:
        ends = ["ipc://%s/f" % d, "ipc://%s/b" % d]
        started = []
        try:
            for command in ([gate, "broker", "--frontend", ends[0], "--backend", ends[1]],
                            [gate, "serve", "--demo", "--backend", ends[1]]):
                started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                assert started[-1].stdout.readline().startswith("ready ")
            check(Client(ends[0]))
        finally:
            for process in reversed(started):
                process.terminate()
                assert process.wait(20) == 0


if sys.argv[1] == "--gate":
    with_gate(sys.argv[2])
else:
    check(Client(sys.argv[1]))
