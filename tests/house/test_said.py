# SPDX-License-Identifier: BSD-3-Clause
"""What docs/errors.md, docs/settings.md and docs/gate.1 say is what happens: a
broker and the demo service, errors that are provoked, and beside each the row, the
sentence or the default that tells of it."""
import json
import os
import re
import sys

from house import ROOT, read, skip

sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
try:
    from cli import Session, kit
except ImportError as e:
    skip("pyzmq or msgpack is not there: %s" % e)

ERRORS = read("docs/errors.md")
MAN = re.sub(r"\\f[A-Z]|\\ ?", "", read("docs/gate.1"))
NONE = "ipc:///nonexistent/gate"


def said(text):
    """Whether a text of errors.md, ... or NAME for what varies, is this one."""
    for pattern in re.findall(r"`([^`]+)`", ERRORS.split("## Every text")[1]):
        parts = [re.escape(p) for p in re.split(
            r"\.\.\.|\b(?:NAME|FILE|LINE)\b", pattern)]
        if pattern == text or sum(map(len, parts)) > 5 and re.fullmatch(
                r"(.*: )?%s(, at byte \d+|: .*)?" % ".*".join(parts), text):
            return True
    return False


def exits(cls):
    """The exit codes that the first table has for a class."""
    rows = [line.split("|") for line in ERRORS.split("##")[0].splitlines()]
    return {int(n) for row in rows if len(row) > 6 and "`%s`" % cls in row[2]
            for n in re.findall(r"\b\d\b", row[5])}


def section(name):
    return re.search(r"^\.SH %s\n(.*?)(?=^\.SH )" % name, MAN,
                     re.M | re.S).group(1)


class Errors(Session):
    # What is called, its class, its exit code, and whether a handler made it:
    # then its text is the handler's own.
    ROWS = (
        ("Demo.boom", "ValueError", 1, True),
        ("Demo.gen_boom 1", "RuntimeError", 1, True),
        ("Demo.nope", "AttributeError", 1, False),
        ("Nope.add", "ServiceUnAvailableError", 3, False),
        ("add 1", "ServiceUnAvailableError", 3, False),
        ("Demo.add 1", "TypeError", 1, False),
        ("Demo.add 1 2 3", "TypeError", 1, False),
        ("Demo.add 1 --kw c=2", "TypeError", 1, False),
        ("Demo.crash", "WorkerLostError", 1, False),
        ("Demo.sleep 60000 --timeout 50", "TimeoutError", 3, False),
        ("Demo.add 1 2 --timeout 0", "TimeoutError", 3, False),
    )

    def test_calls(self):
        for words, cls, code, handlers in self.ROWS:
            done = self.gate("call", *words.split())
            first = (done.err.splitlines() or [""])[0]
            self.assertEqual((done.code, done.out), (code, ""
                             if "gen" not in words else "0\n"), done.err)
            self.assertEqual(first.split(":")[0], cls, done.err)
            if not handlers:
                self.assertIn(code, exits(cls), words)
                self.assertTrue(said(first[len(cls) + 2:]), first)

    def test_before_anything_is_sent(self):
        for words in (["nosuch"], ["call"], ["call", "--nope", "A.b"],
                      ["call", "-x", "A.b"], ["call", "A.b", "--broker"],
                      ["call", "A.b", "[1,"], ["call", "A.b", "1e999"],
                      ["call", "A.b", "18446744073709551616"],
                      ["call", "A.b", '{"a":1,"a":2}'],
                      ["call", "A.b", '{"$bin":"?"}'],
                      ["call", "A.b", "--kw", "x"],
                      ["call", "A.b", "--kw", "a=1", "--kw", "a=2"],
                      ["call", "A.b", "--timeout", "-1"],
                      ["call", "--user", "u", "A.b"],
                      ["call", "--curve-cert", "x", "A.b"],
                      ["services", "--stats", "--workers"], ["inspect"],
                      ["drain"], ["keygen"], ["serve"], ["bench"],
                      ["services", "x"],
                      ["call", "A.b", "--broker", "nonsense"],
                      ["call", "A.b", "--broker", "tcp://127.0.0.1"],
                      ["call", "A.b", "--broker", "tcp://127.0.0.1:99999"],
                      ["call", "A.b", "--config", "/nonexistent"],
                      ["zap", "--hash", ""]):
            done = kit.run(*words)
            self.assertEqual((done.code, done.out), (2, ""), words)
            text = re.sub(r"^(gate: |\w+Error: )+", "",
                          done.err.splitlines()[0])
            self.assertTrue(said(text) or "No such file" in text, text)

    def test_who_is_not_there(self):
        for words in (["call", "A.b"], ["services"], ["inspect", "A"],
                      ["drain", "A"], ["health"]):
            done = kit.run(words[0], "--broker", NONE, *words[1:])
            self.assertEqual((done.code, done.out), (3, ""), words)
            self.assertTrue(said(done.err.split(": ", 1)[1].strip()), done.err)

    def test_exit_status(self):
        """The section names what was seen above."""
        text = section("EXIT STATUS")
        for code in "01234":
            self.assertRegex(text, r"(?m)^%s$" % code)
        three = text.split("\n3\n")[1].split(".TP")[0]
        for words, cls, code, handlers in self.ROWS:
            if not handlers and cls != "TimeoutError":
                self.assertEqual(code == 3, cls in three, cls)
        refused = self.keep(kit.OurBroker(access="deny * *"))
        done = kit.run("call", "--broker", refused.front, "Demo.add")
        self.assertEqual(done.code, 4, done.err)
        self.assertIn(4, exits(done.err.split(":")[0]))
        self.assertTrue(said(done.err.splitlines()[0].split(": ", 1)[1]))


class Settings(kit.Case):
    def test_defaults_and_meanings(self):
        rows = re.findall(r"^\| (\w+) \| (.*?) \| (.*?) \| (.*) \|$",
                          read("docs/settings.md"), re.M)
        now = json.loads(kit.run("settings", "--json").out)
        told = {name: (default, meaning.replace("\\|", "|"))
                for name, kind, default, meaning in rows if name in now}
        self.assertEqual(set(told), set(now))
        for name, it in now.items():
            self.assertEqual(told[name][1], it["doc"], name)
            try:
                self.assertEqual(float(told[name][0]), float(it["default"]))
            except ValueError:
                self.assertEqual(told[name][0], it["default"], name)

    def test_the_order(self):
        """Defaults, a file, the environment, an option."""
        name = os.path.join(self.dir, "cfg")
        with open(name, "w") as f:
            f.write("timeout = 3\nreply_timeout = 4\nplain_user = ann\n"
                    "plain_password = secret\n")
        done = json.loads(kit.run("settings", "--json", "--config", name,
                                  reply_timeout=5).out)
        for setting, value, source in (("timeout", "3", "file"),
                                       ("reply_timeout", "5", "environment"),
                                       ("message_max", "5000", "default"),
                                       ("plain_password", "***", "file")):
            it = done[setting]
            self.assertEqual((it["value"], it["source"].split()[0]),
                             (value, source), setting)


class Man(Session):
    def test_options(self):
        """Anywhere, --name=VALUE, --; -3 is a number; the last dot."""
        for words in (["Demo.add", "2", "3"], ["Demo.add", "--", "2", "3"],
                      ["Demo.add", "2", "--timeout=9000", "3"],
                      ["Demo.add", "-3", "8"], ["--raw", "Demo.add", "2", "3"]):
            self.assertEqual(self.call(*words), ["5"], words)
        self.assertIn("A.b Service", self.raises("ServiceUnAvailableError",
                                                 "A.b.c", code=3))

    def test_defaults_of_options(self):
        for verb, endpoint in (("broker", "tcp://127.0.0.1:5555"),
                               ("broker", "tcp://127.0.0.1:5556"),
                               ("serve", "tcp://127.0.0.1:5556"),
                               ("monitor", "127.0.0.1:9464")):
            about = MAN.split("\n.SS %s\n" % verb)[1].split("\n.SS ")[0]
            self.assertIn(endpoint, about)
            self.assertIn(endpoint, kit.run(verb, "--help").out)

    def test_ready_and_the_end(self):
        broker = kit.OurBroker(self.ipc("f"))
        self.assertNotIn("*", broker.back)  # "with real ports"
        service = kit.OurService(broker.back)
        done = kit.run("drain", "--broker", broker.front, "Demo")
        self.assertEqual((done.code, done.out), (0, "1\n"))
        self.assertEqual(service.wait(), 0)
        self.assertEqual(broker.end(), 0)
        self.assertFalse(os.path.exists(self.ipc("f")[6:]))


if __name__ == "__main__":
    kit.main()
