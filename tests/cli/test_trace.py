# SPDX-License-Identifier: BSD-3-Clause
"""gate call --trace: where a call's time went, by whoever ran it."""
import json
import re

from cli import CALM, kit
import peers

SLEPT_MS = 60


class Trace(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(**CALM))
        cls.service = cls.share(kit.OurService(cls.broker.back, **CALM))
        cls.worker = cls.share(peers.Background(peers.Worker(
            cls.broker.back, "Py", peers.demo_methods(), hb=peers.CALM_HB)))

    def setUp(self):
        super().setUp()  # until the broker knows that the worker is one of ours
        self.until(lambda: "handler_us" in self.times("Demo.add", "1", "2")[1],
                   30, "the worker's times")

    def gate(self, *args):
        return kit.run("call", "--broker", self.broker.front, "--trace", *args,
                       **CALM)

    def times(self, *args):
        """(the call, what it says of its time)"""
        done = self.gate("--json", *args)
        return done, json.loads(done.err.splitlines()[-1])

    def test_the_parts_are_the_whole(self):
        done, told = self.times("Demo.sleep", str(SLEPT_MS))
        self.assertEqual((done.code, done.out), (0, "%d\n" % SLEPT_MS))
        parts = {k: v for k, v in told.items()
                 if k.endswith("_us") and k != "total_us"}
        self.assertEqual(set(parts), {
            "link_us", "broker_queue_us", "hop_us", "service_queue_us",
            "pool_wait_us", "handler_us"})
        self.assertGreaterEqual(parts["handler_us"], SLEPT_MS * 1000)
        self.assertLessEqual(abs(sum(parts.values()) - told["total_us"]), 10)
        self.assertEqual((told["ok"], told["run"], told["method"]),
                         (True, 1, "Demo.sleep"))
        self.assertRegex(told["worker"], r":%d$" % self.service.process.pid)

    def test_a_process(self):
        done, told = self.times("Demo.spin", str(SLEPT_MS))
        self.assertEqual(done.code, 0, done.err)
        self.assertGreaterEqual(told["handler_us"], SLEPT_MS * 1000 * 0.9)
        self.assertIn("pool_wait_us", told)

    def test_for_people(self):
        done = self.gate("Demo.gen", "2")
        self.assertEqual((done.code, done.out), (0, "0\n1\n"))
        head, *lines = done.err.splitlines()
        self.assertRegex(head, r"^trace [0-9a-f]{32}  Demo\.gen  [0-9.]+ ms  ok"
                               r"  run 1 on \S+:\d+$")
        self.assertEqual([re.sub(r"\s+[0-9.]+ ms \|[ #]*$", "", line)
                          for line in lines],
                         ["  to the broker and back", "  waiting at the broker",
                          "  to the worker and back",
                          "  waiting at the service", "  handler"])

    def test_a_python_worker(self):
        done = self.gate("Py.echo", "7")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("the worker tells no times (Python's", done.err)
        self.assertIn("at the worker, and its way", done.err)

    def test_what_fails_has_its_times_too(self):
        done, told = self.times("Demo.boom")
        self.assertEqual((done.code, told["ok"]), (1, False))
        self.assertIn("ValueError: boom!", done.err)
        self.assertIn("handler_us", told)
        done = self.gate("Nobody.there")
        self.assertIn("the broker tells no times", done.err)
        done = self.gate("--timeout", "200", "Demo.sleep", "60000")
        self.assertEqual(done.code, 3)
        self.assertIn("given up here", done.err)

    def test_a_trace_goes_on(self):
        above = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        done = self.gate("--meta", "traceparent=" + above, "Demo.about")
        self.assertEqual(done.code, 0, done.err)
        came = json.loads(done.out)["meta"]["traceparent"]
        self.assertEqual(came[:36], above[:36])
        self.assertNotEqual(came, above)
        done = self.gate("--meta", "traceparent=00-nonsense", "Demo.about")
        self.assertEqual(done.code, 2)
        self.assertIn("32 hex digits", done.err)

    def test_slips(self):
        done = kit.run("call", "--broker", self.broker.front, "--json",
                       "Demo.echo")
        self.assertEqual(done.code, 2)
        self.assertIn("--trace", done.err)


kit.main()
