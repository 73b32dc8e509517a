# SPDX-License-Identifier: BSD-3-Clause
"""Nothing that concerns who gets in is left open by a slip: a table of them in
environment, file and option. Each ends at start, with what would be right."""
import os
import subprocess

from cli import CALM, kit


class Slips(kit.Case):
    def setUp(self):
        super().setUp()
        for name in ("server", "ann", "mallory"):
            self.assertEqual(kit.run("keygen", "--name", name,
                                     self.path(name)).code, 0)
        os.mkdir(self.path("allow"), 0o755)
        os.link(self.path("ann"), self.path("allow/ann"))
        with open(self.path("users"), "w") as f:
            f.write("ann:%s\n" % kit.run("zap", "--hash", "pw").out.strip())
        self.place = ("--frontend", self.ipc("f"), "--backend", self.ipc("b"))

    def path(self, name):
        return os.path.join(self.dir, name)

    def config(self, *lines):
        with open(self.path("cfg"), "w") as f:
            f.write("".join(line + "\n" for line in lines))
        return ("--config", self.path("cfg"))

    def refused(self, words, right, **settings):
        done = kit.run(*words, **settings)
        what = "%s %s" % (words, settings)
        self.assertNotEqual(done.code, 0, what)
        self.assertEqual(done.out, "", what)
        self.assertIn(right, done.err, what)

    def broker(self, right, *options, **settings):
        self.refused(("broker", *self.place, *options), right, **settings)

    def test_names_in_the_environment(self):
        for name, right in (("acces", "GATE_ACCESS"),
                            ("access_rules", "GATE_ACCESS_RULES"),
                            ("broker_curve_cret", "GATE_BROKER_CURVE_CERT"),
                            ("broker_curve_allowed",
                             "GATE_BROKER_CURVE_ALLOW"),
                            ("plain_users", "GATE_BROKER_PLAIN_USERS"),
                            ("broker_plain_user", "GATE_BROKER_PLAIN_USERS"),
                            ("brocker_zap", "GATE_BROKER_ZAP"),
                            ("zap_user", "GATE_ZAP_USERS"),
                            ("allow", "GATE_ALLOW"),
                            ("rate_limit_users", "GATE_RATE_LIMIT_USER"),
                            ("rate_limit", "GATE_RATE_LIMIT_USER"),
                            ("monitor_token", "GATE_MONITOR_TOKEN_FILE"),
                            ("monitor_host", "GATE_MONITOR_HOSTS"),
                            ("monitor_password", "who gets in"),
                            ("token", "who gets in"),
                            ("uplink_password", "GATE_UPLINK_PASSWORD_FILE"),
                            ("uplink_exports", "GATE_UPLINK_EXPORT"),
                            ("broker_curve", "GATE_BROKER_CURVE_CERT"),
                            ("access_port_file", "who gets in"),
                            ("secured", "GATE_SECURE")):
            self.broker(right, **{name: "x"})
        for name in ("GATE_access", "gate_access", "Gate_Access"):
            env = {**kit.environment(), name: "deny * *"}
            done = subprocess.run([kit.GATE, "broker", *self.place], env=env,
                                  capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("is GATE_ACCESS meant?", done.stderr)

    def test_rules_without_a_rule(self):
        for text in (";", " ", " ; ;", "\t"):
            self.broker("no rule in it", access=text)
            self.broker("no rule in it", *self.config('access = "%s"' % text))

    def test_other_names_are_a_warning(self):
        """What a cluster makes of a service that is called gate-user, too."""
        others = {"port": "tcp://10.0.0.1:5555", "service_host": "10.0.0.1",
                  "user_service_host": "10.0.0.1", "user_service_port": "80",
                  "user_port": "tcp://10.0.0.1:80",
                  "user_service_port_http": "80",
                  "user_port_80_tcp": "tcp://10.0.0.1:80",
                  "user_port_80_tcp_addr": "10.0.0.1"}
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                         **others, **CALM))
        for name in others:
            self.until(lambda: any("GATE_%s:" % name.upper() in x
                                   for x in broker.err), 10, name)

    def test_names_in_a_file(self):
        for line, right in (("acces = \"deny * *\"", "access"),
                            ("broker_curve_cret = x", "broker_curve_cert"),
                            ("plain_users = x", "broker_plain_users"),
                            ("Access = \"deny * *\"", "access"),
                            ("broker-zap = x", "name = value")):
            self.broker(right, *self.config(line))

    def test_options(self):
        for words in (("--plain-user", self.path("users")),
                      ("--curve-allowed", self.path("allow")),
                      ("--acces", "x"), ("-zap", "x"), ("plain-users",)):
            self.broker(words[0], *words)

    def test_nothing_where_something_was_meant(self):
        for name in ("access", "broker_zap", "broker_plain_users",
                     "broker_curve_cert", "broker_curve_allow", "zap_users"):
            self.broker(name, **{name: ""})
            self.broker(name, *self.config("%s =" % name))
        for option in ("--zap", "--plain-users", "--curve-cert",
                       "--curve-allow"):
            self.broker("", option, "")
        self.broker("--curve-allow", "--curve-cert", self.path("server"),
                    "--curve-allow", "")

    def test_halves(self):
        allow, cert = self.path("allow"), self.path("server")
        self.broker("broker_curve_cert", broker_curve_allow=allow)
        self.broker("--curve-cert", "--curve-allow", allow)
        self.broker("--zap", "--zap-domain", "x")
        self.broker("broker_zap", zap_addr=self.ipc("z"))
        self.broker("broker_zap", zap_users=self.path("users"))
        for half in ("zap_plain_default_user", "plain_user", "curve_cert",
                     "zap_plain_default_password", "plain_password",
                     "curve_server"):
            for verb in (("broker", *self.place),
                         ("call", "--broker", self.ipc("f"), "Demo.add"),
                         ("serve", "--demo", "--backend", self.ipc("b"))):
                self.refused(verb, "go together", **{half: cert})
        self.refused(("zap", "--bind", self.ipc("z"), "--user", "ann",
                      "--password", ""), "password")
        self.refused(("zap", "--bind", self.ipc("z"), "--user", "",
                      "--password", "x"), "user")
        for option in ("--allow", "--deny", "--users"):
            self.refused(("zap", "--bind", self.ipc("z"), option, ""), "")
        self.refused(("zap", "--hash", ""), "password")

    def who(self, *names):
        return [kit.run("services", "--broker", self.ipc("f"), "--curve-cert",
                        self.path(name), "--curve-server",
                        self.path("server")).code for name in names]

    def test_an_option_leaves_the_other_half_to_its_setting(self):
        allow = "broker_curve_allow = " + self.path("allow")
        cert = "broker_curve_cert = " + self.path("server")
        for lines, options in (
                ([allow], ["--curve-cert", self.path("server")]),
                ([allow, cert], []),
                ([allow, cert], ["--curve-cert", self.path("server")]),
                ([cert], ["--curve-allow", self.path("allow")]),
                ([cert, "broker_curve_allow = *"],
                 ["--curve-allow", self.path("allow")])):
            broker = kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                   [*self.config(*lines), *options], **CALM)
            self.assertEqual(self.who("ann", "mallory"), [0, 4], lines)
            broker.end()

    def test_a_name_that_nothing_could_read(self):
        for name in ("an\"n", "an\nn", "an\x1bn"):
            self.refused(("keygen", "--name", name, self.path("new")), "name")
            self.assertFalse(os.path.exists(self.path("new_secret")))


if __name__ == "__main__":
    kit.main()
