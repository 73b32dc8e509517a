# SPDX-License-Identifier: BSD-3-Clause
"""gate call --trace: where a call's time went, by whoever ran it."""
import http.server
import json
import os
import re
import threading

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

    def spans(self, request):
        """{kind: span} of an OTLP request, whose form is checked."""
        resource, = request["resourceSpans"]
        self.assertEqual(resource["resource"]["attributes"][0]["key"],
                         "service.name")
        scope, = resource["scopeSpans"]
        spans = scope["spans"]
        for span in spans:
            self.assertRegex(span["traceId"], "^[0-9a-f]{32}$")
            self.assertRegex(span["spanId"], "^[0-9a-f]{16}$")
            self.assertIsInstance(span["startTimeUnixNano"], str)
            self.assertLessEqual(int(span["startTimeUnixNano"]),
                                 int(span["endTimeUnixNano"]))
        for above, span in zip(spans, spans[1:]):
            self.assertEqual(span["parentSpanId"], above["spanId"])
            self.assertEqual(span["traceId"], above["traceId"])
            self.assertLessEqual(int(above["startTimeUnixNano"]),
                                 int(span["startTimeUnixNano"]))
            self.assertGreaterEqual(int(above["endTimeUnixNano"]) + 1000,
                                    int(span["endTimeUnixNano"]))
        return {span["kind"]: span for span in spans}

    @staticmethod
    def attributes(span):
        return {a["key"]: list(a["value"].values())[0]
                for a in span["attributes"]}

    def test_spans_in_a_file(self):
        name = os.path.join(self.dir, "a b", "spans.json")
        os.mkdir(os.path.dirname(name))
        above = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

        def call(*args):
            return kit.run("call", "--broker", self.broker.front, "--export",
                           name, *args, **CALM)
        done = call("--meta", "traceparent=" + above, "Demo.sleep", "60")
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertEqual(call("Demo.boom").code, 1)
        self.assertEqual(call("Py.echo", "7").code, 0)
        self.assertEqual(call("--meta", "traceparent=" + above[:-1] + "0",
                              "Demo.add", "1", "2").code, 0)  # not sampled
        with open(name) as f:
            slept, boom, python = [self.spans(json.loads(line)) for line in f]
        self.assertEqual(set(slept), {1, 2, 3})
        self.assertEqual((slept[3]["traceId"], slept[3]["parentSpanId"]),
                         (above[3:35], above[36:52]))
        self.assertEqual(slept[2]["name"], "Demo/sleep")
        self.assertGreaterEqual(int(slept[2]["endTimeUnixNano"])
                                - int(slept[2]["startTimeUnixNano"]), 60000000)
        self.assertEqual(self.attributes(slept[3])["rpc.method"], "Demo/sleep")
        self.assertEqual(boom[3]["status"]["code"], 2)
        self.assertEqual(self.attributes(boom[3])["error.type"], "ValueError")
        self.assertEqual(set(python), {1, 3})  # its worker tells nothing

    def test_spans_to_a_collector(self):
        got, status = [], [200]

        class Collector(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers["Content-Length"])
                got.append((self.path, self.headers["Content-Type"],
                            json.loads(self.rfile.read(size))))
                self.send_response(status[0])
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = "http://127.0.0.1:%d" % server.server_port

        def call():
            return kit.run("call", "--broker", self.broker.front, "--export",
                           where, "Demo.add", "1", "2", **CALM)
        done = call()
        self.assertEqual((done.code, done.out, done.err), (0, "3\n", ""))
        path, kind, request = got.pop()
        self.assertEqual((path, kind), ("/v1/traces", "application/json"))
        self.assertEqual(set(self.spans(request)), {1, 2, 3})
        status[0] = 503
        done = call()
        self.assertEqual((done.code, done.out), (0, "3\n"))
        self.assertIn("answers 503: no spans were taken", done.err)
        server.shutdown()
        server.server_close()
        done = call()
        self.assertEqual((done.code, done.out), (0, "3\n"))
        self.assertIn("no collector answers at " + where, done.err)

    def test_slips(self):
        for where in ("https://127.0.0.1", "http://", "http://x:y", ""):
            done = kit.run("call", "--broker", self.broker.front, "--export",
                           where, "Demo.echo", "1")
            self.assertEqual(done.code, 2, where)
            self.assertIn("--export", done.err)
        done = kit.run("call", "--broker", self.broker.front, "--json",
                       "Demo.echo")
        self.assertEqual(done.code, 2)
        self.assertIn("--trace", done.err)


kit.main()
