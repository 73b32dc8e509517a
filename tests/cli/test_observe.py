# SPDX-License-Identifier: BSD-3-Clause
"""What is seen is what happened: a ledger of calls beside Gate.observe, stats
and the histograms; workers of ours and plain ones."""
import json

from cli import CALM, Session, kit


def slot_of(us):
    """The edges around a time in us: [low, high) of its slot."""
    if us < 1:
        return 0, 1
    k = max(i for i in range(27) if us >= 1 << i)
    step = (1 << k) / 8
    return us // step * step, (us // step + 1) * step


class Ledger(Session):
    def observe(self, *what):
        return json.loads(self.call("Gate.observe", json.dumps(what))[0])

    def numbers(self, name="Demo"):
        return next(s for s in self.observe()["services"] if s["name"] == name)

    def stats(self):
        return json.loads(self.call("Gate.stats")[0])["services"]["Demo"]

    def test_each_call_is_where_it_belongs(self):
        for _ in range(7):
            self.call("Demo.add", "2", "3")
        for _ in range(3):
            self.raises("TypeError", "Demo.add", "2", "x")
        for _ in range(2):
            self.raises("AttributeError", "Demo.nix")
        seen = self.numbers()
        self.assertEqual(seen["outcomes"], {
            "ok": 7, "exception": 5, "refused": 0, "lost": 0, "expired": 0,
            "cancelled": 0, "orphaned": 0})
        self.assertEqual({c["name"]: c["n"] for c in seen["classes"]},
                         {"TypeError": 3, "AttributeError": 2})
        methods = {m["name"]: m for m in seen["methods"]}
        self.assertEqual(sorted(methods), ["_other", "add"])
        self.assertEqual(methods["add"]["outcomes"]["ok"], 7)
        self.assertEqual(methods["add"]["outcomes"]["exception"], 3)
        self.assertEqual(methods["_other"]["outcomes"]["exception"], 2)
        for lat in (seen["total"], seen["wait"]):
            self.assertEqual(lat["n"], 12)
            self.assertEqual(sum(lat["slots"][1::2]), 12)
        self.assertEqual(methods["add"]["run"]["n"], 10)
        self.assertEqual(self.stats()["errors"], 5)
        done = self.gate("services", "--stats")
        self.assertEqual(done.out.strip().split("\t")[-3:], ["5", "1", "0"])
        done = self.gate("services", "--stats", "--json")
        self.assertEqual(json.loads(done.out)["Demo"]["errors"], 5)
        done = self.gate("services", "--workers", "--json")
        self.assertEqual([s[0] for s in json.loads(done.out)], ["Demo"])
        done = self.gate("services", "--json")
        self.assertEqual(json.loads(done.out), ["Demo", "Gate"])


class Slow(Session):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(slow_ms=50, **CALM))
        cls.service = cls.share(kit.OurService(cls.broker.back, **CALM))

    def test_slow_ones_are_kept_and_said(self):
        self.call("Demo.add", "2", "3")
        self.call("Demo.sleep", "200")
        slow = json.loads(self.call("Gate.slow")[0])
        slow = [s for s in slow if s["method"] == "sleep"]
        self.assertEqual(len(slow), 1)
        self.assertGreaterEqual(slow[0]["total_us"], 200000)
        self.assertEqual((slow[0]["service"], slow[0]["outcome"]),
                         ("Demo", "ok"))
        again = json.loads(self.call("Gate.slow", str(slow[0]["seq"]))[0])
        self.assertEqual([s for s in again if s["method"] == "sleep"], [])
        run = {m["name"]: m for m in json.loads(self.call("Gate.observe")[0])
               ["services"][0]["methods"]}["sleep"]["run"]
        low, high = slot_of(slow[0]["total_us"])
        self.assertGreaterEqual(run["p50_us"], low - 1)
        self.assertLessEqual(run["p50_us"], high + 1)
        config = json.loads(self.call("Gate.config")[0])
        self.assertEqual(config["slow_ms"], "50")

    def test_who_is_connected(self):
        clients = json.loads(self.call("Gate.clients")[0])
        self.assertEqual(clients["total"], len(clients["clients"]))
        self.assertRegex(clients["clients"][-1]["address"],
                         r"^(127\.0\.0\.1:\d+|ipc pid \d+ uid \d+)$")
        one = json.loads(self.call("Gate.clients", "0", "0")[0])
        self.assertEqual(one["clients"], [])
        self.raises("TypeError", "Gate.clients", "x")
        self.raises("TypeError", "Gate.clients", "-1")
        self.raises("TypeError", "Gate.observe", "services")
        self.raises("TypeError", "Gate.observe", "[]", "[]")

    def test_the_broker_tells_what_it_is(self):
        broker = json.loads(self.call("Gate.observe")[0])["broker"]
        self.assertEqual(broker["state"], "ready")
        process = broker["process"]
        self.assertEqual(process["pid"], self.broker.process.pid)
        self.assertGreaterEqual(process["now_ms"], process["start_ms"])
        self.assertGreater(process["rss_bytes"], 1 << 20)
        self.assertEqual(process["frontend"], [self.broker.front])

    def test_inspect_tells_the_brokers_own(self):
        done = self.gate("inspect", "Gate")
        self.assertEqual(done.code, 0, done.err)
        names = [line.split("\t")[0] for line in done.out.splitlines()]
        self.assertIn("observe", names)
        self.assertIn("get_interfaces", names)


kit.main()
