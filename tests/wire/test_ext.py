# SPDX-License-Identifier: BSD-3-Clause
"""Extensions on the wire: what a peer that announced itself gets to see, and
that others see nothing of it. Both sides raw."""
import os
import socket
import threading
import time

import zmq

import kit
import peers
from peers import pack, unpack

GX1 = b"\xc1GX1"
EXT = b"\x06"


def ext(**keys):
    return GX1 + pack(keys)


def read(frame):
    assert frame[:4] == GX1, frame
    return unpack(frame[4:])


class OurWorker(peers.RawWorker):
    """A raw worker that announces itself."""

    def join(self, name, **keys):
        self.keys = keys
        self.register(name)
        self.command(peers.HEARTBEAT, ext(**keys))

    def request(self, timeout=5.0):
        got = self.expect(peers.REQUEST, timeout * kit.SLOW)
        assert got is not None, "no request came"
        return got


class Ext(kit.Case):
    def begin(self, **settings):
        self.broker = self.keep(kit.OurBroker(**settings))

    def worker(self, name="S", ident=None, **keys):
        worker = self.keep(OurWorker(self.broker.back, ident))
        worker.join(name, **keys)
        return worker

    def known(self, worker):
        """The broker has learnt that this worker is one of ours: the next
        heartbeat was answered by another one."""
        for _ in range(2):
            worker.command(peers.HEARTBEAT, ext(**worker.keys))
            assert worker.expect(peers.HEARTBEAT, 5 * kit.SLOW) is not None

    def client(self):
        return self.keep(peers.RawClient(self.broker.front))

    def stats(self):
        return self.client().call("Gate", "stats")

    def ask(self, client, *extra, func="f", rid=None):
        rid = rid or peers.new_id()
        client.send(b"", peers.MDPC, b"S", rid, *peers.body(func, [], {}),
                    *extra)
        return rid


class Metadata(Ext):
    def test_reaches_those_who_announced_themselves_alone(self):
        self.begin()
        said = ext(m={"traceparent": "00-ab-cd-01", "priority": "high"})
        client = self.client()
        python = self.keep(peers.RawWorker(self.broker.back))
        python.register("S")
        rid = self.ask(client, said)
        got = python.expect(peers.REQUEST, 5)
        self.assertEqual(got[2:], [rid, *peers.body("f", [], {})])
        python.answer(got, peers.result(1))
        python.command(peers.DISCONNECT, b"bye")
        self.assertEqual(client.reply(rid), [peers.result(1)])
        ours = self.worker()
        self.known(ours)
        rid = self.ask(client, said)
        got = ours.request()
        self.assertEqual(len(got), 7)
        self.assertEqual(read(got[6])["m"], {"traceparent": "00-ab-cd-01",
                                             "priority": "high"})
        ours.answer(got, peers.result(2))
        self.assertEqual(client.reply(rid), [peers.result(2)])

    def test_a_raw_caller_of_our_service(self):
        """Whatever is in there: the call is answered."""
        self.begin()
        self.keep(kit.OurService(self.broker.back))
        client = self.client()

        def about(meta):
            rid = peers.new_id()
            client.send(b"", peers.MDPC, b"Demo", rid,
                        *peers.body("about", [], {}), ext(m=meta))
            return unpack(client.reply(rid)[0])["result"]["meta"]

        self.until(lambda: about({"a": "b"}) == {"a": "b"}, 5, "announced")
        self.assertEqual(about({"k%d" % i: "v" for i in range(16)}),
                         {"k%d" % i: "v" for i in range(16)})
        for bad in ({"k%d" % i: "v" for i in range(17)}, {"a": 1}, {1: "a"},
                    {"a": "x" * 1025}, {"x" * 65: "a"}, {"": "a"},
                    {"a": "\0"}, {"a": b"\xff"},
                    {"k%d" % i: "x" * 1000 for i in range(5)}):
            self.assertEqual(about(bad), {}, bad)

    def test_from_our_client_to_a_process(self):
        self.begin()
        self.keep(kit.OurService(self.broker.back, "--processes", "1"))
        for method in ("Demo.about", "Demo.about_process"):
            def about():
                done = kit.run("call", "--broker", self.broker.front, method,
                               "--meta", "traceparent=00-1",
                               "--meta", "priority=high")
                self.assertEqual(done.code, 0, done.err)
                return done.out
            self.until(lambda: '"traceparent":"00-1"' in about(), 10, method)
            self.assertIn('"priority":"high"', about())

    def test_our_client_sends_none_to_a_python_broker(self):
        broker = self.keep(peers.Raw(zmq.ROUTER, "tcp://127.0.0.1:*",
                                     bind=True))
        call = self.keep(kit.Command(
            "call", "--broker", broker.endpoint, "S.f", "--meta", "a=b"))
        while True:
            m = broker.recv(5 * kit.SLOW)
            self.assertIsNotNone(m)
            func = unpack(m[5])
            if m[3] == b"S":
                break
            answer = [] if func == "get_services" else {
                "my_id": b"x" * 16, "services": []}
            broker.send(*m[:5], peers.result(answer))
        self.assertEqual(m[5:], peers.body("f", [], {}))
        broker.send(*m[:5], peers.result(7))
        self.assertEqual(call.line(), "7")
        self.assertEqual(call.wait(), 0)

    def test_urgent_calls_overtake(self):
        self.begin()
        worker = self.keep(OurWorker(self.broker.back))
        worker.ready("S", maximum=1)
        self.assertIsNotNone(worker.expect(peers.HEARTBEAT, 5))
        worker.command(peers.HEARTBEAT, ext())
        client = self.client()
        first = self.ask(client)
        got = worker.request()
        late = self.ask(client)
        soon = self.ask(client, ext(m={"priority": "high"}))
        self.until(lambda: self.stats()["services"]["S"]["queued"] == 2)
        for rid in (first, soon, late):
            self.assertEqual(got[2], rid)
            worker.answer(got, peers.result(0))
            self.assertEqual(client.reply(rid), [peers.result(0)])
            got = rid != late and worker.request()


class Lives(Ext):
    def test_a_restart_under_the_same_identity(self):
        """Killed with a call in flight; another worker takes it over and is
        killed as well; then the first one's second life runs it. What was due
        to an earlier run answers nothing."""
        self.begin(mdp_heartbeat_liveness=30)
        ident = peers.new_id()
        first = self.worker(ident=ident, im="f=9", e=1)
        self.known(first)
        client = self.client()
        rid = self.ask(client)
        old = first.request()
        self.assertEqual(old[2], rid)
        third = self.worker(im="f=9", e=7)
        self.known(third)
        first.close()
        between = third.request()
        self.assertEqual(between[2], rid + b"\x02")
        self.assertEqual(read(between[6])["a"], 2)
        second = self.worker(ident=ident, im="f=9", e=2)
        self.known(second)
        third.close()
        new = second.request()
        self.assertEqual(new[2], rid + b"\x03")
        self.assertEqual(new[3:6], old[3:6])
        second.answer(old, peers.result("of the first life"))
        second.answer(between, peers.result("of another"))
        self.assertIsNone(client.reply(rid, 0.3))
        second.answer(new, peers.result("fresh"))
        self.assertEqual(client.reply(rid), [peers.result("fresh")])
        self.assertIsNone(client.reply(rid, 0.2))
        self.assertEqual(self.stats()["ran_again"], 2)

    def test_another_life_without_ready(self):
        self.begin()
        worker = self.worker(e=1)
        client = self.client()
        rid = self.ask(client)
        got = worker.request()
        worker.command(peers.HEARTBEAT, ext(e=2))
        self.assertIsNotNone(worker.expect(peers.DISCONNECT, 5))
        story = unpack(client.reply(rid)[0])["exception"]
        self.assertEqual(story[0], "WorkerLostError")
        worker.answer(got, peers.result("late"))
        self.assertIsNone(client.reply(rid, 0.2))
        self.assertEqual(self.stats()["epochs_differ"], 1)

    def test_python_workers_get_the_callers_id_on_every_run(self):
        self.begin()
        first = self.worker(im="f")
        self.known(first)
        client = self.client()
        rid = self.ask(client)
        self.assertEqual(first.request()[2], rid)
        python = self.keep(peers.RawWorker(self.broker.back))
        python.register("S")
        first.command(peers.DISCONNECT, b"bye")
        got = python.expect(peers.REQUEST, 5)
        self.assertEqual(got[2:], [rid, *peers.body("f", [], {})])
        python.answer(got, peers.result(3))
        self.assertEqual(client.reply(rid), [peers.result(3)])

    def test_our_service_says_how_often_and_which_life(self):
        back = self.keep(peers.Raw(zmq.ROUTER, "tcp://127.0.0.1:*",
                                   bind=True))
        self.keep(kit.OurService(back.endpoint, ready=False))
        ready = back.recv(10 * kit.SLOW)
        self.assertEqual(ready[3], peers.READY)
        self.assertEqual(len(ready), 5)
        back.send(ready[0], b"", peers.MDPW, peers.HEARTBEAT, ext())
        beat = back.recv(5 * kit.SLOW)
        said = read(beat[4])
        self.assertIn("fib", said["im"].split(","))
        self.assertGreaterEqual(said["e"], 0)

    def test_our_service_answers_nothing_that_came_before_it_was_known(self):
        """It was asked of who had its name; the broker has lost it, and may ask
        again under the same id."""
        back = self.keep(peers.Raw(zmq.ROUTER, "tcp://127.0.0.1:*",
                                   bind=True))
        self.keep(kit.OurService(back.endpoint, ready=False))
        me = back.recv(10 * kit.SLOW)[0]
        rid, last = peers.new_id(), peers.new_id()

        def ask(rid, *call):
            back.send(me, b"", peers.MDPW, peers.REQUEST, b"c", b"", rid,
                      *peers.body(*call, {}))

        ask(rid, "sleep", [300])
        back.send(me, b"", peers.MDPW, peers.HEARTBEAT, ext())
        ask(rid, "add", [1, 2])
        ask(last, "sleep", [900])
        answers = []
        while not answers or answers[-1][0] != last:
            got = back.recv(10 * kit.SLOW)
            self.assertIsNotNone(got, answers)
            if got[3] == peers.REPLY:
                answers.append((got[6], unpack(got[7])["result"]))
        self.assertEqual(answers, [(rid, 3), (last, 900)])


class Strangers(Ext):
    def test_a_workers_identity_belongs_to_its_user(self):
        """Users by the transport: eve takes ann's identity, and fails."""
        users = self.ipc("users")[len("ipc://"):]
        with open(users, "w") as f:
            for name in ("ann", "eve"):
                done = kit.run("zap", "--hash", name)
                f.write("%s:%s\n" % (name, done.out.strip()))
        self.addCleanup(os.unlink, users)
        self.begin(options=("--plain-users", users),
                   access="allow ann Gate.*; allow * S.*")

        def peer(cls, endpoint, name, ident=None):
            raw = self.keep(cls.__new__(cls))
            raw.ident = ident or peers.new_id()
            raw.endpoint = endpoint
            raw.socket = peers.CONTEXT.socket(zmq.DEALER)
            raw.socket.linger = 0
            raw.socket.setsockopt(zmq.ROUTING_ID, raw.ident)
            raw.socket.plain_username = name
            raw.socket.plain_password = name
            raw.socket.connect(endpoint)
            return raw

        ident = peers.new_id()
        ann = peer(OurWorker, self.broker.back, b"ann", ident)
        ann.join("S")
        client = peer(peers.RawClient, self.broker.front, b"ann")
        rid = self.ask(client)
        got = ann.request()
        self.assertEqual(read(got[6])["u"], "ann")
        eve = peer(OurWorker, self.broker.back, b"eve", ident)
        eve.answer(got, peers.result("eve's"))
        frames = client.reply(rid, 5)
        self.assertEqual(unpack(frames[0])["exception"][0], "WorkerLostError")
        rid = self.ask(client)
        story = unpack(client.reply(rid)[0])["exception"]
        self.assertEqual(story[0], "ServiceUnAvailableError")
        wrong = peers.CONTEXT.socket(zmq.DEALER)
        wrong.linger = 0
        monitor = wrong.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        wrong.plain_username, wrong.plain_password = b"ann", b"guess"
        wrong.connect(self.broker.front)
        self.assertTrue(monitor.poll(5000 * kit.SLOW), "refused")
        wrong.disable_monitor()
        monitor.close()
        wrong.close()
        stats = client.call("Gate", "stats")
        self.assertGreaterEqual(stats["handshakes_failed"], 1)


class Limits(Ext):
    def test_a_silent_handshake_ends(self):
        self.begin(handshake_ivl_ms=200)
        host, port = self.broker.front[len("tcp://"):].rsplit(":", 1)
        with socket.create_connection((host, int(port)), 5) as s:
            s.settimeout(10 * kit.SLOW)
            while s.recv(100):
                pass  # the greeting, then the end
        self.until(lambda: self.stats()["handshakes_failed"] >= 1)

    def test_too_many_frames(self):
        """Dropped and counted; what comes behind is served."""
        self.begin(frames_max=12)
        client = self.client()
        before = self.stats()["malformed"]
        client.send(b"", b"MDPC01", b"Gate", peers.new_id(), *[b"x"] * 20)
        self.assertEqual(client.call("Gate", "keepalive", b"heartbeat"),
                         b"200")
        self.assertEqual(self.stats()["malformed"], before + 1)

    def test_too_large_a_frame(self):
        """libzmq closes that connection; others are served."""
        self.begin(message_bytes_max=65536)
        client, other = self.client(), self.client()
        other.call("Gate", "keepalive", b"heartbeat")
        monitor = client.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        client.send(b"", b"MDPC01", b"Gate", peers.new_id(), b"x" * 65537)
        self.assertTrue(monitor.poll(5000 * kit.SLOW), "closed")
        client.socket.disable_monitor()
        monitor.close()
        self.assertEqual(other.call("Gate", "keepalive", b"heartbeat"),
                         b"200")

    def test_too_many_connections_on_ipc_and_tcp(self):
        for front in (self.ipc("front"), "tcp://127.0.0.1:*"):
            self.begin(frontend=front, connections_max=3)
            held = [self.client() for _ in range(3)]
            for client in held:
                client.call("Gate", "get_services")
            more = self.client()
            monitor = more.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self.until(lambda: held[0].call("Gate", "stats")[
                "connections_refused"] >= 1)
            self.assertTrue(monitor.poll(5000 * kit.SLOW), "shut again")
            more.socket.disable_monitor()
            monitor.close()
            for client in held:
                client.call("Gate", "get_services")

    def test_a_frame_too_long_closes_the_connection(self):
        self.begin(message_bytes_max=1024)
        client, honest = self.client(), self.client()
        monitor = client.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        client.send(b"", peers.MDPC, b"S", peers.new_id(), b"x" * 2000)
        self.assertTrue(monitor.poll(5000 * kit.SLOW), "closed")
        client.socket.disable_monitor()
        monitor.close()
        self.assertEqual(honest.call("Gate", "get_services"), ["Gate"])

    def test_too_many_frames(self):
        self.begin(frames_max=16)
        client = self.client()
        client.send(b"", peers.MDPC, b"S", peers.new_id(), *([b"x"] * 20))
        self.assertIsNone(client.recv(0.2))
        self.assertEqual(client.call("Gate", "stats")["malformed"], 1)


if __name__ == "__main__":
    kit.main()
