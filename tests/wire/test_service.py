# SPDX-License-Identifier: BSD-3-Clause
"""Our demo service behind a Python broker: READY line, heartbeats, one answer
for every request, and no frame that 0.2.12 does not know."""
import hashlib
import json
import os
import signal
import time
import zlib

import zmq

import kit
import peers
from peers import (DISCONNECT, HEARTBEAT, MDPW, READY, REPLY, REQUEST, pack,
                   unpack)

VECTORS = os.path.join(kit.HERE, "vectors")


class RawBroker(peers.Raw):
    """A broker's backend ROUTER without any behaviour of its own, and one
    worker behind it."""

    def __init__(self, endpoint="tcp://127.0.0.1:*"):
        super().__init__(zmq.ROUTER, endpoint, bind=True)
        self.worker = None

    def take(self, cmd, timeout=5.0):
        """(identity, frames) of the next message of that command; None."""
        end = time.monotonic() + peers.patient(timeout) * kit.SLOW
        while True:
            message = self.within(max(0.0, end - time.monotonic()))
            if message is None:
                return None
            assert message[1] == b"" and message[2] == MDPW, message
            self.check(message[3], message[4:])
            if message[3] == cmd:
                return message[0], message[4:]

    @staticmethod
    def check(cmd, rest):
        """Shapes of 0.2.12 only: no extension towards this broker."""
        fits = {HEARTBEAT: lambda: not rest,
                READY: lambda: len(rest) == 1 and rest[0].count(b":") == 2,
                DISCONNECT: lambda: len(rest) == 1,
                REPLY: lambda: rest[1] == b"" and (
                    len(rest) == 4 or
                    rest[3] in (peers.STREAM, peers.HUGE) and
                    (len(rest) == 5 or
                     len(rest) == 6 and rest[4] == peers.EXCEPTION))}
        assert cmd in fits and fits[cmd](), (cmd, rest[:6])

    def register(self):
        got = self.take(READY, 10)
        assert got is not None, "no READY"
        self.worker = got[0]
        self.tell(HEARTBEAT)
        return got[1][0]

    def tell(self, cmd, *frames):
        self.send(self.worker, b"", MDPW, cmd, *frames)

    def request(self, *frames, rid=None, client=b"the-client"):
        rid = rid or peers.new_id()
        self.tell(REQUEST, client, b"", rid, *frames)
        return rid

    def reply(self, rid, timeout=5.0, beat=0.4):
        """The body of the next REPLY for rid; beats meanwhile."""
        end = time.monotonic() + timeout * kit.SLOW
        while time.monotonic() < end:
            got = self.take(REPLY, min(beat, end - time.monotonic()))
            if got is None:
                self.tell(HEARTBEAT)
            elif got[1][2] == rid:
                return got[1][3:]
        return None

    def call(self, func, *args, timeout=5.0, **kwargs):
        rid = self.request(*peers.body(func, args, kwargs))
        frames = self.reply(rid, timeout)
        assert frames is not None, "no answer to %s" % func
        return frames


class Answers(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(RawBroker())
        cls.service = cls.share(kit.OurService(cls.broker.endpoint,
                                               ready=False,
                                               mdp_heartbeat_interval=60000))
        cls.line = cls.broker.register()
        cls.service.ready()

    def setUp(self):
        super().setUp()
        self.broker.tell(HEARTBEAT)

    def value(self, func, *args, **kwargs):
        frames = self.broker.call(func, *args, **kwargs)
        self.assertEqual(len(frames), 1, func)
        answer = unpack(frames[0])
        self.assertEqual(list(answer), ["result", "exception"])
        self.assertIsNone(answer["exception"])
        return answer["result"]

    def story(self, frames):
        self.assertIsNotNone(frames, "no answer")
        self.assertEqual(len(frames), 1)
        answer = unpack(frames[0])
        self.assertEqual(list(answer), ["result", "exception"])
        self.assertIsNone(answer["result"])
        story = answer["exception"]
        self.assertEqual(len(story), 3)
        self.assertTrue(all(isinstance(s, str) for s in story))
        self.assertTrue(story[1].startswith(story[0] + "("), story)
        return story

    def items(self, func, *args):
        rid = self.broker.request(*peers.body(func, args, {}))
        items = []
        while True:
            frames = self.broker.reply(rid)
            self.assertIsNotNone(frames, "silence after %d" % len(items))
            if frames == [peers.STREAM, peers.END]:
                return items, None
            self.assertEqual(frames[0], peers.STREAM)
            if frames[1] == peers.EXCEPTION:
                return items, unpack(frames[2])
            self.assertEqual(len(frames), 2)
            items.append(unpack(frames[1]))

    # ---- registration -----------------------------------------------------
    def test_ready_line(self):
        name, _description, most = self.line.decode().split(":")
        self.assertEqual(name, "Demo")
        self.assertGreater(int(most), 0)

    # ---- results ----------------------------------------------------------
    def test_echo(self):
        self.assertEqual(
            self.value("echo", 1, None, "é", b"\0\xff", 2.5, -7, [1, [2]],
                       2 ** 63, k={"a": 1}),
            {"args": [1, None, "é", b"\0\xff", 2.5, -7, [1, [2]], 2 ** 63],
             "kwargs": {"k": {"a": 1}}})

    def test_add(self):
        self.assertEqual(self.value("add", 2, 3), 5)
        self.assertEqual(self.value("add", 2, 0.5), 2.5)

    def test_others(self):
        self.assertIsNone(self.value("none"))
        self.assertEqual(self.value("upper", "abc é"), "ABC é")
        self.assertEqual(self.value("blob", b"x" * 100000), 100000)
        self.assertEqual(self.value("blob", "abc"), 3)
        self.assertEqual(self.value("sleep", 50), 50)

    def test_vector_form_of_a_result(self):
        """add(2, 3) byte for byte as the worker in the vectors."""
        with open(os.path.join(VECTORS, "call_add_2_3.json")) as f:
            vector = json.load(f)
        request, reply = [[bytes.fromhex(x) for x in m["frames"]]
                          for m in vector if m["direction"] in
                          ("broker->worker", "worker->broker")]
        self.broker.tell(*request[2:])
        got = self.broker.take(REPLY)[1]
        self.assertEqual([b"", MDPW, REPLY] + got, reply)

    def test_forms(self):
        for frames, want in (
                ([pack("none")], None),
                ([pack("add"), pack([2, 3])], 5),
                ([pack("add"), pack([2, 3]), pack({})], 5)):
            rid = self.broker.request(*frames)
            answer = unpack(self.broker.reply(rid)[0])
            self.assertEqual(answer, {"result": want, "exception": None})

    def test_client_id_is_echoed(self):
        for client in (b"", b"\0", b"c" * 255, peers.new_id()):
            rid = self.broker.request(pack("none"), client=client, rid=b"1234")
            got = self.broker.take(REPLY)[1]
            self.assertEqual(got[:3], [client, b"", rid])

    # ---- streams ----------------------------------------------------------
    def test_streams(self):
        self.assertEqual(self.items("gen", 5), ([0, 1, 2, 3, 4], None))
        self.assertEqual(self.items("gen", 0), ([], None))
        self.assertEqual(self.items("nils", 3), ([None] * 3, None))
        self.assertEqual(self.items("slow_gen", 3, 20), ([0, 1, 2], None))
        self.assertEqual(self.items("gen", 5000), (list(range(5000)), None))

    def test_stream_exception(self):
        items, story = self.items("gen_boom", 2)
        self.assertEqual((items, story[0]), ([0, 1], "RuntimeError"))
        rid = self.broker.request(*peers.body("gen_boom", [1]))
        bodies = [self.broker.reply(rid), self.broker.reply(rid)]
        self.assertEqual(bodies[1][1], peers.EXCEPTION)
        self.assertIsNone(self.broker.reply(rid, 0.3), "an END after it")

    # ---- errors: each request has exactly one answer ----------------------
    def test_exceptions(self):
        story = self.story(self.broker.call("boom"))
        self.assertEqual(story[:2], ["ValueError", "ValueError('boom!')"])
        self.assertEqual(story[2], '  File "Demo", in boom\n')
        story = self.story(self.broker.call("boom", "it's"))
        self.assertEqual(story[0], "ValueError")
        self.assertIn("it", story[1])

    def test_misuse_is_answered_once(self):
        add = pack("add")
        cases = [
            ("AttributeError", [pack("nosuch"), pack([]), pack({})]),
            ("AttributeError", [pack(""), pack([])]),
            ("TypeError", [add, pack([1]), pack({})]),
            ("TypeError", [add, pack([1, 2, 3]), pack({})]),
            ("TypeError", [add, pack(["a", None]), pack({})]),
            ("TypeError", [add, pack([1, 2]), pack({"c": 1})]),
            ("TypeError", [pack("none"), pack([1])]),
            ("ValueError", [b"\xc1"]),
            ("ValueError", [b""]),
            ("ValueError", [add, b"\x92\x01"]),
            ("ValueError", [add, pack([1, 2]) + b"\x00"]),
            ("ValueError", [add, pack([1, 2]), b"\x81"]),
            ("ValueError", [add, pack([1, 2]), pack({}), b"fourth"]),
            ("ValueError", [add, b"\x91" * 5000]),
            ("ValueError", [add, b"\xdd\xff\xff\xff\xff"]),
            ("", [add, pack({"a": 1})]),
            ("", [pack(7), pack([])]),
            ("", [pack(["add"]), pack([])]),
            ("", [add, pack([1, 2]), pack([1])]),
            ("", [add, pack([1, 2]), pack({1: 2})]),
            ("", [add, pack([1, 2]), pack({b"x": 2})]),
            ("", [add, pack([1, 2]), pack({"__client_id": 2})]),
        ]
        rids = [self.broker.request(*frames) for _, frames in cases]
        marker = self.broker.request(*peers.body("sleep", [300]))
        answers = {}
        while marker not in answers:
            got = self.broker.take(REPLY, 3)
            self.assertIsNotNone(got, "%d of %d answered" % (
                len(answers), len(cases) + 1))
            self.assertNotIn(got[1][2], answers, "answered twice")
            answers[got[1][2]] = got[1][3:]
        for rid, (cls, frames) in zip(rids, cases):
            self.assertIn(rid, answers, "no answer to %r" % frames)
            story = self.story(answers[rid])
            if cls:
                self.assertEqual(story[0], cls, frames)

    def test_odd_keyword_names(self):
        """echo takes any name that is a str."""
        for name in ("", "__x", "with space", "é", "k" * 1000):
            rid = self.broker.request(pack("echo"), pack([]), pack({name: 1}))
            frames = self.broker.reply(rid)
            self.assertIsNotNone(frames, name)
            self.assertEqual(len(frames), 1)

    def test_ten_thousand_bad_calls_leave_it_well(self):
        """Python's bug B: each would take a slot for ever."""
        for _ in range(20):  # a ROUTER drops what it cannot queue: in turns
            rids = {self.broker.request(pack("nosuch")) for _ in range(500)}
            while rids:
                got = self.broker.take(REPLY, 10)
                self.assertIsNotNone(got, "%d left" % len(rids))
                rids.remove(got[1][2])
        self.assertEqual(self.value("add", 1, 2), 3)

    # ---- get_interfaces ---------------------------------------------------
    def test_get_interfaces(self):
        with open(os.path.join(VECTORS, "call_get_interfaces.json")) as f:
            reply = json.load(f)[2]["frames"][6]
        model = unpack(bytes.fromhex(reply))["result"]["add"]
        shown = self.value("get_interfaces")
        for name in ("echo", "add", "none", "boom", "upper", "sleep", "gen",
                     "nils", "slow_gen", "gen_boom", "blob"):
            self.assertIn(name, shown)
            self.assertLessEqual(set(model), set(shown[name]))
            self.assertIsInstance(shown[name]["doc"], (str, type(None)))
        self.assertEqual(shown["add"]["signature"], model["signature"])

    # ---- huge -------------------------------------------------------------
    def test_huge_value(self):
        """Plain or compressed, it is n bytes of the same text each time."""
        digests = set()
        for _ in range(2):
            rid = self.broker.request(*peers.body("huge", [300000, "hex"]))
            frames = self.broker.reply(rid, 10)
            if len(frames) == 1:
                text = unpack(frames[0])["result"]
            else:
                text = self.inflate(rid, frames)
            self.assertIsInstance(text, str)
            self.assertEqual(len(text), 300000)
            digests.add(hashlib.sha256(text.encode()).hexdigest())
        self.assertEqual(len(digests), 1)

    def inflate(self, rid, frames):
        inflate, data = zlib.decompressobj(31), b""
        while frames[1] != peers.HUGE_END:
            self.assertEqual((frames[0], len(frames)), (peers.HUGE, 2))
            data += inflate.decompress(frames[1])
            frames = self.broker.reply(rid, 10)
        self.assertTrue(inflate.eof)
        return unpack(data)

    # ---- malformed messages of the broker ---------------------------------
    def test_malformed_messages(self):
        rid = peers.new_id()
        for frames in ([b""], [b"x"], [b"", MDPW], [b"", MDPW, b""],
                       [b"", MDPW, b"\x09"], [b"", b"MDPW02", HEARTBEAT],
                       [b"", MDPW, REQUEST], [b"", MDPW, REQUEST, b"c"],
                       [b"", MDPW, REQUEST, b"c", b""],
                       [b"", MDPW, REQUEST, b"c", b"x", rid, pack("none")],
                       [b"", MDPW, REPLY, b"c", b"", rid, b"x"],
                       [b"", MDPW, READY, b"a:b:1"],
                       [b"", MDPW, b"\x06"], [b"", MDPW, b"\x06", b"\xc1"],
                       [b""] * 100, [b"", MDPW, HEARTBEAT, b"x", b"y"],
                       [b"", MDPW, b"\x02" * 1000]):
            self.broker.send(self.broker.worker, *frames)
        self.broker.drain(0.2)
        # The last forms may have cost us the registration; a real broker
        # would have seen a new READY.
        got = self.broker.recv(0.1)
        if got and got[3] == READY:
            self.broker.worker = got[0]
            self.broker.tell(HEARTBEAT)
        self.assertEqual(self.value("add", 1, 2), 3)


class Life(kit.Case):
    """Heartbeats, reconnects and the end; a fresh service each. This broker
    says nothing by itself: where that is not the matter, it may be silent."""
    HB = 0.3
    QUICK = {"mdp_heartbeat_interval": 300}
    CALM = {"mdp_heartbeat_interval": 60000}

    def serve(self, *args, **settings):
        settings = {**self.CALM, **settings}
        broker = self.keep(RawBroker())
        service = self.keep(kit.OurService(broker.endpoint, *args,
                                           ready=False, **settings))
        broker.register()
        service.ready()
        return broker, service

    def test_heartbeats_are_echoed_while_handlers_sleep(self):
        """All thread lanes sleep for 10 intervals; every 04 has its 04."""
        broker, _ = self.serve("--threads", "2")
        rids = [broker.request(*peers.body("sleep", [int(self.HB * 10000)]))
                for _ in range(2)]
        broker.drain(0.05, 0.2)
        for n in range(10):
            broker.tell(HEARTBEAT)
            sent = time.monotonic()
            self.assertIsNotNone(broker.take(HEARTBEAT, 3), "beat %d" % n)
            time.sleep(max(0, self.HB - (time.monotonic() - sent)))
        got = {broker.take(REPLY)[1][2] for _ in rids}
        self.assertEqual(got, set(rids))

    def test_extra_frames_on_a_heartbeat_are_no_announcement(self):
        """A broker that is not ours: odd frames never turn extensions on."""
        broker, _ = self.serve()
        for extra in (b"", b"x", b"\xc1", os.urandom(20), pack({"a": 1})):
            broker.tell(HEARTBEAT, extra)
            self.assertIsNotNone(broker.take(HEARTBEAT, 2))

    def test_no_heartbeat_of_its_own(self):
        broker, _ = self.serve(**self.QUICK)
        broker.drain(0.1, 0.2)
        quiet = broker.drain(2.0 * self.HB, 2.0 * self.HB)
        self.assertEqual([m for m in quiet if m[3] == HEARTBEAT], [])

    def test_silent_broker_gets_ready_again(self):
        broker, _ = self.serve(**self.QUICK)
        begin = time.monotonic()
        self.assertIsNotNone(broker.take(READY, 10 * self.HB))
        self.between(time.monotonic() - begin, 2.0 * self.HB, 5.0 * self.HB)
        # and again while the silence lasts
        self.assertIsNotNone(broker.take(READY, 10 * self.HB))

    def test_disconnect_gets_ready_at_once(self):
        broker, _ = self.serve()
        for _ in range(3):
            begin = time.monotonic()
            broker.tell(DISCONNECT)
            broker.register()
            self.between(time.monotonic() - begin, 0, 1.0)
        rid = broker.request(*peers.body("add", [1, 2]))
        self.assertEqual(unpack(broker.reply(rid)[0])["result"], 3)

    def test_replaced_connection_serves(self):
        """The broker goes away and comes back on the same endpoint."""
        endpoint = kit.free_tcp()
        broker = RawBroker(endpoint)
        service = self.keep(kit.OurService(
            endpoint, ready=False, **self.CALM))
        broker.register()
        service.ready()
        broker.close()
        time.sleep(0.2)
        again = self.keep(RawBroker(endpoint))
        begin = time.monotonic()
        again.register()
        self.between(time.monotonic() - begin, 0, 4 * self.HB)
        rid = again.request(*peers.body("add", [1, 2]))
        self.assertEqual(unpack(again.reply(rid)[0])["result"], 3)

    def test_a_python_broker_knows_it_after_a_cut(self):
        """It would deal calls to every identity that it has seen, for up to six
        heartbeats; READY under a known one is answered with DISCONNECT."""
        broker = self.keep(RawBroker())
        proxy = self.keep(peers.Proxy(broker.endpoint))
        service = self.keep(kit.OurService(
            proxy.endpoint, ready=False, **self.CALM))
        broker.register()
        service.ready()
        known = broker.worker
        for _ in range(2):
            proxy.cut()
            ident, _ = broker.take(READY, 10)
            self.assertEqual(ident, known)
            broker.tell(DISCONNECT)
            broker.register()
            self.assertEqual(broker.worker, known)
            rid = broker.request(*peers.body("add", [1, 2]))
            self.assertEqual(unpack(broker.reply(rid)[0])["result"], 3)

    def test_waits_for_a_broker_and_says_so(self):
        endpoint = kit.free_tcp()
        service = self.keep(kit.OurService(
            endpoint, ready=False, **self.CALM))
        self.until(lambda: service.err, 10, "a word on stderr")
        self.assertTrue(service.running())
        broker = self.keep(RawBroker(endpoint))
        broker.register()
        service.ready()

    def test_sigterm_finishes_then_disconnects(self):
        broker, service = self.serve()
        rid = broker.request(*peers.body("sleep", [500]))
        time.sleep(0.1)
        service.signal(signal.SIGTERM)
        order = []
        while not order or order[-1] != DISCONNECT:
            message = broker.recv(5)
            self.assertIsNotNone(message, "no DISCONNECT: %r" % order)
            broker.check(message[3], message[4:])
            if message[3] in (REPLY, DISCONNECT):
                order.append(message[3])
            if message[3] == REPLY:
                self.assertEqual(message[6], rid)
                self.assertEqual(unpack(message[7])["result"], 500)
        self.assertEqual(order, [REPLY, DISCONNECT])
        self.assertEqual(service.wait(), 0)

    def test_limit_is_kept_by_a_broker_that_exceeds_it(self):
        """A Python broker over-commits: more than announced is still answered,
        each once."""
        broker, _ = self.serve("--threads", "1", message_max=4)
        rids = {broker.request(*peers.body("sleep", [20])) for _ in range(20)}
        while rids:
            got = broker.take(REPLY, 5)
            self.assertIsNotNone(got, "%d left" % len(rids))
            rids.remove(got[1][2])


class BehindPython(kit.Case):
    """The same service behind the behaving Python broker, called by the
    behaving Python client. Both of those run in this process and count three
    silent intervals as an end: they must outlast a machine that stands still."""

    HB = 1.0
    HB_MS = int(HB * 1000)

    def test_session(self):
        broker = peers.Broker(self.ipc("f"), self.ipc("b"), hb=self.HB)
        self.keep(peers.Background(broker))
        service = self.keep(kit.OurService(self.ipc("b"),
                                           mdp_heartbeat_interval=self.HB_MS))
        client = self.keep(peers.Client(self.ipc("f"), hb=self.HB))
        client.connect()
        self.assertEqual(client.services, ["Demo", "Gate"])
        call = client.call
        self.assertEqual(call("Demo", "add", 2, 3), 5)
        self.assertEqual(call("Demo", "gen", 4), [0, 1, 2, 3])
        longer = 4 * self.HB_MS  # than any liveness
        self.assertEqual(call("Demo", "sleep", longer), longer)
        with self.assertRaises(peers.RemoteError) as e:
            call("Demo", "nosuch")
        self.assertEqual(e.exception.cls, "AttributeError")
        text = call("Demo", "huge", 500000)
        self.assertEqual(len(text.encode()), 500000)
        client.idle(4 * self.HB)
        self.assertFalse(client.dead)
        self.assertEqual(broker.banned, [])
        self.assertEqual(service.end(), 0)
        self.until(lambda: broker.left, what="DISCONNECT")
        self.assertEqual(broker.anomalies, [])


if __name__ == "__main__":
    kit.main()
