# SPDX-License-Identifier: BSD-3-Clause
"""The service of test_service.py, by itself so that worker processes can import
it."""
import asyncio
import os
import signal
import threading
import time

import gate


class Work:
    def __init__(self):
        self.slept, self.left, self.closed = 0, 0, 0

    @gate.method
    def add(self, a, b=1):
        """a + b"""
        return a + b

    @gate.method
    async def soon(self, value):
        await asyncio.sleep(0)
        return value

    @gate.method
    async def forever(self):
        self.slept += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.left += 1
            raise

    @gate.method(runs="thread")
    def where(self):
        return threading.current_thread().name

    @gate.method(runs="thread")
    def wait_for_leave(self):
        self.slept += 1
        call = gate.current()
        while not call.cancelled:
            time.sleep(0.005)
        self.left += 1

    @gate.method
    def fails(self, how):
        if how == "own":
            raise gate.errors.of("OwnError")("of its own")
        if how == "exit":
            raise SystemExit("three")
        if how == "odd":
            raise ValueError("with a \0 and \udc80 in it")
        return {}["no such key"]

    @gate.method
    def not_packable(self):
        return object()

    @gate.method(name="über-name")
    def other_name(self):
        return "there"

    @gate.method
    def who(self):
        call = gate.current()
        return [call.method, call.user, call.meta, call.time_left]

    @gate.method
    async def count(self, n):
        try:
            for i in range(n):
                yield i
        finally:
            self.closed += 1

    @gate.method
    def plain_count(self, n):
        yield from range(n)

    @gate.method(runs="thread")
    def thread_count(self, n):
        yield from range(n)

    @gate.method
    async def breaks(self):
        yield 1
        raise LookupError("half way")

    @gate.method
    def size(self, data):
        return len(data)

    @gate.method
    def blob(self, n):
        return b"\7" * n


class Apart:
    @gate.method(runs="process")
    def pid(self):
        return os.getpid()

    @gate.method(runs="process")
    def raises(self):
        raise ValueError("over there")

    @gate.method(runs="process")
    def dies(self):
        os.kill(os.getpid(), signal.SIGKILL)
