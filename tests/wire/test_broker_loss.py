# SPDX-License-Identifier: BSD-3-Clause
"""Our broker when peers die, stall or lie: an exception frame where Python
hangs, never a silent loss, never a broker that falls."""
import os
import random
import time

import kit
import peers
from peers import HEARTBEAT, MDPC, MDPW, REPLY, REQUEST, pack, unpack

HB = 0.5


class Deaths(kit.Case):
    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"), timeout=2,
            mdp_heartbeat_interval=int(HB * 1000)))
        self.client = self.keep(peers.RawClient(self.broker.front))

    def worker(self, maximum=5000):
        worker = peers.RawWorker(self.broker.back)
        worker.register("Svc", maximum=maximum)
        return worker

    def test_closed_connection_ends_calls_at_once(self):
        worker = self.worker()
        rids = [self.client.request("Svc", "f") for _ in range(5)]
        for _ in rids:
            self.assertIsNotNone(worker.expect(REQUEST))
        begin = time.monotonic()
        worker.close()
        for rid in rids:
            reply = self.client.reply(rid, 3 * HB)
            self.assertIsNotNone(reply, "no answer")
            self.assertEqual(unpack(reply[0])["exception"][0],
                             "WorkerLostError")
        self.between(time.monotonic() - begin, 0, 1.2 * HB)

    def test_silent_worker_ends_calls_in_its_window(self):
        worker = self.keep(self.worker())
        rid = self.client.request("Svc", "f")
        self.assertIsNotNone(worker.expect(REQUEST))
        begin = time.monotonic()
        reply = self.client.reply(rid, 8 * HB)
        self.assertIsNotNone(reply, "no answer")
        self.assertEqual(unpack(reply[0])["exception"][0], "WorkerLostError")
        self.between(time.monotonic() - begin, 2 * HB, 6.2 * HB)
        self.assertIsNone(self.client.reply(rid, 0.2))

    def test_late_answer_of_a_lost_worker_is_dropped(self):
        worker = self.keep(self.worker())
        rid = self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        self.assertIsNotNone(self.client.reply(rid, 8 * HB))
        worker.answer(request, peers.result("late"))
        self.assertIsNone(self.client.reply(rid, 0.4), "two finals")
        stats = self.client.call("Gate", "stats")
        self.assertEqual(stats["replies_unknown"], 1, "it is counted")

    def test_death_in_a_stream(self):
        worker = self.worker()
        rid = self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        for i in range(3):
            worker.answer(request, peers.STREAM, pack(i))
        self.assertEqual(self.client.reply(rid), [peers.STREAM, pack(0)])
        worker.close()
        items, story = self.client.stream(rid, 3 * HB)
        self.assertEqual(items, [1, 2])
        self.assertEqual(story[0], "WorkerLostError")

    def test_death_in_a_huge_reply(self):
        worker = self.worker()
        rid = self.client.request("Svc", "f")
        request = worker.expect(REQUEST)
        worker.answer(request, peers.HUGE, b"x" * 100)
        self.assertEqual(self.client.reply(rid), [peers.HUGE, b"x" * 100])
        worker.close()
        reply = self.client.reply(rid, 3 * HB)
        self.assertIsNotNone(reply, "no answer")
        self.assertEqual(reply[:2], [peers.HUGE, peers.EXCEPTION])
        self.assertEqual(unpack(reply[2])[0], "WorkerLostError")

    def test_disconnect_with_calls_in_flight(self):
        worker = self.keep(self.worker())
        rid = self.client.request("Svc", "f")
        self.assertIsNotNone(worker.expect(REQUEST))
        worker.command(peers.DISCONNECT, b"bye")
        reply = self.client.reply(rid, 3 * HB)
        self.assertIsNotNone(reply, "no answer")
        self.assertTrue(unpack(reply[0])["exception"])

    def test_queued_calls_go_to_the_next_worker(self):
        first = self.worker(maximum=1)
        rids = [self.client.request("Svc", "f") for _ in range(3)]
        self.assertIsNotNone(first.expect(REQUEST))
        second = self.keep(self.worker())
        got = second.idle(0.2)
        first.close()
        got += second.idle(0.5)
        for request in got:
            second.answer(request, peers.result("second"))
        results = [unpack(self.client.reply(r, 2)[0])["result"] for r in rids]
        self.assertEqual(results, [None, "second", "second"])

    def test_answers_for_a_client_that_left(self):
        worker = self.keep(self.worker(maximum=1))
        gone = peers.RawClient(self.broker.front)
        gone.request("Svc", "f")
        request = worker.expect(REQUEST)
        gone.close()
        time.sleep(0.1)
        for i in range(100):
            worker.answer(request, peers.STREAM, pack(i))
        worker.answer(request, peers.STREAM, peers.END)
        rid = self.client.request("Svc", "f")  # the credit came back
        worker.answer(worker.expect(REQUEST), peers.result(5))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 5)

    def test_replies_to_nobody(self):
        worker = self.keep(self.worker())
        for ident in (peers.new_id(), b"", b"x" * 300):
            worker.command(REPLY, ident, b"", peers.new_id(), peers.result(1))
        rid = self.client.request("Svc", "f")
        worker.answer(worker.expect(REQUEST), peers.result(6))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 6)

    def test_worker_cannot_answer_for_another(self):
        """A reply counts only from the worker that has the request."""
        honest, liar = self.keep(self.worker()), None
        rid = self.client.request("Svc", "f")
        request = honest.expect(REQUEST)
        liar = self.keep(peers.RawWorker(self.broker.back))
        liar.register("Liar")
        liar.answer(request, peers.result("stolen"))
        time.sleep(0.2)
        honest.answer(request, peers.result("honest"))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], "honest")


class SlowReaders(kit.Case):
    N = 20000

    def stream_to_a_sleeper(self, **settings):
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                         timeout=20, **settings))
        worker = peers.Worker(broker.back, "Svc", peers.demo_methods())
        self.keep(peers.Background(worker))
        self.until(lambda: worker.log, what="registration")
        sleeper = self.keep(peers.RawClient(broker.front, hwm=1000))
        other = self.keep(peers.RawClient(broker.front))
        rid = sleeper.request("Svc", "gen", [self.N])
        end = time.monotonic() + 2
        while time.monotonic() < end:  # others are served meanwhile
            self.assertEqual(other.call("Svc", "add", 1, 2), 3)
        return sleeper.stream(rid, 5)

    def test_whole_or_an_exception(self):
        items, story = self.stream_to_a_sleeper()
        self.assertEqual(items, list(range(len(items))), "order or a gap")
        if story is None:
            self.assertEqual(len(items), self.N)
        else:
            self.assertIsInstance(story, list, "silence after %d items"
                                  % len(items))

    def test_overflow_is_said(self):
        """A bounded queue that overflows ends the stream with an exception."""
        items, story = self.stream_to_a_sleeper(peer_queue_max=500)
        self.assertEqual(items, list(range(len(items))), "order or a gap")
        self.assertLess(len(items), self.N)
        self.assertIsInstance(story, list,
                              "silence after %d items" % len(items))


class Robust(kit.Shared):
    """Malformed messages are ignored or answered; the broker goes on."""
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(timeout=1))
        cls.worker = peers.Worker(cls.broker.back, "Svc",
                                  peers.demo_methods(), secure=False)
        cls.share(peers.Background(cls.worker))
        end = time.monotonic() + 50
        while not cls.worker.log and time.monotonic() < end:
            time.sleep(0.01)

    def setUp(self):
        super().setUp()
        self.honest = self.keep(peers.RawClient(self.broker.front))

    def alive(self):
        self.assertTrue(self.broker.running())
        self.assertEqual(self.honest.call("Svc", "add", 2, 3), 5)
        self.assertIn("Svc", self.honest.call("Gate", "get_services"))

    def test_frontend(self):
        rid = peers.new_id()
        add = peers.body("add", [1, 2], {})
        for frames in (
                [b""], [b"", b""], [b"x"], [b"", MDPC], [b"", MDPC, b"Svc"],
                [b"", MDPC, b"Svc", rid], [b"", b"MDPC02", b"Svc", rid] + add,
                [MDPC, b"Svc", rid] + add, [b"x", MDPC, b"Svc", rid] + add,
                [b"", b"", MDPC, b"Svc", rid] + add,
                [b"", MDPC, b"", rid] + add,
                [b"", MDPC, b"\xff\xfe", rid] + add,
                [b"", MDPC, b"S" * 70000, rid] + add,
                [b"", MDPC, b"Svc", b""] + add,
                [b"", MDPC, b"Svc", b"r" * 70000] + add,
                [b"", MDPC, b"Gate", rid], [b"", MDPC, b"Gate", rid, b""],
                [b"", MDPC, b"Gate", rid, b"\xdd\xff\xff\xff\xff"],
                [b"", MDPC, b"Gate", rid, b"\x91" * 100000],
                [b"", MDPC, b"Svc", rid] + [b"x"] * 1000,
                [b"", MDPW, peers.READY, b"Evil:d:1"],
                [b""] * 100):
            client = peers.RawClient(self.broker.front)
            client.send(*frames)
            client.drain(0.02)
            client.close()
        self.alive()

    def test_backend(self):
        rid = peers.new_id()
        for frames in (
                [b""], [b"", b""], [b"x"], [b"", MDPW], [b"", MDPW, b""],
                [b"", MDPW, b"\x09"], [b"", MDPW, b"\x01\x02"],
                [b"", b"MDPW02", b"\x04"], [MDPW, b"\x04"],
                [b"", MDPW, b"\x02", rid, b"", rid, b"x"],
                [b"", MDPW, REPLY], [b"", MDPW, REPLY, rid],
                [b"", MDPW, REPLY, rid, b""], [b"", MDPW, REPLY, rid, b"", rid],
                [b"", MDPW, REPLY, rid, b"x", rid, b"y"],
                [b"", MDPW, REPLY, b"", b"", b"", b""],
                [b"", MDPW, HEARTBEAT] + [b"x"] * 1000,
                [b"", MDPW, b"\x06"], [b"", MDPW, b"\x06", b"\xc1"],
                [b"", MDPC, b"Svc", rid, b"x"], [b""] * 100):
            for registered in (False, True):
                worker = peers.RawWorker(self.broker.back)
                if registered:
                    worker.register("Evil", maximum=0)
                worker.send(*frames)
                worker.drain(0.02)
                worker.close()
        self.alive()

    def test_odd_replies_to_a_real_request(self):
        """A worker that answers a live request with nonsense: the call ends
        or stays open, the broker goes on."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Odd")
        for frames in ([], [b""], [b"", b""], [peers.STREAM],
                       [peers.STREAM, b""], [peers.STREAM, peers.EXCEPTION],
                       [peers.STREAM, peers.EXCEPTION, b"\xc1"],
                       [peers.HUGE], [peers.HUGE, b"HugeDataException"],
                       [b"tag", b"x"], [b"x"] * 70, [b"\xc1"]):
            client = peers.RawClient(self.broker.front)
            client.request("Odd", "f")
            request = worker.expect(REQUEST, 5)
            self.assertIsNotNone(request, frames)
            worker.answer(request, *frames)
            client.drain(0.02)
            client.close()
        self.alive()

    def test_random_messages(self):
        chance = random.Random(5)
        pieces = [b"", MDPC, MDPW, b"Svc", b"Gate", b"\x01", b"\x02", b"\x03",
                  b"\x04", b"\x05", b"\x06", peers.STREAM, peers.END,
                  peers.EXCEPTION, peers.HUGE, peers.HUGE_END, b"PLAIN",
                  b"a:b:1", pack("info"), pack([]), pack({}), peers.result(1)]
        sockets = [peers.RawClient(self.broker.front) for _ in range(4)]
        sockets += [peers.RawWorker(self.broker.back) for _ in range(4)]
        for n in range(4000):
            frames = [chance.choice(pieces) if chance.random() < 0.9
                      else os.urandom(chance.randrange(40))
                      for _ in range(chance.randrange(1, 9))]
            if chance.random() < 0.7:
                frames[:2] = [b"", chance.choice([MDPC, MDPW])]
            chance.choice(sockets).send(*frames)
            if n % 500 == 0:
                self.assertEqual(self.honest.call("Svc", "add", n, 1), n + 1)
        for s in sockets:
            s.drain(0.02, 0.5)
            s.close()
        self.alive()


if __name__ == "__main__":
    kit.main()
