# SPDX-License-Identifier: BSD-3-Clause
"""Our broker towards Python workers: heartbeats, liveness, READY and
DISCONNECT. The heartbeat is 0.5 s."""
import time

import kit
import peers
from peers import DISCONNECT, HEARTBEAT, REQUEST, unpack

HB = 0.5


class Workers(kit.Case):
    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(
            timeout=20, mdp_heartbeat_interval=int(HB * 1000)))
        self.client = self.keep(peers.RawClient(self.broker.front))

    def worker(self, name="Svc", maximum=5000, ident=None):
        worker = self.keep(peers.RawWorker(self.broker.back, ident))
        worker.register(name, maximum=maximum)
        return worker

    def services(self):
        return self.client.call("Gate", "get_services")

    def unavailable(self, service="Svc"):
        try:
            self.client.call(service, "f")
        except peers.RemoteError as e:
            return e.cls == "ServiceUnAvailableError"
        return False

    def test_a_reply_without_a_body_ends_its_call(self):
        worker = self.worker()
        rid = self.client.request("Svc", "f")
        worker.answer(worker.expect(REQUEST))
        reply = unpack(self.client.reply(rid)[-1])
        self.assertEqual(reply["exception"][0], "ValueError")
        self.assertIn("The worker's reply is malformed.",
                      reply["exception"][1])

    # ---- heartbeats -------------------------------------------------------
    def test_heartbeat_at_registration_then_each_interval(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        self.client.call("Gate", "info")  # the broker is up and running
        worker.ready("Svc")
        begin = time.monotonic()
        times = []
        while len(times) < 5:
            self.assertIsNotNone(worker.expect(HEARTBEAT, 2 * HB))
            times.append(time.monotonic() - begin)
        self.between(times[0], 0, 0.2, "at once")
        for a, b in zip(times[1:], times[2:]):
            self.between(b - a, 0.6 * HB, 2.5 * HB, times)
        self.between(times[4] / 4, 0.9 * HB, 1.5 * HB, times)

    def test_heartbeat_frames(self):
        """A Python worker takes extra frames on 04; the three are as ever."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.ready("Svc")
        self.assertEqual(worker.recv()[:3], [b"", peers.MDPW, HEARTBEAT])

    def test_echoing_worker_lives(self):
        worker = self.worker()
        self.assertEqual(worker.idle(4.5), [])
        rid = self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        worker.answer(request, peers.result(1))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 1)

    def test_silent_worker_expires_in_its_window(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.ready("Svc")
        begin = time.monotonic()
        self.assertEqual(worker.expect(DISCONNECT, 10 * HB, beat=False), [])
        self.between(time.monotonic() - begin, 2.9 * HB, 3.5 * HB)
        self.assertTrue(self.unavailable())

    def test_worker_that_falls_silent_later(self):
        worker = self.worker()
        worker.idle(2.0)
        begin = time.monotonic()
        self.assertIsNotNone(worker.expect(DISCONNECT, 10 * HB, beat=False))
        self.between(time.monotonic() - begin, 1.9 * HB, 6 * HB)

    def test_unsolicited_heartbeats_prolong(self):
        worker = self.worker()
        end = time.monotonic() + 5 * HB
        while time.monotonic() < end:
            worker.command(HEARTBEAT)
            self.assertIsNone(worker.expect(DISCONNECT, 0.1, beat=False))

    def test_replies_count_as_life(self):
        """A worker that only streams is alive."""
        worker = self.worker()
        self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        end = time.monotonic() + 6 * HB
        while time.monotonic() < end:
            worker.answer(request, peers.STREAM, peers.pack(0))
            self.assertIsNone(worker.expect(DISCONNECT, 0.1, beat=False))

    # ---- READY ------------------------------------------------------------
    def test_duplicate_ready(self):
        worker = self.worker()
        worker.ready("Svc")
        self.assertEqual(worker.expect(DISCONNECT), [])
        self.assertTrue(self.unavailable())
        worker.ready("Svc")  # must READY again: now it is taken
        self.assertIsNotNone(worker.expect(HEARTBEAT))
        rid = self.client.request("Svc", "f")
        worker.answer(worker.expect(REQUEST), peers.result(7))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 7)

    def test_restart_under_the_same_identity(self):
        """A new connection under a known identity is a restarted worker."""
        ident = peers.identity("fixed")
        old = self.worker(ident=ident)
        old.close()
        new = self.keep(peers.RawWorker(self.broker.back, ident))
        end = time.monotonic() + 40
        while time.monotonic() < end:  # a Python worker retries as well
            new.ready("Svc")
            message = new.recv(0.9)
            if message and message[2] == HEARTBEAT:
                break
        else:
            self.fail("never registered again")
        rid = self.client.request("Svc", "f")
        new.answer(new.expect(REQUEST), peers.result(8))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 8)

    def test_bad_ready_lines(self):
        for line in (b"NonInt:desc:many", b"Neg:desc:-x", b"Bad:\xff\xfe:3",
                     b"", b":desc:3", b"Big:desc:99999999999999999999999"):
            worker = self.keep(peers.RawWorker(self.broker.back))
            worker.command(peers.READY, line)
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.command(peers.READY)
        worker.command(peers.READY, b"Two:d:1", b"frames")
        time.sleep(0.3)
        names = self.services()
        for name in ("NonInt", "Neg", "", "Two"):
            self.assertNotIn(name, names)
        self.worker("Good")
        self.assertIn("Good", self.services())

    def test_lines_python_ignores(self):
        """A bare name and a third colon: taken or ignored, never harmful."""
        for line in (b"Bare", b"Third:a:b:5"):
            worker = self.keep(peers.RawWorker(self.broker.back))
            worker.command(peers.READY, line)
            registered = worker.expect(HEARTBEAT, 0.9) is not None
            name = line.split(b":")[0].decode()
            self.assertEqual(name in self.services(), registered)

    def test_registration_order(self):
        for name in ("C", "A", "B"):
            self.worker(name)
        self.assertEqual(self.services(), ["C", "A", "B", "Gate"])

    # ---- DISCONNECT -------------------------------------------------------
    def test_disconnect_with_one_extra_frame(self):
        worker = self.worker()
        worker.command(DISCONNECT, b"bye")
        self.until(self.unavailable, 2, "the service's end")

    def test_disconnect_with_no_extra_frame_is_harmless(self):
        """Python ignores it; ours may honour it, but goes on in any case."""
        worker = self.worker()
        worker.command(DISCONNECT)
        time.sleep(0.2)
        other = self.worker("Other")
        rid = self.client.request("Other", "f")
        other.answer(other.expect(REQUEST), peers.result(1))
        self.assertIsNotNone(self.client.reply(rid))

    def test_ready_after_disconnect(self):
        worker = self.worker()
        worker.command(DISCONNECT, b"bye")
        self.until(self.unavailable, 2, "the service's end")
        worker.register("Svc")
        self.assertFalse("Svc" not in self.services())

    def test_unknown_worker_is_told(self):
        """Python only logs; ours answers 05, so that it READYs again."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.command(HEARTBEAT)
        self.assertEqual(worker.expect(DISCONNECT, 2), [])
        time.sleep(HB)  # a peer is not told twice in a row
        worker.command(peers.REPLY, peers.new_id(), b"", peers.new_id(),
                       peers.result(1))
        self.assertEqual(worker.expect(DISCONNECT, 2), [])
        worker.register("Svc")

    def test_broker_restart_brings_a_reconnecting_worker_back(self):
        back = kit.free_tcp()
        first = self.keep(kit.OurBroker(
            backend=back, mdp_heartbeat_interval=int(HB * 1000)))
        worker = peers.Worker(back, "Svc", peers.demo_methods(),
                              reconnect=True, hb=HB)
        self.keep(peers.Background(worker))
        self.until(lambda: worker.log, 3, "registration")
        first.kill()
        second = self.keep(kit.OurBroker(
            backend=back, mdp_heartbeat_interval=int(HB * 1000)))
        client = self.keep(peers.RawClient(second.front))

        def served():
            try:
                return client.call("Svc", "add", 1, 2) == 3
            except peers.RemoteError:
                return False
        self.until(served, 4 * HB, "the worker's return")

    def test_stop_says_disconnect(self):
        worker = self.worker()
        self.broker.signal(15)
        self.assertEqual(worker.expect(DISCONNECT, 5), [])
        self.assertEqual(self.broker.wait(), 0)

    def test_sigterm_finishes_calls_in_flight(self):
        worker = self.worker()
        rid = self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        self.broker.signal(15)
        worker.idle(0.5)
        worker.answer(request, peers.result("done"))
        reply = self.client.reply(rid, 5)
        self.assertIsNotNone(reply, "lost at the drain")
        self.assertEqual(unpack(reply[0])["result"], "done")
        self.assertEqual(self.broker.wait(), 0)


if __name__ == "__main__":
    kit.main()
