# SPDX-License-Identifier: BSD-3-Clause
"""A hot restart under peers that know nothing of it: raw ones that behave as
Python's do; and one by death."""
import os
import time
import unittest

import kit
import peers

HB = 0.5


class HotRestart(kit.Case):
    def broker(self, like=None):
        front, back = (like.front, like.back) if like else (
            "tcp://127.0.0.1:*",) * 2
        return self.keep(kit.OurBroker(
            front, back, options=("--hand-over", self.dir + "/next"),
            drain_timeout_ms=6000))

    def replace(self, old):
        new = self.broker(like=old)
        self.assertEqual((new.front, new.back), (old.front, old.back))
        return new

    def test_an_idle_client_finds_itself_at_the_new_one(self):
        old = self.broker()
        self.keep(kit.OurService(old.back))
        client = self.keep(peers.RawClient(old.front))
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)
        self.replace(old)
        self.assertEqual(old.wait(10), 0)
        for i in range(20):
            self.assertEqual(client.call("Demo", "add", i, 2), i + 2)

    def test_a_client_that_never_rests(self):
        """It is cut between two calls, at half of drain_timeout_ms."""
        old = self.broker()
        self.keep(kit.OurService(old.back))
        client = self.keep(peers.RawClient(old.front))
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)
        self.replace(old)
        end, n = time.monotonic() + 20 * kit.SLOW, 0
        while old.running() and time.monotonic() < end:
            self.assertEqual(client.call("Demo", "add", n, 2), n + 2)
            time.sleep(0.1)
            n += 1
        self.assertEqual(old.wait(1), 0)
        self.assertGreater(n, 10)
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)

    def test_a_call_under_way_is_answered_by_the_old_one(self):
        old = self.broker()
        self.keep(kit.OurService(old.back))
        client = self.keep(peers.RawClient(old.front))
        rid = client.request("Demo", "sleep", (1500,))
        time.sleep(0.2)
        self.replace(old)
        frames = client.reply(rid, 10 * kit.SLOW)
        self.assertEqual(peers.unpack(frames[0])["result"], 1500)
        self.assertEqual(old.wait(10), 0)

    def test_a_worker_registers_again(self):
        """Our client's calls wait in the new broker for it."""
        old = self.broker()
        worker = peers.Worker(old.back, "Py", {"add": lambda a, b: a + b},
                              hb=HB, reconnect=True)
        self.keep(peers.Background(worker))
        client = self.keep(peers.RawClient(old.front))
        end = time.monotonic() + 5 * kit.SLOW
        while "Py" not in client.call("Gate", "get_services"):
            self.assertLess(time.monotonic(), end, "not registered")
        self.assertEqual(client.call("Py", "add", 1, 2), 3)
        new = self.replace(old)
        fresh = self.keep(peers.RawClient(new.front))
        self.assertEqual(
            fresh.call("Py", "add", 3, 4, timeout=10 * kit.SLOW), 7)
        self.assertEqual(old.wait(10), 0)
        self.assertEqual(client.call("Py", "add", 1, 2), 3)

    def test_the_path_is_busy_or_wrong(self):
        old = self.broker()
        free = ("--frontend", self.ipc("f"), "--backend", self.ipc("b"))
        done = kit.run("broker", *free, "--hand-over", self.dir + "/no/such")
        self.assertEqual(done.code, 1)
        self.assertIn("no/such", done.err)
        long_name = self.dir + "/" + "x" * 200
        done = kit.run("broker", *free, "--hand-over", long_name)
        self.assertEqual(done.code, 2)
        self.assertIn("107 bytes", done.err)
        self.assertTrue(old.running())

    def test_files_are_gone_after_the_last(self):
        old = self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"),
            options=("--hand-over", self.dir + "/next")))
        new = self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"),
            options=("--hand-over", self.dir + "/next")))
        self.assertEqual(old.wait(10), 0)
        self.assertEqual(sorted(os.listdir(self.dir)), ["b", "f", "next"])
        self.assertEqual(new.end(), 0)
        self.assertEqual(os.listdir(self.dir), [])


class ColdRestart(kit.Case):
    def test_a_call_that_its_brokers_death_cut_ends_with_the_next(self):
        """Two heartbeats would be an hour."""
        hour = {"mdp_heartbeat_interval": 1800000}
        old = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **hour))
        self.keep(kit.OurService(old.back, **hour))
        call = self.keep(kit.Command(
            "call", "--broker", old.front, "--timeout", "3600000",
            "Demo.sleep", "3600000", **hour))
        watch = self.keep(peers.RawClient(old.front))
        self.until(lambda: watch.call("Gate", "stats")["in_flight"] == 1,
                   what="it is under way")
        old.kill()
        self.keep(kit.OurBroker(old.front, old.back, **hour))
        self.assertEqual(call.wait(60), 3)
        self.assertIn("ConnectionLostError", "".join(call.err))


if __name__ == "__main__":
    unittest.main()
