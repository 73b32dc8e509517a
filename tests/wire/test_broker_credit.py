# SPDX-License-Identifier: BSD-3-Clause
"""Our broker's credit: one unit a request, back once a request, whatever the
worker sends for it."""
import kit
import peers
from peers import REQUEST, unpack


class Credit(kit.Case):
    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(timeout=20))
        self.client = self.keep(peers.RawClient(self.broker.front))

    def worker(self, maximum):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc", maximum=maximum)
        return worker

    def test_stream_releases_once(self):
        """Python's bug A: each item would release a credit."""
        worker = self.worker(maximum=1)
        rids = [self.client.request("Svc", "f") for _ in range(6)]
        request = worker.expect(REQUEST)
        for i in range(5):
            worker.answer(request, peers.STREAM, peers.pack(i))
        self.assertEqual(worker.idle(0.5), [])
        worker.answer(request, peers.STREAM, peers.END)
        self.assertEqual(self.client.stream(rids[0]), ([0, 1, 2, 3, 4], None))
        for rid in rids[1:]:
            request = worker.expect(REQUEST)
            self.assertEqual(request[2], rid)
            self.assertEqual(worker.idle(0.05), [])
            worker.answer(request, peers.result(None))

    def test_stream_exception_and_huge_end_release(self):
        worker = self.worker(maximum=1)
        for ending in ((peers.STREAM, peers.EXCEPTION,
                        peers.triple("ValueError", "x")),
                       (peers.HUGE, peers.HUGE_END),
                       (peers.HUGE, peers.EXCEPTION,
                        peers.triple("ValueError", "x")),
                       (peers.result(1),)):
            self.client.request("Svc", "f")
            request = worker.expect(REQUEST)
            self.assertIsNotNone(request, ending)
            worker.answer(request, *ending)

    def test_in_flight_never_above_the_announced(self):
        worker = self.worker(maximum=3)
        rids = [self.client.request("Svc", "f", [i]) for i in range(30)]
        held, served = [], 0
        while served < 30:
            due = min(3, 30 - served)
            # what is due may take its time; one too many would come at once
            request = worker.expect(REQUEST, 5 if len(held) < due else 0.05)
            if request is not None:
                held.append(request)
                self.assertLessEqual(len(held), 3)
                continue
            self.assertEqual(len(held), due)
            worker.answer(held.pop(0), peers.result(served))
            served += 1
        for rid in rids:
            self.assertIsNotNone(self.client.reply(rid, 1))

    def test_double_final_releases_once(self):
        worker = self.worker(maximum=1)
        rids = [self.client.request("Svc", "f") for _ in range(4)]
        request = worker.expect(REQUEST)
        worker.answer(request, peers.result(1))
        worker.answer(request, peers.result(2))
        worker.answer(request, peers.result(3))
        self.assertEqual(unpack(self.client.reply(rids[0])[0])["result"], 1)
        self.assertEqual(len(worker.idle(0.4)), 1)
        self.assertIsNone(self.client.reply(rids[0], 0.2), "a second final")

    def may_work(self, *workers):
        """What the service may be given, its workers having answered: each is
        asked who it is when a stranger connects."""
        for worker in workers:
            self.assertEqual(worker.idle(0.05), [])
        return self.client.call("Gate", "stats")["services"]["Svc"]["credit"]

    def test_least_loaded(self):
        """Two workers of one service share the calls."""
        a, b = self.worker(maximum=100), self.worker(maximum=100)
        self.until(lambda: self.may_work(a, b) == 200)
        for _ in range(20):
            self.client.request("Svc", "f")
        na, nb = len(a.idle(0.3)), len(b.idle(0.3))
        self.assertEqual(na + nb, 20)
        self.assertLessEqual(abs(na - nb), 4)

    def test_client_ids_come_to_the_worker_verbatim(self):
        worker = self.worker(5000)
        for ident in (b"\0" * 4, b"q", b"w" * 255):
            client = self.keep(peers.RawClient(self.broker.front, ident))
            rid = client.request("Svc", "f", rid=b"1234")
            request = worker.expect(REQUEST)
            self.assertEqual(request[:3], [ident, b"", rid])
            worker.answer(request, peers.result(1))
            self.assertIsNotNone(client.reply(rid))


if __name__ == "__main__":
    kit.main()
