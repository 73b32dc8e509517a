# SPDX-License-Identifier: BSD-3-Clause
"""One message that is too large costs its own call, and no other: not on the
worker's connection, not on the caller's, whichever frame is too large and whose
limit it passes. Where libzmq has to close a connection, it is the sender's."""
import time

import kit
import peers

CALLS = 6  # honest ones under way meanwhile, each as long as the rest takes
LONG_MS = 1200


class Caller(peers.RawClient):
    """Has many calls under way over one connection."""

    def __init__(self, endpoint):
        super().__init__(endpoint)
        self.came = {}

    def outcome(self, rid, timeout=30):
        """What that call gave, whatever else comes before; None: nothing."""
        end = time.monotonic() + timeout * kit.SLOW
        while rid not in self.came and time.monotonic() < end:
            message = self.within(0.1)
            if message:
                self.came[message[3]] = peers.unpack(message[4])
        return self.came.pop(rid, None)

    def ask(self, service, func, *args, kwargs=None, timeout=30):
        rid = self.request(service, func, args, kwargs)
        return self.outcome(rid, timeout)


class Oversized(kit.Case):
    def begin(self, broker, service, **more):
        self.broker = self.keep(kit.OurBroker(message_bytes_max=broker))
        self.service = self.keep(kit.OurService(
            self.broker.back, "--threads", str(2 * CALLS), "--processes", "1",
            message_bytes_max=service, **more))
        self.honest, self.loud = self.client(), self.client()

    def client(self):
        return self.keep(Caller(self.broker.front))

    def under_way(self, *clients):
        """Calls of the honest: [(client, id)], on the worker by now."""
        calls = [(c, c.request("Demo", "sleep", [LONG_MS]))
                 for c in clients for _ in range(CALLS)]
        self.until(lambda: self.stats()["in_flight"] >= len(calls), 60,
                   "their start")
        return calls

    def stats(self):
        return self.honest.ask("Gate", "stats")["result"]

    def all_well(self, calls):
        for client, rid in calls:
            self.assertEqual(client.outcome(rid),
                             {"result": LONG_MS, "exception": None})
        stats = self.stats()
        self.assertEqual(stats["workers_lost"], 0, stats)

    def refused(self, client, func, *args, kwargs=None):
        story = client.ask("Demo", func, *args, kwargs=kwargs)["exception"]
        self.assertEqual(story[0], "ValueError", story)
        self.assertIn("message_bytes_max", story[1])

    def test_more_than_the_worker_takes(self):
        """Whichever frame; over a connection of its own and the honest's."""
        self.begin(broker=1000000, service=20000)
        calls = self.under_way(self.honest, self.loud)
        large = "x" * 50000
        for client in (self.loud, self.honest):
            self.refused(client, "blob", large)
            self.refused(client, "echo", 1, kwargs={"k": large})
            self.refused(client, large)
        self.assertEqual(self.loud.ask("Demo", "blob", "x" * 10000)["result"],
                         10000)
        self.all_well(calls)

    def test_more_than_the_broker_takes(self):
        """libzmq ends the connection that it came over."""
        self.begin(broker=20000, service=1000000)
        calls = self.under_way(self.honest)
        lost = self.loud.request("Demo", "blob", ["x" * 50000])
        self.until(lambda: self.loud.ask("Demo", "add", 2, 3, timeout=0.5) ==
                   {"result": 5, "exception": None}, 60, "its way back")
        self.all_well(calls)
        self.assertNotIn(lost, self.loud.came)

    def test_a_result_larger_than_the_broker_takes(self):
        """It goes in chunks that fit, also with huge results switched off."""
        self.begin(broker=20000, service=1000000, huge_threshold=0)
        calls = self.under_way(self.honest, self.loud)
        reader = self.keep(peers.Client(self.broker.front))
        text = "x" * 19970  # goes through; with what echo adds it does not
        self.assertEqual(reader.call("Demo", "echo", text),
                         {"args": [text], "kwargs": {}})
        self.all_well(calls)


if __name__ == "__main__":
    kit.main()
