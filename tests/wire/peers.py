# SPDX-License-Identifier: BSD-3-Clause
"""Raw-socket peers that behave on the wire as gate-rpc 0.2.12 does.

Nothing here imports the library under test or gate-rpc itself: bytes are made
by pyzmq and msgpack alone, so that a mistake of ours is not made twice.

A peer is an object with step(seconds): it waits at most that long and handles
what came. One thread steps it: the test itself, or Background.
"""
import heapq
import os
import threading
import time
import traceback
import uuid
import zlib

import msgpack
import zmq

MDPC, MDPW = b"MDPC01", b"MDPW01"
READY, REQUEST, REPLY, HEARTBEAT, DISCONNECT = (
    b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")
STREAM, END, EXCEPTION = (
    b"GateStreamGenerator", b"GateStreamEnd", b"GateStreamException")
HUGE, HUGE_END = b"GateStreamHugData", b"HugeDataEND"

CONTEXT = zmq.Context()
# What shall come is waited for long: a busy machine is no failure. What shall
# not come is waited for less than a second.
PATIENCE = 10
# The heartbeat of peers, and of what kit.py starts, where a test is not about
# heartbeats: a machine that stands still for a second must not end them.
CALM_HB = 2.0


def patient(seconds):
    return seconds * PATIENCE if seconds >= 1 else seconds


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def unpack(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def identity(name):
    return uuid.uuid5(uuid.NAMESPACE_DNS, name).bytes


def new_id():
    return uuid.uuid4().bytes


def result(value):
    return pack({"result": value, "exception": None})


def failure(cls, text, trace=""):
    return pack({"result": None,
                 "exception": [cls, "%s(%r)" % (cls, text), trace]})


def triple(cls, text):
    return pack([cls, "%s(%r)" % (cls, text), ""])


def body(func, args=None, kwargs=None):
    """The body frames of a request; None leaves a frame out."""
    frames = [pack(func)]
    if args is not None:
        frames.append(pack(list(args)))
    if kwargs is not None:
        frames.append(pack(kwargs))
    return frames


class RemoteError(Exception):
    """An exception triple (or a bare text) that came from the other side."""

    def __init__(self, story):
        super().__init__(story)
        self.story = story
        self.cls = story[0] if isinstance(story, list) else ""


class Offline(Exception):
    """The peer gave the other side up, as the Python library does."""


class Raw:
    """A socket with time limits: whole messages in, whole messages out."""

    def __init__(self, kind, endpoint, ident=None, bind=False, hwm=3000):
        self.socket = CONTEXT.socket(kind)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = hwm
        if ident is not None:
            self.socket.setsockopt(zmq.ROUTING_ID, ident)
        if bind:
            self.socket.bind(endpoint)
            self.endpoint = self.socket.getsockopt(
                zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        else:
            self.socket.connect(endpoint)
            self.endpoint = endpoint

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def recv(self, timeout=3.0):
        """One message, or None when none came in time."""
        return self.within(patient(timeout))

    def within(self, seconds):
        """The same, to the point."""
        if self.socket.poll(max(0, int(seconds * 1000))):
            return self.socket.recv_multipart()
        return None

    def drain(self, quiet=0.2, limit=5.0):
        """Every message until nothing came for `quiet` seconds."""
        end, got = time.monotonic() + limit, []
        while time.monotonic() < end:
            message = self.within(quiet)
            if message is None:
                break
            got.append(message)
        return got

    def close(self, linger=0):
        self.socket.close(linger)


class RawClient(Raw):
    """A client's DEALER without any behaviour of its own."""

    def __init__(self, endpoint, ident=None, hwm=3000):
        super().__init__(zmq.DEALER, endpoint, ident or new_id(), hwm=hwm)

    def request(self, service, func, args=(), kwargs=None, rid=None):
        rid = rid or new_id()
        self.send(b"", MDPC, service.encode(), rid,
                  *body(func, args, kwargs or {}))
        return rid

    def reply(self, rid, timeout=5.0):
        """The body frames of the next message for rid; None = none came."""
        end = time.monotonic() + patient(timeout)
        while True:
            message = self.within(max(0.0, end - time.monotonic()))
            if message is None:
                return None
            assert message[0] == b"" and message[1] == MDPC, message
            if message[3] == rid:
                return message[4:]

    def call(self, service, func, *args, timeout=5.0, **kwargs):
        rid = self.request(service, func, args, kwargs)
        frames = self.reply(rid, timeout)
        if frames is None:
            raise TimeoutError("%s.%s" % (service, func))
        if len(frames) != 1:
            raise AssertionError("a tagged reply: %r" % frames[:2])
        answer = unpack(frames[0])
        if answer["exception"]:
            raise RemoteError(answer["exception"])
        return answer["result"]

    def stream(self, rid, timeout=5.0):
        """(items, None) at END, (items, story) at an exception, (items,
        'silence') when nothing more came: raw END only, nil kept."""
        items = []
        while True:
            frames = self.reply(rid, timeout)
            if frames is None:
                return items, "silence"
            if len(frames) == 1:
                return items, unpack(frames[0])["exception"]
            if frames[0] != STREAM:
                return items, "tag %r" % frames[0]
            if frames[1] == END:
                return items, None
            if frames[1] == EXCEPTION:
                return items, unpack(frames[2])
            items.append(unpack(frames[1]))


class SimpleClient(Raw):
    """gate-rpc's SimpleClient: a REQ socket in strict lock-step."""

    def __init__(self, endpoint):
        super().__init__(zmq.REQ, endpoint, new_id())

    def call(self, service, func, *args, timeout=5.0, **kwargs):
        """The raw {"result", "exception"} map: it never raises for those."""
        rid = new_id()
        self.send(MDPC, service.encode(), rid, *body(func, args, kwargs))
        message = self.recv(timeout)
        if message is None:
            raise TimeoutError(func)
        if message[2] != rid or len(message) != 4:
            raise ValueError("reply does not fit: %r" % message)
        return unpack(message[3])


class RawWorker(Raw):
    """A worker's DEALER without any behaviour of its own."""

    def __init__(self, endpoint, ident=None, hwm=3000):
        self.ident = ident or new_id()
        super().__init__(zmq.DEALER, endpoint, self.ident, hwm=hwm)

    def command(self, cmd, *frames):
        self.send(b"", MDPW, cmd, *frames)

    def ready(self, name, description="a test service", maximum=5000):
        line = "%s:%s:%s" % (name, description, maximum)
        self.command(READY, line.encode())

    def expect(self, cmd, timeout=3.0, beat=True):
        """The next message of that command, its frames after it; answers
        heartbeats met on the way unless beat is False. None = none came."""
        end = time.monotonic() + patient(timeout)
        while True:
            message = self.within(max(0.0, end - time.monotonic()))
            if message is None:
                return None
            if message[2] == HEARTBEAT and beat:
                self.command(HEARTBEAT)
            if message[2] == cmd:
                return message[3:]

    def register(self, name, description="a test service", maximum=5000):
        self.ready(name, description, maximum)
        assert self.expect(HEARTBEAT, 5.0) is not None, "not registered"

    def idle(self, seconds):
        """Answers heartbeats for a while; the requests that came."""
        end, requests = time.monotonic() + seconds, []
        while time.monotonic() < end:
            got = self.expect(REQUEST, min(0.5, end - time.monotonic()))
            if got is not None:
                requests.append(got)
        return requests

    def answer(self, request, *frames):
        self.command(REPLY, request[0], b"", request[2], *frames)


class Later:
    """A handler's result that comes after some seconds."""

    def __init__(self, seconds, value):
        self.seconds, self.value = seconds, value


class Huge:
    """A handler's result that goes out compressed, in chunks."""

    def __init__(self, value, chunk=1000, fail_after=None):
        self.value, self.chunk, self.fail_after = value, chunk, fail_after


class Worker:
    """A Python worker: its methods, its heartbeats, its silences."""

    def __init__(self, endpoint, name, methods, description="a test service",
                 maximum=5000, hb=CALM_HB, liveness=3, ident=None,
                 reconnect=False, secure=True):
        self.endpoint, self.name, self.methods = endpoint, name, methods
        self.description, self.maximum = description, maximum
        self.hb, self.liveness = hb, liveness
        self.reconnect, self.secure = reconnect, secure
        self.ident = ident
        self.log = []      # (time, frames after the tag)
        self.later = []    # (due, n, request, frames)
        self.running = 0
        self.most = 0      # the most requests it ever had at once
        self.offline = False
        self._n = 0
        self._connect()

    def _connect(self):
        self.raw = RawWorker(self.endpoint, self.ident)
        self.raw.ready(self.name, self.description, self.maximum)
        self.last = time.monotonic()

    def step(self, seconds):
        if self.offline:
            time.sleep(seconds)
            return
        if self.later:
            seconds = min(seconds, self.later[0][0] - time.monotonic())
        message = self.raw.within(max(0.0, seconds))
        if message is not None:
            self.last = time.monotonic()
            self._take(message)
        elif time.monotonic() - self.last > self.hb * self.liveness:
            self._lost()
        while self.later and self.later[0][0] <= time.monotonic():
            _, _, request, frames = heapq.heappop(self.later)
            self._answer(request, *frames)

    def _lost(self):
        """Closes without DISCONNECT; READYs again only if told to."""
        self.raw.close()
        self.log.append((time.monotonic(), ["offline"]))
        if self.reconnect:
            self._connect()
        else:
            self.offline = True

    def _take(self, frames):
        if frames[0] != b"" or frames[1] != MDPW:
            return
        self.log.append((time.monotonic(), frames[2:]))
        if frames[2] == HEARTBEAT:
            self.raw.command(HEARTBEAT)
        elif frames[2] == DISCONNECT:
            self._lost()
        elif frames[2] == REQUEST and len(frames) >= 7:
            self._request(frames[3:])

    def _request(self, frames):
        request, parts = frames[:3], frames[3:]
        if not 1 <= len(parts) <= 3:
            return  # dropped without a word
        try:
            values = [unpack(p) for p in parts]
        except Exception:
            return
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running > self.maximum:
            text = "Request count exceeds the maximum value(%d)" % self.maximum
            self._answer(request, failure("RuntimeError", text))
            return
        self._run(request, *values)

    def _run(self, request, func, args=(), kwargs=None):
        try:
            method = self.methods.get(func)
        except TypeError as e:  # func is an array or a map
            self._answer(request, failure("TypeError", str(e)))
            return
        if method is None:
            if self.secure:
                return  # and the slot is lost
            text = "Function not found: %s" % func
            self._answer(request, failure("AttributeError", text))
            return
        try:
            value = method(*args, **(kwargs or {}))
        except Exception as e:
            self._answer(request, failure(type(e).__name__, str(e),
                                          traceback.format_exc()))
            return
        self._result(request, value)

    def _result(self, request, value):
        if hasattr(value, "__next__"):
            self._stream(request, value)
        elif isinstance(value, Huge):
            self._huge(request, value)
        elif isinstance(value, Later):
            self._n += 1
            heapq.heappush(self.later,
                           (time.monotonic() + value.seconds, self._n, request,
                            [result(value.value)]))
        else:
            self._answer(request, result(value))

    def _stream(self, request, items):
        try:
            for item in items:
                self.raw.answer(request, STREAM, pack(item))
        except Exception as e:
            self._answer(request, STREAM, EXCEPTION,
                         triple(type(e).__name__, str(e)))
        else:
            self._answer(request, STREAM, END)

    def _huge(self, request, huge):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        data = packer.compress(pack(huge.value)) + packer.flush()
        for n, at in enumerate(range(0, len(data), huge.chunk)):
            if n == huge.fail_after:
                self._answer(request, HUGE, EXCEPTION,
                             triple("RuntimeError", "half way"))
                return
            self.raw.answer(request, HUGE, data[at:at + huge.chunk])
        self.raw.answer(request, HUGE, b"")  # it really sends one
        self._answer(request, HUGE, HUGE_END)

    def _answer(self, request, *frames):
        self.running -= 1
        self.raw.answer(request, *frames)

    def disconnect(self):
        """The only form that the Python broker honours: one extra frame."""
        self.raw.command(DISCONNECT, b"bye")

    def close(self):
        if not self.offline:
            self.raw.close()
        self.offline = True


class Client:
    """A Python client: handshake, keepalive, liveness, and its quirks. Once
    offline it is dead for good."""

    def __init__(self, endpoint, hb=CALM_HB, liveness=3, timeout=30.0,
                 ident=None):
        self.raw = RawClient(endpoint, ident)
        self.hb, self.liveness, self.timeout = hb, liveness, timeout
        self.sent = self.heard = time.monotonic()
        self.replies = {}  # request id -> list of bodies
        self.keepalives = []
        self.services = None
        self.dead = False

    def connect(self):
        self.services = self.call("Gate", "get_services")
        if not isinstance(self.services, list):
            raise TypeError("get_services: %r" % (self.services,))

    def send(self, service, func, args=(), kwargs=None):
        if self.dead:
            raise Offline("Gate service not yet ready")
        if self.services is not None and service not in self.services:
            raise AttributeError(service)  # nothing is sent
        self.sent = time.monotonic()
        return self.raw.request(service, func, args, kwargs)

    def step(self, seconds):
        if self.dead:
            raise Offline("Majordomo offline")
        now = time.monotonic()
        if now - self.sent >= self.hb:
            self.keepalives.append(
                self.send("Gate", "keepalive", [b"heartbeat"]))
        message = self.raw.within(min(seconds, self.hb / 4))
        if message is None:
            if time.monotonic() - self.heard > self.hb * self.liveness:
                self.dead = True
            return
        if len(message) < 4 or message[0] != b"" or message[1] != MDPC:
            return
        self.heard = time.monotonic()
        if len(message) > 4:
            self.replies.setdefault(message[3], []).append(message[4:])

    def idle(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step(end - time.monotonic())

    def take(self, rid):
        """The next body for rid."""
        end = time.monotonic() + self.timeout
        while not self.replies.get(rid):
            if time.monotonic() > end:
                raise TimeoutError(rid.hex())
            self.step(end - time.monotonic())
        return self.replies[rid].pop(0)

    def call(self, service, func, *args, **kwargs):
        """A value, a list (stream) or a huge value, as Python shows it."""
        rid = self.send(service, func, args, kwargs)
        frames = self.take(rid)
        if len(frames) == 1:
            return self._single(frames[0])
        if frames[0] == STREAM:
            return self._stream(rid, frames)
        if frames[0] == HUGE:
            return self._huge(rid, frames)
        raise ValueError("tag %r" % frames[0])

    @staticmethod
    def _single(data):
        answer = unpack(data)
        story = answer.get("exception")
        if not story:
            return answer.get("result")
        if isinstance(story, list):
            _cls, _text, _trace = story
        raise RemoteError(story)

    def _stream(self, rid, frames):
        items = []
        while True:
            if frames[1] == EXCEPTION:
                raise RemoteError(unpack(frames[2]))
            item = END if frames[1] == END else unpack(frames[1])
            if item == END:   # in band as well: its quirk (a)
                return items
            if item is not None:  # quirk (b)
                items.append(item)
            frames = self.take(rid)

    def _huge(self, rid, frames):
        inflate, data = zlib.decompressobj(31), b""
        while frames[1] != HUGE_END:
            if frames[1] == EXCEPTION:
                raise RemoteError(unpack(frames[2]))
            data += inflate.decompress(frames[1])
            frames = self.take(rid)
        if not inflate.eof:
            raise ValueError("The compressed data is incomplete")
        return unpack(data)

    def close(self):
        self.raw.close()


class _Registered:
    def __init__(self, service, maximum):
        now = time.monotonic()
        self.service, self.credit = service, maximum
        self.seen = self.checked = self.sent = now


class Broker:
    """A Python broker with its real rules: it drives the heartbeats, counts
    credit per reply message, forgets to answer, and drops what it drops. What
    a 0.2.12 worker never sends is noted in `anomalies`."""

    def __init__(self, frontend, backend, hb=CALM_HB, liveness=3, timeout=1.0,
                 functions=None):
        self.front = Raw(zmq.ROUTER, frontend, bind=True)
        self.back = Raw(zmq.ROUTER, backend, bind=True)
        self.poller = zmq.Poller()
        self.poller.register(self.front.socket, zmq.POLLIN)
        self.poller.register(self.back.socket, zmq.POLLIN)
        self.hb, self.liveness, self.timeout = hb, liveness, timeout
        self.ident = identity("test-broker")
        self.workers, self.services = {}, {}
        self.clients = set()
        self.beats = []    # [due, worker] per registration, never cancelled
        self.waiting = []  # [deadline, service, frames]
        self.banned = []   # workers given up
        self.left = []     # workers that said DISCONNECT
        self.log = []      # (time, side, peer, frames)
        self.anomalies = []
        self.mute = False  # hears everything, says nothing
        self.functions = functions or {}
        self.on_request = None  # f(client, service, rid, body) -> taken?

    # ---- turning ----------------------------------------------------------
    def step(self, seconds):
        for socket, _ in self.poller.poll(max(0, int(seconds * 1000))):
            frames = socket.recv_multipart()
            side = "front" if socket is self.front.socket else "back"
            self.log.append((time.monotonic(), side, frames[0], frames[1:]))
            if side == "front":
                self._client(frames[0], frames[1:])
            else:
                self._worker(frames[0], frames[1:])
        now = time.monotonic()
        self._beat(now)
        self._ban(now)
        self._expire(now)

    def _beat(self, now):
        for beat in list(self.beats):
            if now < beat[0]:
                continue
            self.to_worker(beat[1], HEARTBEAT)
            if beat[1] in self.workers:
                beat[0] = now + self.hb
            else:
                self.beats.remove(beat)

    def _ban(self, now):
        window = self.hb * self.liveness
        for ident, worker in list(self.workers.items()):
            if now - worker.checked < window:
                continue
            worker.checked = now
            if now - worker.seen >= window:
                self.to_worker(ident, DISCONNECT)
                self.banned.append(ident)
                del self.workers[ident]

    def _expire(self, now):
        for item in list(self.waiting):
            if now >= item[0]:
                self.waiting.remove(item)
                self.to_client(item[2][0], item[1], item[2][1],
                               failure("BusyWorkerError", "No idle worker."))

    # ---- clients ----------------------------------------------------------
    def to_client(self, client, service, rid, *frames):
        if not self.mute and client in self.clients:
            self.front.send(client, b"", MDPC, service.encode(), rid, *frames)

    def _client(self, client, frames):
        if len(frames) < 4 or frames[0] != b"" or frames[1] != MDPC:
            return
        self.clients.add(client)
        service, rid, parts = frames[2].decode(), frames[3], frames[4:]
        if self.on_request and self.on_request(client, service, rid, parts):
            return
        if service == "Gate":
            self._gate(client, rid, parts)
        elif not any(w.service == service for w in self.workers.values()):
            text = "The %s Service unavailable." % service
            self.to_client(client, service, rid,
                           failure("ServiceUnAvailableError", text))
        else:
            item = [time.monotonic() + self.timeout, service,
                    [client, rid] + parts]
            self.waiting.append(item)
            self._dispatch()

    def _gate(self, client, rid, parts):
        try:
            func = unpack(parts[0])
            args = unpack(parts[1]) if len(parts) > 1 else []
        except Exception:
            return
        names = list(self.services)
        own = {"get_services": lambda: names + ["Gate"],
               "info": lambda: {"my_id": self.ident, "services": names},
               "query_service": lambda name: (
                   self.services.get(name) if isinstance(name, str) else None),
               "keepalive": lambda v: b"200" if v == b"heartbeat" else b"400"}
        own.update(self.functions)
        if func in own:
            self.to_client(client, "Gate", rid, result(own[func](*args)))

    # ---- workers ----------------------------------------------------------
    def to_worker(self, ident, cmd, *frames):
        if self.mute:
            return
        if ident in self.workers:
            self.workers[ident].sent = time.monotonic()
        self.back.send(ident, b"", MDPW, cmd, *frames)

    def _dispatch(self):
        for item in list(self.waiting):
            for ident, worker in self.workers.items():
                if worker.service == item[1] and worker.credit > 0:
                    worker.credit -= 1
                    self.waiting.remove(item)
                    client, rid = item[2][:2]
                    self.to_worker(ident, REQUEST, client, b"", rid,
                                   *item[2][2:])
                    break

    def _odd(self, why, frames):
        self.anomalies.append("%s: %r" % (why, frames))

    def _worker(self, ident, frames):
        if len(frames) < 3 or frames[0] != b"" or frames[1] != MDPW:
            self._odd("not a worker's message", frames)
            return
        cmd, rest = frames[2], frames[3:]
        if cmd == READY:
            self._ready(ident, rest)
        elif cmd == HEARTBEAT:
            if rest:
                self._odd("heartbeat with extra frames", rest)
            elif ident in self.workers:
                self.workers[ident].seen = time.monotonic()
        elif cmd == REPLY:
            self._reply(ident, rest)
        elif cmd == DISCONNECT:
            if len(rest) != 1:
                self._odd("DISCONNECT without exactly one extra frame", rest)
            elif self.workers.pop(ident, None):
                self.left.append(ident)
        else:
            self._odd("unknown command", frames)

    def _ready(self, ident, rest):
        if ident in self.workers:
            self.to_worker(ident, DISCONNECT)
            del self.workers[ident]
            return
        parts = rest[0].decode().split(":") if len(rest) == 1 else []
        if len(parts) != 3 or not parts[2].isdigit():
            self._odd("READY line", rest)
            return
        self.services[parts[0]] = parts[1]
        self.workers[ident] = _Registered(parts[0], int(parts[2]))
        self.beats.append([time.monotonic() + self.hb, ident])
        self.to_worker(ident, HEARTBEAT)
        self._dispatch()

    def _reply(self, ident, rest):
        if len(rest) < 4 or rest[1] != b"":
            self._odd("REPLY's shape", rest)
            return
        tagged = len(rest) > 4
        if tagged and rest[3] not in (STREAM, HUGE):
            self._odd("REPLY with extra frames", rest)
        if ident not in self.workers:
            return
        worker = self.workers[ident]
        worker.seen = time.monotonic()
        worker.credit += 1  # for every message: Python's bug A
        self.to_client(rest[0], worker.service, rest[2], *rest[3:])
        self._dispatch()

    def close(self):
        """As AMajordomo.stop(): nobody is told."""
        self.front.close()
        self.back.close()


class Background:
    """Steps a peer on a thread of its own until stopped."""

    def __init__(self, peer):
        self.peer = peer
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            self.peer.step(0.02)

    def stop(self, close=True):
        self._end.set()
        self._thread.join(10)
        if close:
            self.peer.close()

    def __enter__(self):
        return self.peer

    def __exit__(self, *_):
        self.stop()


def demo_methods():
    """What the tests' Python worker serves."""
    def boom(text="boom!"):
        raise ValueError(text)

    def gen_boom(n):
        yield from range(n)
        raise RuntimeError("after %d" % n)

    return {
        "echo": lambda *a, **k: {"args": list(a), "kwargs": k},
        "add": lambda a, b: a + b,
        "none": lambda: None,
        "boom": boom,
        "sleep": lambda ms: Later(ms / 1000, ms),
        "gen": lambda n: iter(range(n)),
        "nils": lambda n: iter([None] * n),
        "tagged": lambda: iter([1, END, 2]),
        "gen_boom": gen_boom,
        "huge": lambda n: Huge("x" * n),
        "random": lambda n: Huge(os.urandom(n)),
        "huge_boom": lambda n: Huge(os.urandom(n), fail_after=2),
    }
