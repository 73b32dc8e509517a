# SPDX-License-Identifier: BSD-3-Clause
"""Brokers joined over NATS: unchanged peers at one, services at another, real
nats-servers on loopback. Skipped, with a reason, where nats-server is not."""
import hashlib
import json
import os
import signal
import threading
import time

import kit
import peers
from joined import BEAT_MS, CALM_MS, Joined, Nats, call, missing


class Pair(kit.Shared):
    """A has the callers, B the service."""

    @classmethod
    def start(cls):
        cls.nats = cls.share(Nats())
        cls.a = cls.share(Joined(cls.nats.url, "A"))
        cls.b = cls.share(Joined(cls.nats.url, "B"))
        cls.service = cls.share(kit.OurService(cls.b.back))

    def setUp(self):
        super().setUp()
        self.until(lambda: "Demo" in self.a.services(), 30, "Demo at A")

    def lines(self, *args):
        done = call(self.a, *args)
        self.assertEqual(done.code, 0, done.err)
        return [json.loads(x) for x in done.out.splitlines()]

    def test_ready_line_names_it(self):
        self.assertEqual((self.a.called, self.b.called),
                         ("A@default", "B@default"))

    def test_results_and_errors(self):
        self.assertEqual(self.lines("Demo.add", "2", "3"), [5])
        self.assertEqual(self.lines("Demo.echo", "1", "--kw", "a=b"),
                         [{"args": [1], "kwargs": {"a": "b"}}])
        for args, cls in ((["Demo.boom"], "ValueError: boom!"),
                          (["Demo.nosuch"], "AttributeError"),
                          (["NoSuch.f"], "ServiceUnAvailableError")):
            done = call(self.a, *args)
            self.assertNotEqual(done.code, 0)
            self.assertIn(cls, done.err)

    def test_streams(self):
        self.assertEqual(self.lines("Demo.gen", "3"), [0, 1, 2])
        self.assertEqual(self.lines("Demo.gen", "30000"), list(range(30000)))
        done = call(self.a, "Demo.gen_boom", "2")
        self.assertEqual((done.code, done.out.split()), (1, ["0", "1"]))
        self.assertIn("RuntimeError", done.err)

    def test_huge_results_are_the_same(self):
        digests = set()
        for broker in (self.a, self.b):
            done = call(broker, "--raw", "Demo.huge", "20000000", "random",
                        text=False)
            self.assertEqual((done.code, len(done.out)), (0, 20000000),
                             done.err)
            digests.add(hashlib.sha256(done.out).hexdigest())
        self.assertEqual(len(digests), 1)

    def test_a_plain_body_larger_than_a_nats_message(self):
        client = self.keep(peers.Client(self.a.front))
        client.connect()
        data = os.urandom(3000000)
        self.assertEqual(client.call("Demo", "blob", data), len(data))
        self.assertEqual(client.call("Demo", "echo", data)["args"], [data])

    def test_python_client(self):
        client = self.keep(peers.Client(self.a.front))
        client.connect()
        self.assertIn("Demo", client.services)
        self.assertEqual(client.call("Demo", "gen", 2000), list(range(2000)))
        self.assertEqual(len(client.call("Demo", "huge", 200000)), 200000)
        with self.assertRaises(peers.RemoteError) as e:
            client.call("Demo", "gen_boom", 3)
        self.assertEqual(e.exception.cls, "RuntimeError")

    def test_brokers_know_each_other(self):
        done = kit.run("brokers", "--broker", self.a.front)
        self.assertEqual(done.code, 0, done.err)
        fields = done.out.rstrip("\n").split("\t")
        self.assertEqual((fields[0], fields[2]), ("B", "up"))

    def test_deadline_and_cancel(self):
        done = call(self.a, "--timeout", "500", "Demo.sleep", "60000")
        self.assertIn("TimeoutError", done.err)
        running = self.keep(kit.Command("call", "--broker", self.a.front,
                                        "Demo.slow_gen", "100000", "20"))
        self.assertEqual(running.line(), "0")
        running.signal(signal.SIGINT)
        running.wait()
        self.until(lambda: self.in_flight() == 0, 20, "the end of it at B")

    def in_flight(self):
        done = kit.run("call", "--broker", self.b.front, "Gate.stats")
        return json.loads(done.out)["in_flight"]


class PythonWorker(kit.Case):
    def test_python_worker_at_one_ours_at_the_other(self):
        nats = self.keep(Nats())
        a, b = (self.keep(Joined(nats.url, n)) for n in "AB")
        worker = self.keep(peers.Background(peers.Worker(
            b.back, "Demo", peers.demo_methods(), hb=peers.CALM_HB)))
        self.assertTrue(worker)
        self.until(lambda: "Demo" in a.services(), 30, "Demo at A")
        done = call(a, "Demo.echo", "7")
        self.assertEqual(done.code, 0, done.err)
        done = call(a, "Demo.gen", "2000")
        self.assertEqual(done.out.split(), [str(i) for i in range(2000)])
        client = self.keep(peers.Client(a.front))  # Python at both ends
        client.connect()
        self.assertIn("Demo", client.services)
        self.assertEqual(client.call("Demo", "echo", 7)["args"], [7])
        self.assertEqual(client.call("Demo", "gen", 500), list(range(500)))
        with self.assertRaises(peers.RemoteError):
            client.call("Demo", "boom")


class Idle(kit.Case):
    def test_a_call_after_a_long_silence(self):
        nats = self.keep(Nats())
        a, b = (self.keep(Joined(nats.url, n, uplink_heartbeat_ms=200))
                for n in "AB")
        self.keep(kit.OurService(b.back))
        self.until(lambda: "Demo" in a.services(), 30, "Demo at A")
        time.sleep(1.5)  # seven heartbeats: nothing is under way
        done = call(a, "--timeout", "20000", "Demo.sleep", "10")
        self.assertEqual(done.code, 0, done.err)


class Faults(kit.Case):
    def pair(self, urls, beat=BEAT_MS):
        a, b = (self.keep(Joined(urls, n, uplink_heartbeat_ms=beat))
                for n in "AB")
        self.keep(kit.OurService(b.back))
        self.until(lambda: "Demo" in a.services(), 30, "Demo at A")
        return a, b

    def test_the_only_server_is_away(self):
        nats = self.keep(Nats())
        a, _ = self.pair(nats.url)
        running = self.keep(kit.Command("call", "--broker", a.front,
                                        "--timeout", "60000", "Demo.sleep",
                                        "50000"))
        self.until(lambda: self.in_flight(a) == 1, 20, "the call")
        nats.kill()
        self.assertNotEqual(running.wait(), 0)
        self.assertIn("The broker B is lost.", "".join(running.err))
        done = call(a, "Demo.echo", "1")
        self.assertIn("ServiceUnAvailableError", done.err)
        nats.start()
        self.until(lambda: call(a, "Demo.echo", "1").code == 0, 30, "healing")

    def in_flight(self, broker):
        done = kit.run("call", "--broker", broker.front, "Gate.stats")
        return json.loads(done.out)["in_flight"]

    def test_a_broker_that_ends_has_left_and_is_not_lost(self):
        nats = self.keep(Nats())
        a, b = self.pair(nats.url)
        b.end()
        self.until(lambda: "B has left" in "".join(a.err), 30, "its leaving")
        for broker in (a, b):
            self.assertNotIn("is lost", "".join(broker.err))

    def test_a_broker_that_is_killed(self):
        nats = self.keep(Nats())
        a, b = self.pair(nats.url)
        running = self.keep(kit.Command("call", "--broker", a.front,
                                        "--timeout", "60000", "Demo.sleep",
                                        "50000"))
        self.until(lambda: self.in_flight(a) == 1, 20, "the call")
        b.process.kill()
        self.assertNotEqual(running.wait(), 0)
        self.assertIn("The broker B is lost.", "".join(running.err))

    def test_servers_of_a_cluster_are_killed_under_load(self):
        ports = [kit.free_port() for _ in range(3)]
        servers = [self.keep(Nats(cluster=p, routes=ports)) for p in ports]
        a, _ = self.pair(",".join(s.url for s in servers), CALM_MS)
        failed, done, stop = [], [0], threading.Event()

        def lane():
            client = peers.Client(a.front)
            client.connect()
            while not stop.is_set():
                n = done[0]
                try:
                    if client.call("Demo", "add", n, 1) != n + 1:
                        failed.append("wrong")
                except Exception as e:
                    failed.append(repr(e))
                done[0] += 1
            client.close()

        lanes = [threading.Thread(target=lane) for _ in range(3)]
        stream = self.keep(kit.Command("call", "--broker", a.front,
                                       "Demo.slow_gen", "300", "20"))
        for thread in lanes:
            thread.start()
        try:
            for i in range(3):
                before = done[0]
                servers[i].kill()
                self.until(lambda: done[0] > before + 50 or failed, 30,
                           "calls after a kill")
                servers[i].start()
                time.sleep(0.5)
        finally:
            stop.set()
            for thread in lanes:
                thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(stream.wait(), 0)
        self.assertEqual("".join(stream.out).split(),
                         [str(i) for i in range(300)])


class Start(kit.Case):
    def refused(self, *options, **settings):
        done = kit.run("broker", "--frontend", "tcp://127.0.0.1:*",
                       "--backend", "tcp://127.0.0.1:*", *options, **settings)
        self.assertNotEqual(done.code, 0)
        return done.err

    def test_without_a_server_it_starts_and_finds_it_later(self):
        port = kit.free_port()
        a = self.keep(Joined("nats://127.0.0.1:%d" % port, "A"))
        self.keep(kit.OurService(a.back))
        self.assertEqual(call(a, "Demo.add", "1", "2").out.strip(), "3")
        self.keep(Nats(port))
        b = self.keep(Joined("nats://127.0.0.1:%d" % port, "B"))
        self.until(lambda: call(b, "Demo.add", "1", "2").code == 0, 30)

    def test_wait_makes_that_an_error(self):
        err = self.refused("--uplink", "nats://127.0.0.1:%d" % kit.free_port(),
                           "--uplink-wait", "200")
        self.assertIn("No server available", err)

    def test_a_password_in_the_url_is_refused(self):
        err = self.refused("--uplink", "nats://joe:secret@127.0.0.1:4222")
        self.assertIn("uplink_password_file", err)
        self.assertNotIn("secret", err)


if __name__ == "__main__":
    why = missing()
    if why:
        print("skipped: " + why)
        raise SystemExit(77)
    kit.main()
