# SPDX-License-Identifier: BSD-3-Clause
"""Exit codes: the one table, gate(1) EXIT STATUS, has each class of errors where
errors.def puts it, --help has the same codes, and the command ends with them."""
import os
import re
import signal
import threading

import msgpack
import zmq

from cli import CALM, Session, kit


def read(name):
    with open(os.path.join(kit.ROOT, name), encoding="utf-8") as f:
        return f.read()


def table():
    """code -> its text"""
    section = re.search(r"^\.SH EXIT STATUS\n(.*?)^\.SH ", read("docs/gate.1"),
                        re.M | re.S).group(1)
    return {code: text for code, text in re.findall(
        r"^\.TP\n(\S+)\n(.*?)(?=^\.TP\n|\Z)", section.replace("\\-", "-"), re.M | re.S)}


class Exit(Session):
    def test_the_table_is_what_errors_end_with(self):
        codes = table()
        self.assertEqual(list(codes), ["0", "1", "2", "3", "4", "128+N"])
        brief = kit.run("--help").out
        for code in "01234":
            self.assertRegex(brief, r"\b%s [a-z]" % code)
        named = 0
        for cls, code in re.findall(r'^GATE_X\(\w+,\s*"(\w+)",\s*(\d)',
                                    read("include/gaterpc/errors.def"), re.M):
            for row, text in codes.items():
                if re.search(r"\b%s\b" % cls, text):
                    named += 1
                    self.assertEqual(row, code, cls)
        self.assertGreater(named, 6)

    def test_the_command_ends_so(self):
        ours = ("--broker", self.broker.front)
        for code, words in (
                (0, ("call", *ours, "Demo.add", "2", "3")),
                (0, ("--version",)), (0, ("-V",)), (0, ("help",)), (0, ("help", "help")), (0, ("-h",)),
                (0, ("help", "call")), (0, ("call", "-h")), (0, ("call", "--help")),
                (0, ("health", *ours)),
                (1, ("call", *ours, "Demo.boom")),
                (1, ("call", *ours, "Demo.nothing")),
                (1, ("health", *ours, "--service", "Nobody")),
                (2, ("call", *ours, "")), (2, ("inspect", *ours, "")),
                (2, ("drain", *ours, "")), (2, ("keygen", "")),
                (2, ("call", "--broker", "", "Demo.add")),
                (2, ("health", *ours, "--service", "")),
                (2, ("services", *ours, "--user", "")),
                (2, ("call", *ours)), (2, ("call", "--nothing")), (2, ("nothing",)),
                (2, ("help", "nothing")), (2, ("call", "--broker", "x", "a.b")),
                (3, ("call", *ours, "--timeout", "50", "Demo.sleep", "60000")),
                (3, ("call", *ours, "Nobody.add")),
                (3, ("health", "--broker", self.ipc("none")))):
            settings = {"timeout": 0.5} if "Nobody.add" in words else {}
            done = kit.run(*words, **settings, **CALM)
            self.assertEqual(done.code, code, (words, done.err))
            self.assertEqual(bool(done.err), code != 0, words)

    def test_a_verb_that_is_none(self):
        for word, meant in (("hlp", "help"), ("halp", "help"), ("clal", "call"),
                            ("brokr", "broker"), ("xyz", None), ("zp", "zap"),
                            ("ab", None)):
            done = kit.run(word)
            self.assertEqual(done.code, 2)
            if meant:
                self.assertIn("is %s meant?" % meant, done.err)
            else:
                self.assertNotIn("meant?", done.err, word)

    def test_a_certificate_that_is_there(self):
        file = os.path.join(self.dir, "cert")
        for code in (0, 1):
            done = kit.run("keygen", file)
            self.assertEqual(done.code, code)
        self.assertRegex(done.err, "^OSError: .*exists already")

    def test_who_is_not_let_in(self):
        users = os.path.join(self.dir, "users")
        with open(users, "w") as f:
            f.write("ann:%s\n" % kit.run("zap", "--hash", "pw").out.strip())
            os.fchmod(f.fileno(), 0o600)
        self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                ["--plain-users", users], **CALM))
        self.assertEqual(kit.run("health", "--broker", self.ipc("f")).code, 4)

    def test_health_of_a_broker_that_tells_names_alone(self):
        """As Python's: to a function that it lacks it says nothing at all."""
        with zmq.Context() as context, context.socket(zmq.ROUTER) as s:
            s.linger = 0
            s.bind(self.ipc("py"))
            over = threading.Event()

            def answer():
                while not over.is_set():
                    if not s.poll(20):
                        continue
                    who, _, _, service, number, func, *_ = s.recv_multipart()
                    if msgpack.unpackb(func) == "get_services":
                        s.send_multipart([who, b"", b"MDPC01", service, number,
                                          msgpack.packb({"result": ["Gate", "Py"],
                                                         "exception": None})])
            thread = threading.Thread(target=answer)
            thread.start()
            try:
                for code, words in ((0, ()), (0, ("--ready",)),
                                    (0, ("--service", "Py")),
                                    (1, ("--service", "P"))):
                    done = kit.run("health", "--broker", self.ipc("py"), *words,
                                   **CALM)
                    self.assertEqual(done.code, code, (words, done.err))
            finally:
                over.set()
                thread.join()

    def test_what_took_too_long_is_named(self):
        for words in (("Demo.sleep", "60000"), ("Demo.slow_gen", "3", "60000"),
                      ("--raw", "Demo.sleep", "60000")):
            done = kit.run("call", "--broker", self.broker.front, "--timeout",
                           "50", *words, **CALM)
            self.assertEqual(done.code, 3)
            self.assertRegex(done.err, r"^TimeoutError: Demo\.s\w+: no answer")

    def test_a_signal(self):
        call = self.keep(kit.Command("call", "--broker", self.broker.front,
                                     "Demo.slow_gen", "100000", "1", **CALM))
        call.line()  # it is under way
        call.signal(signal.SIGINT)
        self.assertEqual(call.wait(), 130)


if __name__ == "__main__":
    kit.main()
