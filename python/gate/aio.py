# SPDX-License-Identifier: BSD-3-Clause
"""The client for asyncio: answers are taken in batches when the library's
descriptor is readable, so there is no thread and no callback between."""
import asyncio
import ctypes as C
import functools
from typing import Any, Dict, List, Optional

from . import _lib, errors
from ._face import ClosesAsync, Connecting
from ._lib import quick, slow
from ._pack import Codec
from ._runtime import opened
from .client import (_ITEMS, Method, Remote, Request, open_client, stream_error,
                     take_value)
from .service import Service, serving  # noqa: F401  gate.aio's too


class Answer(asyncio.Future):
    """The result that will come. Cancelled, it cancels the remote call."""

    _ticket = _client = None

    def cancel(self, msg=None):
        done = super().cancel(msg)
        client = self._client
        if done and client is not None and client._c:
            quick.caller_cancel(client._caller, self._ticket)
        return done


class Stream(ClosesAsync):
    """An asynchronous iterator over a streamed answer. Its producer is never
    further ahead than its credit; aclose (async with, or the loop over it left)
    stops it."""

    def __init__(self, client, stream):
        self._client, self._stream = client, stream
        self._items, self._fd, self._wait = iter(()), -1, None
        client._streams.add(self)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for item in self._items:
            return item
        await self._more()
        for item in self._items:
            return item
        raise StopAsyncIteration

    async def _more(self):
        told = _lib.Bytes()
        while self._stream:
            e = slow.caller_items(self._client._caller, self._stream, False,
                                  _ITEMS, C.byref(told))
            if not e:
                self._items = iter(self._client._codec.unpack(told.copy()))
                return
            if e != _lib.BUSY:
                error = None if e == _lib.EOS else stream_error(self._stream)
                self.close()
                if error:
                    raise error
                return
            await self._readable()

    async def _readable(self):
        """The library ends a stream whose next item does not come in time."""
        if self._fd < 0:
            self._fd = quick.stream_fd(self._stream)
            if self._fd < 0:
                raise _lib.failure()
        loop = self._client._loop
        self._wait = loop.create_future()
        loop.add_reader(self._fd, self._ring)
        try:
            await asyncio.wait_for(self._wait, self._client._stream_timeout(self))
        except asyncio.TimeoutError:
            self.close()
            raise errors.TimeoutError(
                "no further item of the stream within %s s" % self.timeout, "",
                "TIMEOUT") from None
        finally:
            if self._fd >= 0:
                loop.remove_reader(self._fd)
            self._wait = None

    def _ring(self):
        if self._wait and not self._wait.done():
            self._wait.set_result(None)

    def close(self):
        stream, self._stream = self._stream, None
        if not stream:
            return
        self._items = iter(())
        self._client._streams.discard(self)
        if self._fd >= 0 and not self._client._loop.is_closed():
            self._client._loop.remove_reader(self._fd)
        self._fd = -1
        if self._client._born == _lib.generation[0]:
            _lib.destroy(quick.stream_destroy, stream)


class Reader(ClosesAsync):
    """An answer of any size: await read(n) while it comes."""

    def __init__(self, client, stream):
        self._of = Stream(client, stream)
        self._busy = asyncio.Lock()

    async def read(self, size: Optional[int] = -1) -> bytes:
        """The next bytes, at most size; b"" at the end. Without size: all."""
        if size is None or size < 0:
            parts = []
            while part := await self.read(1 << 20):
                parts.append(part)
            return b"".join(parts)
        async with self._busy:
            return await self._of._client._loop.run_in_executor(
                None, self._read, size)

    def _read(self, size):
        if not self._of._stream or not size:
            return b""
        room, n = C.create_string_buffer(size), C.c_size_t(size)
        e = slow.stream_read(self._of._stream, room, C.byref(n))
        if e == _lib.EOS:
            return b""
        if e:
            raise stream_error(self._of._stream)
        return room.raw[:n.value]

    async def to_file(self, file: Any) -> int:
        """All of it into a file object; how many bytes."""
        total = 0
        while part := await self.read(1 << 20):
            file.write(part)
            total += len(part)
        return total

    async def aclose(self):
        async with self._busy:  # a read under way first
            self._of.close()


class Client(Remote, ClosesAsync):
    """Of the running loop.

        async with gate.aio.connect("tcp://127.0.0.1:5555") as c:
            print(await c.Math.add(2, 3, timeout=1))
    """
    __slots__ = ("__dict__", "__weakref__")
    _method_class = Method

    def __init__(self, endpoint, *, user=None, password=None, curve=None,
                 identity=None, settings=None, codec=None):
        self._loop = asyncio.get_running_loop()
        self._codec = codec or Codec()
        self._pack = self._codec.packer()
        self._waiting, self._streams = {}, set()
        self._told = _lib.Bytes()
        self._told_at = C.byref(self._told)
        self._caller = None
        self._timeouts = float((settings or {}).get("reply_timeout", 0) or 0)
        open_client(self, endpoint, user, password, curve, identity, settings)
        self._caller = _lib.made(quick.caller_new(self._c))
        self._loop.add_reader(quick.caller_fd(self._caller), self._take)
        opened(self)

    # ---- life ---------------------------------------------------------------
    async def ready(self, timeout: Optional[float] = None) -> "Client":
        self._check()
        e = await self._loop.run_in_executor(
            None, functools.partial(_ready, self._c, _lib.left_ms(timeout)))
        if e:
            raise e
        return self

    def close(self):
        """Calls under way end with RuntimeError."""
        c, self._c = self._c, None
        if not c:
            return
        for stream in list(self._streams):
            stream.close()
        caller = self._caller
        if not self._loop.is_closed():
            self._loop.remove_reader(quick.caller_fd(caller))
        waiting, self._waiting = self._waiting, {}
        if self._born == _lib.generation[0]:
            _lib.destroy(slow.caller_destroy, caller)
            _lib.destroy(slow.client_destroy, c)
        if self._loop.is_closed():
            return
        for answer in waiting.values():
            answer._client = None
            if not answer.done():
                answer.set_exception(errors.of("RuntimeError")(
                    "the client was closed", "", "CLOSED"))

    def __del__(self):
        if getattr(self, "_c", None):
            self.close()

    def _check(self):
        _lib.same_process(self._born)
        if not self._c:
            raise errors.of("RuntimeError")("the client is closed", "",
                                            "CLOSED")

    # ---- calls --------------------------------------------------------------
    def request(self, method: str, args: Any = (),
                kwargs: Optional[Dict[str, Any]] = None, *,
                timeout: Optional[float] = None,
                meta: Optional[Dict[str, str]] = None,
                retry: Optional[int] = None) -> Answer:
        """A call by name, "Service.method"; to be awaited."""
        return self._call(method.encode(), tuple(args), kwargs or {}, timeout,
                          meta, retry)

    def _call(self, name, args, kwargs, timeout, meta, retry):
        if self._born != _lib.generation[0] or not self._c:
            self._check()
        r = Request(self._pack, args, kwargs, meta, retry)
        a, k = r.args, r.kwargs
        ticket = quick.caller_start(
            self._caller, name, a, len(a), k, len(k),
            -1 if timeout is None else _lib.ms(timeout), r.more, r.n)
        if not ticket:
            raise _lib.failure()
        answer = Answer(loop=self._loop)
        answer._ticket, answer._client = ticket, self
        self._waiting[ticket] = answer
        if r.huge:
            answer.add_done_callback(lambda _: r.started())
        return answer

    def _take(self):
        if not quick.caller_take(self._caller, 0, self._told_at):
            return
        data = self._told.copy()
        try:
            entries = self._codec.unpack(data)
        except Exception:
            self._take_each(data)
            return
        pop = self._waiting.pop
        for ticket, code, value in entries:
            answer = pop(ticket)
            answer._client = None
            if answer.done():
                continue
            if code:
                answer.set_exception(errors.make(code, *value))
            else:
                answer.set_result(value)

    def _take_each(self, data):
        """One of them is not to be decoded: the others are."""
        for parts, error in self._codec.unpack_each(data):
            answer = self._waiting.pop(parts[0])
            answer._client = None
            if answer.done():
                continue
            if error:
                answer.set_exception(errors.of("ValueError")(
                    "the result cannot be decoded: %s" % error, "", "BADDATA"))
            elif parts[1]:
                answer.set_exception(errors.make(parts[1], *parts[2]))
            else:
                answer.set_result(parts[2])

    def _start_stream(self, name, args, kwargs, timeout, meta):
        self._check()
        r = Request(self._pack, args, kwargs, meta)
        stream = C.c_void_p()
        _lib.check(quick.caller_open(
            self._caller, name, r.args, len(r.args), r.kwargs, len(r.kwargs),
            _lib.ms(timeout), r.more, r.n, C.byref(stream)))
        r.started()
        return stream.value

    def _open(self, name, args, kwargs, timeout, meta):
        made = Stream(self, self._start_stream(name, args, kwargs, timeout,
                                               meta))
        made.timeout = timeout if timeout is not None else (
            self._timeouts or 60.0)
        return made

    @staticmethod
    def _stream_timeout(stream):
        return stream.timeout

    def _file(self, *call):
        return Reader(self, self._start_stream(*call))

    async def services(self) -> List[str]:
        """The names of the broker's services."""
        self._check()
        return await self._loop.run_in_executor(None, _services, self._c)

    async def stats(self) -> Dict[str, Any]:
        self._check()
        return take_value(_lib.made(slow.client_stats(self._c)))


def _ready(c, timeout_ms):
    """On another thread, whose story it is."""
    return _lib.failure() if slow.client_ready(c, timeout_ms) else None


def _services(c):
    value = C.c_void_p()
    _lib.check(slow.client_services(c, C.byref(value)))
    return take_value(value.value)


def connect(endpoint: Optional[str], *, wait: Optional[float] = None,
            **options: Any) -> Connecting:
    """As gate.connect, for asyncio: `c = await gate.aio.connect(...)` or `async
    with gate.aio.connect(...) as c`."""
    return Connecting(Client, endpoint, wait, options)
