# SPDX-License-Identifier: BSD-3-Clause
"""Client, Worker, Service, AMajordomo and AsyncZAPService as gate-rpc names
them."""
import asyncio
import ctypes as C
import inspect
import os
import secrets
import tempfile
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from logging import getLogger

from .. import _lib, aio, errors
from .._lib import quick, slow
from .._runtime import Runtime, opened
from ..client import take_value
from ..service import Service as _Server
from .exceptions import RemoteException
from .global_settings import Settings
from .utils import (Codec, StreamReply, check_socket_addr, generator_to_agenerator,
                    interface, msg_pack, msg_unpack, name2uuid, run_in_executor)

logger = getLogger("gaterpc")
_HUGE = 3  # gate_stream_kind_t


class Context:
    """Stands where programs pass a ZeroMQ context on: the library has its own,
    one a process, so inproc addresses are the same everywhere in it."""

    def __init__(self, io_threads=1, *, shadow=0):
        self.io_threads = io_threads

    def term(self):
        pass

    destroy = term


# ---- what both sides share ---------------------------------------------------
def remote(e):
    """An error of the library as gate-rpc raises it."""
    if e.code == "TIMEOUT" or isinstance(e, TimeoutError):
        return TimeoutError(e.text)
    return RemoteException((type(e).__name__,
                            "%s(%r)" % (type(e).__name__, e.text), e.traceback))


def _plain(mechanism, credentials):
    """user, password of in-band PLAIN, or None twice."""
    if not mechanism:
        return None, None
    if isinstance(mechanism, str):
        mechanism = mechanism.encode()
    credentials = tuple(credentials or ())
    if mechanism == Settings.ZAP_MECHANISM_NULL and not credentials:
        return None, None
    if mechanism != Settings.ZAP_MECHANISM_PLAIN:
        raise RuntimeError("The %r mechanism is not implemented." % mechanism)
    if len(credentials) != 2:
        raise AttributeError("PLAIN has two credentials: user and password")
    return tuple(c.decode() if isinstance(c, bytes) else c for c in credentials)


def _key(value):
    """A CURVE key in Z85."""
    if isinstance(value, str):
        value = value.encode()
    if len(value) == 32:
        import zmq.utils.z85
        value = zmq.utils.z85.encode(value)
    return value.decode()


class _Curve:
    """The keys that stand in socket options, as certificate files."""

    def __init__(self, sock_opt=None):
        told = {getattr(k, "name", str(k)): v
                for k, v in {**Settings.ZMQ_SOCK, **(sock_opt or {})}.items()}
        self.files, self._folder = None, None
        secret = told.get("CURVE_SECRETKEY")
        if not secret:
            return
        public = told.get("CURVE_PUBLICKEY")
        if not public:
            import zmq
            public = zmq.curve_public(_key(secret).encode())
        self._folder = tempfile.TemporaryDirectory(prefix="gate-curve-")
        mine = self._write("mine", _key(public), _key(secret))
        self.files = (mine,)
        if told.get("CURVE_SERVERKEY"):
            self.files = (mine, self._write("server",
                                            _key(told["CURVE_SERVERKEY"])))

    def _write(self, name, public, secret=None):
        path = os.path.join(self._folder.name, name)
        for file, keys in ((path, [("public", public)]), (
                path + "_secret", [("public", public), ("secret", secret)])):
            if keys[-1][1] is None:
                continue
            with open(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600),
                      "w", encoding="ascii") as f:
                f.write("metadata\ncurve\n" + "".join(
                    '    %s-key = "%s"\n' % pair for pair in keys))
        return path


def _loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.get_event_loop()


def _pools(thread_executor, process_executor):
    n = os.cpu_count() or 1
    return (thread_executor or ThreadPoolExecutor(min(32, n + 4)),
            process_executor)


# ---- client ------------------------------------------------------------------
class _RemoteMethod:
    __slots__ = ("_client", "_path")

    def __init__(self, client, path):
        self._client, self._path = client, path

    def __getattr__(self, item):
        if item.startswith("_"):
            raise AttributeError(item)
        return _RemoteMethod(self._client, "%s.%s" % (self._path, item))

    def __call__(self, *args, **kwargs):
        service, _, func = self._path.rpartition(".")
        return self._client._invoke_remote(service or None, func, args, kwargs)


class Client:
    def __init__(self, broker_addr=None, identity=None, context=None,
                 heartbeat=None, reply_timeout=None, zap_mechanism=None,
                 zap_credentials=None):
        self._loop = _loop()
        self.identity = name2uuid(identity or "gc-" + secrets.token_hex(8)).bytes
        self._name, self._broker_addr = identity, broker_addr
        self.heartbeat = heartbeat or Settings.MDP_HEARTBEAT_INTERVAL
        self.reply_timeout = reply_timeout or Settings.REPLY_TIMEOUT
        self._user, self._password = _plain(zap_mechanism, zap_credentials)
        self.default_service = Settings.SERVICE_DEFAULT_NAME
        self._remote_services = set()
        self.replies = {}
        self._gate = self._curve = self._recv_task = None

    async def connect(self, broker_addr=None):
        if self._gate:
            raise RuntimeError("Broker is connected.")
        self._broker_addr = check_socket_addr(broker_addr or self._broker_addr)
        self._curve = _Curve()
        self._gate = aio.Client(
            self._broker_addr, user=self._user, password=self._password,
            curve=self._curve.files, identity=self._name, codec=Codec(),
            settings=Settings.library(
                mdp_heartbeat_interval=self.heartbeat,
                reply_timeout=self.reply_timeout))
        self._recv_task = self._loop.create_future()
        try:
            self._remote_services = set(await self._gate.services())
        except errors.Error as e:
            self.close()
            raise remote(e) from None

    async def disconnect(self):
        self.close()

    def close(self):
        if self._gate:
            self._gate.close()
            self._gate = None
        if self._recv_task and not self._recv_task.done():
            self._recv_task.cancel()
        self._recv_task = None

    async def knock(self, service_name, func_name, *args, **kwargs):
        if not self._gate:
            await self.connect()
        service_name = service_name or self.default_service
        if service_name not in self._remote_services:
            self._remote_services = set(await self._gate.services())
            if service_name not in self._remote_services:
                raise AttributeError("The remote service named \"%s\" was not "
                                     "found." % service_name)
        if len(self.replies) >= Settings.MESSAGE_MAX:
            raise RuntimeError("%d requests are pending, the limit "
                               "(MESSAGE_MAX)." % len(self.replies))
        key = object()
        self.replies[key] = func_name
        try:
            return await self._ask("%s.%s" % (service_name, func_name), args,
                                   kwargs)
        except errors.Error as e:
            raise remote(e) from None
        finally:
            del self.replies[key]

    async def _ask(self, name, args, kwargs):
        """A value, or a StreamReply: it is known when something has come."""
        stream = self._gate._open(name.encode(), args, kwargs,
                                  self.reply_timeout, None)
        try:
            await stream._more()
        except BaseException:
            stream.close()
            raise
        if not stream._stream:
            return StreamReply(stream)
        progress = _lib.Progress()
        quick.stream_progress(stream._stream, C.byref(progress))
        first = list(stream._items)
        if quick.stream_single(stream._stream) or progress.kind == _HUGE:
            stream.close()
            return first[0]
        return StreamReply(stream, first)

    def _invoke_remote(self, service, func, args, kwargs):
        return self.knock(service, func, *args, **kwargs)

    def __getattr__(self, item):
        if item.startswith("_"):
            raise AttributeError(item)
        return _RemoteMethod(self, item)


class SimpleClient:
    """Synchronous; gives a reply as it came: {"result": ..., "exception": ...}."""

    def __init__(self, broker_addr, reply_timeout=None, zap_mechanism=None,
                 zap_credentials=None):
        from ..client import Client as Plain
        user, password = _plain(zap_mechanism, zap_credentials)
        self._curve = _Curve()
        self.reply_timeout = reply_timeout or Settings.REPLY_TIMEOUT
        self._gate = Plain(check_socket_addr(broker_addr), user=user,
                           password=password, curve=self._curve.files,
                           codec=Codec(), settings=Settings.library())

    def _close(self):
        self._gate.close()

    def __getattr__(self, item):
        if item.startswith("_"):
            raise AttributeError(item)
        return _RemoteMethod(self, item)

    def _invoke_remote(self, service, func, args, kwargs):
        name = "%s.%s" % (service or Settings.SERVICE_DEFAULT_NAME, func)
        try:
            return {"exception": None, "result": self._gate.request(
                name, args, kwargs, timeout=self.reply_timeout)}
        except errors.Error as e:
            cls = type(e).__name__
            return {"result": None, "exception": [
                cls, "%s(%r)" % (cls, e.text), e.traceback]}


# ---- workers -----------------------------------------------------------------
class _Serving(_Server):
    """Answers by what a method gives, as gate-rpc decides it: when it was run."""

    def __init__(self, name, worker, **options):
        super().__init__(name, codec=Codec(), **options)
        self._worker = worker

    def add_interface(self, name, function):
        _lib.check(quick.answerer_method(
            self._answerer, self._c, _lib.text(name),
            _lib.text(str(inspect.signature(function))),
            _lib.text(inspect.getdoc(function))))
        short = (function.__executor__ == "none"
                 and not inspect.iscoroutinefunction(function)
                 and not inspect.isgeneratorfunction(function)
                 and not inspect.isasyncgenfunction(function))
        self._methods[name] = (None if short else self._begin_any, function)

    def _pack(self, value):
        return self._codec.packer()(value)

    def _begin_any(self, ticket, function, entry, work):
        self._under_way(ticket, self._loop.create_task(
            self._run_any(ticket, function, entry)))

    async def _run_any(self, ticket, function, entry):
        result = None
        try:
            result = await self._worker._run_method(function, entry[2], entry[3])
            if isinstance(result, Generator):
                result = generator_to_agenerator(result)
            streams = isinstance(result, AsyncGenerator)
            data = None if streams else self._pack(result)
        except asyncio.CancelledError:
            self._tasks.pop(ticket, None)
            self._raise(ticket, errors.CancelledError("its task was cancelled"))
            raise
        except Exception as e:
            self._tasks.pop(ticket, None)
            self._raise(ticket, e)
            return
        if streams:
            await self._stream(ticket, lambda *_, **__: result, entry)
        else:
            self._tasks.pop(ticket, None)
            self._return(ticket, data)


def _interfaces(thing):
    found = {}
    for name in dir(type(thing)):  # properties are not to be asked
        marked = inspect.getattr_static(type(thing), name)
        if not name.startswith("_") and getattr(marked, "__interface__", False):
            found[name] = getattr(thing, name)
    return found


class _Runs:
    """Has methods that run in its executors."""

    @property
    def process_executor(self):
        """Made when it is first used, and never by fork: there are threads."""
        if not self._processes:
            import multiprocessing
            self._processes = ProcessPoolExecutor(
                min(4, (os.cpu_count() or 1) + 1),
                multiprocessing.get_context("spawn"))
        return self._processes

    def _close_pools(self):
        self.thread_executor.shutdown()
        if self._processes:
            self._processes.shutdown()

    def run_in_executor(self, executor, func, *args, **kwargs):
        return run_in_executor(self._loop, executor, func, *args, **kwargs)

    async def _run_method(self, function, args, kwargs):
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        executor = getattr(function, "__executor__", "none")
        if executor == "none" or inspect.isgeneratorfunction(function) \
                or inspect.isasyncgenfunction(function):
            return function(*args, **kwargs)
        return await self.run_in_executor(
            self.thread_executor if executor == "thread"
            else self.process_executor, function, *args, **kwargs)

    def _get_loop(self):
        return self._loop

    # what an executor's process gets of it: its class's methods
    def __getstate__(self):
        return {}


class Worker(_Runs):
    def __init__(self, broker_addr, service, identity=None, heartbeat=None,
                 context=None, zap_mechanism=None, zap_credentials=None,
                 max_allowed_request=None, thread_executor=None,
                 process_executor=None):
        self._loop = _loop()
        self._name = identity or "gw" + secrets.token_hex(8)
        self.identity = name2uuid(self._name).bytes
        self.service, self.ready = service, False
        self._broker_addr = check_socket_addr(broker_addr)
        self._user, self._password = _plain(zap_mechanism, zap_credentials)
        self.heartbeat = heartbeat or Settings.MDP_HEARTBEAT_INTERVAL
        self.heartbeat_liveness = Settings.MDP_HEARTBEAT_LIVENESS
        self.max_allowed_request = max_allowed_request or Settings.MESSAGE_MAX
        self.thread_executor, self._processes = _pools(thread_executor,
                                                       process_executor)
        self.interfaces = {
            name: {"doc": inspect.getdoc(m),
                   "signature": str(inspect.signature(m))}
            for name, m in _interfaces(self).items()}
        self._reconnect, self._recv_task, self._serving = False, None, None

    @interface
    def get_interfaces(self):
        return self.interfaces

    @property
    def requests(self):
        return set(self._serving._tasks) if self._serving else set()

    def is_alive(self):
        return self.ready

    def run(self):
        if not self._recv_task:
            self._recv_task = self._loop.create_task(self.recv())

    async def recv(self):
        """Serves until it is stopped; the connection is the library's."""
        curve = _Curve()
        self._serving = _Serving(
            self.service.name, self, description=self.service.description,
            user=self._user, password=self._password, curve=curve.files,
            identity=self._name, limit=self.max_allowed_request,
            settings=Settings.library(mdp_heartbeat_interval=self.heartbeat))
        try:
            for name, method in _interfaces(self).items():
                if name != "get_interfaces":  # every service has it
                    self._serving.add_interface(name, method)
            await self._serving.start(self._broker_addr)
            self.ready = True
            await self._loop.create_future()
        finally:
            self.ready = False
            serving, self._serving = self._serving, None
            serving.close()

    def stop(self):
        if self._recv_task:
            self._recv_task.cancel()
            self._recv_task = None

    def close(self):
        self._close_pools()


class Service:
    def __init__(self, name=None, description="gate-rpc service"):
        self.name = name or Settings.SERVICE_DEFAULT_NAME
        self.description = description
        self.workers, self.running = {}, False

    def add_worker(self, worker):
        worker.service = self
        self.workers[worker.identity] = worker
        self.running = True

    def remove_worker(self, worker):
        if self.workers.pop(worker.identity, None):
            worker.stop()
        self.running = bool(self.workers)

    def get_workers(self):
        return self.workers

    def create_worker(self, worker_class=None, workers_addr=None,
                      workers_heartbeat=None, context=None, zap_mechanism=None,
                      zap_credentials=None, max_allowed_request=None,
                      thread_executor=None, process_executor=None):
        worker = (worker_class or Worker)(
            workers_addr or Settings.WORKER_ADDR, self,
            identity="%sWorker-%s" % (self.name, secrets.token_hex(8)),
            heartbeat=workers_heartbeat, context=context,
            zap_mechanism=zap_mechanism, zap_credentials=zap_credentials,
            max_allowed_request=max_allowed_request,
            thread_executor=thread_executor, process_executor=process_executor)
        self.add_worker(worker)
        return worker


# ---- broker ------------------------------------------------------------------
_return, _raise = getattr(quick, "return"), getattr(quick, "raise")
_HANDLER = C.CFUNCTYPE(C.c_int, C.c_void_p)
_TABLE = 4096  # zeroed: the first entry, and whatever length one has the end
_THEIRS = ("info", "query_service", "get_services", "keepalive")


class AMajordomo(_Runs):
    """The library's broker. Methods that interface marks are of its internal
    service, Gate: they run on the broker's thread, so they must be short."""

    def __init__(self, *, identity=None, context=None, heartbeat=None,
                 thread_executor=None, process_executor=None,
                 gate_zap_mechanism=None, gate_zap_credentials=None):
        self._loop = _loop()
        self.identity = name2uuid(identity or "gm-" + secrets.token_hex(8)).bytes
        self.heartbeat = heartbeat or Settings.MDP_HEARTBEAT_INTERVAL
        self.ctx = context or Context()
        self.thread_executor, self._processes = _pools(thread_executor,
                                                       process_executor)
        self._runtime = Runtime(Settings.library(
            mdp_heartbeat_interval=self.heartbeat))
        self._c = _lib.made(quick.broker_new(self._runtime.c))
        self._keep, self._broker_task, self.running = [], None, False
        self.internal_tasks, self.internal_requests = {}, {}
        opened(self)

    def _bind(self, bind, addr, sock_opt):
        curve = _Curve(sock_opt)
        if curve.files:
            self._keep.append(curve)
            quick.broker_curve(self._c, _lib.text(curve.files[0]), b"*")
        bind(self._c, _lib.text(check_socket_addr(addr)))

    def bind_frontend(self, addr, sock_opt=None):
        self._bind(quick.broker_bind, addr, sock_opt)

    def bind_backend(self, addr=None, sock_opt=None):
        self._bind(quick.broker_bind_backend, addr or Settings.WORKER_ADDR,
                   sock_opt)

    def connect_zap(self, zap_addr=None, zap_domain=None):
        domain = zap_domain or Settings.ZAP_DEFAULT_DOMAIN
        quick.broker_use_zap(
            self._c, _lib.text(check_socket_addr(zap_addr or Settings.ZAP_ADDR)),
            _lib.text(domain))
        return _Done()

    @property
    def services(self):
        """Names of services, and what is known of each."""
        if not self.running:
            return {}
        return take_value(_lib.made(slow.broker_stats(self._c)))["services"]

    def _register(self):
        for name, function in _interfaces(self).items():
            if name in _THEIRS:
                continue
            handler = _HANDLER(self._handler(function))
            table = C.create_string_buffer(_TABLE)
            text = C.c_char_p(name.encode())
            C.c_void_p.from_buffer(table, 0).value = C.cast(
                text, C.c_void_p).value
            C.c_void_p.from_buffer(table, C.sizeof(C.c_void_p)).value = C.cast(
                handler, C.c_void_p).value
            self._keep.append((handler, table, text))
            quick.broker_methods(self._c, table, None)

    def _handler(self, function):
        def run(call):
            try:
                args = _object(quick.call_raw_args(call)) or []
                kwargs = _object(quick.call_raw_kwargs(call)) or {}
                kwargs["__client_id"] = quick.call_client(call).copy()
                kwargs["__request_id"] = b""
                data = msg_pack(self._now(function(*args, **kwargs)))
                return _return(call, quick.raw(data, len(data)))
            except Exception as e:
                return _raise(call, type(e).__name__.encode(), b"%s",
                              str(e).encode("utf-8", "replace"))
        return run

    def _now(self, result):
        """A coroutine runs in the loop, the broker waits."""
        if inspect.iscoroutine(result):
            result.close()
            raise NotImplementedError(
                "a method of the broker's own is a plain function here")
        return result

    def run(self):
        if self._broker_task:
            return
        self._register()
        _lib.check(slow.broker_start(self._c))
        self.running = True
        self._broker_task = self._loop.create_task(self._until_stopped())

    async def _until_stopped(self):
        await self._loop.create_future()

    def stop(self):
        if self._broker_task and not self._loop.is_closed():
            self._broker_task.cancel()
        self._broker_task, self.running = None, False
        c, self._c = self._c, None
        if c and self._runtime.born == _lib.generation[0]:
            _lib.destroy(slow.broker_destroy, c)

    close = stop


def _object(pointer):
    if not pointer:
        return None
    value = _lib.made(quick.value_new(quick.obj(pointer)))
    try:
        return msg_unpack(quick.value_bytes(value).copy())
    finally:
        _lib.destroy(quick.value_destroy, value)


class _Done:
    """Nothing to wait for, but it may be awaited."""

    def __await__(self):
        return iter(())


class Gate:
    def __init__(self, *_, **__):
        raise NotImplementedError("gate.compat: no cluster; let workers attach "
                                  "to several brokers")


# ---- authentication ----------------------------------------------------------
class AsyncZAPService:
    def __init__(self, addr=None, context=None):
        self._loop = _loop()
        self.addr = check_socket_addr(addr or Settings.ZAP_ADDR)
        self._runtime = Runtime(Settings.library())
        self._c = _lib.made(quick.zap_new(self._runtime.c,
                                          _lib.text(self.addr)))
        self._recv_task = None
        opened(self)

    def configure_plain(self, domain="*", passwords=None):
        for user, password in (passwords or {}).items():
            quick.zap_plain(self._c, *(_lib.text(t) for t in (domain, user,
                                                              password)))

    def allow(self, *addresses):
        for address in addresses:
            quick.zap_allow(self._c, _lib.text(address))

    def deny(self, *addresses):
        for address in addresses:
            quick.zap_deny(self._c, _lib.text(address))

    def start(self):
        _lib.check(slow.zap_start(self._c))
        self._recv_task = self._loop.create_task(self._until_stopped())

    async def _until_stopped(self):
        await self._loop.create_future()

    def stop(self):
        if self._recv_task and not self._loop.is_closed():
            self._recv_task.cancel()
        self._recv_task = None
        c, self._c = self._c, None
        if c and self._runtime.born == _lib.generation[0]:
            _lib.destroy(slow.zap_destroy, c)

    close = stop
