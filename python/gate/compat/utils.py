# SPDX-License-Identifier: BSD-3-Clause
"""gate-rpc's helpers that programs use: interface, HugeData, StreamReply,
message_pack, the descriptors of settings, log handlers."""
import asyncio
import bz2
import functools
import importlib
import inspect
import logging
import logging.handlers
import lzma
import queue
import uuid
import zlib
from pathlib import Path

import msgpack

from .exceptions import HugeDataException


# ---- settings' descriptors ---------------------------------------------------
class Empty:
    def __bool__(self):
        return False


empty = Empty()


class TypeValidator:
    error_message = "require {require_type}."

    def __init__(self, require_type, error_message=None):
        self.require_type = require_type
        self.error_message = error_message or self.error_message

    def __call__(self, value):
        if not isinstance(value, self.require_type):
            raise TypeError(self.error_message.format(
                require_type=self.require_type))
        return value


def ensure_mkdir(p):
    p = Path(p)
    p.mkdir(parents=True, exist_ok=True)
    return p


class LazyAttribute:
    """raw: its value; render(instance, raw) makes what is read of it,
    process(instance, value) what is kept of what is set."""

    def __init__(self, raw=empty, render=None, process=None):
        self._raw, self._render, self._process = raw, render, process
        self._name = ""

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return (self._render(instance, self._raw) if self._render
                else self._raw)

    def __set__(self, instance, value):
        self._raw = self._process(instance, value) if self._process else value


# ---- texts and bytes ---------------------------------------------------------
def to_bytes(s, fmt=None):
    if isinstance(s, bytes):
        return s
    if isinstance(s, (int, float)):
        import struct
        return struct.pack(fmt or ("!i" if isinstance(s, int) else "!f"), s)
    return s.encode("utf-8")


def from_bytes(b, to_num=False):
    s = b.decode("utf-8")
    return (float(s) if "." in s else int(s)) if to_num else s


def name2uuid(name):
    return uuid.uuid5(uuid.NAMESPACE_DNS, name)


def check_socket_addr(socket_addr):
    """A host without a scheme is tcp."""
    if not socket_addr:
        return socket_addr
    return (socket_addr if "://" in socket_addr
            else "tcp://" + socket_addr)


# ---- msgpack -----------------------------------------------------------------
class MsgPackError(ValueError):
    pass


class MsgUnpackError(ValueError):
    pass


class MessagePack:
    """Its four hooks are looked at when something is packed or unpacked."""

    def __init__(self):
        self.prepare_pack = None
        self.unpack_object_hook = None
        self.unpack_object_pairs_hook = None
        self.unpack_object_list_hook = None

    def hooks(self):
        pairs = {"object_hook": self.unpack_object_hook,
                 "object_pairs_hook": self.unpack_object_pairs_hook,
                 "list_hook": self.unpack_object_list_hook}
        return {k: v for k, v in pairs.items() if v}

    def dumps(self, obj):
        return msgpack.packb(obj, use_bin_type=True, default=self.prepare_pack)

    def loads(self, data):
        return msgpack.unpackb(data, raw=False, strict_map_key=False,
                               **self.hooks())


message_pack = MessagePack()


class Codec:
    """gate's Codec that follows message_pack as it is at the time."""

    def packer(self):
        return _pack

    @staticmethod
    def unpack(data):
        return message_pack.loads(data)

    @staticmethod
    def unpack_each(data):
        from .._pack import Codec as Plain
        return Plain(**message_pack.hooks()).unpack_each(data)


def _pack(value):
    """A HugeData's content is a packed value already."""
    return (value.content() if isinstance(value, HugeData)
            else message_pack.dumps(value))


def msg_pack(obj):
    try:
        return message_pack.dumps(obj)
    except Exception as e:
        raise MsgPackError(str(e)) from e


def msg_unpack(data):
    try:
        return message_pack.loads(data)
    except Exception as e:
        raise MsgUnpackError(str(e)) from e


# ---- methods -----------------------------------------------------------------
def interface(method_or_executor):
    """Marks a method that can be called from outside; with "thread" or "process"
    a plain one runs in that executor."""
    if inspect.isfunction(method_or_executor):
        return interface("none")(method_or_executor)
    if method_or_executor not in ("thread", "process", "none"):
        raise TypeError("interface(%r): a function, 'thread', 'process' or "
                        "'none'" % (method_or_executor,))

    def mark(method):
        method.__interface__ = True
        method.__executor__ = method_or_executor
        return method
    return mark


def run_in_executor(loop, executor, func, *args, **kwargs):
    return loop.run_in_executor(executor,
                                functools.partial(func, *args, **kwargs))


async def generator_to_agenerator(generator):
    for element in generator:
        yield element


class StreamReply:
    """The items of a streamed answer: async for."""

    def __init__(self, stream, first=()):
        self._stream, self._first, self._exit = stream, iter(first), False

    def __aiter__(self):
        return self

    def is_exit(self):
        return self._exit

    async def __anext__(self):
        if self._exit:
            raise StopAsyncIteration
        for item in self._first:
            return item
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._exit = True
            raise
        except Exception as e:
            self._exit = True
            from .core import remote
            raise remote(e) from None

    async def aclose(self):
        self._exit = True
        self._stream.close()


# ---- huge values -------------------------------------------------------------
class _Gzip:
    @staticmethod
    def compressor(level):
        return zlib.compressobj(level, zlib.DEFLATED, 31)

    @staticmethod
    def decompressor():
        return zlib.decompressobj(31)


class _Bz2:
    @staticmethod
    def compressor(level):
        return bz2.BZ2Compressor(level or 1)

    decompressor = bz2.BZ2Decompressor


class _Lzma:
    @staticmethod
    def compressor(level):
        return lzma.LZMACompressor(preset=level)

    decompressor = lzma.LZMADecompressor


_MODULES = {"gzip": _Gzip, "bz2": _Bz2, "lzma": _Lzma}
_STEP = 1 << 16


class HugeData:
    """A packed value that is sent compressed and in pieces; and, by itself, what
    compresses and decompresses: data at once, or by add_data and flush."""

    DEFAULT_MAX_DECOMPRESSED_SIZE = 256 * 1024 * 1024

    def __init__(self, end_tag=b"", except_tag=b"", *, data=None,
                 compress_module="gzip", compress_level=1, blksize=1000,
                 timeout=1, max_decompressed_size=None):
        self.end_tag, self.except_tag = end_tag, except_tag
        self.compress_module, self.compress_level = (compress_module,
                                                     compress_level)
        self.blksize, self.timeout = blksize, timeout
        self.max_decompressed_size = (self.DEFAULT_MAX_DECOMPRESSED_SIZE
                                      if max_decompressed_size is None
                                      else max_decompressed_size)
        self._pieces, self._given = queue.Queue(), data is not None
        self._whole = data
        if self._given:
            for i in range(0, len(data), _STEP):
                self._pieces.put(bytes(data[i:i + _STEP]))
            self._pieces.put(None)

    def add_data(self, data):
        if self._given:
            raise TypeError("data")
        self._pieces.put(bytes(data))

    def flush(self):
        """That was all."""
        self._pieces.put(None)

    def content(self):
        """All of it, as a worker sends it."""
        if self._whole is None:
            self._whole = b"".join(iter(
                functools.partial(self._pieces.get, timeout=self.timeout),
                None))
        return self._whole

    def destroy(self):
        self._pieces = queue.Queue()

    def _module(self):
        return _MODULES.get(self.compress_module) or importlib.import_module(
            self.compress_module)

    async def _through(self, step, finish, size, limit=None):
        loop, total, rest = asyncio.get_running_loop(), 0, b""
        while True:
            piece = await loop.run_in_executor(
                None, functools.partial(self._pieces.get))
            out = await loop.run_in_executor(
                None, finish if piece is None else functools.partial(step,
                                                                     piece))
            total += len(out)
            if limit is not None and total > limit:
                raise HugeDataException("more than %d bytes come of it" % limit)
            rest += out
            while len(rest) >= size or (piece is None and rest):
                part, rest = rest[:size], rest[size:]
                yield part
            if piece is None:
                return

    def compress(self, loop=None):
        c = self._module().compressor(self.compress_level)
        return self._through(c.compress, getattr(c, "flush", bytes),
                             self.blksize)

    def decompress(self, loop=None, max_length=-1):
        if isinstance(loop, int):
            max_length = loop
        d = self._module().decompressor()

        def finish():
            if not getattr(d, "eof", True):
                raise HugeDataException("the end is missing")
            return b""
        return self._through(d.decompress, finish,
                             max_length if max_length > 0 else _STEP,
                             self.max_decompressed_size)


# ---- logs --------------------------------------------------------------------
class ColorFormatter(logging.Formatter):
    _COLORS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31,
               "CRITICAL": 35}

    def format(self, record):
        text = super().format(record)
        color = self._COLORS.get(record.levelname)
        return "\x1b[%dm%s\x1b[0m" % (color, text) if color else text


singleton_aqueue_listener = None  # a queue and a thread for each handler


class AQueueHandler(logging.handlers.QueueHandler):
    """Hands records to a handler of handler_class on a thread of its own, so
    that no loop waits for a disk."""

    def __init__(self, handler_class=logging.StreamHandler, listener=None,
                 **options):
        super().__init__(queue.SimpleQueue())
        if isinstance(handler_class, str):
            module, _, name = handler_class.rpartition(".")
            handler_class = getattr(importlib.import_module(module), name)
        self._writer = handler_class(**options)
        self._listener = logging.handlers.QueueListener(self.queue,
                                                        self._writer)
        self._listener.start()

    def setFormatter(self, fmt):
        super().setFormatter(None)
        self._writer.setFormatter(fmt)

    def prepare(self, record):
        return record

    def close(self):
        if self._listener:
            self._listener.stop()
            self._listener = None
            self._writer.close()
        super().close()


class UnixEPollEventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """asyncio's own loop polls by epoll."""
