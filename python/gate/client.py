# SPDX-License-Identifier: BSD-3-Clause
"""The synchronous client, and what both clients share."""
import ctypes as C
import io
import os
import threading
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import _lib, errors
from ._face import Closes
from ._lib import quick, slow
from ._pack import Codec
from ._runtime import opened, runtime

_ITEMS = 256  # of a stream, taken at once


class File:
    """An argument that may be larger than memory: a path, a file object with a
    descriptor, or bytes. size must be said of a pipe or socket."""

    def __init__(self, what: Any, size: int = 0,
                 codec: Optional[str] = None) -> None:
        self.what, self.size, self.codec = what, size, codec

    def _make(self, keep):
        options = _lib.HugeOptions(_lib.text(self.codec), 0, 0, self.size)
        keep.append(options)
        if isinstance(self.what, (bytes, bytearray, memoryview)):
            data = bytes(self.what)
            keep.append(data)
            return _lib.made(slow.huge_arg_data(
                C.cast(C.c_char_p(data), C.c_void_p), len(data), None,
                C.byref(options)))
        if isinstance(self.what, (str, os.PathLike)):
            fd = os.open(self.what, os.O_RDONLY | os.O_CLOEXEC)
        else:
            fd = os.dup(self.what.fileno())
        return _lib.made(slow.huge_arg_fd(fd, C.byref(options)))


class Request:
    """One call's arguments as the library wants them; alive until it was
    started (what is huge: until it has ended)."""
    __slots__ = ("args", "kwargs", "more", "n", "keep", "huge")

    def __init__(self, pack, args, kwargs, meta=None, retry=None):
        self.keep, self.huge, self.more, self.n = None, (), None, 0
        if meta is None and retry is None and not _has_file(args, kwargs):
            self.args = pack(args) if args else b""
            self.kwargs = pack(kwargs) if kwargs else b""
            return
        self.args = self.kwargs = b""
        self.keep, self.huge = [], []
        more = [self._one(pack, a) for a in args]
        for name, value in kwargs.items():
            name = _lib.text(name)
            self.keep.append(name)
            more.append(quick.kw(name, self._one(pack, value)))
        for key, value in (meta or {}).items():
            pair = (_lib.text(key), _lib.text(value))
            self.keep.append(pair)
            more.append(quick.meta(*pair))
        if retry:
            more.append(quick.retry(retry))
        self.more, self.n = (_lib.Arg * len(more))(*more), len(more)

    def _one(self, pack, value):
        if isinstance(value, File):
            huge = value._make(self.keep)
            self.huge.append(huge)
            return quick.huge_arg(huge)
        data = pack(value)
        self.keep.append(data)
        return quick.raw(data, len(data))

    def started(self):
        for huge in self.huge:
            _lib.destroy(quick.huge_destroy, huge)
        self.huge = ()


def _has_file(args, kwargs):
    for a in args:
        if a.__class__ is File:
            return True
    for a in kwargs.values():
        if a.__class__ is File:
            return True
    return False


def open_client(self, endpoint, user, password, curve, identity, settings):
    """Fills in what both kinds of client have."""
    if endpoint is not None and not isinstance(endpoint, str):
        raise TypeError("endpoint: a str like 'tcp://127.0.0.1:5555', not %r"
                        % (endpoint,))
    self._c = None
    self._born = _lib.generation[0]
    self._runtime = runtime(settings)
    self.endpoint = endpoint
    c = _lib.made(quick.client_new(self._runtime.c))
    try:
        if user is not None:
            quick.client_plain(c, _lib.text(user), _lib.text(password or ""))
        if curve is not None:
            quick.client_curve(c, *(_lib.text(os.fspath(f)) for f in curve))
        if identity is not None:
            quick.client_identity(c, _lib.text(identity))
        _lib.check(slow.client_connect(c, _lib.text(endpoint)))
    except BaseException:
        _lib.destroy(slow.client_destroy, c)
        raise
    self._c = c


class Remote:
    """c.Service.method; c["any-name"]["method"] where a name is none of
    Python's."""
    __slots__ = ()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        service = self._service(name)
        setattr(self, name, service)
        return service

    def __getitem__(self, name):
        return self._service(name)

    def _service(self, name):
        return Service(self, name)


class Service:
    def __init__(self, client, name):
        self._client, self._name = client, name

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        method = self[name]
        setattr(self, name, method)
        return method

    def __getitem__(self, name):
        return self._client._method_class(
            self._client, ("%s.%s" % (self._name, name)).encode())

    def __repr__(self):
        return "<gate service %s>" % self._name


class Method:
    """A method of a service: called, it calls; stream, open: see there. Of its
    keywords timeout (s), meta (dict) and retry are the call's own; arguments of
    those names go by request()."""
    __slots__ = ("_client", "_name")

    def __init__(self, client, name):
        self._client, self._name = client, name

    def __repr__(self):
        return "<gate method %s>" % self._name.decode()

    def __call__(self, *args: Any, timeout: Optional[float] = None,
                 meta: Optional[Dict[str, str]] = None,
                 retry: Optional[int] = None, **kwargs: Any) -> Any:
        return self._client._call(self._name, args, kwargs, timeout, meta,
                                  retry)

    def stream(self, *args: Any, timeout: Optional[float] = None,
               meta: Optional[Dict[str, str]] = None, **kwargs: Any) -> Any:
        """The items of a streamed answer, in order; timeout is for each."""
        return self._client._open(self._name, args, kwargs, timeout, meta)

    def open(self, *args: Any, timeout: Optional[float] = None,
             meta: Optional[Dict[str, str]] = None, **kwargs: Any) -> Any:
        """The answer's bytes as a file that is read while they come."""
        return self._client._file(self._name, args, kwargs, timeout, meta)


class Stream(Closes):
    """An iterator over a streamed answer; closing it (with, close, del) stops
    the producer."""

    def __init__(self, client, caller, stream):
        self._client, self._caller, self._stream = client, caller, stream
        self._items = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self):
        for item in self._items:
            return item
        if not self._stream:
            raise StopIteration
        told = _lib.Bytes()
        e = slow.caller_items(self._caller, self._stream, True, _ITEMS,
                              C.byref(told))
        if e:
            error = None if e == _lib.EOS else stream_error(self._stream)
            self.close()
            raise error or StopIteration
        self._items = iter(self._client._codec.unpack(told.copy()))
        return next(self._items)

    def close(self):
        if self._stream:
            self._items = iter(())
        stream, self._stream = self._stream, None
        caller, self._caller = self._caller, None
        if stream and self._client._alive():
            _lib.destroy(quick.stream_destroy, stream)
            _lib.destroy(slow.caller_destroy, caller)
            self._client._leave()

    def __del__(self):
        self.close()


def stream_error(stream):
    told = quick.stream_error(stream)
    return _lib.failure(told if told.contents.code else None)


class Reader(io.RawIOBase):
    """An answer of any size as a file."""

    def __init__(self, client, caller, stream):
        self._of = Stream(client, caller, stream)

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._of._stream:
            return 0
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        size = C.c_size_t(len(view))
        e = slow.stream_read(
            self._of._stream, C.byref((C.c_char * len(view)).from_buffer(view)),
            C.byref(size))
        if e == _lib.EOS:
            return 0
        if e:
            raise stream_error(self._of._stream)
        return size.value

    def close(self):
        if not self.closed:
            self._of.close()
        super().close()


class Client(Remote, Closes):
    """Calls services of a broker; any number of threads may use it.

        with gate.connect("tcp://127.0.0.1:5555") as c:
            print(c.Math.add(2, 3, timeout=1))
    """
    __slots__ = ("__dict__", "__weakref__")
    _method_class = Method

    def __init__(self, endpoint, *, user=None, password=None, curve=None,
                 identity=None, settings=None, codec=None):
        self._lock = threading.Lock()
        self._spare = []  # (caller, pack): one thread's at a time
        self._used, self._closed = 0, False
        self._codec = codec or Codec()
        open_client(self, endpoint, user, password, curve, identity, settings)
        opened(self)

    # ---- life ---------------------------------------------------------------
    def ready(self, timeout: Optional[float] = None) -> "Client":
        """Waits until the broker has answered once."""
        self._enter()
        try:
            _lib.check(slow.client_ready(self._c, _lib.left_ms(timeout)))
        finally:
            self._leave()
        return self

    def close(self) -> None:
        """Calls under way in other threads are ended by their own deadlines; the
        connection goes when the last one has."""
        with self._lock:
            closed, self._closed = self._closed, True
            last = not closed and not self._used
        if last:
            self._free()

    def _free(self):
        c, self._c = self._c, None
        if self._born != _lib.generation[0]:
            return
        for caller, _ in self._spare:
            _lib.destroy(slow.caller_destroy, caller)
        _lib.destroy(slow.client_destroy, c)

    def _alive(self):
        return self._born == _lib.generation[0]

    def _enter(self):
        _lib.same_process(self._born)
        with self._lock:
            if self._closed:
                raise errors.of("RuntimeError")("the client is closed", "",
                                                "CLOSED")
            self._used += 1

    def _leave(self):
        with self._lock:
            self._used -= 1
            last = self._closed and not self._used
        if last:
            self._free()

    def __del__(self):
        if getattr(self, "_c", None):
            self.close()

    # ---- calls --------------------------------------------------------------
    def request(self, method: str, args: Any = (),
                kwargs: Optional[Dict[str, Any]] = None, *,
                timeout: Optional[float] = None,
                meta: Optional[Dict[str, str]] = None,
                retry: Optional[int] = None) -> Any:
        """A call by name: "Service.method"."""
        return self._call(method.encode(), tuple(args), kwargs or {}, timeout,
                          meta, retry)

    def _caller(self):
        try:
            return self._spare.pop()
        except IndexError:
            return (_lib.made(quick.caller_new(self._c)), self._codec.packer())

    def _call(self, name, args, kwargs, timeout, meta, retry):
        self._enter()
        try:
            caller, pack = mine = self._caller()
            try:
                r = Request(pack, args, kwargs, meta, retry)
                told = _lib.Bytes()
                e = slow.caller_call(caller, name, r.args, len(r.args),
                                     r.kwargs, len(r.kwargs), _lib.ms(timeout),
                                     r.more, r.n, C.byref(told))
                if e:
                    error = _lib.failure()
                    r.started()
                    raise error
                r.started()
                return self._codec.unpack(told.copy())
            finally:
                self._spare.append(mine)
        finally:
            self._leave()

    def _stream(self, kind, name, args, kwargs, timeout, meta):
        self._enter()
        caller = None
        try:
            caller = _lib.made(quick.caller_new(self._c))
            r = Request(self._codec.packer(), args, kwargs, meta)
            stream = C.c_void_p()
            _lib.check(quick.caller_open(
                caller, name, r.args, len(r.args), r.kwargs, len(r.kwargs),
                _lib.ms(timeout), r.more, r.n, C.byref(stream)))
            r.started()
            return kind(self, caller, stream.value)
        except BaseException:
            _lib.destroy(slow.caller_destroy, caller)
            self._leave()
            raise

    def _open(self, *call):
        return self._stream(Stream, *call)

    def _file(self, *call):
        return self._stream(Reader, *call)

    def services(self) -> List[str]:
        """The names of the broker's services."""
        self._enter()
        try:
            value = C.c_void_p()
            _lib.check(slow.client_services(self._c, C.byref(value)))
            return take_value(value.value)
        finally:
            self._leave()

    def stats(self) -> Dict[str, Any]:
        """Counters of this client, by name."""
        self._enter()
        try:
            return take_value(_lib.made(slow.client_stats(self._c)))
        finally:
            self._leave()


def take_value(value):
    try:
        return Codec().unpack(quick.value_bytes(value).copy())
    finally:
        _lib.destroy(quick.value_destroy, value)


def connect(endpoint: Optional[str], *, user: Optional[str] = None,
            password: Optional[str] = None,
            curve: Optional[Tuple[str, str]] = None,
            identity: Optional[str] = None,
            settings: Optional[Dict[str, Any]] = None,
            codec: Optional[Codec] = None,
            wait: Optional[float] = None) -> Client:
    """A client of the broker at endpoint.

    user, password   in-band PLAIN credentials
    curve            (our certificate's file, the server's public one)
    settings         {"reply_timeout": 5, ...}: docs/settings.md
    codec            gate.Codec(default=..., object_hook=...)
    wait             seconds to wait for the broker; without it calls wait, and
                     say why there is no connection
    """
    client = Client(endpoint, user=user, password=password, curve=curve,
                    identity=identity, settings=settings, codec=codec)
    if wait is not None:
        try:
            client.ready(wait)
        except BaseException:
            client.close()
            raise
    return client
