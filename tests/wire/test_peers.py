# SPDX-License-Identifier: BSD-3-Clause
"""The Python peers against each other: what tests ours must work by itself."""
import time
import unittest

import kit
import peers


class Peers(kit.Case):
    def setUp(self):
        super().setUp()
        self.broker = peers.Broker(self.ipc("f"), self.ipc("b"), hb=0.2,
                                   timeout=0.5)
        self.keep(peers.Background(self.broker))
        self.worker = peers.Worker(self.ipc("b"), "Svc", peers.demo_methods(),
                                   hb=0.2, maximum=3)
        self.keep(peers.Background(self.worker))
        self.until(lambda: self.broker.workers, what="registration")
        self.client = self.keep(peers.Client(self.ipc("f"), hb=0.2,
                                             timeout=1.0))
        self.client.connect()

    def test_handshake(self):
        self.assertEqual(self.client.services, ["Svc", "Gate"])

    def test_calls(self):
        call = self.client.call
        self.assertEqual(call("Svc", "add", 2, 3), 5)
        self.assertEqual(call("Svc", "echo", 1, b"x", k=2.5),
                         {"args": [1, b"x"], "kwargs": {"k": 2.5}})
        self.assertIsNone(call("Svc", "none"))
        with self.assertRaises(peers.RemoteError) as e:
            call("Svc", "boom")
        self.assertEqual(e.exception.story[:2],
                         ["ValueError", "ValueError('boom!')"])
        self.assertEqual(call("Svc", "sleep", 100), 100)

    def test_streams_with_python_quirks(self):
        call = self.client.call
        self.assertEqual(call("Svc", "gen", 5), [0, 1, 2, 3, 4])
        self.assertEqual(call("Svc", "gen", 0), [])
        self.assertEqual(call("Svc", "nils", 3), [])
        self.assertEqual(call("Svc", "tagged"), [1])
        with self.assertRaises(peers.RemoteError):
            call("Svc", "gen_boom", 2)

    def test_huge(self):
        self.assertEqual(self.client.call("Svc", "huge", 100000),
                         "x" * 100000)
        self.assertEqual(len(self.client.call("Svc", "random", 50000)), 50000)
        with self.assertRaises(peers.RemoteError):
            self.client.call("Svc", "huge_boom", 50000)

    def test_silent_drops_starve_the_worker(self):
        """Bugs A and B are kept, or tests against ours would prove nothing."""
        for _ in range(3):
            with self.assertRaises(TimeoutError):
                self.client.call("Svc", "nosuch")
        with self.assertRaises(peers.RemoteError) as e:
            self.client.call("Svc", "add", 1, 2)
        self.assertEqual(e.exception.cls, "BusyWorkerError")

    def test_unknown_service(self):
        self.client.services.append("Other")
        with self.assertRaises(peers.RemoteError) as e:
            self.client.call("Other", "f")
        self.assertEqual(e.exception.cls, "ServiceUnAvailableError")

    def test_heartbeats(self):
        self.client.idle(1.0)
        beats = [f for _, f in self.worker.log if f == [peers.HEARTBEAT]]
        self.assertGreaterEqual(len(beats), 4)
        self.assertGreaterEqual(len(self.client.keepalives), 3)
        self.assertFalse(self.client.dead)
        self.assertFalse(self.broker.anomalies)

    def test_client_dies_with_a_silent_broker(self):
        self.broker.mute = True
        with self.assertRaises(peers.Offline):
            self.client.idle(2.0)
        self.until(lambda: self.worker.offline, what="the worker's end")

    def test_worker_banned(self):
        mute = self.keep(peers.RawWorker(self.ipc("b")))
        mute.ready("Mute")
        begin = time.monotonic()
        self.assertEqual(mute.expect(peers.DISCONNECT, 2, beat=False), [])
        self.between(time.monotonic() - begin, 0.55, 0.9)

    def test_simple_client(self):
        simple = self.keep(peers.SimpleClient(self.ipc("f")))
        self.assertEqual(simple.call("Svc", "add", 1, 2),
                         {"result": 3, "exception": None})


if __name__ == "__main__":
    unittest.main(verbosity=2)
