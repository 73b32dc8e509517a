# SPDX-License-Identifier: BSD-3-Clause
"""gate bench: every verb runs, and its JSON holds what scripts rely on. What is
measured here means nothing: the rounds are too short."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), "wire"))
import kit  # noqa: E402

GATE = os.environ["GATE_COMMAND"]
SLOW = float(os.environ.get("GATE_SLOW", "1"))
KEYS = {"verb", "system", "transport", "runs", "label", "auth", "outstanding", "size",
        "clients", "services", "workers", "pin", "unit", "median", "min", "max",
        "rounds", "latency_us", "cpu_s_per_100k", "peak_rss_kib", "n", "errors"}


def bench(*args):
    return subprocess.run([GATE, "bench", *args], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60 * SLOW)


def short(verb, *args):
    done = bench(verb, "--rounds", "1", "--seconds", str(0.1 * SLOW), "--json",
                 *args)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


class Bench(unittest.TestCase):
    def sound(self, report):
        self.assertEqual(set(report),
                         {"machine", "settings", "results", "references"})
        for one in report["results"] + report["references"]:
            self.assertLessEqual(KEYS, set(one))
            self.assertGreater(one["median"], 0, one)
            self.assertEqual(one["errors"], 0, one)
            self.assertGreater(one["peak_rss_kib"], 0)

    def test_the_contract(self):
        done = bench("echo", "--seconds", "0.2", "--transport", "ipc",
                     "--outstanding", "1,100", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.sound(report)
        self.assertEqual([r["outstanding"] for r in report["results"]], [1, 100])
        for one in report["results"]:
            to = one["to_reference"]
            self.assertEqual(to["system"], "zmq_proxy")
            self.assertLessEqual(to["rate_min"], to["rate"])
            self.assertLessEqual(to["rate"], to["rate_max"])
            self.assertEqual(len(one["rounds"]), 3)
            latency = one["latency_us"]
            self.assertLessEqual(latency["p50"], latency["p99"])
            self.assertLessEqual(latency["p99"], latency["max"])

    def test_every_transport(self):
        report = short("echo", "--outstanding", "1,10")
        self.sound(report)
        self.assertEqual([r["transport"] for r in report["results"]],
                         [t for t in ("registry", "inproc", "ipc", "tcp")
                          for _ in range(2)])

    def test_pools_behind_calls(self):
        report = short("echo", "--runs", "thread,process", "--transport",
                       "registry,ipc", "--outstanding", "10")
        self.sound(report)
        self.assertEqual(len(report["results"]), 4)

    def test_several_clients_services_workers(self):
        report = short("echo", "--clients", "2", "--services", "3", "--workers",
                       "2", "--transport", "inproc,ipc", "--outstanding", "10")
        self.sound(report)

    def test_open_loop(self):
        report = short("echo", "--rate", "500", "--transport", "inproc",
                       "--outstanding", "1", "--seconds", "0.4")
        self.sound(report)
        for one in report["results"] + report["references"]:
            self.assertLess(abs(one["n"] - 200), 5)

    def test_authentication_beside_none(self):
        report = short("echo", "--auth", "off,plain", "--transport",
                       "registry,inproc,tcp", "--outstanding", "10")
        self.sound(report)
        self.assertEqual([(r["transport"], r["auth"]) for r in report["results"]],
                         [("registry", "off"), ("inproc", "off"),
                          ("inproc", "plain"), ("tcp", "off"),
                          ("tcp", "plain")])
        for one in report["results"]:
            self.assertGreater(one["to_reference"]["rate"], 0)
        report = short("echo", "--wire", "packed,frames", "--transport", "ipc",
                       "--outstanding", "10")
        self.sound(report)
        self.assertEqual([r["wire"] for r in report["results"]],
                         ["packed", "frames"])
        report = short("echo", "--user", "somebody", "--password", "x",
                       "--transport", "ipc", "--outstanding", "10")
        self.sound(report)
        self.assertEqual([r["auth"] for r in report["results"]], ["plain"])

    def test_a_running_broker(self):
        broker = kit.OurBroker()
        try:
            service = kit.OurService(broker.back)
            try:
                report = short("echo", "--broker", broker.front,
                               "--outstanding", "1,10")
                self.sound(report)
                self.assertEqual([r["transport"] for r in report["results"]],
                                 ["broker", "broker"])
                done = bench("echo", "--broker", broker.front, "--rounds", "1",
                             "--seconds", "0.1", "--method", "Nobody.here",
                             "--outstanding", "1", "--json")
                self.assertEqual(done.returncode, 1)
                self.assertIn("Nobody", done.stderr)
            finally:
                service.end()
        finally:
            broker.end()

    def test_progress_on_a_terminal(self):
        """A line that is overwritten; none where stderr is no terminal."""
        ours, theirs = kit.terminal()
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            process = subprocess.Popen(
                [GATE, "bench", "echo", "--rounds", "2", "--seconds", "0.05",
                 "--transport", "registry", "--outstanding", "1", "--json"],
                stdout=subprocess.DEVNULL, stderr=theirs)
            os.close(theirs)
            seen = b""
            try:
                while part := terminal.read(4096):
                    seen += part
            except OSError:
                pass  # its other end has closed
            self.assertEqual(process.wait(60 * SLOW), 0)
        for words in (b"gate registry W=1  round 1/2", b"ring registry W=1  "
                      b"round 2/2", b"\r\x1b[K"):
            self.assertIn(words, seen)

    def test_the_other_verbs(self):
        for verb, *args in (("stream", "--transport", "registry,ipc"),
                            ("huge", "--transport", "ipc", "--payload",
                             "3000000"),
                            ("threads",), ("processes", "--outstanding", "16"),
                            ("fanout",), ("scale",)):
            with self.subTest(verb=verb):
                report = short(verb, *args)
                self.sound(report)
                self.assertEqual(report["results"][0]["verb"], verb)

    def test_uplink(self):
        beside = os.path.join(os.path.dirname(GATE),
                              "libgaterpc-uplink-nats.so")
        if not os.path.exists(beside):
            self.skipTest("built without libnats")
        done = bench("uplink", "--rounds", "1", "--seconds", "0.1",
                     "--outstanding", "10", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        if "is not installed" in done.stderr:
            self.skipTest(done.stderr.strip())
        report = json.loads(done.stdout)
        self.sound(report)
        self.assertEqual([(r["system"], r["label"]) for r in report["results"]],
                         [("gate, two brokers", "two brokers"),
                          ("gate, idle uplink", "idle uplink"),
                          ("gate, two brokers", "hex")])

    def test_html_and_compare(self):
        with tempfile.TemporaryDirectory() as folder:
            old = os.path.join(folder, "old.json")
            html = os.path.join(folder, "report.html")
            report = short("echo", "--transport", "registry", "--outstanding",
                           "1,10", "--html", html)
            with open(html) as f:
                page = f.read()
            self.assertIn("<svg", page)
            self.assertTrue(page.rstrip().endswith("</html>"))
            self.assertNotIn("http://", page.replace(
                "http://www.w3.org/2000/svg", ""))
            args = ("echo", "--transport", "registry", "--outstanding", "1,10",
                    "--rounds", "1", "--seconds", "0.1", "--compare", old)
            for factor, code in ((0.01, 0), (100, 1)):
                changed = json.loads(json.dumps(report))
                for one in changed["results"]:
                    one["median"] *= factor
                    one["to_reference"]["rate"] *= factor
                with open(old, "w") as f:
                    json.dump(changed, f)
                self.assertEqual(bench(*args).returncode, code)

    def test_wrong_words(self):
        for args in ((), ("nothing",), ("echo", "--transport", "pigeon"),
                     ("echo", "--pin", "9999"), ("echo", "--outstanding", "0"),
                     ("echo", "--seconds", "x"), ("echo", "--clients", "0"),
                     ("echo", "--auth", "maybe"), ("echo", "--wire", "x"),
                     ("echo", "--curve-cert", "x", "--curve-server", "y")):
            with self.subTest(args=args):
                done = bench(*args)
                self.assertEqual((done.returncode, done.stdout), (2, ""))


unittest.main(verbosity=2)
