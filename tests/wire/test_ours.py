# SPDX-License-Identifier: BSD-3-Clause
"""All three roles ours, and Python's client on our broker and our service:
the whole command as faces.md describes it."""
import hashlib
import json
import signal
import time

import kit
import peers
from peers import unpack


class Session(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker())
        cls.service = cls.share(kit.OurService(cls.broker.back))

    def gate(self, verb, *args, **settings):
        return kit.run(verb, "--broker", self.broker.front, *args, **settings)

    def lines(self, *args):
        done = self.gate("call", *args)
        self.assertEqual(done.code, 0, done.err)
        return [json.loads(x) for x in done.out.splitlines()]

    def test_results(self):
        self.assertEqual(self.lines("Demo.add", "2", "3"), [5])
        self.assertEqual(self.lines("Demo.none"), [None])
        self.assertEqual(self.lines("Demo.upper", "abc"), ["ABC"])
        self.assertEqual(self.lines("Demo.sleep", "10"), [10])
        self.assertEqual(self.lines("Demo.echo", "1", "--kw", "a=b"),
                         [{"args": [1], "kwargs": {"a": "b"}}])
        self.assertEqual(self.lines("Demo.blob", "abc"), [3])

    def test_streams(self):
        self.assertEqual(self.lines("Demo.gen", "3"), [0, 1, 2])
        self.assertEqual(self.lines("Demo.nils", "2"), [None, None])
        self.assertEqual(self.lines("Demo.slow_gen", "3", "10"), [0, 1, 2])
        self.assertEqual(self.lines("Demo.gen", "30000"),
                         list(range(30000)))
        done = self.gate("call", "Demo.gen_boom", "2")
        self.assertEqual((done.code, done.out.split()), (1, ["0", "1"]))
        self.assertIn("RuntimeError", done.err)

    def test_items_come_as_they_are_made(self):
        begin = time.monotonic()
        call = self.keep(kit.Command("call", "--broker", self.broker.front,
                                     "Demo.slow_gen", "5", "300"))
        self.assertEqual(call.line(5), "0")
        first = time.monotonic() - begin
        self.assertEqual(call.wait(), 0)
        self.assertGreater(time.monotonic() - begin - first, 0.8)

    def test_errors(self):
        for args, code, cls in ((["Demo.boom"], 1, "ValueError: boom!"),
                                (["Demo.nosuch"], 1, "AttributeError"),
                                (["Demo.add", "1"], None, "TypeError"),
                                (["NoSuch.f"], 3, "ServiceUnAvailableError")):
            done = self.gate("call", *args)
            self.assertEqual(done.out, "")
            self.assertIn(cls, done.err)
            if code is None:
                self.assertNotEqual(done.code, 0)
            else:
                self.assertEqual(done.code, code, done.err)

    def test_huge(self):
        done = self.gate("call", "--raw", "Demo.huge", "3000000", "random",
                         text=False)
        self.assertEqual((done.code, len(done.out)), (0, 3000000), done.err)
        digest = hashlib.sha256(done.out).digest()
        done = self.gate("call", "--raw", "Demo.huge", "3000000", "random",
                         text=False)
        self.assertEqual(hashlib.sha256(done.out).digest(), digest)

    def test_process_methods_answer(self):
        """A result, or NotImplementedError in a build without processes."""
        done = self.gate("call", "Demo.fib", "10")
        if done.code == 0:
            self.assertEqual(done.out.strip(), "55")
        else:
            self.assertIn("NotImplementedError", done.err)

    def test_services_and_inspect(self):
        done = self.gate("services")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("Demo", done.out.split())
        done = self.gate("services", "--stats")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("Demo", done.out)
        done = self.gate("inspect", "Demo")
        self.assertEqual(done.code, 0, done.err)
        methods = {x.split("\t")[0]: x.split("\t")
                   for x in done.out.splitlines()}
        for name in ("echo", "add", "none", "boom", "upper", "sleep", "gen",
                     "nils", "slow_gen", "gen_boom", "blob", "huge", "fib",
                     "sha256", "spin", "crash", "pid", "progress"):
            self.assertIn(name, methods)
            self.assertEqual(len(methods[name]), 4, methods[name])
        self.assertEqual(methods["add"][1], "(a, b)")

    def test_python_client(self):
        client = self.keep(peers.Client(self.broker.front))
        client.connect()
        self.assertEqual(client.services, ["Demo", "Gate"])
        call = client.call
        self.assertEqual(call("Demo", "echo", 1, b"\0", k=None),
                         {"args": [1, b"\0"], "kwargs": {"k": None}})
        self.assertEqual(call("Demo", "gen", 5000), list(range(5000)))
        self.assertEqual(call("Demo", "slow_gen", 3, 10), [0, 1, 2])
        self.assertEqual(call("Demo", "gen", 0), [])
        with self.assertRaises(peers.RemoteError) as e:
            call("Demo", "gen_boom", 3)
        self.assertEqual(e.exception.cls, "RuntimeError")
        with self.assertRaises(peers.RemoteError) as e:
            call("Demo", "nosuch")
        self.assertEqual(e.exception.cls, "AttributeError")
        self.assertEqual(len(call("Demo", "huge", 200000)), 200000)

    def test_simple_client(self):
        simple = self.keep(peers.SimpleClient(self.broker.front))
        self.assertEqual(simple.call("Demo", "add", 1, 2),
                         {"result": 3, "exception": None})

    def test_no_extension_towards_a_python_client(self):
        """Everything it receives has the shapes of 0.2.12."""
        raw = self.keep(peers.RawClient(self.broker.front))
        raw.request("Gate", "get_services")
        raw.request("Demo", "add", [1, 2])
        raw.request("Demo", "gen", [100])
        raw.request("Demo", "gen_boom", [3])
        raw.request("Demo", "nosuch")
        for message in raw.drain(0.5):
            self.assertEqual(message[:2], [b"", peers.MDPC])
            body = message[4:]
            if len(body) == 1:
                self.assertEqual(list(unpack(body[0])),
                                 ["result", "exception"])
            else:
                self.assertEqual(body[0], peers.STREAM)
                self.assertIn(len(body), (2, 3))
                self.assertEqual(len(body) == 3, body[1] == peers.EXCEPTION)

    def test_python_reader_that_sleeps(self):
        """To a client without credit: whole, or an explicit exception."""
        raw = self.keep(peers.RawClient(self.broker.front, hwm=500))
        other = self.keep(peers.RawClient(self.broker.front))
        rid = raw.request("Demo", "gen", [20000])
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.assertEqual(other.call("Demo", "add", 1, 1), 2)
        items, story = raw.stream(rid, 4)
        self.assertEqual(items, list(range(len(items))))
        if story is None:
            self.assertEqual(len(items), 20000)
        else:
            self.assertIsInstance(story, list, "silence after %d items"
                                  % len(items))


class Limits(kit.Case):
    """A service that takes two calls at once gets its room back."""

    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(timeout=5))
        self.service = self.keep(kit.OurService(self.broker.back,
                                                message_max=2))
        self.other = self.keep(peers.RawClient(self.broker.front))

    def served(self):
        begin = time.monotonic()
        for _ in range(10):
            self.assertEqual(self.other.call("Demo", "add", 1, 2), 3)
        self.between(time.monotonic() - begin, 0, 3)

    def test_python_client_that_leaves_its_streams(self):
        """No cancel exists on its wire, but its connection is gone."""
        for _ in range(4):
            client = peers.RawClient(self.broker.front)
            rid = client.request("Demo", "gen", [1000000000])
            self.assertIsNotNone(client.reply(rid, 3))
            client.close()
        self.served()

    def test_our_client_killed_in_a_stream(self):
        for _ in range(3):
            call = self.keep(kit.Command("call", "--broker", self.broker.front,
                                         "Demo.slow_gen", "1000000", "1"))
            call.line(5)
            call.kill()
        self.served()

    def test_callers_that_gave_up(self):
        """Calls past their deadline leave no room taken for ever."""
        for _ in range(3):
            done = kit.run("call", "--broker", self.broker.front, "--timeout",
                           "200", "Demo.sleep", "1000")
            self.assertEqual(done.code, 3)
        time.sleep(1)
        self.served()

    def test_argument_above_the_limit(self):
        """33 MiB in one str: an error, where Python is silent."""
        rid = self.other.request("Demo", "blob", ["x" * (33 << 20)])
        reply = self.other.reply(rid, 20 * kit.SLOW)
        self.assertIsNotNone(reply, "no answer")
        self.assertEqual(unpack(reply[0])["exception"][0], "ValueError")
        self.served()

    def test_message_above_the_brokers_limit(self):
        """libzmq closes that connection; nobody else notices."""
        big = peers.RawClient(self.broker.front)
        big.request("Demo", "blob", [b"x" * (65 << 20)])
        time.sleep(1)
        self.served()
        big.close()


class Life(kit.Case):
    def test_several_endpoints(self):
        broker = self.keep(kit.Command(
            "broker", "--frontend", self.ipc("f"), "--frontend",
            "tcp://127.0.0.1:*", "--backend", self.ipc("b"), "--backend",
            "tcp://127.0.0.1:*"))
        line = broker.line()
        front, back = [p.split("=")[1].split(",") for p in line.split()[1:]]
        self.assertEqual((len(front), len(back)), (2, 2))
        self.assertNotIn("*", line)
        self.keep(kit.OurService(back[1]))
        for endpoint in front:
            done = kit.run("call", "--broker", endpoint, "Demo.add", "1", "2")
            self.assertEqual(done.out.strip(), "3", done.err)

    def test_address_in_use(self):
        broker = self.keep(kit.OurBroker())
        done = kit.run("broker", "--frontend", broker.front, "--backend",
                       "tcp://127.0.0.1:*")
        self.assertNotEqual(done.code, 0)
        self.assertEqual(done.out, "")
        self.assertIn(broker.front, done.err)

    def test_ends_on_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            broker = self.keep(kit.OurBroker())
            service = self.keep(kit.OurService(broker.back))
            service.signal(number)
            self.assertEqual(service.wait(), 0)
            broker.signal(number)
            self.assertEqual(broker.wait(), 0)

    def test_signal_right_after_ready(self):
        """Ready means that SIGTERM drains, from the first moment on."""
        for _ in range(15):
            broker = self.keep(kit.OurBroker())
            service = self.keep(kit.OurService(broker.back))
            service.signal(signal.SIGTERM)
            broker.signal(signal.SIGTERM)
            self.assertEqual((service.wait(), broker.wait()), (0, 0))

    def test_settings(self):
        """A file sets, the environment overrides, nonsense is refused."""
        path = self.dir + "/gate.zpl"
        with open(path, "w") as f:
            f.write("mdp_heartbeat_interval = 200\n")
        broker = kit.Command("broker", "--config", path, "--frontend",
                             self.ipc("f"), "--backend", self.ipc("b"))
        self.keep(broker)
        self.assertTrue(broker.line().startswith("ready "))
        worker = self.keep(peers.RawWorker(self.ipc("b")))
        worker.ready("Svc")
        self.assertIsNotNone(worker.expect(peers.HEARTBEAT))
        begin = time.monotonic()
        self.assertIsNotNone(worker.expect(peers.HEARTBEAT))
        self.between(time.monotonic() - begin, 0.1, 0.4)
        with open(path, "w") as f:
            f.write("no_such_setting = 1\n")
        done = kit.run("broker", "--config", path)
        self.assertEqual((done.code, done.out), (2, ""))
        self.assertIn("no_such_setting", done.err)
        done = kit.run("broker", "--config", self.dir + "/none.zpl")
        self.assertNotEqual(done.code, 0)

    def until_in_flight(self, broker):
        eye = self.keep(peers.RawClient(broker.front))
        self.until(lambda: eye.call("Gate", "stats")["in_flight"] > 0,
                   what="the call's arrival")

    def test_worker_killed_under_a_call(self):
        broker = self.keep(kit.OurBroker())
        service = self.keep(kit.OurService(broker.back))
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.sleep", "20000"))
        self.until_in_flight(broker)
        begin = time.monotonic()
        service.kill()
        self.assertEqual(call.wait(), 1)
        self.between(time.monotonic() - begin, 0, 1.5)
        self.assertIn("WorkerLostError", "".join(call.err))

    def test_broker_killed_under_a_call(self):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.sleep", "20000",
                                     mdp_heartbeat_interval=500))
        self.until_in_flight(broker)
        begin = time.monotonic()
        broker.kill()
        self.assertEqual(call.wait(), 3)
        self.between(time.monotonic() - begin, 0, 3)
        self.assertIn("ConnectionLostError", "".join(call.err))

    def test_version_and_help(self):
        self.assertEqual(kit.run("--version").code, 0)
        for verb in ("broker", "serve", "call", "services", "inspect"):
            done = kit.run(verb, "--help")
            self.assertEqual(done.code, 0, verb)
            self.assertIn(verb, done.out + done.err)


if __name__ == "__main__":
    kit.main()
