# SPDX-License-Identifier: BSD-3-Clause
"""Services in Python: the library's actor keeps the calls, this loop takes them
in batches and answers.

    class Math:
        @gate.method
        def add(self, a, b):
            return a + b

    gate.serve("Math", Math(), "tcp://127.0.0.1:5556")
"""
import asyncio
import contextvars
import ctypes as C
import functools
import inspect
import os
import signal
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Callable, Optional

from . import _lib, errors
from ._lib import quick, slow
from ._pack import Codec
from ._runtime import opened, runtime

RUNS = ("loop", "thread", "process")
_LOOK_S = 0.1       # how soon a caller that leaves is noticed
# A method's sys.exit() ends its call, as elsewhere a handler's death does not
# end the service.
_RAISED = (Exception, SystemExit)
_PAUSE_S = 0.001    # before a stream without room is asked again; doubles up to
_PAUSE_MAX_S = 0.05
_AT_ONCE = 64       # items of a plain generator between looks at the loop


def method(function: Optional[Callable[..., Any]] = None, *, runs: str = "loop",
           name: Optional[str] = None) -> Callable[..., Any]:
    """Marks what can be called. runs: where a plain function runs: "loop", the
    service's event loop, so it must be short; "thread"; "process", in a pool of
    interpreters (what it is bound to must be picklable). A coroutine function is
    a task of the loop; a generator, asynchronous or not, answers with a
    stream."""
    if runs not in RUNS:
        raise ValueError("runs=%r: one of %s" % (runs, ", ".join(RUNS)))

    def mark(f):
        if runs == "process" and (inspect.isgeneratorfunction(f)
                                  or inspect.isasyncgenfunction(f)):
            raise TypeError("%s: a generator runs in the loop or on a thread"
                            % f.__qualname__)
        if runs != "loop" and (inspect.iscoroutinefunction(f)
                               or inspect.isasyncgenfunction(f)):
            raise TypeError("%s: a coroutine runs in the loop" % f.__qualname__)
        f.__gate__ = (name or f.__name__, runs)
        return f
    return mark(function) if function else mark


class Call:
    """What is known of the call that is being answered: gate.current()."""
    __slots__ = ("method", "user", "meta", "_until", "_work")

    def __init__(self, entry, work):
        _, self.method, _, _, self.user, self.meta, left = entry
        self._until = None if left is None else work.began + left / 1000
        self._work = work

    @property
    def time_left(self) -> Optional[float]:
        """Seconds until its caller's deadline; None when that is not known."""
        return None if self._until is None else max(
            0.0, self._until - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Its caller has left: for what runs on a thread; a task is cancelled."""
        return self._work.left


_current = contextvars.ContextVar("gate call")


def current() -> Call:
    """The call that is being answered; LookupError outside of one."""
    return Call(*_current.get())


class _Work:
    """A call under way that is no task of the loop."""
    __slots__ = ("left", "began")

    def __init__(self):
        self.left, self.began = False, time.monotonic()

    def cancel(self):
        self.left = True


class _Left(Exception):
    """The reader of a stream has gone."""


class Service:
    """A service of the running loop. what: objects with methods that are marked
    by gate.method, or such functions."""

    def __init__(self, name, *what, description=None, user=None, password=None,
                 curve=None, identity=None, limit=None, settings=None,
                 codec=None, threads=None, processes=None):
        self._loop = asyncio.get_running_loop()
        self._codec = codec or Codec()
        self._pack = self._codec.packer()
        self._local = threading.local()
        self._methods, self._tasks = {}, {}
        self._told = _lib.Bytes()
        self._told_at = C.byref(self._told)
        self._looking = None
        self._n = (threads or min(32, (os.cpu_count() or 1) + 4),
                   processes or os.cpu_count() or 1)
        self._threads = self._processes = None
        self._started = False
        self._born = _lib.generation[0]
        self.name, self._runtime = name, runtime(settings)
        self._c, self._answerer = None, None
        self._c = _lib.made(quick.service_new(self._runtime.c, _lib.text(name)))
        self._answerer = _lib.made(quick.answerer_new())
        if description:
            quick.service_describe(self._c, _lib.text(description))
        if user is not None:
            quick.service_plain(self._c, _lib.text(user),
                                _lib.text(password or ""))
        if curve is not None:
            quick.service_curve(self._c, *(_lib.text(os.fspath(f))
                                           for f in curve))
        if identity is not None:
            quick.service_identity(self._c, _lib.text(identity))
        if limit is not None:
            quick.service_limit(self._c, limit)
        for thing in what:
            self.add(thing)
        opened(self)

    # ---- methods ------------------------------------------------------------
    def add(self, what):
        """All marked methods of an object, or one marked function."""
        if getattr(what, "__gate__", None):
            self._add(what)
            return what
        found = [m for _, m in inspect.getmembers(
            what, lambda m: getattr(m, "__gate__", None))]
        if not found:
            raise TypeError("%r has no method that is marked by gate.method"
                            % (what,))
        for m in found:
            self._add(m)
        return what

    def method(self, function=None, **options):
        """As gate.method, and adds it here."""
        def mark(f):
            return self.add(method(f, **options))
        return mark(function) if function else mark

    def _add(self, function):
        name, runs = function.__gate__
        try:
            signature = str(inspect.signature(function))
        except (TypeError, ValueError):
            signature = None
        _lib.check(quick.answerer_method(
            self._answerer, self._c, _lib.text(name), _lib.text(signature),
            _lib.text(inspect.getdoc(function))))
        if inspect.isasyncgenfunction(function):
            run = self._begin_agen
        elif inspect.isgeneratorfunction(function):
            run = (self._begin_thread_gen if runs == "thread"
                   else self._begin_gen)
        elif inspect.iscoroutinefunction(function):
            run = self._begin_task
        else:
            run = {"loop": None, "thread": self._begin_thread,
                   "process": self._begin_process}[runs]
        self._methods[name] = (run, function)

    # ---- life ---------------------------------------------------------------
    async def start(self, backend: Optional[str] = None, *,
                    wait: Optional[float] = None) -> "Service":
        """Begins to serve at a broker's backend; None: this process alone. wait:
        seconds until that has registered it."""
        _lib.check(slow.service_start(self._c, _lib.text(backend)))
        self._started = True
        self._loop.add_reader(quick.answerer_fd(self._answerer), self._take)
        if wait is not None:
            error = await self._loop.run_in_executor(
                None, _outcome, slow.service_ready, self._c, _lib.ms(wait))
            if error:
                raise error
        return self

    async def drain(self, timeout: float = 10.0) -> None:
        """Takes no new calls, finishes those it has."""
        error = await self._loop.run_in_executor(
            None, _outcome, slow.service_drain, self._c, _lib.ms(timeout))
        if error:
            raise error

    async def aclose(self, timeout: float = 10.0) -> None:
        """Drains, then closes."""
        if self._c and self._started:
            try:
                await self.drain(timeout)
            except errors.Error:
                pass  # what is under way is ended by close
        for task in list(self._tasks.values()):
            task.cancel()
        tasks = [t for t in self._tasks.values() if isinstance(t, asyncio.Task)]
        await asyncio.gather(*tasks, return_exceptions=True)
        for pool in (self._threads, self._processes):
            if pool:
                await self._loop.run_in_executor(None, pool.shutdown)
        self.close()

    def close(self):
        """At once: calls under way end with an error."""
        c, self._c = self._c, None
        if not c:
            return
        for task in list(self._tasks.values()):
            if not self._loop.is_closed():
                task.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(quick.answerer_fd(self._answerer))
            if self._looking:
                self._looking.cancel()
        if self._born != _lib.generation[0]:
            return
        for pool in (self._threads, self._processes):
            if pool:  # they answer
                pool.shutdown(cancel_futures=True)
        answerer, self._answerer = self._answerer, None
        _lib.destroy(slow.service_destroy, c)
        _lib.destroy(slow.answerer_destroy, answerer)

    def __del__(self):
        if getattr(self, "_c", None):
            self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()

    def stats(self):
        """Counters, by name."""
        from .client import take_value
        return take_value(_lib.made(slow.service_stats(self._c)))

    # ---- calls come ---------------------------------------------------------
    def _take(self):
        if not quick.answerer_take(self._answerer, self._told_at):
            return
        data = self._told.copy()
        try:
            entries = self._codec.unpack(data)
        except Exception:
            self._take_each(data)
            return
        for entry in entries:
            self._begin(entry)

    def _take_each(self, data):
        """One of them is not to be decoded: the others are."""
        for parts, error in self._codec.unpack_each(data):
            if error:
                self._raise(parts[0], errors.of("ValueError")(
                    "the arguments cannot be decoded: %s" % error))
            else:
                self._begin(parts)

    def _begin(self, entry):
        ticket = entry[0]
        if len(entry) == 1:
            task = self._tasks.get(ticket)
            if task:
                task.cancel()
            return
        run, function = self._methods[entry[1]]
        work = _Work()
        _current.set((entry, work))
        if run:
            run(ticket, function, entry, work)
            return
        try:
            data = self._pack(function(*entry[2], **entry[3]))
        except _RAISED as e:
            self._raise(ticket, e)
        else:
            quick.answerer_return(self._answerer, ticket, data, len(data))

    def _look(self):
        """Callers that leave ring nothing."""
        self._looking = None
        self._take()
        if self._tasks:
            self._look_later()

    def _look_later(self):
        if not self._looking:
            self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _under_way(self, ticket, task):
        self._tasks[ticket] = task
        if not self._looking:
            self._look_later()

    # ---- answers ------------------------------------------------------------
    def _raise(self, ticket, e):
        if isinstance(e, errors.Error):
            text, cls, told = e.text, type(e).__name__, e.traceback
        else:
            cls, told = type(e).__name__, ""
            text = str(e)
            if isinstance(e, KeyError) and len(e.args) == 1:
                text = str(e.args[0])
        told += "".join(traceback.format_tb(e.__traceback__))
        quick.answerer_raise(self._answerer, ticket,
                             *(_plain(x) for x in (cls, text, told)))

    def _return(self, ticket, data):
        quick.answerer_return(self._answerer, ticket, data, len(data))

    def _thread_pack(self):
        pack = getattr(self._local, "pack", None)
        if not pack:
            pack = self._local.pack = self._codec.packer()
        return pack

    # ---- tasks --------------------------------------------------------------
    def _begin_task(self, ticket, function, entry, work):
        self._under_way(ticket, self._loop.create_task(
            self._run(ticket, function, entry)))

    async def _run(self, ticket, function, entry):
        try:
            data = self._pack(await function(*entry[2], **entry[3]))
        except asyncio.CancelledError:
            self._tasks.pop(ticket, None)
            self._raise(ticket, errors.CancelledError("its task was cancelled"))
            raise
        except _RAISED as e:
            self._tasks.pop(ticket, None)
            self._raise(ticket, e)
        else:
            self._tasks.pop(ticket, None)
            self._return(ticket, data)

    def _begin_agen(self, ticket, function, entry, work):
        self._under_way(ticket, self._loop.create_task(
            self._stream(ticket, function, entry)))

    def _begin_gen(self, ticket, function, entry, work):
        self._under_way(ticket, self._loop.create_task(
            self._stream(ticket, functools.partial(_as_async, function),
                         entry)))

    async def _stream(self, ticket, function, entry):
        items = None
        try:
            items = function(*entry[2], **entry[3])
            async for item in items:
                await self._send(ticket, self._pack(item))
        except asyncio.CancelledError:
            self._tasks.pop(ticket, None)
            self._raise(ticket, errors.CancelledError("its task was cancelled"))
            raise
        except _RAISED as e:
            self._tasks.pop(ticket, None)
            self._raise(ticket, e)
        else:
            self._tasks.pop(ticket, None)
            quick.answerer_end(self._answerer, ticket)
        finally:
            if items is not None:
                await items.aclose()

    async def _send(self, ticket, data):
        pause = _PAUSE_S
        while e := quick.answerer_yield(self._answerer, ticket, data,
                                        len(data)):
            if e == _lib.CANCELLED:
                raise errors.CancelledError("the reader left")
            if e != _lib.BUSY:
                raise _lib.failure()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MAX_S)

    # ---- threads, processes -------------------------------------------------
    def _pool(self):
        if not self._threads:
            self._threads = ThreadPoolExecutor(self._n[0], "gate-" + self.name)
        return self._threads

    def _begin_thread(self, ticket, function, entry, work):
        self._under_way(ticket, work)
        self._pool().submit(contextvars.copy_context().run, self._on_thread,
                            ticket, function, entry)

    def _on_thread(self, ticket, function, entry):
        try:
            data = self._thread_pack()(function(*entry[2], **entry[3]))
        except BaseException as e:
            self._tasks.pop(ticket, None)
            self._raise(ticket, e)
        else:
            self._tasks.pop(ticket, None)
            self._return(ticket, data)

    def _begin_thread_gen(self, ticket, function, entry, work):
        self._under_way(ticket, work)
        self._pool().submit(contextvars.copy_context().run,
                            self._stream_on_thread, ticket, function, entry,
                            work)

    def _stream_on_thread(self, ticket, function, entry, work):
        pack = self._thread_pack()
        try:
            for item in function(*entry[2], **entry[3]):
                self._send_on_thread(ticket, pack(item), work)
        except BaseException as e:
            self._tasks.pop(ticket, None)
            self._raise(ticket, e)
        else:
            self._tasks.pop(ticket, None)
            quick.answerer_end(self._answerer, ticket)

    def _send_on_thread(self, ticket, data, work):
        pause = _PAUSE_S
        while e := quick.answerer_yield(self._answerer, ticket, data,
                                        len(data)):
            if e == _lib.CANCELLED or work.left:
                raise errors.CancelledError("the reader left")
            if e != _lib.BUSY:
                raise _lib.failure()
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_MAX_S)

    def _begin_process(self, ticket, function, entry, work):
        self._under_way(ticket, work)
        try:
            future = self._process_pool().submit(function, *entry[2],
                                                 **entry[3])
        except BrokenProcessPool:
            self._processes = None  # a new one, with this call
            future = self._process_pool().submit(function, *entry[2],
                                                 **entry[3])
        future.add_done_callback(functools.partial(self._back, ticket))

    def _process_pool(self):
        if not self._processes:
            import multiprocessing
            # never fork: the library has threads
            self._processes = ProcessPoolExecutor(
                self._n[1], multiprocessing.get_context("spawn"))
        return self._processes

    def _back(self, ticket, future):
        """On the executor's thread."""
        self._tasks.pop(ticket, None)
        try:
            data = self._thread_pack()(future.result())
        except BrokenProcessPool:
            self._raise(ticket, errors.WorkerLostError(
                "the process that ran the call has died"))
        except BaseException as e:
            self._raise(ticket, e)
        else:
            self._return(ticket, data)


def _plain(text):
    """As the library wants it: UTF-8 without NUL."""
    return text.encode("utf-8", "replace").replace(b"\0", b"\\0")


async def _as_async(function, *args, **kwargs):
    """A plain generator, step by step in the loop."""
    n = 0
    for item in function(*args, **kwargs):
        yield item
        n += 1
        if not n % _AT_ONCE:
            await asyncio.sleep(0)


def _outcome(function, *args):
    """On another thread, whose story it is."""
    return _lib.failure() if function(*args) else None


def _reload(runtime):
    """An error is in the log, and all stays as it was."""
    slow.runtime_reload(runtime.c)


def _heed(loop, runtime):
    """What ends nobody else's service: SIGHUP and others are taken where they
    would kill us; they read the settings anew."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        try:
            if signal.getsignal(number) == signal.SIG_DFL:
                loop.add_signal_handler(number, _reload, runtime)
        except (RuntimeError, ValueError):  # not the main thread
            pass


async def serving(name, *what, backend=None, ready=None, drain=10.0,
                  **options):
    """Serves until SIGTERM or SIGINT (or its task is cancelled), then drains.
    SIGHUP, SIGUSR1 and SIGUSR2 read the settings anew, as at `gate serve`. ready
    is called with the service once the broker has it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except (RuntimeError, ValueError):  # not the main thread
            pass
    service = Service(name, *what, **options)
    _heed(loop, service._runtime)
    try:
        await service.start(backend)
        if ready:
            while await loop.run_in_executor(
                    None, _outcome, slow.service_ready, service._c, 500):
                if stop.is_set():
                    return
            ready(service)
        await stop.wait()
    finally:
        await service.aclose(drain)


def serve(name: str, what: Any, backend: Optional[str] = None,
          **options: Any) -> None:
    """Serves an object's methods until SIGTERM or SIGINT."""
    asyncio.run(serving(name, what, backend=backend, **options))
