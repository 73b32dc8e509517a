# SPDX-License-Identifier: BSD-3-Clause
"""What workers tell of themselves: only while somebody looks, state that is
replaced, bounded, and believed by nobody."""
import time

import kit
import peers
from peers import pack
from test_ext import GX1, Ext, ext, read

EVIL = "<img src=x onerror=alert(1)>\x1b[2J"
TRUE = {"process": {"host": "h", "pid": 7}, "pools": [{"state": "running"}]}


class Told(Ext):
    """A raw worker at our broker."""

    def setUp(self):
        super().setUp()
        self.begin(mdp_heartbeat_interval=200)

    def observe(self, *what):
        return self.client().call("Gate", "observe", list(what))

    def reports(self):
        return self.observe("reports")["reports"]

    def heard(self, worker):
        """The extension frame of the broker's next heartbeat."""
        got = worker.expect(peers.HEARTBEAT, 5 * kit.SLOW)
        self.assertIsNotNone(got, "no heartbeat")
        worker.command(peers.HEARTBEAT, ext(**worker.keys))
        return read(got[0])

    def told(self, worker, report):
        worker.command(peers.HEARTBEAT, ext(**{"or": report}, **worker.keys))

    def counted(self, name, n):
        self.until(lambda: self.observe()["broker"][name] == n, 10, name)

    def test_nobody_is_asked_before_somebody_looks(self):
        worker = self.worker(e=1)
        self.known(worker)
        for _ in range(3):
            self.assertNotIn("o", self.heard(worker))
        self.observe("workers", "clients", "slow", "config")
        for _ in range(3):
            self.assertNotIn("o", self.heard(worker))
        self.told(worker, TRUE)
        self.counted("reports_dropped", 1)
        self.assertEqual(self.reports(), {"total": 0, "left_out": 0,
                                          "reports": []})
        self.until(lambda: "o" in self.heard(worker), 10, "it is asked")
        self.assertEqual(self.heard(worker)["o"], 1000)

    def test_the_last_one_counts(self):
        worker = self.worker(e=1)
        self.known(worker)
        self.reports()
        for pid in (1, 2, 3):
            self.told(worker, {"process": {"pid": pid}})
        self.counted("reports", 3)
        seen = self.reports()
        self.assertEqual((seen["total"], seen["left_out"]), (1, 0))
        one = seen["reports"][0]
        self.assertEqual((one["service"], one["report"]),
                         ("S", {"process": {"pid": 3}}))
        worker.close()
        self.until(lambda: self.reports()["total"] == 0, 20, "it is forgotten")

    def test_lies_are_dropped_and_counted_or_told_as_they_are(self):
        worker = self.worker(e=1)
        self.known(worker)
        self.reports()
        lies = [{"x": "y" * 1025}, {"x": b"\x00"}, {"x": 1.5},
                {"x": ["z" * 1000] * 40}]
        for lie in lies:
            self.told(worker, lie)
        worker.command(peers.HEARTBEAT, GX1 + b"\x82\xa1e\x01\xa2or\x81\xa1x"
                       b"\xa2\xff\xfe")  # no UTF-8
        self.counted("reports_dropped", len(lies) + 1)
        bad = self.observe()["broker"]["bad_ext"]
        for lie in ([], 7, "x"):
            self.told(worker, lie)
        self.counted("bad_ext", bad + 3)
        odd = {"process": EVIL, "pools": {"a": EVIL}, "log": [EVIL, [EVIL]]}
        self.told(worker, odd)
        self.counted("reports", 1)
        self.assertEqual(self.reports()["reports"][0]["report"], odd)
        for view in ("pools", "log", "workers"):
            done = kit.run("top", "--broker", self.broker.front, "--once",
                           "--view", view)
            self.assertEqual((done.code, done.err), (0, ""))
            self.assertNotIn("\x1b", done.out)
        done = kit.run("doctor", "--broker", self.broker.front)
        self.assertIn(done.code, (0, 1))
        self.assertNotIn("\x1b", done.out)

    def test_an_answer_has_an_end(self):
        workers = [self.worker(e=i + 1) for i in range(40)]
        for worker in workers:
            self.known(worker)
        self.reports()
        large = {"x": ["y" * 1000] * 32}
        for worker in workers:
            self.told(worker, large)
        self.counted("reports", len(workers))
        seen = self.reports()
        self.assertEqual(seen["total"], len(workers))
        self.assertEqual(len(seen["reports"]) + seen["left_out"],
                         len(workers))
        self.assertGreater(seen["left_out"], 0)
        self.assertLess(len(pack(seen)), 1 << 21)


class Asked(kit.Case):
    """Our service at our broker."""

    def test_pools_and_process(self):
        broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=1000))
        service = self.keep(kit.OurService(broker.back,
                                           mdp_heartbeat_interval=1000))
        client = self.keep(peers.RawClient(broker.front))

        def reports():
            return client.call("Gate", "observe", ["reports"])["reports"][
                "reports"]
        self.until(reports, 20, "a report")
        client.call("Demo", "upper", "x")
        client.call("Demo", "pid")

        def done():
            return [p for p in reports()[0]["report"]["pools"] if p["done"]]
        self.until(lambda: len(done()) == 2, 20, "both pools have run a job")
        report = reports()[0]["report"]
        self.assertEqual(report["process"]["pid"], service.process.pid)
        self.assertEqual({m: report["methods"][m]
                          for m in ("add", "upper", "fib")},
                         {"add": "inline", "upper": "thread",
                          "fib": "process"})
        pools = {p["kind"]: p for p in report["pools"]}
        self.assertEqual(pools["processes"]["state"], "running")
        each = pools["processes"]["each"]
        self.assertEqual(len(each), pools["processes"]["workers"])
        self.assertIn(1, [w[3] for w in each])

    def test_a_crash_is_seen(self):
        broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=1000))
        self.keep(kit.OurService(broker.back, mdp_heartbeat_interval=1000))
        client = self.keep(peers.RawClient(broker.front))

        def told():
            found = client.call("Gate", "observe", ["reports"])["reports"][
                "reports"]
            return found and found[0]["report"]
        with self.assertRaises(peers.RemoteError):
            client.call("Demo", "crash")
        self.until(lambda: told() and any(
            p["restarts"] for p in told()["pools"]
            if p["kind"] == "processes"), 20, "the restart")
        self.until(lambda: any("killed by signal" in line[3] or
                               "died" in line[3]
                               for line in told()["log"]), 20, "its line")

    def test_who_does_not_want_to_tells_nothing(self):
        broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=200))
        self.keep(kit.OurService(broker.back, mdp_heartbeat_interval=200,
                                 worker_reports="false"))
        client = self.keep(peers.RawClient(broker.front))
        for _ in range(5):
            seen = client.call("Gate", "observe", ["reports"])
            self.assertEqual(seen["reports"]["total"], 0)
            time.sleep(.3)  # longer than a heartbeat: it has been asked
        self.assertEqual(seen["broker"]["reports"], 0)


if __name__ == "__main__":
    kit.main()
