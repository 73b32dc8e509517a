# SPDX-License-Identifier: BSD-3-Clause
"""gate.connect: calls, errors by name, streams, files, metadata, threads, fork,
a broker that is not there or refuses."""
import os
import pickle
import signal
import tempfile
import threading
import unittest

import rig
import gate
import kit


class Calls(rig.Session):
    def test_values_both_ways(self):
        c = self.connect()
        for value in (None, True, -1, 2 ** 64 - 1, -2 ** 63, 0.5, "", "späß",
                      b"", b"\x00\xff", [1, [2]], {"a": {"b": None}}, {1: 2}):
            self.assertEqual(c.Demo.echo(value)["args"], [value], value)
        self.assertEqual(c.Demo.add(2, 3), 5)
        self.assertEqual(c["Demo"]["add"](2, 3), 5)
        self.assertEqual(c.request("Demo.add", (2, 3)), 5)
        self.assertEqual(c.Demo.echo(1, k="v")["kwargs"], {"k": "v"})

    def test_words_of_the_call_itself(self):
        c = self.connect()
        self.assertEqual(c.request("Demo.echo", (), {"timeout": 7}, timeout=60)[
            "kwargs"], {"timeout": 7})
        told = c.Demo.about(meta={"traceparent": "00-aa"}, retry=2, timeout=60)
        self.assertIn("00-aa", repr(told))
        with self.assertRaises(ValueError):
            c.Demo.add(1, 2, timeout=-1)

    def test_errors_by_name(self):
        c = self.connect()
        with self.assertRaises(ValueError) as told:
            c.Demo.boom("oh no")
        e = told.exception
        self.assertIsInstance(e, gate.Error)
        self.assertIsInstance(e, gate.errors.of("ValueError"))
        self.assertEqual((e.text, e.code), ("oh no", "RAISED"))
        self.assertIn("boom", e.traceback)
        same = pickle.loads(pickle.dumps(e))
        self.assertEqual((type(same), same.text, same.traceback),
                         (type(e), e.text, e.traceback))
        with self.assertRaises(AttributeError):
            c.Demo.nothing_of_that_name()
        with self.assertRaises(TypeError):
            c.Demo.add(1)
        with self.assertRaises(gate.errors.ServiceUnAvailableError):
            c.Nobody.method(timeout=60)
        with self.assertRaises(TimeoutError) as told:
            c.Demo.sleep(60000, timeout=0.05)
        self.assertEqual(told.exception.code, "TIMEOUT")
        with self.assertRaises(TypeError):  # nothing was sent
            c.Demo.add(object(), 1)

    def test_streams(self):
        c = self.connect()
        self.assertEqual(list(c.Demo.gen.stream(1000)), list(range(1000)))
        self.assertEqual(list(c.Demo.gen.stream(0)), [])
        self.assertEqual(set(c.Demo.nils.stream(3)), {None})
        got = []
        with self.assertRaises(gate.Error):
            for item in c.Demo.gen_boom.stream(2):
                got.append(item)
        self.assertEqual(len(got), 2)
        with c.Demo.gen.stream(10 ** 9) as endless:
            self.assertEqual([next(endless) for _ in range(3)], [0, 1, 2])
        self.assertEqual(list(endless), [])
        self.assertEqual(list(c.Demo.add.stream(2, 3)), [5])  # a plain result

    def test_files_both_ways(self):
        c = self.connect()
        data = os.urandom(1 << 20) * 3
        with c.Demo.echo.open("x", timeout=rig.WAIT) as f:
            self.assertIn(b"x", f.read())
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            for file in (gate.File(f.name), gate.File(data)):
                got = c.Demo.echo(file, timeout=rig.WAIT)
                self.assertEqual(got["args"], [data])
            f.seek(len(data) - 5)
            self.assertEqual(c.Demo.echo(k=gate.File(f))["kwargs"],
                             {"k": data[-5:]})

    def test_many_threads(self):
        c = self.connect()
        wrong = []

        def work(n):
            for i in range(200):
                if c.Demo.add(i, n, timeout=rig.WAIT) != i + n:
                    wrong.append((i, n))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(c._spare), 8)

    def test_hooks(self):
        class Point:
            def __init__(self, x):
                self.x = x
        codec = gate.Codec(
            default=lambda o: {"__point": o.x},
            object_hook=lambda m: Point(m["__point"]) if "__point" in m else m)
        c = self.connect(codec=codec)
        got = c.Demo.echo(Point(7))["args"][0]
        self.assertEqual((type(got), got.x), (Point, 7))

    def test_closed_and_names(self):
        c = self.connect()
        self.assertIn("Demo", c.services())
        self.assertIsInstance(c.stats(), dict)
        c.close()
        c.close()
        with self.assertRaises(RuntimeError):
            c.Demo.add(1, 2)
        with self.assertRaises(AttributeError):
            c._nothing
        with self.assertRaises(TypeError):
            gate.connect(5555)
        with self.assertRaises(gate.Error) as told:
            gate.connect("nowhere")
        self.assertIn("nowhere", str(told.exception))
        with self.assertRaises(gate.Error) as told:
            gate.connect(self.broker.front, settings={"reply_timeot": 1})
        self.assertIn("reply_timeot", str(told.exception))

    def test_a_child_of_fork_is_told(self):
        c = self.connect()
        self.assertEqual(c.Demo.add(1, 1), 2)
        pid = os.fork()
        if not pid:
            try:
                c.Demo.add(1, 1)
            except RuntimeError as e:
                os._exit(0 if "fork" in str(e) else 2)
            os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(c.Demo.add(1, 1), 2)


class Brokers(kit.Case):
    def test_nobody_there(self):
        nobody = kit.free_tcp()
        with self.assertRaises(TimeoutError) as told:
            gate.connect(nobody, wait=0.2)
        self.assertIn(nobody, str(told.exception))
        with gate.connect(nobody) as c, self.assertRaises(gate.Error) as told:
            c.Demo.add(1, 2, timeout=0.2)
        self.assertIn(nobody, str(told.exception))

    def test_killed_and_back(self):
        front, back = kit.free_tcp(), kit.free_tcp()
        settings = {"mdp_heartbeat_interval": 300}
        broker = self.keep(kit.OurBroker(front, back, **settings))
        self.keep(kit.OurService(back, **settings))
        with gate.connect(front, wait=rig.WAIT, settings=settings) as c:
            self.assertEqual(c.Demo.add(2, 3), 5)
            broker.signal(signal.SIGKILL)
            broker.wait()
            with self.assertRaises(gate.Error):
                c.Demo.sleep(60000, timeout=1)
            self.keep(kit.OurBroker(front, back, **settings))

            def again():
                try:
                    return c.Demo.add(2, 3, timeout=1) == 5
                except gate.Error:
                    return False
            self.until(again, 30, "a call through the new broker")

    def test_users(self):
        zap = self.keep(kit.Command("zap", "--bind", self.ipc("zap"), "--user",
                                    "ann", "--password", "secret"))
        zap.line()
        broker = self.keep(kit.OurBroker(options=("--zap", self.ipc("zap"))))
        self.keep(kit.OurService(broker.back, "--user", "ann", "--password",
                                 "secret"))
        with gate.connect(broker.front, user="ann", password="secret",
                          wait=rig.WAIT) as c:
            self.assertEqual(c.Demo.add(2, 3), 5)
        for user, password in (("ann", "wrong"), (None, None)):
            with gate.connect(broker.front, user=user, password=password) as c:
                with self.assertRaises(gate.errors.AccessDeniedError):
                    c.Demo.add(2, 3, timeout=rig.WAIT)

    def test_curve(self):
        server, mine = (os.path.join(self.dir, n) for n in ("server", "mine"))
        for name in (server, mine):
            self.assertEqual(kit.run("keygen", name).code, 0)
        broker = self.keep(kit.OurBroker(options=(
            "--curve-cert", server, "--curve-allow", "*")))
        with gate.connect(broker.front, curve=(mine, server),
                          wait=rig.WAIT) as c:
            self.assertIn("Gate", c.services())
        with self.assertRaises(gate.Error):
            gate.connect(broker.front, curve=(self.dir + "/none", server))


if __name__ == "__main__":
    unittest.main(verbosity=2)
