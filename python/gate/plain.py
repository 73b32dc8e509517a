# SPDX-License-Identifier: BSD-3-Clause
"""The same face by pyzmq alone, where libgaterpc is not: gate.connect and
gate.aio.connect are these then. It speaks the protocol as gate-rpc's own client
does: no credit (a stream is kept until it is read), no cancelling at the service,
no retry, no metadata; huge answers are kept whole."""
import asyncio
import bz2
import lzma
import threading
import uuid
import weakref
import zlib

from . import errors
from ._face import Closes, ClosesAsync, Connecting
from ._pack import Codec

try:
    import zmq
    import zmq.asyncio
    import zmq.auth
except ImportError as e:
    raise ImportError("gate.plain needs pyzmq: Debian's python3-zmq") from e

_VERSION = b"MDPC01"
_STREAM, _END, _EXCEPTION = (b"GateStreamGenerator", b"GateStreamEnd",
                             b"GateStreamException")
_HUGE, _HUGE_END, _HUGE_EXCEPTION = (b"GateStreamHugData", b"HugeDataEND",
                                     b"HugeDataException")
_INFLATE = {"gzip": lambda d: zlib.decompress(d, 31), "bz2": bz2.decompress,
            "lzma": lzma.decompress}
TIMEOUT = 60.0  # s, as the setting reply_timeout


class File:
    """As gate.File; read whole."""

    def __init__(self, what, size=0, codec=None):
        self.what = what

    def content(self):
        if isinstance(self.what, (bytes, bytearray, memoryview)):
            return bytes(self.what)
        if hasattr(self.what, "read"):
            return self.what.read()
        with open(self.what, "rb") as f:
            return f.read()


def _plain(value):
    return value.content() if isinstance(value, File) else value


def _raised(told):
    """(class, repr, traceback) or a text as an exception."""
    if isinstance(told, str):
        return errors.Error(told)
    cls, text, trace = (str(x) for x in told)
    inside = text[len(cls) + 1:-1] if text.startswith(cls + "(") else text
    if inside[:1] in "'\"" and inside[-1:] == inside[:1]:
        inside = inside[1:-1]
    return errors.of(cls)(inside, trace)


class _Pending:
    """A call under way: what came of it so far."""

    def __init__(self, streams):
        self.streams, self.parts = streams, []
        self.came = asyncio.Queue() if streams else None
        self.result = None if streams else \
            asyncio.get_running_loop().create_future()

    def put(self, kind, value):
        if self.streams:
            self.came.put_nowait((kind, value))
        elif not self.result.done():
            if kind == "value":
                self.result.set_result(value)
            else:
                self.result.set_exception(value if kind == "error" else
                                          errors.of("TypeError")(
                    "the method streams: ask by .stream()"))


class Stream(ClosesAsync):
    def __init__(self, client, name, args, kwargs, timeout):
        self._client, self._timeout = client, timeout
        self._id, self._pending = client._send(name, args, kwargs, True)

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._pending:
            raise StopAsyncIteration
        try:
            kind, value = await asyncio.wait_for(self._pending.came.get(),
                                                 self._timeout)
        except asyncio.TimeoutError:
            self.close()
            raise errors.TimeoutError(
                "no further item of the stream within %s s" % self._timeout, "",
                "TIMEOUT") from None
        if kind == "item":
            return value
        if kind == "value":
            self._pending.came.put_nowait(("end", None))
            return value
        self.close()
        if kind == "error":
            raise value
        raise StopAsyncIteration

    def close(self):
        self._client._calls.pop(self._id, None)
        self._pending = None


class _Names:
    def __init__(self, client, path=()):
        self._client, self._path = client, path

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name):
        return type(self)(self._client, (*self._path, name))

    def __call__(self, *args, timeout=None, meta=None, retry=None, **kwargs):
        return self._client._call(".".join(self._path), args, kwargs, timeout)

    def stream(self, *args, timeout=None, meta=None, **kwargs):
        return self._client._open(".".join(self._path), args, kwargs, timeout)


class AsyncClient(ClosesAsync):
    """gate.aio.Client's face, of the running loop."""

    def __init__(self, endpoint, *, user=None, password=None, curve=None,
                 identity=None, settings=None, codec=None):
        settings = settings or {}
        self._codec = codec or Codec()
        self._pack = self._codec.packer()
        self._timeout = float(settings.get("reply_timeout", 0) or TIMEOUT)
        self._inflate = _INFLATE[settings.get("huge_data_compress_module",
                                              "gzip")]
        self._who = [] if user is None else [
            b"PLAIN", user.encode(), (password or "").encode()]
        self._calls = {}
        self.endpoint = endpoint
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.identity = uuid.uuid4().bytes
        try:
            if curve is not None:
                (self._socket.curve_publickey, self._socket.curve_secretkey) = (
                    zmq.auth.load_certificate(str(curve[0]) + "_secret"))
                self._socket.curve_serverkey = zmq.auth.load_certificate(
                    str(curve[1]))[0]
            self._socket.connect(endpoint)
        except BaseException:
            self._context.destroy(0)
            raise
        self._task = asyncio.get_running_loop().create_task(
            _receive(weakref.ref(self), self._socket))

    # ---- life ---------------------------------------------------------------
    async def ready(self, timeout=None):
        await self.services(timeout)
        return self

    def close(self):
        task, self._task = self._task, None
        if not task:
            return
        task.cancel()
        self._context.destroy(0)
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.put("error", errors.of("RuntimeError")(
                "the client was closed", "", "CLOSED"))

    # ---- calls --------------------------------------------------------------
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return _Names(self, (name,))

    def __getitem__(self, name):
        return _Names(self, (name,))

    def request(self, method, args=(), kwargs=None, *, timeout=None, meta=None,
                retry=None):
        return self._call(method, tuple(args), kwargs or {}, timeout)

    def _send(self, name, args, kwargs, streams):
        if not self._task:
            raise errors.of("RuntimeError")("the client is closed", "",
                                            "CLOSED")
        service, _, method = name.rpartition(".")
        body = [self._pack(method), self._pack([_plain(a) for a in args]),
                self._pack({k: _plain(v) for k, v in kwargs.items()})]
        key = uuid.uuid4().bytes
        pending = self._calls[key] = _Pending(streams)
        sent = self._socket.send_multipart(
            [b"", _VERSION, (service or "GateRPC").encode(), *self._who, key,
             *body])
        asyncio.ensure_future(sent).add_done_callback(lambda f: f.cancelled()
                                                      or f.exception())
        return key, pending

    async def _call(self, name, args, kwargs, timeout):
        timeout = self._timeout if timeout is None else timeout
        key, pending = self._send(name, args, kwargs, False)
        try:
            return await asyncio.wait_for(pending.result, timeout)
        except asyncio.TimeoutError as e:
            if isinstance(e, errors.Error):
                raise
            raise errors.TimeoutError("no answer from %s within %s s (%s)" % (
                name, timeout, self.endpoint), "", "TIMEOUT") from None
        finally:
            self._calls.pop(key, None)

    def _open(self, name, args, kwargs, timeout):
        return Stream(self, name, args, kwargs,
                      self._timeout if timeout is None else timeout)

    async def services(self, timeout=None):
        return await self._call("Gate.get_services", (), {}, timeout)

    def _reply(self, frames):
        """["", version, service, id, body...]"""
        if len(frames) < 5 or frames[0] or frames[1] != _VERSION:
            return
        pending, body = self._calls.get(frames[3]), frames[4:]
        if not pending:
            return
        try:
            self._body(pending, body)
        except Exception as e:
            pending.put("error", errors.of("ValueError")(
                "the answer cannot be decoded: %s" % e, "", "BADDATA"))

    def _body(self, pending, body):
        if len(body) == 1:
            told = self._codec.unpack(body[0])
            if told.get("exception"):
                pending.put("error", _raised(told["exception"]))
            else:
                pending.put("value", told.get("result"))
        elif _EXCEPTION in body[:2] or body[1] == _HUGE_EXCEPTION:
            pending.put("error", _raised(self._codec.unpack(body[2])
                                         if len(body) > 2 else body[1].decode()))
        elif body[0] == _STREAM:
            pending.put(*(("end", None) if body[1] == _END else
                          ("item", self._codec.unpack(body[1]))))
        elif body[0] == _HUGE and body[1] == _HUGE_END:
            pending.put("value", self._codec.unpack(self._inflate(
                b"".join(pending.parts))))
        elif body[0] == _HUGE:
            pending.parts.append(body[1])


async def _receive(client, socket):
    """Does not keep the client alive."""
    while True:
        frames = await socket.recv_multipart()
        me = client()
        if me is None:
            return
        me._reply(frames)
        del me


class Client(Closes):
    """gate.Client's face: a loop on a thread of its own."""

    def __init__(self, endpoint, **options):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever,
                                        daemon=True)
        self._thread.start()
        try:
            self._client = self._run(self._make(endpoint, options))
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _make(endpoint, options):
        return AsyncClient(endpoint, **options)

    def _run(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def _stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ready(self, timeout=None):
        self._run(self._client.ready(timeout))
        return self

    def close(self):
        client, self._client = self._client, None
        if client:
            self._run(client.aclose())
            self._stop()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return _Names(self, (name,))

    def __getitem__(self, name):
        return _Names(self, (name,))

    def request(self, method, args=(), kwargs=None, **options):
        return self._run(self._alive().request(method, args, kwargs, **options))

    def services(self):
        return self._run(self._alive().services())

    def _alive(self):
        if not self._client:
            raise errors.of("RuntimeError")("the client is closed", "",
                                            "CLOSED")
        return self._client

    def _call(self, *call):
        return self._run(self._alive()._call(*call))

    def _open(self, *call):
        async def made():
            return client._open(*call)
        client = self._alive()
        stream = self._run(made())
        try:
            while True:
                try:
                    yield self._run(stream.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            if self._client:
                self._run(stream.aclose())


def connect(endpoint, *, wait=None, **options):
    client = Client(endpoint, **options)
    if wait is not None:
        try:
            client.ready(wait)
        except BaseException:
            client.close()
            raise
    return client


class aio:
    """gate.aio where the library is missing."""
    Client = AsyncClient

    @staticmethod
    def connect(endpoint, *, wait=None, **options):
        return Connecting(AsyncClient, endpoint, wait, options)
