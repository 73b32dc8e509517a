# SPDX-License-Identifier: BSD-3-Clause
"""Our broker between a Python client and a Python worker: handshake, every
accepted form of a call, errors, streams, huge replies, the Gate service."""
import time

import kit
import peers
from peers import pack, unpack


class Calls(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(
            "ipc://%s/f" % cls.shared_dir, timeout=1))
        cls.worker = peers.Worker(cls.broker.back, "Svc",
                                  peers.demo_methods(), secure=False)
        cls.share(peers.Background(cls.worker))
        end = time.monotonic() + 5
        while not cls.worker.log and time.monotonic() < end:
            time.sleep(0.01)

    def setUp(self):
        super().setUp()
        self.raw = self.keep(peers.RawClient(self.broker.front))

    def client(self, **options):
        client = self.keep(peers.Client(self.broker.front, **options))
        client.connect()
        return client

    def refused(self, cls, *call, **kwargs):
        with self.assertRaises(peers.RemoteError) as e:
            self.raw.call(*call, **kwargs)
        self.assertEqual(e.exception.cls, cls)
        self.assertEqual(len(e.exception.story), 3)
        self.assertTrue(all(isinstance(s, str) for s in e.exception.story))
        return e.exception.story

    # ---- handshake --------------------------------------------------------
    def test_handshake(self):
        """Registration order, then "Gate"; other tests' services between."""
        services = self.client().services
        self.assertEqual((services[0], services[-1]), ("Svc", "Gate"))

    def test_no_handshake_needed(self):
        self.assertEqual(self.raw.call("Svc", "add", 2, 3), 5)

    # ---- forms of a call --------------------------------------------------
    def form(self, *frames):
        rid = peers.new_id()
        self.raw.send(b"", peers.MDPC, b"Svc", rid, *frames)
        reply = self.raw.reply(rid)
        self.assertEqual(len(reply), 1)
        return unpack(reply[0])["result"]

    def test_func_only(self):
        self.assertIsNone(self.form(pack("none")))

    def test_func_and_args(self):
        self.assertEqual(self.form(pack("add"), pack([2, 3])), 5)

    def test_func_args_kwargs(self):
        self.assertEqual(self.form(pack("add"), pack([2]), pack({"b": 4})), 6)

    def test_any_number_of_body_frames_is_forwarded(self):
        """The worker's business: it drops four; the broker passes them on."""
        with_worker = self.keep(peers.RawWorker(self.broker.back))
        with_worker.register("Opaque")
        for n in (1, 3, 4, 9, 20):
            rid = peers.new_id()
            parts = [b"%d" % i for i in range(n)]
            self.raw.send(b"", peers.MDPC, b"Opaque", rid, *parts)
            request = with_worker.expect(peers.REQUEST)
            self.assertEqual(request[1:], [b"", rid] + parts)
            with_worker.answer(request, b"not msgpack at all")
            self.assertEqual(self.raw.reply(rid), [b"not msgpack at all"])
        with_worker.command(peers.DISCONNECT, b"bye")

    def test_results(self):
        self.assertEqual(self.raw.call("Svc", "echo", 1, None, b"\0x", "é",
                                       2.5, [1, [2]], k={"a": True}),
                         {"args": [1, None, b"\0x", "é", 2.5, [1, [2]]],
                          "kwargs": {"k": {"a": True}}})

    def test_exception(self):
        story = self.refused("ValueError", "Svc", "boom", "why")
        self.assertEqual(story[1], "ValueError('why')")
        self.assertIn("Traceback", story[2])

    def test_big_plain_reply(self):
        data = bytes(5 << 20)
        self.assertEqual(self.raw.call("Svc", "echo", data, timeout=20)["args"],
                         [data])

    def test_many_outstanding(self):
        rids = [self.raw.request("Svc", "add", [i, 1]) for i in range(2000)]
        got = {}
        while len(got) < len(rids):
            message = self.raw.recv(5)
            self.assertIsNotNone(message, "%d of 2000" % len(got))
            self.assertNotIn(message[3], got)
            got[message[3]] = unpack(message[4])["result"]
        self.assertEqual([got[r] for r in rids], list(range(1, 2001)))

    # ---- streams ----------------------------------------------------------
    def stream(self, func, *args):
        rid = self.raw.request("Svc", func, args)
        return self.raw.stream(rid)

    def test_stream(self):
        self.assertEqual(self.stream("gen", 5), ([0, 1, 2, 3, 4], None))
        self.assertEqual(self.stream("gen", 0), ([], None))
        self.assertEqual(self.stream("gen", 2000), (list(range(2000)), None))

    def test_nil_items_and_in_band_end(self):
        self.assertEqual(self.stream("nils", 3), ([None] * 3, None))
        self.assertEqual(self.stream("tagged"), ([1, peers.END, 2], None))

    def test_end_is_raw(self):
        rid = self.raw.request("Svc", "gen", [1])
        self.assertEqual(self.raw.reply(rid), [peers.STREAM, pack(0)])
        self.assertEqual(self.raw.reply(rid), [peers.STREAM, peers.END])
        self.assertIsNone(self.raw.reply(rid, 0.2))

    def test_stream_exception(self):
        items, story = self.stream("gen_boom", 2)
        self.assertEqual(items, [0, 1])
        self.assertEqual(story[0], "RuntimeError")
        items, story = self.stream("gen_boom", 0)
        self.assertEqual((items, story[0]), ([], "RuntimeError"))

    def test_huge(self):
        client = self.client()
        self.assertEqual(client.call("Svc", "huge", 200000), "x" * 200000)
        self.assertEqual(len(client.call("Svc", "random", 300000)), 300000)
        with self.assertRaises(peers.RemoteError):
            client.call("Svc", "huge_boom", 50000)

    def test_huge_keeps_empty_chunks(self):
        rid = self.raw.request("Svc", "huge", [100])
        bodies = []
        while not bodies or bodies[-1][1] != peers.HUGE_END:
            bodies.append(self.raw.reply(rid))
        self.assertEqual(bodies[-2], [peers.HUGE, b""])
        self.assertTrue(all(b[0] == peers.HUGE for b in bodies))

    # ---- the internal service ---------------------------------------------
    def test_keepalive(self):
        self.assertEqual(self.raw.call("Gate", "keepalive", b"heartbeat"),
                         b"200")
        self.assertEqual(self.raw.call("Gate", "keepalive", b"other"), b"400")
        self.assertEqual(self.raw.call("Gate", "keepalive", "heartbeat"),
                         b"400")

    def test_info(self):
        info = self.raw.call("Gate", "info")
        self.assertIsInstance(info["my_id"], bytes)
        self.assertEqual(len(info["my_id"]), 16)
        self.assertEqual(info["services"][:1], ["Svc"])
        self.assertNotIn("Gate", info["services"])

    def test_query_service(self):
        query = lambda *a: self.raw.call("Gate", "query_service", *a)
        self.assertEqual(query("Svc"), "a test service")
        self.assertIsNone(query("Nobody"))
        self.assertIsNone(query(pack("Svc")))  # what Python's client sends

    def test_gate_answers_misuse_at_once(self):
        begin = time.monotonic()
        self.refused("AttributeError", "Gate", "nosuch")
        for call in (("keepalive",), ("query_service",), ("info", 1)):
            self.refused("TypeError", "Gate", *call)
        rid = self.raw.request("Gate", "query_service", (5,))
        self.assertIsNotNone(self.raw.reply(rid, 2))
        for frames in ([b"\xc1"], [b"\xa4info"[:3]], [pack(["info"])],
                       [pack("info") + b"x"],
                       [pack("info"), pack([]), pack({}), b"x"]):
            rid = peers.new_id()
            self.raw.send(b"", peers.MDPC, b"Gate", rid, *frames)
            reply = self.raw.reply(rid, 2)
            self.assertIsNotNone(reply, frames)
            self.assertTrue(unpack(reply[0])["exception"], frames)
        self.between(time.monotonic() - begin, 0, 0.9)

    # ---- errors of the broker itself --------------------------------------
    def test_unknown_service_at_once(self):
        begin = time.monotonic()
        story = self.refused("ServiceUnAvailableError", "NoSuch", "f", 1)
        self.assertIn("NoSuch", story[1])
        self.between(time.monotonic() - begin, 0, 0.5)

    def test_error_reply_has_the_vectors_shape(self):
        rid = self.raw.request("NoSuch", "f")
        message = self.raw.recv()
        self.assertEqual(message[:4], [b"", peers.MDPC, b"NoSuch", rid])
        self.assertEqual(len(message), 5)
        self.assertEqual(list(unpack(message[4])), ["result", "exception"])

    def test_busy_after_timeout(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Full", maximum=1)
        self.raw.request("Full", "f")
        request = worker.expect(peers.REQUEST)
        rid = self.raw.request("Full", "g")
        begin = time.monotonic()
        later = worker.idle(1.4)
        self.assertEqual(later, [])
        reply = self.raw.reply(rid, 2)
        self.assertEqual(unpack(reply[0])["exception"][0], "BusyWorkerError")
        self.between(time.monotonic() - begin, 0.9, 2.0)
        worker.answer(request, peers.result(1))
        self.assertIsNotNone(self.raw.recv())

    def test_max_zero_never_gets_work(self):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register("Zero", maximum=0)
        rid = self.raw.request("Zero", "f")
        begin = time.monotonic()
        self.assertEqual(worker.idle(1.3), [])
        reply = self.raw.reply(rid, 2)
        self.assertEqual(unpack(reply[0])["exception"][0], "BusyWorkerError")
        self.between(time.monotonic() - begin, 0.9, 2.0)

    # ---- identities and ids -----------------------------------------------
    def test_identities(self):
        for ident in (b"\0" + b"z" * 15, b"\0", b"a", b"i" * 255,
                      bytes(range(255, 0, -1))):
            client = self.keep(peers.RawClient(self.broker.front, ident))
            self.assertEqual(client.call("Svc", "add", 1, 2), 3, ident[:4])
            self.assertEqual(
                client.call("Gate", "keepalive", b"heartbeat"), b"200")

    def test_request_ids_are_opaque(self):
        for rid in (b"abcd", b"x", b"\0" * 16, b"y" * 200):
            self.raw.request("Svc", "add", [1, 2], rid=rid)
            message = self.raw.recv()
            self.assertEqual(message[3], rid)
            self.assertEqual(unpack(message[4])["result"], 3)

    def test_same_request_id_from_two_clients(self):
        other = self.keep(peers.RawClient(self.broker.front))
        rid = peers.new_id()
        self.raw.request("Svc", "sleep", [200], rid=rid)
        other.request("Svc", "sleep", [201], rid=rid)
        self.assertEqual(unpack(self.raw.reply(rid)[0])["result"], 200)
        self.assertEqual(unpack(other.reply(rid)[0])["result"], 201)

    def test_simple_client(self):
        simple = self.keep(peers.SimpleClient(self.broker.front))
        self.assertEqual(simple.call("Svc", "add", 1, 2),
                         {"result": 3, "exception": None})
        self.assertEqual(simple.call("Svc", "boom")["exception"][0],
                         "ValueError")
        self.assertEqual(simple.call("NoSuch", "f")["exception"][0],
                         "ServiceUnAvailableError")
        self.assertEqual(simple.call("Gate", "get_services")["result"][0],
                         "Svc")

    # ---- liveness of clients ----------------------------------------------
    def test_idle_client_stays_alive(self):
        client = self.client(hb=0.3)
        client.idle(2.0)
        self.assertFalse(client.dead)
        self.assertGreaterEqual(len(client.keepalives), 4)
        for rid in client.keepalives[:4]:
            self.assertEqual(unpack(client.replies[rid][0][0]),
                             {"result": b"200", "exception": None})

    def test_client_waits_long_without_harm(self):
        client = self.client(hb=0.3)
        self.assertEqual(client.call("Svc", "sleep", 2500), 2500)
        self.assertFalse(client.dead)


if __name__ == "__main__":
    kit.main()
