# SPDX-License-Identifier: BSD-3-Clause
"""Our broker when connections close: clients that die are noticed though
nothing is sent to them, peers that come back under their identity lose nothing
that they would have kept at Python's broker."""
import subprocess
import sys
import time

import kit
import peers
from peers import (DISCONNECT, END, EXCEPTION, HEARTBEAT, MDPC, REQUEST,
                   STREAM, pack, unpack)

HB = 1.0
# Who is back within three quarters of a heartbeat has lost nothing: on a busy
# machine that is to be long.
LONG_HB = 4.0 * kit.SLOW
HELLO = b"\xc1GX1" + pack({"e": 5})
CANCEL = b"\xc1GX1" + pack({"x": True})
EXT = b"\x06"
# A client in a process of its own, to be killed: two calls, no credit.
KILLED = r"""
import sys, time, zmq
s = zmq.Context().socket(zmq.DEALER)
if sys.argv[2]:
    s.setsockopt(zmq.ROUTING_ID, bytes.fromhex(sys.argv[2]))
s.connect(sys.argv[1])
for rid in (b"first call", b"second call"):
    s.send_multipart([b"", b"MDPC01", b"Svc", rid, b"\xa1f", b"\x90", b"\x80"])
print("sent", flush=True)
time.sleep(600)
"""


class Closed(kit.Case):
    """Raw workers beat only while they are asked for something, so nobody is
    lost by silence here."""
    hb = HB

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(
            timeout=60, mdp_heartbeat_liveness=60,
            mdp_heartbeat_interval=int(self.hb * 1000)))

    def ext_worker(self, maximum=1):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc", maximum=maximum)
        worker.command(HEARTBEAT, HELLO)
        return worker

    def stats(self):
        client = peers.RawClient(self.broker.front)
        stats = client.call("Gate", "stats")
        client.close()
        return stats

    def until(self, what, seconds, **wanted):
        end = time.monotonic() + peers.patient(seconds) * kit.SLOW
        while True:
            stats = self.stats()
            if all(stats[name] == n for name, n in wanted.items()):
                return stats
            self.assertLess(time.monotonic(), end, "%s: %s" % (
                what, {name: stats[name] for name in wanted}))
            time.sleep(0.05)


class Clients(Closed):
    def cancelled(self, worker, rid):
        end = time.monotonic() + peers.patient(3 * HB) * kit.SLOW
        while time.monotonic() < end:
            got = worker.expect(EXT, 0.3)
            if got is not None:
                return got[2:] == [rid, CANCEL]
        return False

    def killed(self, ident):
        worker = self.ext_worker()
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, self.broker.front, ident],
            stdout=subprocess.PIPE, preexec_fn=kit.die_with_the_test)
        self.addCleanup(process.stdout.close)
        process.stdout.readline()
        request = worker.expect(REQUEST)
        self.assertEqual(request[2], b"first call")
        process.kill()
        process.wait()
        self.assertTrue(self.cancelled(worker, b"first call"))
        self.until("both calls", 3 * HB, orphaned=2, queued=0, in_flight=1)
        worker.answer(request, peers.result(1))
        self.until("its slot", 3 * HB, in_flight=0)
        self.assertIsNone(worker.expect(REQUEST, 0.5), "it ran unread")

    def test_killed_with_an_identity(self):
        self.killed(peers.new_id().hex())

    def test_killed_without_one(self):
        self.killed("")

    def test_a_dead_client_of_a_plain_worker(self):
        """It cannot be told: its slot is taken until it answers."""
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Svc", maximum=1)
        dead = peers.RawClient(self.broker.front)
        dead.request("Svc", "f")
        request = worker.expect(REQUEST)
        dead.close()
        worker.idle(1.5 * HB)
        self.until("the call", 3 * HB, orphaned=1, in_flight=1)
        client = self.keep(peers.RawClient(self.broker.front))
        rid = client.request("Svc", "f")
        self.assertIsNone(worker.expect(REQUEST, 0.3))
        worker.answer(request, peers.result(1))
        worker.answer(worker.expect(REQUEST), peers.result(2))
        self.assertEqual(unpack(client.reply(rid)[0])["result"], 2)


class CutClients(Closed):
    hb = LONG_HB

    def test_a_cut_client_loses_nothing(self):
        """Answers while it is away and after it, none of them late."""
        proxy = self.keep(peers.Proxy(self.broker.front))
        worker = self.ext_worker(maximum=9)
        client = self.keep(peers.RawClient(proxy.endpoint))
        rids = [client.request("Svc", "f") for _ in range(3)]
        requests = [worker.expect(REQUEST) for _ in rids]
        proxy.cut()
        worker.answer(requests[0], peers.result(0))
        self.assertEqual(unpack(client.reply(rids[0])[0])["result"], 0)
        worker.idle(1.5 * LONG_HB)  # it says nothing itself: still known
        for n in (1, 2):
            worker.answer(requests[n], peers.result(n))
            self.assertEqual(unpack(client.reply(rids[n])[0])["result"], n)
        self.assertEqual(self.stats()["orphaned"], 0)

    def test_a_cut_req_gets_its_answer_and_nothing_else(self):
        """Whatever came would be taken for the answer."""
        proxy = self.keep(peers.Proxy(self.broker.front))
        worker = self.ext_worker()
        client = self.keep(peers.SimpleClient(proxy.endpoint))
        client.send(MDPC, b"Svc", b"rid", *peers.body("f"))
        request = worker.expect(REQUEST)
        proxy.cut()
        worker.idle(1.5 * LONG_HB)
        worker.answer(request, peers.result(7))
        message = client.recv()
        self.assertEqual(message[2], b"rid")
        self.assertEqual(unpack(message[3])["result"], 7)


    def test_our_stream_that_is_cut_is_none_that_ended(self):
        """What was on its way is lost, and what comes after it would hide
        that: it ends with an error, and its worker is told."""
        proxy = self.keep(peers.Proxy(self.broker.front))
        worker = self.ext_worker()
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", proxy.endpoint, "--timeout", "60000",
             "Svc.gen"], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=kit.die_with_the_test)
        self.addCleanup(call.communicate)
        self.addCleanup(call.kill)
        request = worker.expect(REQUEST)
        for n in (1, 2, 3):
            worker.answer(request, STREAM, pack(n))
        self.assertEqual([call.stdout.readline() for _ in range(3)],
                         ["1\n", "2\n", "3\n"])
        proxy.cut()
        for n in range(4, 44):
            worker.answer(request, STREAM, pack(n))
            if self.cancels(worker):
                break
        else:
            self.fail("its worker was not told: %r" % call.communicate()[0])
        out, err = call.communicate(timeout=30)
        self.assertEqual(out, "")
        self.assertIn("ConnectionLostError", err)
        self.assertNotEqual(call.returncode, 0)

    @staticmethod
    def cancels(worker):
        while (got := worker.expect(EXT, 0.25)) is not None:
            if "x" in unpack(got[3][4:]):
                return True
        return False


class Workers(Closed):
    """A Python worker behind a connection that is cut."""
    hb = LONG_HB

    def setUp(self):
        super().setUp()
        self.proxy = self.keep(peers.Proxy(self.broker.back))
        self.worker = self.keep(peers.RawWorker(self.proxy.endpoint))
        self.worker.register("Svc", maximum=9)
        self.client = self.keep(peers.RawClient(self.broker.front))

    def test_all_calls_are_answered(self):
        """Before, in flight at, and after the cut; no DISCONNECT, and no READY,
        which a Python worker never sends twice by itself."""
        rid0 = self.client.request("Svc", "f")
        request = self.worker.expect(REQUEST)
        self.proxy.cut()
        self.until("the cut", 5, suspended=1)  # a request before it is lost
        after = [self.client.request("Svc", "f") for _ in range(3)]
        for _ in after:
            got = self.worker.expect(REQUEST)
            self.worker.answer(got, peers.result(2))
        for rid in after:
            self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 2)
        self.worker.answer(request, peers.result(1))
        self.assertEqual(unpack(self.client.reply(rid0)[0])["result"], 1)
        stats = self.stats()
        self.assertEqual((stats["workers_lost"], stats["disconnects"]), (0, 0))

    def test_a_stream_is_not_whole_without_a_word(self):
        rid = self.client.request("Svc", "f")
        request = self.worker.expect(REQUEST)
        self.worker.answer(request, STREAM, pack(1))
        self.assertEqual(self.client.reply(rid), [STREAM, pack(1)])
        self.proxy.cut()
        story = self.client.reply(rid)
        self.assertEqual(story[:2], [STREAM, EXCEPTION])
        self.assertEqual(unpack(story[2])[0], "WorkerLostError")
        self.worker.answer(request, STREAM, END)
        rid = self.client.request("Svc", "f")
        self.worker.answer(self.worker.expect(REQUEST), peers.result(3))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 3)

    def test_back_after_it_was_lost(self):
        rid = self.client.request("Svc", "f")
        self.assertIsNotNone(self.worker.expect(REQUEST))
        way = self.proxy.to
        self.proxy.to = ("127.0.0.1", 1)  # nobody is there
        self.proxy.cut()
        story = unpack(self.client.reply(rid)[0])["exception"]
        self.assertEqual(story[0], "WorkerLostError")
        rid = self.client.request("Svc", "f")
        story = unpack(self.client.reply(rid)[0])["exception"]
        self.assertEqual(story[0], "ServiceUnAvailableError")
        self.proxy.to = way
        self.assertIsNotNone(self.worker.expect(HEARTBEAT))
        self.until("the worker", 10, restored=1)
        rid = self.client.request("Svc", "f")
        self.worker.answer(self.worker.expect(REQUEST), peers.result(4))
        self.assertEqual(unpack(self.client.reply(rid)[0])["result"], 4)
        self.assertEqual(self.stats()["disconnects"], 0)


if __name__ == "__main__":
    kit.main()
