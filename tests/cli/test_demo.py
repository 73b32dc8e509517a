# SPDX-License-Identifier: BSD-3-Clause
"""The demo service: each method as documented, arguments by name and place."""
import hashlib
import os
import time

from cli import Session, kit


class Inline(Session):
    def test_add(self):
        self.assertEqual(self.call("Demo.add", "--kw", "b=3", "--kw", "a=-5"),
                         ["-2"])
        self.assertEqual(self.call("Demo.add", "2.5", "1"), ["3.5"])
        top = "18446744073709551615"
        self.assertEqual(self.call("Demo.add", top, "0"), [top])
        self.raises("OverflowError", "Demo.add", top, "1")
        self.raises("OverflowError", "Demo.add", "-9223372036854775808", "-1")
        for bad in ('"x"', "null", "true", "[1]"):
            self.raises("TypeError", "Demo.add", "1", bad)
        self.raises("TypeError", "Demo.add", "1")
        self.raises("TypeError", "Demo.add", "1", "2", "3")
        self.raises("TypeError", "Demo.add", "1", "2", "--kw", "c=3")
        self.raises("TypeError", "Demo.add", "1", "2", "--kw", "a=3")

    def test_none_and_boom(self):
        self.assertEqual(self.call("Demo.none"), ["null"])
        self.raises("TypeError", "Demo.none", "1")
        self.assertEqual(self.raises("ValueError", "Demo.boom"),
                         "ValueError: boom!")
        self.assertEqual(self.raises("ValueError", "Demo.boom", "--kw",
                                     "text=oh %s"), "ValueError: oh %s")

    def test_blob(self):
        self.assertEqual(self.call("Demo.blob", "\u00e9"), ["2"])
        self.assertEqual(self.call("Demo.blob", '{"$bin":"AAECAw=="}'), ["4"])
        self.raises("TypeError", "Demo.blob", "5")

    def test_unknown(self):
        self.raises("AttributeError", "Demo.nosuch")
        self.raises("ServiceUnAvailableError", "Nosuch.add", code=3)

    def test_default_service(self):
        self.raises("ServiceUnAvailableError", "add", "1", "2", code=3)
        done = kit.run("call", "--broker", self.broker.front, "add", "1", "2",
                       service_default_name="Demo")
        self.assertEqual((done.code, done.out), (0, "3\n"), done.err)


class Threads(Session):
    def test_upper_and_sleep(self):
        self.assertEqual(self.call("Demo.upper", "a\u00e9z"), ['"A\u00e9Z"'])
        begin = time.monotonic()
        self.assertEqual(self.call("Demo.sleep", "200"), ["200"])
        self.assertGreaterEqual(time.monotonic() - begin, 0.2)
        self.raises("ValueError", "Demo.sleep", "--", "-1")
        self.raises("TypeError", "Demo.sleep", "x")

    def test_timeout(self):
        begin = time.monotonic()
        self.raises("TimeoutError", "--timeout", "300", "Demo.sleep", "60000",
                    code=3)
        self.assertLess(time.monotonic() - begin, 5 * kit.SLOW)

    def test_huge(self):
        for kind, quote in (("json", '"'), ("hex", '"')):
            out, = self.call("Demo.huge", "1000", kind)
            self.assertTrue(out.startswith(quote))
        one = self.call("Demo.huge", "3000")
        self.assertEqual(one, self.call("Demo.huge", "3000", "json"))
        done = self.gate("call", "--raw", "Demo.huge", "999")
        self.assertEqual(len(done.out), 999)
        self.assertEqual(self.call("Demo.huge", "0", "--kw", "kind=random"),
                         ['{"$bin":""}'])
        self.raises("ValueError", "Demo.huge", "5", "nosuch")
        self.raises("ValueError", "Demo.huge", "--", "-5")

    def test_wc(self):
        name = os.path.join(self.shared_dir, "text")
        with open(name, "wb") as f:
            f.write(b"one two\n\nthree \xc3\xa9\tfour\x01five")
        self.assertEqual(self.call("Demo.wc", name),
                         ["[2,4,%d]" % os.path.getsize(name)])
        self.raises("OSError", "Demo.wc", name + ".no")
        self.raises("ValueError", "Demo.wc", "/dev/null")


class Streams(Session):
    def test_pulled(self):
        self.assertEqual(self.call("Demo.gen", "3"), ["0", "1", "2"])
        self.assertEqual(self.call("Demo.gen", "0"), [])
        self.assertEqual(self.call("Demo.gen", "--", "-1"), [])
        self.assertEqual(self.call("Demo.nils", "2"), ["null", "null"])
        self.raises("TypeError", "Demo.gen", "x")

    def test_yielded(self):
        begin = time.monotonic()
        self.assertEqual(self.call("Demo.slow_gen", "3", "50"),
                         ["0", "1", "2"])
        self.assertGreaterEqual(time.monotonic() - begin, 0.15)
        self.assertEqual(self.call("Demo.slow_gen", "0", "50"), [])
        self.raises("TypeError", "Demo.slow_gen", "3")
        self.raises("RuntimeError", "Demo.gen_boom", "0")
        done = self.gate("call", "Demo.gen_boom", "2")
        self.assertEqual((done.code, done.out), (1, "0\n1\n"))
        self.assertTrue(done.err.startswith("RuntimeError: "), done.err)

    def test_timeout_counts_per_item(self):
        self.assertEqual(len(self.call("--timeout", str(int(500 * kit.SLOW)),
                                       "Demo.slow_gen", "8", "100")), 8)


class Processes(Session):
    def setUp(self):
        super().setUp()
        done = self.gate("call", "Demo.pid")
        if done.code:
            self.assertTrue(done.err.startswith("NotImplementedError: "),
                            done.err)
            self.skipTest("no worker processes in this build")

    def test_cpu(self):
        self.assertEqual(self.call("Demo.fib", "20"), ["6765"])
        self.raises("ValueError", "Demo.fib", "94")
        self.assertEqual(self.call("Demo.spin", "50"), ["50"])
        pid, = self.call("Demo.pid")
        self.assertNotEqual(int(pid), self.service.pid)

    def test_files(self):
        name = os.path.join(self.shared_dir, "data")
        with open(name, "wb") as f:
            f.write(b"x" * 100000)
        digest = hashlib.sha256(b"x" * 100000).hexdigest()
        self.assertEqual(self.call("Demo.sha256", name), ['"%s"' % digest])
        first = self.raises("OSError", "Demo.sha256", "/nonexistent")
        self.assertIn("[Errno 2]", first)
        self.assertEqual(self.call("Demo.wc_process", name),
                         ["[0,1,100000]"])

    def test_crash(self):
        for signal in ("9", "11", "15"):
            self.raises("WorkerLostError", "Demo.crash", signal)
        self.assertEqual(self.call("Demo.fib", "10"), ["55"])
        self.raises("ValueError", "Demo.crash", "0")

    def test_progress(self):
        self.assertEqual(self.call("Demo.progress", "1000"),
                         [str(i) for i in range(1000)])
        self.assertEqual(self.call("Demo.progress", "0"), [])


kit.main()
