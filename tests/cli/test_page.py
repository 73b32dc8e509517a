# SPDX-License-Identifier: BSD-3-Clause
"""What the page shows is what the broker told: its script runs in node over a
document of stubs, which traps markup. Skipped where there is no node."""
import json
import os
import shutil
import subprocess

from cli import Session, kit

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAGE = os.path.join(ROOT, "src/cli/monitor/page.html")
EVIL = "<img src=x onerror=alert(1)>"
PARTS = '["workers", "clients", "slow"]'


class Page(Session):
    def show(self, *snapshots):
        if not shutil.which("node"):
            self.skipTest("node is not here: the page's script is not run")
        files = []
        for i, snapshot in enumerate(snapshots):
            files.append(os.path.join(self.dir, "%d.json" % i))
            with open(files[-1], "w") as f:
                json.dump(snapshot, f)
        done = subprocess.run(
            ["node", os.path.join(HERE, "page_run.js"), PAGE, *files],
            capture_output=True, text=True, timeout=60 * kit.SLOW)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def observe(self):
        return json.loads(self.call("Gate.observe", PARTS)[0])

    def test_numbers_are_those_of_the_broker(self):
        self.call("Demo.add", "1", "2")
        first = self.observe()
        for _ in range(4):
            self.call("Demo.add", "1", "2")
        self.raises("TypeError", "Demo.add", "1", "x")
        second = self.observe()
        seconds = (second["broker"]["monotonic_ms"]
                   - first["broker"]["monotonic_ms"]) / 1000
        seen = self.show(first, second)
        self.assertAlmostEqual(seen["h"]["ok"][0] * seconds, 4, 6)
        self.assertAlmostEqual(seen["h"]["err"][0] * seconds, 1, 6)
        demo = seen["services"][0]
        self.assertAlmostEqual(demo["err"], .2, 6)
        self.assertAlmostEqual(demo["rate"] * seconds, 5, 6)
        self.assertEqual(seen["errors"][0][:2], ["TypeError", 1])
        self.assertIn("1 / 1 workers / services", seen["tiles"])
        self.assertIn("20.0 %", seen["tiles"])
        self.assertTrue(seen["title"].startswith("\u25cf "), seen["title"])
        before, now = ({s: n for s, n in zip(l[::2], l[1::2])} for l in (
            x["services"][0]["total"]["slots"] for x in (first, second)))
        slots = sorted(s for s in now if now[s] > before.get(s, 0))

        def edge(slot):
            return (8 + slot % 8) / 8 * 2 ** (slot // 8) / 1e6
        self.assertLessEqual(edge(slots[0]), demo["p50"])
        self.assertLessEqual(edge(slots[-1]) * .999, demo["p99"])
        self.assertGreaterEqual(edge(slots[-1] + 1), demo["p99"])

    def test_text_stays_text(self):
        snapshot = self.observe()
        demo = snapshot["services"][0]
        demo.update(name=EVIL, classes=[{"name": EVIL, "n": 1, "ago_ms": 1,
                                         "text": EVIL}])
        snapshot["slow"] = [{"seq": 1, "ago_ms": 1, "service": EVIL,
                             "method": EVIL, "user": EVIL, "outcome": "ok",
                             "total_us": 9, "queue_us": 1}]
        seen = self.show(snapshot)
        for part in ("table", "errs", "slow"):
            self.assertIn(EVIL, seen[part])

    def test_a_worker_that_lies_is_text_and_numbers(self):
        snapshot = self.observe()
        true = {"service": "S", "worker": "ab", "age_ms": 5, "report": {
            "process": {"host": EVIL, "pid": 7}, "log": [
                [9, "ERROR", EVIL, EVIL], "no line", [1]],
            "pools": [{"kind": "processes", "state": "degraded", "workers": 2,
                       "queued": 3, "restarts": {EVIL: 4},
                       "each": [[1, "run", 1500, 3, EVIL], 7, []]}]}}
        lies = [None, 7, [], {}, {"report": 7}, {"report": {"pools": 7}},
                {"report": {"process": [], "log": {}, "pools": [
                    7, {"each": {}, "restarts": [], "queued": "x",
                        "state": {}, "workers": -1}]}}]
        snapshot["reports"] = {"total": 8, "left_out": 1,
                               "reports": lies + [true]}
        seen = self.show(snapshot)
        self.assertIn("degraded", seen["pools"])
        self.assertIn(EVIL + " 4", seen["pools"])
        self.assertIn(EVIL, seen["log"])
        for reports in (7, [], {"reports": 7}, None):
            snapshot["reports"] = reports
            self.assertIn("no worker", self.show(snapshot)["pools"])

    def test_many_services_and_a_broker_that_tells_names_alone(self):
        snapshot = self.observe()
        snapshot["services"] = [{**snapshot["services"][0], "name": "S%d" % i}
                                for i in range(500)]
        self.assertEqual(len(self.show(snapshot)["services"]), 500)
        seen = self.show({"broker": {"limited": True, "state": "ready"},
                          "services": [{"name": "Echo", "plain_name": False}]})
        self.assertIn("Echo", seen["table"])


kit.main()
