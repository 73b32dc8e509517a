# SPDX-License-Identifier: BSD-3-Clause
"""Services in Python, called by our clients through a broker: values, errors,
tasks, threads, processes, streams with credit, callers that leave, the end."""
import asyncio
import os
import signal
import subprocess
import sys
import unittest

import rig
from rig import runs
import gate
import kit
from work import Apart, Work

FAR = {"mdp_heartbeat_interval": 5000}


class Served(rig.Session):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(**cls.settings))

    def up(self, *what, **options):
        """A service at the broker, and a client that has its own runtime: all
        goes over the sockets."""
        return _Up(self, what or (Work(),), options)

    @runs
    async def test_values_and_words(self):
        async with self.up() as (service, c):
            self.assertEqual(await c.Work.add(2, 3), 5)
            self.assertEqual(await c.Work.add(2), 3)
            self.assertEqual(await c.Work.add(a="x", b="y"), "xy")
            self.assertEqual(await c.Work.soon({"a": [None, b"\xff"]}),
                             {"a": [None, b"\xff"]})
            self.assertEqual(await c["Work"]["über-name"](), "there")
            self.assertTrue((await c.Work.where()).startswith("gate-Work"))
            told = await c.Work.who(meta={"k": "v"}, timeout=60)
            self.assertEqual(told[:3], ["who", "", {"k": "v"}])
            self.assertTrue(0 < told[3] < 61, told[3])
            faces = await c.Work.get_interfaces()
            self.assertIn("(a, b=1)", repr(faces))
            self.assertIn("a + b", repr(faces))
            # where Python runs them, who hands them over cannot know
            self.assertEqual({f.get("runs") for name, f in faces.items()
                              if name != "get_interfaces"}, {"foreign"})
            got = await asyncio.gather(*(c.Work.soon(i) for i in range(3000)))
            self.assertEqual(got, list(range(3000)))
            with self.assertRaises(LookupError):
                gate.current()
            self.assertEqual(service._tasks, {})

    @runs
    async def test_errors(self):
        async with self.up() as (_, c):
            for call, cls, text in (
                    (c.Work.fails("own"), gate.errors.of("OwnError"), "own"),
                    (c.Work.fails("key"), KeyError, "no such key"),
                    (c.Work.fails("odd"), ValueError, "with a"),
                    (c.Work.fails(), TypeError, "how"),
                    (c.Work.add(1, 2, 3), TypeError, "positional"),
                    (c.Work.add("a", 1), TypeError, "str"),
                    (c.Work.not_packable(), TypeError, "object"),
                    (c.Work.nothing(), AttributeError, "nothing")):
                with self.assertRaises(cls) as told:
                    await call
                self.assertIn(text, told.exception.text)
            with self.assertRaises(KeyError) as told:
                await c.Work.fails("key")
            self.assertIn("work.py", told.exception.traceback)

    @runs
    async def test_streams(self):
        async with self.up() as (service, c):
            for m in (c.Work.count, c.Work.plain_count, c.Work.thread_count):
                self.assertEqual([i async for i in m.stream(3000)],
                                 list(range(3000)), m)
                self.assertEqual([i async for i in m.stream(0)], [], m)
            got = []
            with self.assertRaises(LookupError):
                async for i in c.Work.breaks.stream():
                    got.append(i)
            self.assertEqual(got, [1])
            self.assertEqual(service._tasks, {})

    @runs
    async def test_a_slow_reader_slows_its_producer(self):
        work = Work()
        async with self.up(work) as (service, c):
            stream = c.Work.count.stream(10 ** 9)
            self.assertEqual(await stream.__anext__(), 0)
            self.assertEqual(await c.Work.add(1, 1), 2)  # nobody else waits
            before = service.stats()
            self.assertLess(before["items"], 10000)
            await stream.aclose()
            await rig.until("its end", lambda: work.closed)
            await rig.until("nothing under way", lambda: not service._tasks)

    @runs
    async def test_callers_that_leave(self):
        work = Work()
        async with self.up(work) as (service, c):
            calls = [c.Work.forever(timeout=600),
                     c.Work.wait_for_leave(timeout=600)]
            await rig.until("both", lambda: work.slept == 2)
            for call in calls:
                call.cancel()
            await rig.until("both told", lambda: work.left == 2)
            await rig.until("nothing under way", lambda: not service._tasks)
            self.assertEqual(await c.Work.add(1, 1), 2)

    @runs
    async def test_large_both_ways(self):
        async with self.up() as (_, c):
            n = 3 << 20
            self.assertEqual(await c.Work.size(gate.File(b"x" * n),
                                               timeout=rig.WAIT), n)
            self.assertEqual(len(await c.Work.blob(n, timeout=rig.WAIT)), n)
            async with c.Work.blob.open(n, timeout=rig.WAIT) as f:
                self.assertEqual(len(await f.read()), n)

    @runs
    async def test_processes(self):
        async with self.up(Apart(), processes=1) as (_, c):
            mine = os.getpid()
            pid = await c.Work.pid(timeout=rig.WAIT)
            self.assertNotEqual(pid, mine)
            with self.assertRaises(ValueError) as told:
                await c.Work.raises(timeout=rig.WAIT)
            self.assertEqual(told.exception.text, "over there")
            with self.assertRaises(gate.errors.WorkerLostError):
                await c.Work.dies(timeout=rig.WAIT)
            self.assertNotEqual(await c.Work.pid(timeout=rig.WAIT), pid)

    @runs
    async def test_end_with_calls_under_way(self):
        async with self.up() as (service, c):
            call = c.Work.forever(timeout=600)
            await rig.until("the call", lambda: service._tasks)
            await service.aclose(0.05)
            with self.assertRaises(gate.Error):
                await call

    @runs
    async def test_slips(self):
        with self.assertRaises(TypeError):
            gate.aio.Service("Nothing", object())
        with self.assertRaises(ValueError):
            gate.method(runs="procces")
        with self.assertRaises(TypeError):
            @gate.method(runs="thread")
            async def f():
                pass
        service = gate.aio.Service("Wrong", Work())
        with self.assertRaises(gate.Error) as told:
            await service.start("nowhere")
        self.assertIn("nowhere", str(told.exception))
        service.close()


class _Up:
    def __init__(self, case, what, options):
        self.case, self.what, self.options = case, what, options

    async def __aenter__(self):
        self.service = gate.aio.Service("Work", *self.what, settings=FAR,
                                        **self.options)
        await self.service.start(self.case.broker.back, wait=rig.WAIT)
        self.client = await self.case.aio(settings=FAR)
        return self.service, self.client

    async def __aexit__(self, *_):
        self.client.close()
        await self.service.aclose(rig.WAIT)


class Programs(kit.Case):
    def test_serve_drains_on_sigterm(self):
        broker = self.keep(kit.OurBroker())
        program = subprocess.Popen(
            [sys.executable, "-B", "-c",
             "import sys; sys.path[:0] = %r\n"
             "import gate, work\n"
             "gate.serve('Work', work.Work(), %r, "
             "ready=lambda s: print('ready', flush=True))"
             % ([rig.HERE, os.path.join(rig.ROOT, "python")], broker.back)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), "ready\n")
        done = kit.run("call", "--broker", broker.front, "Work.add", "2", "3")
        self.assertEqual((done.code, done.out), (0, "5\n"), done.err)
        done = kit.run("call", "--broker", broker.front, "Work.count", "3")
        self.assertEqual((done.code, done.out), (0, "0\n1\n2\n"), done.err)
        done = kit.run("call", "--broker", broker.front, "Work.fails", "own")
        self.assertEqual(done.code, 1)
        self.assertIn("OwnError", done.err)
        for _ in range(2):
            done = kit.run("call", "--broker", broker.front, "Work.fails",
                           "exit")
            self.assertEqual(done.code, 1)
            self.assertIn("SystemExit: three", done.err)
        for number in (signal.SIGHUP, signal.SIGUSR1,
                       signal.SIGUSR2):
            program.send_signal(number)
            while "are read anew" not in program.stderr.readline():
                self.assertIsNone(program.poll())
        done = kit.run("call", "--broker", broker.front, "Work.add", "2", "3")
        self.assertEqual((done.code, done.out), (0, "5\n"), done.err)
        program.send_signal(signal.SIGTERM)
        self.assertEqual(program.wait(rig.WAIT), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
