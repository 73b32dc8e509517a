# SPDX-License-Identifier: BSD-3-Clause
"""gate context: brokers kept by name, which of them is meant, and that nobody's
password goes to another one's broker."""
import json
import os
import stat
import threading

from cli import CALM, kit


class Context(kit.Case):
    def setUp(self):
        super().setUp()
        self.home = os.path.join(self.dir, "config")
        self.file = os.path.join(self.home, "gate", "contexts.json")

    def path(self, name):
        return os.path.join(self.dir, name)

    def gate(self, *words, **settings):
        return kit.run(*words, **{"xdg_config_home": self.home, **CALM, **settings})

    def good(self, *words, **settings):
        done = self.gate(*words, **settings)
        self.assertEqual((done.code, done.err), (0, ""), words)
        return done.out

    def bad(self, right, *words, **settings):
        done = self.gate(*words, **settings)
        self.assertEqual((done.code, done.out), (2, ""), (words, done.err))
        self.assertIn(right, done.err)

    def listed(self):
        return json.loads(self.good("context", "list", "--json"))

    def test_the_life_of_contexts(self):
        self.assertEqual(self.listed(), {})
        self.assertFalse(os.path.exists(self.home))  # looking makes nothing
        self.good("context", "add", "near", "--broker", self.ipc("a"))
        self.good("context", "add", "far.1", "--broker", "tcp://127.0.0.1:1",
                  "--user", "ann")
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertEqual(self.listed(), {
            "near": {"used": True, "broker": self.ipc("a")},
            "far.1": {"used": False, "broker": "tcp://127.0.0.1:1",
                      "user": "ann"}})
        self.good("context", "use", "far.1")
        lines = self.good("context").splitlines()
        self.assertEqual([line.split() for line in lines], [
            ["*", "far.1", "tcp://127.0.0.1:1", "ann"],
            ["near", self.ipc("a"), "-"]])
        self.good("context", "use")
        self.assertFalse(any(c["used"] for c in self.listed().values()))
        self.good("context", "use", "near")
        self.good("context", "remove", "near")
        self.assertEqual(list(self.listed()), ["far.1"])
        self.assertEqual(os.listdir(os.path.dirname(self.file)),
                         ["contexts.json"])

    def test_which_broker_is_meant(self):
        brokers = {x: self.keep(kit.OurBroker(self.ipc(x), self.ipc("b" + x),
                                              **CALM)) for x in "xyz"}
        for x in "xy":
            self.good("context", "add", x, "--broker", self.ipc(x))

        def asked(*words, **settings):
            """By the frontend that it tells."""
            seen = json.loads(self.good("call", *words, "Gate.observe", **settings))
            return seen["broker"]["process"]["frontend"][0][len("ipc://" + self.dir) + 1:]
        self.assertEqual(asked(), "x")
        self.assertEqual(asked(gate_context="y"), "y")
        self.assertEqual(asked("--context", "x", gate_context="y"), "x")
        self.assertEqual(asked(gate_broker=self.ipc("z"), gate_context="y"), "z")
        self.assertEqual(asked("--context", "y", gate_broker=self.ipc("z")), "y")
        self.assertEqual(asked("--broker", self.ipc("x"),
                               gate_broker=self.ipc("z")), "x")
        self.bad("not both", "call", "--broker", "x", "--context", "x", "a.b")
        self.bad("no context 'nobody'", "services", gate_context="nobody")
        self.bad("no context 'nobody'", "services", "--context", "nobody")
        # settings are this program's own unless a broker is named
        self.good("settings", gate_broker="tcp://127.0.0.1:1")
        self.assertIn("worker_addr", self.good("settings", "--context", "x"))

    def test_a_secured_call_needs_no_option(self):
        self.assertEqual(kit.run("keygen", self.path("server")).code, 0)
        self.assertEqual(kit.run("keygen", "--name", "ann", self.path("ann")).code, 0)
        os.mkdir(self.path("allow"))
        os.link(self.path("ann"), self.path("allow/ann"))
        self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), [
            "--curve-cert", self.path("server"),
            "--curve-allow", self.path("allow")], **CALM))
        self.good("context", "add", "prod", "--broker", self.ipc("f"),
                  "--curve-cert", self.path("ann"),
                  "--curve-server", self.path("server"))
        self.good("services")
        self.assertEqual(self.gate("services", "--broker", self.ipc("f")).code, 4)

    def users(self):
        with open(self.path("users"), "w") as f:
            for user in ("ann", "bob"):
                f.write("%s:%s\n" % (user, kit.run("zap", "--hash", user + "pw")
                                     .out.strip()))
            os.fchmod(f.fileno(), 0o600)
        with open(self.path("pw"), "w") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write("annpw\n")

    def test_a_password_goes_to_its_own_broker(self):
        self.users()
        self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), [
            "--plain-users", self.path("users")], **CALM))
        for _ in range(8):  # its refusal of a trial without the password is not said
            self.good("context", "add", "prod", "--broker", self.ipc("f"),
                      "--plain-user", "ann", "--plain-password-file",
                      self.path("pw"))
        self.good("services")
        # by its endpoint it is just an endpoint
        self.assertEqual(self.gate("services", "--broker", self.ipc("f")).code, 4)
        self.assertEqual(self.gate("services", gate_broker=self.ipc("f")).code, 4)
        # another user has another password
        self.bad("go together", "services", "--plain-user", "bob")
        self.good("services", "--plain-user", "bob", "--plain-password", "bobpw")

    def test_what_cannot_be_kept(self):
        ep = ("--broker", self.ipc("f"))
        for right, words in (
                ("--broker", ("add", "x")),
                ("add one context", ("add",)),
                ("add one context", ("add", "x", "y", *ep)),
                ("a name is", ("add", "../x", *ep)),
                ("a name is", ("add", "", *ep)),
                ("a name is", ("add", "x" * 65, *ep)),
                ("not kept", ("add", "x", *ep, "--user", "u", "--password", "p")),
                ("standard input", ("add", "x", *ep, "--user", "u",
                                    "--password-file", "-")),
                ("No such file", ("add", "x", *ep, "--user", "u",
                                  "--password-file", "/nonexistent/f")),
                ("go together", ("add", "x", *ep, "--password-file", __file__)),
                ("go together", ("add", "x", *ep, "--curve-cert", __file__)),
                ("tcp://", ("add", "x", "--broker", "nowhere")),
                ("no context 'x'", ("use", "x")),
                ("no context 'x'", ("remove", "x")),
                ("remove one", ("remove",)),
                ("none of add", ("delete", "x"))):
            self.bad(right, "context", *words)
        self.assertEqual(self.listed(), {})

    def test_a_file_that_is_none(self):
        os.makedirs(os.path.dirname(self.file))
        one = '{"contexts": {"x": %s}}'
        for text, right in (("", "contexts.json:1"), ("[]", "no map"),
                            ('{"contexts": 1}', "no map"),
                            ('{"use": 1, "contexts": {}}', "no text"),
                            (one % '{"broker": "ipc://x", "pass": "y"}', "known"),
                            (one % '{"broker": 1}', "no text"),
                            (one % "{}", "no broker")):
            with open(self.file, "w") as f:
                f.write(text)
            self.bad(right, "services")
        self.bad("no broker", "context", "add", "x", "--broker", self.ipc("f"))
        with open(self.file, "w") as f:
            f.write(one % '{"broker": "ipc://x"}')
        os.chmod(self.file, 0o666)
        self.bad("chmod 600", "services")

    def test_many_at_once_lose_nothing(self):
        def add(i):
            self.good("context", "add", "c%d" % i, "--broker", self.ipc("f"))
        threads = [threading.Thread(target=add, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(self.listed()), 4)

    def test_no_home(self):
        self.bad("HOME", "context", "add", "x", "--broker", self.ipc("f"),
                 xdg_config_home="", HOME="")


if __name__ == "__main__":
    kit.main()
