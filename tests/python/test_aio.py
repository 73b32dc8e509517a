# SPDX-License-Identifier: BSD-3-Clause
"""gate.aio.connect: what test_client.py asks of the other one, and what is
asyncio's own: ten thousand awaits, cancelling, streams with credit, no growth."""
import asyncio
import gc
import os
import resource
import signal
import unittest

import rig
from rig import runs
import gate
import kit

LONG = "GATE_LONG" in os.environ or kit.LONG
CALLS = 1000000 if LONG else 20000


def rss_kb():
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize() // 1024


class Calls(rig.Session):
    @runs
    async def test_values_and_errors(self):
        async with self.aio() as c:
            for value in (None, 2 ** 64 - 1, "späß", b"\xff", [1, {"a": [2]}]):
                self.assertEqual((await c.Demo.echo(value))["args"], [value])
            self.assertEqual(await c.Demo.add(2, 3, timeout=60), 5)
            self.assertEqual(await c.request("Demo.add", (2, 3)), 5)
            told = await c.Demo.about(meta={"traceparent": "00-aa"})
            self.assertIn("00-aa", repr(told))
            with self.assertRaises(ValueError) as told:
                await c.Demo.boom("oh no")
            self.assertEqual(told.exception.text, "oh no")
            with self.assertRaises(TimeoutError):
                await c.Demo.sleep(60000, timeout=0.05)
            with self.assertRaises(TypeError):
                await c.Demo.add(object(), 1)
            self.assertIn("Demo", await c.services())
            self.assertEqual(c._waiting, {})

    @runs
    async def test_ten_thousand_at_once(self):
        # more than message_max calls, each of its own is refused by name
        async with self.aio(settings={"message_max": 20000}) as c:
            got = await asyncio.gather(*(
                c.Demo.add(i, 1, timeout=rig.WAIT) for i in range(10000)))
            self.assertEqual(got, list(range(1, 10001)))
        async with self.aio(settings={"message_max": 10}) as c:
            got = await asyncio.gather(*(
                c.Demo.sleep(5000, timeout=0.2) for _ in range(11)),
                return_exceptions=True)
            self.assertIsInstance(got[10], gate.errors.BusyWorkerError)

    @runs
    async def test_cancelling_reaches_the_service(self):
        """Else its threads would sleep on and have no time for anybody."""
        async with self.aio() as c:
            tasks = [asyncio.ensure_future(self.sleep(c)) for _ in range(64)]
            await rig.until("all calls", lambda: len(c._waiting) == 64)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with self.assertRaises(asyncio.CancelledError):
                    await task
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(c.Demo.sleep(600000), 0.01)
            self.assertEqual(await c.Demo.upper("a", timeout=rig.WAIT), "A")
            await rig.until("the end of all", lambda: not c._waiting)

    @staticmethod
    async def sleep(c):
        return await c.Demo.sleep(600000, timeout=600)

    @runs
    async def test_streams(self):
        async with self.aio() as c:
            got = [i async for i in c.Demo.gen.stream(5000)]
            self.assertEqual(got, list(range(5000)))
            self.assertEqual([i async for i in c.Demo.gen.stream(0)], [])
            many = await asyncio.gather(*(self.all(c, n) for n in range(50)))
            self.assertEqual(many, [list(range(n)) for n in range(50)])
            got = []
            with self.assertRaises(gate.Error):
                async for i in c.Demo.gen_boom.stream(2):
                    got.append(i)
            self.assertEqual(len(got), 2)
            with self.assertRaises(TimeoutError):
                async for _ in c.Demo.slow_gen.stream(2, 60000, timeout=0.1):
                    pass
            async with c.Demo.gen.stream(10 ** 9) as endless:
                async for i in endless:
                    if i == 3:
                        break
            self.assertEqual(c._streams, set())

    @staticmethod
    async def all(c, n):
        return [i async for i in c.Demo.gen.stream(n)]

    @runs
    async def test_files(self):
        data = os.urandom(1 << 20) * 3
        async with self.aio() as c:
            got = await c.Demo.echo(gate.File(data), timeout=rig.WAIT)
            self.assertEqual(got["args"], [data])
            async with c.Demo.file.open("/proc/self/status") as f:
                self.assertIn(b"Name:", await f.read(20))
            path = os.path.join(self.dir, "in")
            with open(path, "wb") as f:
                f.write(data)
            with open(path + ".out", "w+b") as out:
                async with c.Demo.file.open(path, timeout=rig.WAIT) as f:
                    self.assertEqual(await f.to_file(out), len(data))
                out.seek(0)
                self.assertEqual(out.read(), data)

    @runs
    async def test_one_that_cannot_be_decoded(self):
        """It fails alone: those that came with it are answered."""
        def hook(m):
            if m.get("kwargs") == {"bad": 1}:
                raise KeyError("not that")
            return m
        async with self.aio(codec=gate.Codec(object_hook=hook)) as c:
            got = await asyncio.gather(
                *(c.Demo.echo(i, **({"bad": 1} if i == 50 else {}))
                  for i in range(100)), return_exceptions=True)
        self.assertIsInstance(got[50], ValueError)
        self.assertEqual([g["args"] for i, g in enumerate(got) if i != 50],
                         [[i] for i in range(100) if i != 50])

    @runs
    async def test_closing_ends_what_is_under_way(self):
        c = await self.aio()
        call = c.Demo.sleep(600000)
        stream = c.Demo.slow_gen.stream(2, 600000)
        c.close()
        with self.assertRaises(RuntimeError):
            await call
        self.assertEqual([i async for i in stream], [])
        with self.assertRaises(RuntimeError):
            c.Demo.add(1, 2)

    @runs
    async def test_no_growth(self):
        async with self.aio() as c:
            async def some(n):
                for i in range(n):
                    await c.Demo.add(i, 1, timeout=rig.WAIT)

            async def all_of(n):
                await asyncio.gather(*(some(n // 100) for _ in range(100)))
            await all_of(CALLS // 4)
            gc.collect()
            before = rss_kb()
            await all_of(CALLS)
            gc.collect()
            self.assertLess(rss_kb() - before, 8192)
            self.assertEqual(c._waiting, {})


class Brokers(kit.Case):
    @runs
    async def test_killed_and_back(self):
        front, back = kit.free_tcp(), kit.free_tcp()
        settings = {"mdp_heartbeat_interval": 300}
        broker = self.keep(kit.OurBroker(front, back, **settings))
        self.keep(kit.OurService(back, **settings))
        async with gate.aio.connect(front, wait=rig.WAIT,
                                    settings=settings) as c:
            self.assertEqual(await c.Demo.add(2, 3), 5)
            calls = [c.Demo.sleep(60000, timeout=2) for _ in range(100)]
            broker.signal(signal.SIGKILL)
            broker.wait()
            got = await asyncio.gather(*calls, return_exceptions=True)
            self.assertTrue(all(isinstance(g, gate.Error) for g in got))
            self.keep(kit.OurBroker(front, back, **settings))
            for _ in range(int(rig.WAIT)):
                try:
                    self.assertEqual(await c.Demo.add(2, 3, timeout=1), 5)
                    break
                except gate.Error:  # at once, until the service is back
                    await asyncio.sleep(.5)
            else:
                self.fail("no call through the new broker")

    @runs
    async def test_nobody_there(self):
        nobody = kit.free_tcp()
        with self.assertRaises(TimeoutError):
            await gate.aio.connect(nobody, wait=0.2)
        async with gate.aio.connect(nobody) as c:
            with self.assertRaises(gate.Error) as told:
                await c.Demo.add(1, 2, timeout=0.2)
            self.assertIn(nobody, str(told.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
