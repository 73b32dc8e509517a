# SPDX-License-Identifier: BSD-3-Clause
"""Who gets in: raw peers with PLAIN frames as gate-rpc sends them, a ZAP
service of either side, outages of it, guessing, CURVE keys."""
import json
import os
import threading
import time

import zmq
import zmq.auth

import kit
import peers

SCALE = float(os.environ.get("GATE_SCALE", "0.1"))
VECTOR = json.load(open(os.path.join(
    kit.HERE, "vectors", "zap_plain_client_worker_zap.json")))
USER, PASSWORD = b"user1", b"pass1"


def vector(direction):
    return [[bytes.fromhex(f) for f in m["frames"]] for m in VECTOR
            if m["direction"] == direction]


class RawZap:
    """AsyncZAPService on the wire: a ROUTER with one user."""

    def __init__(self, endpoint="tcp://127.0.0.1:*"):
        self.asked = []
        self.silent = False
        self.raw = peers.Raw(zmq.ROUTER, endpoint, bind=True)
        self.endpoint = self.raw.endpoint
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            message = self.raw.recv(0.02)
            if message is not None:
                self._question(message)
        self.raw.close()

    def _question(self, m):
        self.asked.append(m[1:])
        if self.silent:
            return
        if m[8:] == [USER, PASSWORD]:
            verdict = [b"200", b"OK", m[8], b""]
        else:
            verdict = [b"400", b"Invalid password", b"", b""]
        self.raw.send(m[0], b"", m[2], m[3], *verdict)

    def stop(self):
        self._end.set()
        self._thread.join()


class PlainClient(peers.RawClient):
    credentials = (b"PLAIN", USER, PASSWORD)

    def request(self, service, func, args=(), kwargs=None, rid=None):
        rid = rid or peers.new_id()
        self.send(b"", peers.MDPC, service.encode(), *self.credentials, rid,
                  *peers.body(func, args, kwargs or {}))
        return rid


class PlainWorker(peers.RawWorker):
    credentials = (b"PLAIN", USER, PASSWORD)

    def command(self, cmd, *frames):
        self.send(b"", peers.MDPW, cmd, *self.credentials, *frames)


class Auth(kit.Case):
    def begin(self, zap=None, **settings):
        self.zap = self.keep(zap or RawZap())
        self.broker = self.keep(AuthBroker(self.zap.endpoint, **settings))

    def client(self, password=PASSWORD, ident=None):
        client = self.keep(PlainClient(self.broker.front, ident))
        client.credentials = (b"PLAIN", USER, password)
        return client

    def worker(self, name="Raw"):
        worker = self.keep(PlainWorker(self.broker.back))
        worker.register(name)
        return worker

    def refused(self, client, service="Gate", func="get_services",
                cls="AccessDeniedError", timeout=5.0):
        with self.assertRaises(peers.RemoteError) as caught:
            client.call(service, func, timeout=timeout * kit.SLOW)
        self.assertEqual(caught.exception.cls, cls)
        return caught.exception.story


def AuthBroker(zap=None, options=(), **settings):
    """`gate broker` with more options."""
    if zap:
        options = ("--zap", zap, *options)
    return kit.OurBroker(options=options, **settings)


class Vectors(Auth):
    def test_our_broker_asks_as_gate_rpc_does(self):
        self.begin()
        ready, beat, reply = vector("worker->broker")[0:3]
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.send(*ready)
        self.assertEqual(worker.recv(5)[:3], [b"", peers.MDPW,
                                              peers.HEARTBEAT])
        worker.send(*beat)
        client = self.keep(peers.RawClient(self.broker.front))
        services, add = vector("client->broker")[0:2]
        client.send(*services)
        answer = client.recv(5)
        self.assertEqual(answer[:4], [b"", peers.MDPC, b"Gate", services[6]])
        client.send(*add)
        request = worker.recv(5)
        while request[2] == peers.HEARTBEAT:
            worker.send(*beat)
            request = worker.recv(5)
        self.assertEqual(request, [b"", peers.MDPW, peers.REQUEST,
                                   client.socket.getsockopt(zmq.ROUTING_ID),
                                   b"", *add[6:]])
        worker.command(peers.REPLY, b"PLAIN", USER, PASSWORD, request[3], b"",
                       request[5], peers.result(3))
        self.assertEqual(client.recv(5)[3:], [add[6], peers.result(3)])
        self.check_questions(worker, client)

    def check_questions(self, worker, client):
        """Ours equal the vector's but for identities and random bytes."""
        theirs = vector("broker->zap")
        ours = {q[4]: q for q in self.zap.asked}
        for question, ident, head in (
                (theirs[0], worker.ident, 7),
                (theirs[1], client.socket.getsockopt(zmq.ROUTING_ID), 16)):
            q = ours[ident]
            self.assertEqual(len(q), len(question))
            self.assertEqual(len(q[2]), len(question[2]))
            self.assertEqual(q[2][:head], question[2][:head])
            self.assertEqual(q[4:6], [ident, ident])
            for i in (0, 1, 3, 6, 7, 8):
                self.assertEqual(q[i], question[i], i)
        self.assertEqual(len(self.zap.asked), 2, "believed afterwards")

    def test_our_service_answers_as_gate_rpc_does(self):
        zap = self.keep(kit.Command("zap", "--bind", "tcp://127.0.0.1:*",
                                    "--user", "user1", "--password", "pass1"))
        line = zap.line()
        self.assertTrue(line.startswith("ready zap=tcp://127.0.0.1:"), line)
        raw = self.keep(peers.Raw(zmq.DEALER, line.split("=")[1]))
        asked = vector("broker->zap")
        for question, answer in zip(asked, vector("zap->broker")):
            raw.send(*question)
            self.assertEqual(raw.recv(5 * kit.SLOW), answer)
        raw.send(*asked[0][:6], b"NULL")
        self.assertEqual(raw.recv(5)[3], b"400")
        raw.send(*asked[0][:1], b"2.0", *asked[0][2:])
        raw.send(b"junk")
        raw.send(*asked[0])
        self.assertEqual(raw.recv(5)[3], b"200", "junk is not answered")

    def test_lists_of_our_service(self):
        one, two = b"1" * 16, b"2" * 16
        for option, fine in (("--allow", [one]), ("--deny", [two])):
            zap = self.keep(kit.Command(
                "zap", "--bind", "tcp://127.0.0.1:*", "--user", "user1",
                "--password", "pass1", option, one.hex()))
            raw = self.keep(peers.Raw(zmq.DEALER, zap.line().split("=")[1]))
            question = vector("broker->zap")[0]
            for ident in (one, two):
                raw.send(*question[:4], ident, ident, *question[6:])
                self.assertEqual(raw.recv(5 * kit.SLOW)[3],
                                 b"200" if ident in fine else b"400")

    def test_users_of_a_domain_alone(self):
        """user:hash:domain holds there, user:hash everywhere."""
        hashed = kit.run("zap", "--hash", "pass1").out.strip()
        users = os.path.join(self.dir, "users")
        with open(users, "w") as f:
            f.write("user1:%s:here\nuser2:%s\n" % (hashed, hashed))
        zap = self.keep(kit.Command("zap", "--bind", "tcp://127.0.0.1:*",
                                    "--users", users))
        raw = self.keep(peers.Raw(zmq.DEALER, zap.line().split("=")[1]))
        question = vector("broker->zap")[0]
        for user, domain, verdict in ((b"user1", b"here", b"200"),
                                      (b"user1", b"there", b"400"),
                                      (b"user2", b"here", b"200"),
                                      (b"user2", b"there", b"200")):
            raw.send(*question[:3], domain, *question[4:7], user, b"pass1")
            self.assertEqual(raw.recv(20 * kit.SLOW)[3], verdict,
                             (user, domain))

    def test_our_client_says_what_gate_rpc_says(self):
        front = self.keep(peers.Raw(zmq.ROUTER, "tcp://127.0.0.1:*",
                                    bind=True))
        call = self.keep(kit.Command(
            "call", "--broker", front.endpoint, "--user", "user1",
            "--password", "pass1", "S.f"))
        message = front.recv(5 * kit.SLOW)[1:]
        theirs = vector("client->broker")[0]
        self.assertEqual(message[:6], theirs[:6])
        self.assertEqual(len(message), len(theirs))
        call.kill()


class Plain(Auth):
    def test_wrong_password(self):
        self.begin()
        worker = self.worker()
        story = self.refused(self.client(b"wrong"))
        self.assertIn("Wrong user or password", story[1])
        self.refused(self.client(b"wrong"), "Raw", "f")
        client = self.client()
        rid = client.request("Raw", "f")
        worker.answer(worker.expect(peers.REQUEST), peers.result(7))
        self.assertEqual(client.reply(rid), [peers.result(7)])

    def test_missing_and_foreign_credentials(self):
        self.begin()
        for credentials in ((), (b"NULL",), (b"CURVE", b"k" * 32),
                            (b"PLAIN", b"u" * 256, b"p")):
            client = self.client()
            client.credentials = credentials
            self.refused(client)
        self.assertEqual(self.zap.asked, [])

    def test_a_worker_without_credentials(self):
        self.begin()
        for credentials in ((), (b"PLAIN", USER, b"wrong"), (b"NULL",)):
            worker = self.keep(PlainWorker(self.broker.back))
            worker.credentials = credentials
            worker.ready("Raw")
            self.assertIsNotNone(worker.expect(peers.DISCONNECT, 5))
        self.assertEqual(self.client().call("Gate", "get_services"), ["Gate"])

    def test_credentials_are_on_heartbeats_too(self):
        self.begin()
        worker, client = self.worker(), self.client()
        end = time.monotonic() + 2.5 * kit.SLOW
        while time.monotonic() < end:
            self.assertIsNotNone(worker.expect(peers.HEARTBEAT, 3 * kit.SLOW))
        self.assertIn("Raw", client.call("Gate", "get_services"))
        rid = client.request("Raw", "f")
        worker.expect(peers.REQUEST)
        worker.credentials = ()
        worker.command(peers.HEARTBEAT)
        answer = peers.unpack(client.reply(rid)[0])
        self.assertEqual(answer["exception"][0], "WorkerLostError")

    def test_it_dies_and_comes_back(self):
        self.begin(zap_reply_timeout=1)
        ident = peers.new_id()
        endpoint = self.zap.endpoint
        self.zap.stop()
        client = self.client(ident=ident)
        begin = time.monotonic()
        story = self.refused(client, cls="ServiceUnAvailableError")
        self.between(time.monotonic() - begin, 0.9, 2.5)
        self.assertIn("authentication service does not answer", story[1])
        self.zap = self.keep(RawZap(endpoint))
        self.until(lambda: self.got_in(client), 10, "the way back")

    @staticmethod
    def got_in(client):
        try:
            return "Gate" in client.call("Gate", "get_services")
        except peers.RemoteError as e:
            assert e.cls == "ServiceUnAvailableError", e
            return False

    def test_it_is_silent_for_a_while(self):
        self.begin(zap_reply_timeout=0.5)
        self.zap.silent = True
        client = self.client()
        self.refused(client, cls="ServiceUnAvailableError")
        self.zap.silent = False
        self.assertIn("Gate", client.call("Gate", "get_services"))

    def test_our_peers_with_a_raw_service(self):
        self.begin()
        auth = ("--user", "user1", "--password")
        self.keep(kit.OurService(self.broker.back, *auth, "pass1"))
        done = kit.run("call", "--broker", self.broker.front, *auth, "pass1",
                       "Demo.add", "1", "2")
        self.assertEqual((done.code, done.out), (0, "3\n"), done.err)
        for verb in (("call", "Demo.none"), ("services",),
                     ("services", "--stats"), ("inspect", "Demo")):
            done = kit.run(verb[0], "--broker", self.broker.front, *auth,
                           "wrong", *verb[1:])
            self.assertEqual(done.code, 4, done.err)
            self.assertIn("AccessDeniedError", done.err)
            done = kit.run(verb[0], "--broker", self.broker.front, *verb[1:])
            self.assertEqual(done.code, 4, done.err)

    def test_a_service_with_a_wrong_password_waits(self):
        self.begin()
        serve = self.keep(kit.OurService(
            self.broker.back, "--user", "user1", "--password", "x",
            ready=False))
        self.until(lambda: any("waiting" in line for line in serve.err), 5)
        self.assertTrue(serve.running())
        self.assertEqual(self.client().call("Gate", "get_services"), ["Gate"])

    def test_many_wrong_passwords(self):
        self.begin()
        self.keep(kit.OurService(self.broker.back, "--user", "user1",
                                 "--password", "pass1"))
        honest, eve = self.client(), self.client(b"wrong")
        before = self.times(honest, 200)
        total, sent, answers, times = int(20000 * SCALE), 0, 0, []
        while sent < total:
            for _ in range(min(100, total - sent)):
                eve.request("Gate", "get_services")
                sent += 1
            times += self.times(honest, 5)
            answers += len(eve.drain(0.01, 0.05))
        answers += len(eve.drain(1.0, 20))
        self.assertEqual(answers, total, "each one is told")
        self.assertLess(len(self.zap.asked), 500 * kit.SLOW, "slowed down")
        times.sort()
        print("p99 of %d calls: %.2f ms before, %.2f ms during %d guesses" % (
            len(times), before[-2] * 1e3, times[len(times) * 99 // 100] * 1e3,
            total))
        self.assertLess(times[len(times) * 99 // 100],
                        (0.2 if kit.LONG else 2) * kit.SLOW)

    @staticmethod
    def times(client, n):
        out = []
        for _ in range(n):
            begin = time.monotonic()
            assert client.call("Demo", "add", 1, 2) == 3
            out.append(time.monotonic() - begin)
        return sorted(out)


class Rules(Auth):
    def test_by_user_and_method(self):
        self.begin(access="deny user1 Demo.boom; deny - *; allow * Demo.*; "
                          "allow user1 Gate.*")
        self.keep(kit.OurService(self.broker.back, "--user", "user1",
                                 "--password", "pass1"))
        client = self.client()
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)
        story = self.refused(client, "Demo", "boom")
        self.assertIn("User user1 may not call Demo.boom.", story[1])
        stats = client.call("Gate", "stats")
        self.assertEqual(stats["denied"], 1)

    def test_rates(self):
        broker = self.keep(AuthBroker(rate_limit_peer=20))
        self.keep(kit.OurService(broker.back))
        client = self.keep(peers.RawClient(broker.front))
        rids = {client.request("Demo", "none") for _ in range(100)}
        messages = client.drain(1.0, 10)
        self.assertEqual({m[3] for m in messages}, rids)
        answers = [peers.unpack(m[4]) for m in messages]
        fine = [a for a in answers if not a["exception"]]
        self.assertTrue(20 <= len(fine) <= 40 * kit.SLOW, len(fine))
        self.assertEqual({a["exception"][0] for a in answers
                          if a["exception"]}, {"BusyWorkerError"})


class Curve(kit.Case):
    def setUp(self):
        super().setUp()
        self.allow = os.path.join(self.dir, "allow")
        os.mkdir(self.allow)
        for name in ("server", "ann", "eve"):
            done = kit.run("keygen", "--name", name, self.path(name))
            self.assertEqual(done.code, 0, done.err)
        os.link(self.path("ann"), os.path.join(self.allow, "ann"))
        self.broker = self.keep(AuthBroker(None, (
            "--curve-cert", self.path("server"), "--curve-allow",
            self.allow), access="allow ann *; deny * *"))
        self.keep(kit.OurService(
            self.broker.back, "--curve-cert", self.path("ann"),
            "--curve-server", self.path("server")))

    def path(self, name):
        return os.path.join(self.dir, name)

    def client(self, cert=None, server="server"):
        client = peers.RawClient.__new__(peers.RawClient)
        client.socket = peers.CONTEXT.socket(zmq.DEALER)
        client.socket.linger = 0
        client.socket.setsockopt(zmq.ROUTING_ID, peers.new_id())
        if cert:
            public, secret = zmq.auth.load_certificate(
                self.path(cert) + "_secret")
            client.socket.curve_publickey = public
            client.socket.curve_secretkey = secret
            client.socket.curve_serverkey = zmq.auth.load_certificate(
                self.path(server))[0]
        client.socket.connect(self.broker.front)
        return self.keep(client)

    def test_keys(self):
        self.assertEqual(self.client("ann").call("Demo", "add", 1, 2), 3)
        for wrong in (("eve",), ("ann", "eve"), ()):
            with self.assertRaises(TimeoutError):
                self.client(*wrong).call("Gate", "get_services", timeout=0.5)

    def test_the_command(self):
        self.assertEqual(self.call("ann", "server"), 0)
        self.assertEqual(self.call("eve", "server"), 4)
        self.assertEqual(self.call("ann", "eve"), 3)
        self.assertIn("no ZeroMQ, another server key", self.said)
        self.assertEqual(self.call("missing", "server"), 2)
        os.link(self.path("eve"), os.path.join(self.allow, "eve"))
        self.assertEqual(self.call("eve", "server"), 4, "a rule says no")
        done = kit.run("call", "--broker", self.broker.front, "Demo.none")
        self.assertEqual(done.code, 4, done.err)
        self.assertIn("it asks for CURVE or PLAIN by the transport", done.err)

    def test_both_layers(self):
        zap = self.keep(RawZap())
        broker = self.keep(AuthBroker(zap.endpoint, (
            "--curve-cert", self.path("server")), access="allow user1 *"))
        curve = ("--curve-cert", self.path("ann"), "--curve-server",
                 self.path("server"), "--user", "user1", "--password")
        self.keep(kit.OurService(broker.back, *curve, "pass1"))
        for password, code in (("pass1", 0), ("wrong", 4)):
            done = kit.run("call", "--broker", broker.front, *curve, password,
                           "Demo.none")
            self.assertEqual(done.code, code, done.err)

    def call(self, cert, server):
        done = kit.run("call", "--broker", self.broker.front, "--curve-cert",
                       self.path(cert), "--curve-server", self.path(server),
                       "Demo.none")
        self.said = done.err
        return done.code


if __name__ == "__main__":
    kit.main()
