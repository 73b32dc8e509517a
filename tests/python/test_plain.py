# SPDX-License-Identifier: BSD-3-Clause
"""gate.plain, the face without the library: the same calls, streams and errors,
and that gate falls back to it."""
import asyncio
import os
import subprocess
import sys
import unittest

import rig
from rig import runs
import gate
import gate.plain
import kit


class Calls(rig.Session):
    @runs
    async def test_asynchronous(self):
        async with gate.plain.aio.connect(self.broker.front,
                                          wait=rig.WAIT) as c:
            self.assertEqual(await c.Demo.add(2, 3, timeout=60), 5)
            self.assertEqual(await c["Demo"]["add"](2, 3), 5)
            self.assertEqual((await c.request("Demo.echo", (b"\xff",),
                                              {"timeout": 1})),
                             {"args": [b"\xff"], "kwargs": {"timeout": 1}})
            with self.assertRaises(ValueError) as told:
                await c.Demo.boom("oh no")
            self.assertEqual(told.exception.text, "oh no")
            with self.assertRaises(gate.errors.ServiceUnAvailableError):
                await c.Nobody.x()
            with self.assertRaises(TimeoutError):
                await c.Demo.sleep(60000, timeout=0.05)
            with self.assertRaises(TypeError):
                await c.Demo.gen(3)
            self.assertEqual([i async for i in c.Demo.gen.stream(500)],
                             list(range(500)))
            self.assertEqual([i async for i in c.Demo.add.stream(2, 3)], [5])
            got = []
            with self.assertRaises(gate.Error):
                async for i in c.Demo.gen_boom.stream(2):
                    got.append(i)
            self.assertEqual(len(got), 2)
            many = await asyncio.gather(*(c.Demo.add(i, 1) for i in range(500)))
            self.assertEqual(many, list(range(1, 501)))
            self.assertEqual(len(await c.Demo.huge(2000000,
                                                   timeout=rig.WAIT)), 2000000)
            self.assertEqual(c._calls, {})
            call = asyncio.ensure_future(c.Demo.sleep(600000))
            await rig.until("the call", lambda: c._calls)
        with self.assertRaises(RuntimeError):
            await call
        with self.assertRaises(RuntimeError):
            await c.Demo.add(1, 1)

    def test_synchronous(self):
        with gate.plain.connect(self.broker.front, wait=rig.WAIT) as c:
            self.assertEqual(c.Demo.add(2, 3), 5)
            self.assertEqual(list(c.Demo.gen.stream(5)), list(range(5)))
            self.assertEqual(c.Demo.blob(gate.plain.File("/proc/self/stat")) > 9,
                             True)
            self.assertIn("Demo", c.services())
            with self.assertRaises(ValueError):
                c.Demo.boom()
        with self.assertRaises(RuntimeError):
            c.Demo.add(1, 1)

    def test_gate_falls_back(self):
        done = subprocess.run(
            [sys.executable, "-B", "-c",
             "import gate\n"
             "with gate.connect(%r, wait=60) as c: print(c.Demo.add(2, 3))\n"
             "print(gate.missing)" % self.broker.front],
            env={**os.environ, "GATE_LIBRARY": "/nothing/there.so",
                 "PYTHONPATH": os.path.join(rig.ROOT, "python")},
            capture_output=True, text=True, timeout=4 * rig.WAIT)
        self.assertEqual(done.stdout.splitlines()[:1], ["5"], done.stderr)
        self.assertIn("/nothing/there.so", done.stdout)


class Brokers(kit.Case):
    def test_users_and_curve(self):
        zap = self.ipc("zap")
        self.keep(kit.Command("zap", "--bind", zap, "--user", "ann",
                              "--password", "secret")).line()
        names = [os.path.join(self.dir, n) for n in ("server", "mine")]
        for name in names:
            self.assertEqual(kit.run("keygen", name).code, 0)
        broker = self.keep(kit.OurBroker(options=(
            "--zap", zap, "--curve-cert", names[0], "--curve-allow", "*")))
        with gate.plain.connect(broker.front, user="ann", password="secret",
                                curve=(names[1], names[0]),
                                wait=rig.WAIT) as c:
            self.assertIn("Gate", c.services())


if __name__ == "__main__":
    unittest.main(verbosity=2)
