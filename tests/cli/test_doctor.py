# SPDX-License-Identifier: BSD-3-Clause
"""gate doctor: each rule finds its illness in a snapshot, and a healthy one has
none; a real broker is read as well."""
import copy
import json
import os
import subprocess

import msgpack
import zmq

from cli import CALM, Session, kit
import peers

SERVICE = {
    "name": "S", "workers": 2, "queued": 0, "oldest_ms": 0,
    "outcomes": {"ok": 100, "exception": 0, "lost": 0},
    "total": {"n": 100, "sum_us": 2000000, "slots": []},
    "wait": {"n": 100, "sum_us": 0, "slots": []}, "classes": [],
    "methods": [{"name": "m", "run": {"n": 80, "sum_us": 1000000}},
                {"name": "o", "run": {"n": 20, "sum_us": 1000000}}]}
HEALTHY = {"broker": {"state": "ready", "blocked_peers": 0}, "services": [SERVICE]}


class Rules(kit.Case):
    def doctor(self, snapshot, *words):
        name = os.path.join(self.dir, "snapshot.json")
        with open(name, "w") as f:
            json.dump(snapshot, f)
        return kit.run("doctor", "--file", name, *words)

    def test_a_healthy_one(self):
        done = self.doctor(HEALTHY)
        self.assertEqual((done.code, done.out), (0, "nothing found\n"))
        done = self.doctor(HEALTHY, "--json")
        self.assertEqual((done.code, done.out), (0, "[]\n"))

    def test_json_says_the_same(self):
        snapshot = copy.deepcopy(HEALTHY)
        snapshot["services"][0]["workers"] = 0
        snapshot["broker"]["state"] = "moved"
        lines, done = self.doctor(snapshot), self.doctor(snapshot, "--json")
        self.assertEqual((lines.code, done.code), (1, 1), done.err)
        found = json.loads(done.out)
        self.assertGreater(len(found), 1)
        self.assertEqual(lines.out.splitlines(), [
            "%(about)s: %(finding)s. %(cure)s." % one for one in found])

    def test_each_rule_of_a_service(self):
        ill = [
            ("no worker is registered", {"workers": 0}),
            ("no worker is registered", {"workers": 0, "left": False}),
            ("75 % of its calls' time is the broker's queue: too few workers "
             "(2)", {"wait": {"sum_us": 1500000}}),
            ("812 calls wait, the oldest for 1.9 s",
             {"queued": 812, "oldest_ms": 1900}),
            ("2.0 % of its calls did not end well, most of them TypeError "
             "(radius must be int)",
             {"outcomes": {"ok": 98, "exception": 2},
              "classes": [{"name": "KeyError", "n": 1, "text": "x"},
                          {"name": "TypeError", "n": 2,
                           "text": "radius must be int"}]}),
            ("blur takes 95 % of the time with 5 % of the calls",
             {"wait": {"sum_us": 300000}, "methods": [{"name": "echo", "run": {"n": 95, "sum_us": 100000}},
                          {"name": "blur",
                           "run": {"n": 5, "sum_us": 1900000}}]}),
            ("3 calls were lost", {"outcomes": {"ok": 1000, "lost": 3}})]
        snapshot = copy.deepcopy(HEALTHY)
        snapshot["services"] = [
            {**copy.deepcopy(SERVICE), **what, "name": "S%d" % i}
            for i, (_, what) in enumerate(ill)]
        done = self.doctor(snapshot)
        self.assertEqual((done.code, done.err), (1, ""))
        lines = done.out.splitlines()
        self.assertEqual(len(lines), len(ill), done.out)
        for i, (text, _) in enumerate(ill):
            self.assertIn("S%d: %s" % (i, text), lines[i])

    def test_what_is_meant_is_no_illness(self):
        slow = [{"name": "echo", "run": {"n": 95, "sum_us": 100000}},
                {"name": "blur", "run": {"n": 5, "sum_us": 1900000}}]
        for well in ({"workers": 0, "left": True},  # drained
                     {"methods": slow}):  # nobody waits for it
            snapshot = copy.deepcopy(HEALTHY)
            snapshot["services"][0].update(well)
            done = self.doctor(snapshot)
            self.assertEqual((done.code, done.out), (0, "nothing found\n"),
                             well)

    def test_each_rule_of_the_broker(self):
        counters = ("no_memory", "queue_full", "workers_expired",
                    "streams_overflowed", "astray", "malformed", "zap_outages",
                    "listeners_shut")
        snapshot = copy.deepcopy(HEALTHY)
        snapshot["broker"].update({c: 7 for c in counters}, state="draining",
                                  blocked_peers=1)
        snapshot["clients"] = {"clients": [
            {"user": "etl", "address": "10.0.0.7:5", "queued_bytes": 4096},
            {"user": "web", "address": "x", "queued_bytes": 0}]}
        lines = self.doctor(snapshot).out.splitlines()
        self.assertEqual(len(lines), 2 + len(counters), lines)
        self.assertIn("broker: it is draining", lines[0])
        self.assertIn("client: etl at 10.0.0.7:5 does not read: 4096 bytes",
                      lines[1])
        for line in lines[2:]:
            self.assertIn("broker: 7 ", line)
        del snapshot["clients"]
        self.assertIn("broker: 1 peers do not read", self.doctor(snapshot).out)

    def test_each_rule_of_a_report(self):
        ill = [("its pool of processes is degraded", "pauses",
                {"state": "degraded"}),
               ("its pool of processes is broken", "No worker comes up",
                {"state": "broken"}),
               ("its pool of processes is lost", "start that process again",
                {"state": "lost"}),
               ("41 jobs wait in its pool of processes, the oldest for 2.5 s",
                "A larger pool", {"queued": 41, "oldest_ms": 2500})]
        snapshot = copy.deepcopy(HEALTHY)
        well = {"kind": "processes", "state": "running", "queued": 0,
                "oldest_ms": 0}
        report = {"process": {"host": "h", "pid": 7}, "pools": [well] + [
            {**well, **what} for _, _, what in ill]}
        snapshot["reports"] = {"total": 2, "reports": [
            {"service": "S", "age_ms": 900, "report": report},
            {"service": "T", "age_ms": 9000, "report": {}},
            {"report": {"pools": 7}}, 7]}
        lines = self.doctor(snapshot).out.splitlines()
        self.assertEqual(len(lines), len(ill) + 1, lines)
        for line, (what, cure, _) in zip(lines, ill):
            self.assertTrue(line.startswith("S at h:7: " + what), line)
            self.assertIn(cure, line)
        self.assertIn("it has told nothing of itself for 9.0 s", lines[-1])

    def test_a_name_moves_no_cursor(self):
        snapshot = copy.deepcopy(HEALTHY)
        snapshot["services"][0].update(name="a\x1b[2Jb", workers=0)
        self.assertTrue(self.doctor(snapshot).out.startswith("a?[2Jb: "))

    def test_what_is_no_snapshot(self):
        for snapshot in ([], {"broker": {}}):
            self.assertEqual(self.doctor(snapshot).code, 2, snapshot)
        self.assertEqual(kit.run("doctor", "--file", "/no/such").code, 2)
        self.assertEqual(kit.run("doctor", "--broker", kit.free_tcp()).code, 3)


class Real(Session):
    def test_a_broker(self):
        done = self.gate("doctor")
        self.assertEqual((done.code, done.out), (0, "nothing found\n"))
        with zmq.Context() as context, context.socket(zmq.DEALER) as s:
            s.linger = 0
            s.connect(self.broker.front)
            for i in range(25):
                s.send_multipart([b"", b"MDPC01", b"Demo", b"%d" % i] + [
                    msgpack.packb(x) for x in ("add", [1, "x"], {})])
            for i in range(25):
                s.recv_multipart()
        done = self.gate("doctor")
        self.assertEqual(done.code, 1)
        self.assertIn("Demo: 100.0 % of its calls did not end well, most of "
                      "them TypeError", done.out)


class Meant(Session):
    """What somebody did on purpose."""

    def test_a_service_that_was_drained(self):
        self.assertEqual(self.gate("drain", "Demo").code, 0)
        self.until(lambda: self.call("Gate.observe")[0].find(
            '"workers":0,"far":0') > 0, 20, "the worker leaves")
        done = self.gate("doctor")
        self.assertEqual((done.code, done.out), (0, "nothing found\n"))


class Killed(Session):
    """A client that is killed in the middle of its stream is no client, from
    the moment on that its connection is closed."""

    def clients(self):
        return json.loads(self.call("Gate.clients")[0])["clients"]

    def test_a_client(self):
        client = subprocess.Popen(
            [kit.GATE, "call", "--broker", self.broker.front, "Demo.gen",
             "1000000000"], stdout=subprocess.DEVNULL)
        try:
            self.until(lambda: any(c["in_flight"] for c in self.clients()), 20,
                       "the stream")
        finally:
            client.kill()
            client.wait()
        self.until(lambda: len(self.clients()) == 1, 20,
                   "nobody but who asks is connected")
        self.until(lambda: json.loads(self.call("Gate.stats")[0])["peers"] == 2,
                   30, "it is forgotten: the worker and who asks")
        self.assertEqual(self.gate("doctor").out, "nothing found\n")


class Healthy(kit.Case):
    """Systems of several shapes that are well: it says nothing of them."""

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(**CALM))
        self.client = self.keep(peers.RawClient(self.broker.front))

    def well(self):
        done = kit.run("doctor", "--broker", self.broker.front, **CALM)
        self.assertEqual((done.code, done.out, done.err),
                         (0, "nothing found\n", ""))

    def served(self, name):
        self.until(lambda: name in self.client.call("Gate", "get_services"), 20)

    def test_nobody_is_there(self):
        self.well()

    def test_one_service_that_nobody_calls(self):
        self.keep(kit.OurService(self.broker.back, **CALM))
        self.well()

    def test_workers_in_python_and_a_restart(self):
        methods = {"add": lambda a, b: a + b, "count": lambda n: iter(range(n))}
        one, two = (self.keep(peers.Background(peers.Worker(
            self.broker.back, "Py", methods, hb=60))) for _ in range(2))
        self.served("Py")
        for i in range(100):
            self.assertEqual(self.client.call("Py", "add", i, 1), i + 1)
        self.well()
        one.peer.disconnect()
        one.stop()
        self.well()
        two.peer.disconnect()
        two.stop()
        self.until(lambda: self.client.call("Gate", "observe")["services"][0]
                   ["workers"] == 0, 20, "the last one leaves")
        self.well()

    def test_every_kind_of_method(self):
        """A few wrong arguments among many calls, slow methods, a stream."""
        self.keep(kit.OurService(self.broker.back, **CALM))
        for i in range(300):
            self.client.call("Demo", "add", i, 1)
        for _ in range(5):
            self.client.call("Demo", "fib", 20)
            self.client.call("Demo", "upper", "x")
        self.client.call("Demo", "sleep", 1200)
        with self.assertRaises(peers.RemoteError):
            self.client.call("Demo", "add", 1, "x")
        done = kit.run("call", "--broker", self.broker.front, "Demo.gen",
                       "1000", **CALM)
        self.assertEqual(done.code, 0, done.err)
        self.well()

    def test_many_at_once(self):
        """More than run at a time: they wait in the service, and not long."""
        self.keep(kit.OurService(self.broker.back, **CALM))
        rids = [self.client.request("Demo", "sleep", [20]) for _ in range(100)]
        self.well()
        for _ in rids:
            self.assertIsNotNone(self.client.recv(30))
        self.well()

    def test_a_client_that_is_killed(self):
        self.keep(kit.OurService(self.broker.back, **CALM))
        for _ in range(30):
            self.client.call("Demo", "add", 1, 2)
        for _ in range(3):
            leaver = peers.RawClient(self.broker.front)
            leaver.call("Demo", "add", 1, 2)
            leaver.close()
        self.well()

    def test_a_service_that_is_replaced(self):
        old = self.keep(kit.OurService(self.broker.back, **CALM))
        for _ in range(30):
            self.client.call("Demo", "add", 1, 2)
        self.keep(kit.OurService(self.broker.back, **CALM))
        self.assertEqual(old.end(), 0)
        for _ in range(30):
            self.client.call("Demo", "add", 1, 2)
        self.well()


kit.main()
