# SPDX-License-Identifier: BSD-3-Clause
"""Our client (`gate call`, `services`, `inspect`) with a Python broker and a
Python worker: results, errors, exit codes, streams, odd and late replies."""
import base64
import json
import os
import threading
import time

import zmq

import kit
import peers
from peers import END, EXCEPTION, HUGE, HUGE_END, STREAM, pack, unpack

VECTORS = os.path.join(kit.HERE, "vectors")
# Python never looks at gzip's trailer; ours does.
MAY_REFUSE = {"no_trailer", "bad_crc"}


class Results(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = peers.Broker("ipc://%s/f" % cls.shared_dir,
                                  "ipc://%s/b" % cls.shared_dir)
        cls.share(peers.Background(cls.broker))
        methods = peers.demo_methods()
        methods["get_interfaces"] = lambda: {
            "add": {"doc": "Adds two.\nOr more.", "signature": "(a, b)"},
            "none": {"doc": None, "signature": "()"}}
        cls.worker = peers.Worker(cls.broker.back.endpoint, "Demo", methods,
                                  secure=False)
        cls.share(peers.Background(cls.worker))
        end = time.monotonic() + 5
        while not cls.broker.workers and time.monotonic() < end:
            time.sleep(0.01)

    def gate(self, verb, *args, **settings):
        return kit.run(verb, "--broker", self.broker.front.endpoint, *args,
                       **settings)

    def value(self, *args, **settings):
        done = self.gate("call", *args, **settings)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(done.out.count("\n"), 1, done.out)
        return json.loads(done.out)

    # ---- results ----------------------------------------------------------
    def test_values(self):
        self.assertEqual(self.value("Demo.add", "2", "3"), 5)
        self.assertEqual(self.value("Demo.add", "2", "0.5"), 2.5)
        self.assertIsNone(self.value("Demo.none"))
        self.assertEqual(
            self.value("Demo.echo", "1", "text", '"2"', "null", "[1,{}]",
                       '{"a":true}', "--kw", "k=-3", "--kw", "s=x=y"),
            {"args": [1, "text", "2", None, [1, {}], {"a": True}],
             "kwargs": {"k": -3, "s": "x=y"}})

    def test_binary_both_ways(self):
        data = bytes(range(256))
        text = json.dumps({"$bin": base64.b64encode(data).decode()})
        got = self.value("Demo.echo", text)["args"][0]
        self.assertEqual(base64.b64decode(got["$bin"]), data)

    def test_raw(self):
        done = self.gate("call", "--raw", "Demo.random", "5000", text=False)
        self.assertEqual((done.code, len(done.out)), (0, 5000))
        done = self.gate("call", "--raw", "Demo.huge", "50", text=False)
        self.assertEqual(done.out.rstrip(b"\n"), b"x" * 50)

    def test_default_service(self):
        self.assertEqual(self.value("add", "2", "3",
                                    service_default_name="Demo"), 5)

    def test_gate_service(self):
        self.assertEqual(self.value("Gate.query_service", "Demo"),
                         "a test service")

    def test_keepalives_while_it_waits(self):
        before = len(self.broker.log)
        self.assertEqual(self.value("Demo.sleep", "2500",
                                    mdp_heartbeat_interval=300), 2500)
        alive = [f for _, side, _, f in list(self.broker.log)[before:]
                 if side == "front" and f[2] == b"Gate" and
                 unpack(f[4]) == "keepalive"]
        self.assertGreaterEqual(len(alive), 5)
        for frames in alive:
            self.assertEqual(frames[5:], [pack([b"heartbeat"]), pack({})])

    # ---- streams and huge -------------------------------------------------
    def lines(self, *args, code=0):
        done = self.gate("call", *args)
        self.assertEqual(done.code, code, done.err)
        return [json.loads(x) for x in done.out.splitlines()], done

    def test_streams(self):
        self.assertEqual(self.lines("Demo.gen", "4")[0], [0, 1, 2, 3])
        self.assertEqual(self.lines("Demo.gen", "0")[0], [])
        self.assertEqual(self.lines("Demo.gen", "5000")[0],
                         list(range(5000)))

    def test_nils_and_in_band_end(self):
        self.assertEqual(self.lines("Demo.nils", "3")[0], [None] * 3)
        items = self.lines("Demo.tagged")[0]
        self.assertEqual((items[0], items[2]), (1, 2))
        self.assertEqual(base64.b64decode(items[1]["$bin"]), END)

    def test_stream_exception(self):
        items, done = self.lines("Demo.gen_boom", "2", code=1)
        self.assertEqual(items, [0, 1])
        self.assertIn("RuntimeError: ", done.err)

    def test_huge(self):
        self.assertEqual(self.value("Demo.huge", "300000"), "x" * 300000)

    def test_huge_exception(self):
        done = self.gate("call", "Demo.huge_boom", "50000")
        self.assertEqual(done.code, 1)
        self.assertIn("half way", done.err)

    # ---- errors and exit codes --------------------------------------------
    def test_remote_exception(self):
        done = self.gate("call", "Demo.boom", "why")
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertIn("ValueError: why", done.err)
        self.assertIn("Traceback", done.err)

    def test_unknown_method(self):
        done = self.gate("call", "Demo.nosuch")
        self.assertEqual(done.code, 1)
        self.assertIn("AttributeError", done.err)

    def test_unknown_service(self):
        done = self.gate("call", "NoSuch.f")
        self.assertEqual(done.code, 3)
        self.assertIn("ServiceUnAvailableError", done.err)

    def test_no_answer_in_time(self):
        done = self.gate("call", "--timeout", "400", "Demo.sleep", "5000")
        self.assertEqual(done.code, 3)
        self.between(done.seconds, 0.4, 2.0)

    def test_usage(self):
        for args in (["call"], ["call", "--nosuch", "Demo.add"], ["nosuch"],
                     ["call", "Demo.echo", "--kw", "novalue"]):
            self.assertEqual(kit.run(*args).code, 2, args)

    # ---- services, inspect ------------------------------------------------
    def test_services(self):
        done = self.gate("services")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("Demo", done.out.splitlines())

    def test_inspect(self):
        done = self.gate("inspect", "Demo")
        self.assertEqual(done.code, 0, done.err)
        lines = {x.split("\t")[0]: x.split("\t")
                 for x in done.out.splitlines()}
        self.assertEqual(set(lines), {"add", "none"})
        self.assertEqual(lines["add"][1], "(a, b)")
        self.assertEqual(len(lines["add"]), 4)
        self.assertIn("Adds two.", lines["add"][3])
        done = self.gate("inspect", "--json", "Demo")
        self.assertEqual((done.code, "add" in json.dumps(
            json.loads(done.out))), (0, True))


class NoBroker(kit.Case):
    def test_nobody_there(self):
        for args in (["call", "--broker", kit.free_tcp(), "Demo.none"],
                     ["call", "--broker", self.ipc("none"), "Demo.none"],
                     ["services", "--broker", kit.free_tcp()],
                     ["inspect", "--broker", kit.free_tcp(), "Demo"]):
            done = kit.run(*args)
            self.assertEqual((done.code, done.out), (3, ""), args)
            self.assertIn("no broker at %s: " % args[2], done.err)
            self.assertRegex(done.err, "Connection refused|no such socket")
            self.between(done.seconds, 0, 4.5, args)

    def test_somebody_else_there(self):
        """A port that accepts and says nothing."""
        import socket
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            done = kit.run("call", "--broker", "tcp://127.0.0.1:%d"
                           % s.getsockname()[1], "Demo.none")
            self.assertEqual(done.code, 3)
            self.between(done.seconds, 0, 4.5)

    def test_one_that_says_nothing(self):
        """As Python's does to whom it does not let in."""
        silent = self.keep(peers.Raw(zmq.ROUTER, self.ipc("f"), bind=True))
        for args, what in (([], "without a user and a password"),
                           (["--user", "ann", "--password", "guess"],
                            "with a wrong user or password")):
            done = kit.run("call", "--broker", silent.endpoint, *args,
                           "Demo.none")
            self.assertEqual((done.code, done.out), (3, ""))
            self.assertIn("is connected and answers nothing", done.err)
            self.assertIn("authentication service", done.err)
            self.assertIn(what, done.err)
            self.assertNotIn("no broker", done.err)
            self.assertNotIn("cut", done.err)

    def test_bad_endpoint(self):
        for endpoint in ("nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:x"):
            done = kit.run("call", "--broker", endpoint, "Demo.none")
            self.assertIn(done.code, (2, 3), endpoint)
            self.assertTrue(done.err)


class Scripted(kit.Case):
    """A Python broker whose answers to Demo are what the test says."""

    def setUp(self):
        super().setUp()
        self.broker = peers.Broker(self.ipc("f"), self.ipc("b"))
        self.broker.services["Demo"] = "odd"
        self.keep(peers.Background(self.broker))
        self.seen = []

    def script(self, *messages, rid=None):
        """Each call of Demo is answered by these bodies, in order; a tuple is
        (service, request id or None for the call's, tag, body)."""
        def answer(client, service, its_rid, parts):
            if service == "Gate":
                return False
            self.seen.append(parts)
            for message in messages:
                if isinstance(message, float):
                    time.sleep(message)
                    continue
                name, use, tag, frames = message if isinstance(
                    message, tuple) else ("Demo", None, peers.MDPC, message)
                self.broker.front.send(client, b"", tag, name.encode(),
                                       use or its_rid, *frames)
            return True
        self.broker.on_request = answer

    def call(self, *args, **settings):
        settings.setdefault("reply_timeout", 2)
        return kit.run("call", "--broker", self.ipc("f"),
                       *(args or ["Demo.f"]), **settings)


class Odd(Scripted):
    """Replies of odd shapes, in odd order, late, twice or never."""

    def gives(self, text, *messages):
        self.script(*messages)
        done = self.call()
        self.assertEqual((done.code, done.out.strip()), (0, text), done.err)

    def fails(self, *messages, code=None, say=""):
        self.script(*messages)
        done = self.call()
        if code is None:
            self.assertNotEqual(done.code, 0, messages)
        else:
            self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.out, "")
        self.assertTrue(done.err.strip())
        self.assertIn(say, done.err)
        self.between(done.seconds, 0, 3.5)

    def test_service_frame_is_ignored(self):
        self.gives("5", ("Other", None, peers.MDPC, [peers.result(5)]))
        self.gives("5", ("", None, peers.MDPC, [peers.result(5)]))

    def test_unknown_ids_and_tags_are_ignored(self):
        self.gives("5", ("Demo", b"unknown", peers.MDPC, [peers.result(4)]),
                   ("Demo", peers.new_id(), peers.MDPC, [peers.result(3)]),
                   ("Demo", None, b"MDPC99", [peers.result(2)]),
                   [peers.result(5)])

    def test_second_reply_is_ignored(self):
        self.gives("5", [peers.result(5)], [peers.result(6)],
                   [STREAM, pack(1)])

    def test_empty_body_is_ignored(self):
        self.gives("5", [], 0.1, [peers.result(5)])

    def test_missing_and_extra_keys(self):
        self.gives("5", [pack({"result": 5})])
        self.gives("null", [pack({})])
        self.gives("5", [pack({"result": 5, "exception": None, "more": 1})])
        self.gives("5", [pack({"exception": None, "result": 5})])
        self.gives("5", [pack({"result": 5, "exception": ""})])

    def test_exception_as_a_text(self):
        self.fails([pack({"result": None, "exception": "plain text"})],
                   code=1, say="plain text")

    def test_exception_arrays_of_other_lengths(self):
        for story in (["A", "A('x')"], ["A", "A('x')", "", ""], [], {"a": 1},
                      7, [1, 2, 3]):
            if story == []:
                continue  # falsy: no exception to Python
            self.fails([pack({"result": None, "exception": story})])

    def test_classes_and_exit_codes(self):
        for cls, code in (("ServiceUnAvailableError", 3),
                          ("BusyWorkerError", 3), ("BusyGateError", 3),
                          ("ConnectionLostError", 3),
                          ("WorkerLostError", 1), ("AttributeError", 1),
                          ("AccessDeniedError", 4), ("KeyError", 1),
                          ("", 1)):
            self.fails([peers.failure(cls, "text")], code=code)

    def test_bodies_that_are_no_map(self):
        for data in (pack([1, 2]), pack(5), pack(None), pack("text"), b"",
                     b"\xc1", peers.result(5) + b"\0", b"\x82\xa6result"):
            self.fails([data])

    def test_unknown_tags(self):
        self.fails([b"NoSuchTag", b"x"])
        self.fails([b"", b""])

    def test_late_reply_after_the_timeout(self):
        self.script(1.0, [peers.result(5)])
        done = self.call("--timeout", "300", "Demo.f")
        self.assertEqual((done.code, done.out), (3, ""))

    def test_streams_with_oddities(self):
        item = lambda v: [STREAM, pack(v)]
        self.gives("1\n2", item(1), ("Demo", b"other", peers.MDPC, item(9)),
                   item(2), [STREAM, END], item(3))
        self.script(item(1), [STREAM, b"\xc1"], [STREAM, END])
        self.assertNotEqual(self.call().code, 0)
        self.script(item(1), [STREAM])  # one frame: no reply form at all
        self.assertNotEqual(self.call().code, 0)
        self.script(item(1), [STREAM, EXCEPTION, b"\xc1"])
        self.assertNotEqual(self.call().code, 0)
        self.script([STREAM, EXCEPTION, peers.triple("KeyError", "first")])
        done = self.call()
        self.assertEqual(done.code, 1)
        self.assertIn("KeyError: first", done.err)

    def test_stream_that_stalls(self):
        self.script([STREAM, pack(1)])
        done = self.call(reply_timeout=1)
        self.assertEqual((done.code, done.out.strip()), (3, "1"))
        self.between(done.seconds, 1.0, 3.0)

    def test_huge_shapes(self):
        """The chunk shapes of the vectors."""
        with open(os.path.join(VECTORS, "huge_gzip_shapes.json")) as f:
            shapes = json.load(f)
        wanted = None
        for shape in shapes["variants"]:
            if not shape["accepted"] or shape["name"] in MAY_REFUSE:
                continue
            chunks = [bytes.fromhex(x) for x in shape["frames"][1:]]
            if chunks[-1] != HUGE_END:
                continue  # END inside a data frame: not to be relied on
            with self.subTest(shape["name"]):
                self.script(*[[HUGE, c] for c in chunks])
                done = self.call()
                self.assertEqual(done.code, 0, done.err)
                wanted = wanted or done.out
                self.assertEqual(done.out, wanted)
        self.assertIn("k", wanted)

    def test_huge_end_without_data(self):
        self.fails([HUGE, b""], [HUGE, HUGE_END])

    def test_huge_cut_or_bad(self):
        self.fails([HUGE, b"\x1f\x8b\x08\0\0\0\0\0\0\3abc"], [HUGE, HUGE_END])
        self.fails([HUGE, b"not gzip at all"], [HUGE, HUGE_END])

    def test_huge_exception_forms(self):
        story = peers.triple("KeyError", "half")
        self.fails([HUGE, b"\x1f\x8b\x08\0\0\0\0\0\0\3"],
                   [HUGE, EXCEPTION, story], code=1, say="half")
        # the form that only Python's broker emits
        self.fails([HUGE, b"HugeDataException"], [HUGE, story],
                   [HUGE, HUGE_END])

    def test_broker_dies_during_the_call(self):
        """The answer never comes: a named error, in time."""
        self.script()
        ended = []
        thread = threading.Thread(target=lambda: ended.append(
            self.call(reply_timeout=6)))
        thread.start()
        self.until(lambda: self.seen, 5, "the request")
        self.broker.front.socket.unbind(self.broker.front.endpoint)
        thread.join(60)
        self.assertEqual((ended[0].code, ended[0].out), (3, ""))
        self.between(ended[0].seconds, 0, 8)


class Vectors(Scripted):
    """Requests as the vectors' client made them, replies as it got them."""
    CALLS = {
        "call_add_2_3": (["add", "2", "3"], 0, ["5"]),
        "call_boom": (["boom"], 1, []),
        "call_none": (["none"], 0, ["null"]),
        "call_bad_args_add_1": (["add", "1"], 1, []),
        "call_agen_3": (["agen", "3"], 0, ["0", "1", "2"]),
        "call_gen_3": (["gen", "3"], 0, ["0", "1", "2"]),
        "call_tgen_3_thread_generator": (["tgen", "3"], 0, ["0", "1", "2"]),
        "call_agen_0_empty_stream": (["agen", "0"], 0, []),
        "call_agen_boom_2": (["agen_boom", "2"], 1, ["0", "1"]),
        "call_get_interfaces": (["get_interfaces"], 0, None),
        "call_agen_tag_yields_b_gatestreamend_in_band":
            (["agen_tag"], 0, None),
        "call_huge_5000_rand": (["huge", "5000", "rand"], 0, None),
        "call_aecho_args_kwargs": (None, 0, None),
        "call_techo_thread": (None, 0, None),
        "call_process_method_pecho": (None, None, None),
    }

    def setUp(self):
        super().setUp()
        self.broker.services["GateRPC"] = "vectors"

    def play(self, name):
        with open(os.path.join(VECTORS, name + ".json")) as f:
            messages = json.load(f)
        frames = [[bytes.fromhex(x) for x in m["frames"]] for m in messages
                  if m["direction"] == "client->broker"][0]
        replies = [[bytes.fromhex(x) for x in m["frames"]][4:]
                   for m in messages if m["direction"] == "broker->client"]
        return frames, replies

    def arguments(self, frames):
        """`gate call` arguments that make these body frames."""
        func, args, kwargs = [unpack(x) for x in frames[4:7]]

        def text(v):
            if isinstance(v, bytes):
                v = {"$bin": base64.b64encode(v).decode()}
            return json.dumps(v)
        out = [func] + [text(v) for v in args]
        for key, value in kwargs.items():
            out += ["--kw", "%s=%s" % (key, text(value))]
        return out

    def test_replay(self):
        for name, (args, code, lines) in self.CALLS.items():
            with self.subTest(name):
                frames, replies = self.play(name)
                self.seen.clear()
                self.script(*replies)
                done = self.call(*(args or self.arguments(frames)),
                                 reply_timeout=3)
                self.assertEqual(self.seen, [frames[4:]], "the request")
                if code is not None:
                    self.assertEqual(done.code, code, done.err)
                if lines is not None:
                    self.assertEqual(done.out.splitlines(), lines)


if __name__ == "__main__":
    kit.main()
