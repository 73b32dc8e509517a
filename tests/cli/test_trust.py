# SPDX-License-Identifier: BSD-3-Clause
"""Whom the command believes: where it keeps its sockets and logs, who may be
asked who gets in, and files that somebody else may write."""
import os
import subprocess
import sys
import time
import unittest

from cli import CALM, kit

STRANGER = 54321  # a uid that nobody has
ROOT = os.geteuid() == 0
# Takes the socket's place and lets everybody in.
EVIL = """
import os, sys, zmq
path = sys.argv[1]
s = zmq.Context().socket(zmq.ROUTER)
s.bind("ipc://" + path)
os.chmod(path, 0o777)
print("ready", flush=True)
while s.poll(60000):
    f = s.recv_multipart()
    print("asked", f[-1].decode(), flush=True)
    s.send_multipart([f[0], b"", b"1.0", f[3], b"200", b"OK", f[-2], b""])
"""


def become_a_stranger():
    kit.die_with_the_test()
    os.setgid(STRANGER)
    os.setuid(STRANGER)


class Places(kit.Case):
    def zap(self, **settings):
        zap = self.keep(kit.Command("zap", "--user", "ann", "--password", "pw",
                                    **settings))
        return zap.line()

    def refused(self, word, *args, **settings):
        done = kit.run(*args, **settings)
        self.assertNotEqual(done.code, 0)
        self.assertEqual(done.out, "")
        self.assertIn(word, done.err)

    def test_of_the_user_first(self):
        os.environ["XDG_RUNTIME_DIR"] = self.dir
        self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
        path = os.path.join(self.dir, "gate-rpc")
        self.assertEqual(self.zap(), "ready zap=ipc://%s/zeromq.zap.01" % path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)

    def test_what_was_named(self):
        os.environ["XDG_RUNTIME_DIR"] = self.dir
        self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
        base = os.path.join(self.dir, "base")
        self.assertEqual(self.zap(base_path=base),
                         "ready zap=ipc://%s/run/zeromq.zap.01" % base)
        run = os.path.join(self.dir, "mine")
        self.assertEqual(self.zap(base_path=base, run_path=run),
                         "ready zap=ipc://%s/zeromq.zap.01" % run)

    def test_that_all_may_write(self):
        run = os.path.join(self.dir, "run")
        os.mkdir(run)
        for mode in (0o777, 0o1777, 0o770):
            os.chmod(run, mode)
            self.refused("can be written by", "zap", run_path=run)
        os.chmod(run, 0o755)
        self.zap(run_path=run)

    @unittest.skipUnless(ROOT, "only root can give directories away")
    def test_that_a_stranger_made(self):
        base = os.path.join(self.dir, "base")
        os.makedirs(base + "/run")
        os.chown(base, STRANGER, STRANGER)
        self.refused("belongs to uid %d" % STRANGER, "zap", base_path=base)
        link = os.path.join(self.dir, "link")
        os.symlink("/etc", link)
        os.lchown(link, STRANGER, STRANGER)
        self.refused("belongs to uid %d" % STRANGER, "zap", run_path=link)
        self.refused("belongs to uid %d" % STRANGER, "zap", base_path=link)
        self.assertFalse(os.path.exists("/etc/run"))

    @unittest.skipUnless(ROOT, "only root can give links away")
    def test_logs_through_a_strangers_link(self):
        log = os.path.join(self.dir, "log")
        victim = os.path.join(self.dir, "victim")
        os.mkdir(log)
        with open(victim, "w") as f:
            f.write("precious")
        os.symlink(victim, log + "/gate.log")
        os.lchown(log + "/gate.log", STRANGER, STRANGER)
        for where in ({"log_path": log, "log_file": "gate.log"},
                      {"base_path": self.dir, "log_file": "gate.log"},
                      {"log_file": log + "/gate.log"}):
            self.refused("uid %d" % STRANGER, "broker", "--frontend",
                         self.ipc("f"), "--backend", self.ipc("b"), **where)
        with open(victim) as f:
            self.assertEqual(f.read(), "precious")

    @unittest.skipUnless(ROOT, "only root can give links away")
    def test_logs_through_a_strangers_link_on_the_way(self):
        """To a directory; nothing is made there either."""
        theirs = os.path.join(self.dir, "theirs")
        link = os.path.join(self.dir, "link")
        os.mkdir(theirs)
        os.symlink(theirs, link)
        os.lchown(link, STRANGER, STRANGER)
        for where in ({"log_path": link, "log_file": "gate.log"},
                      {"log_path": link + "/deeper", "log_file": "gate.log"},
                      {"base_path": link, "log_file": "gate.log"},
                      {"log_file": link + "/gate.log"},
                      {"log_file": link + "/deeper/gate.log"}):
            self.refused("link belongs to uid %d" % STRANGER, "broker",
                         "--frontend", self.ipc("f"), "--backend",
                         self.ipc("b"), **where)
        self.assertEqual(os.listdir(theirs), [])


class Service(kit.Case):
    """Who answers for a ZAP service."""

    def setUp(self):
        super().setUp()
        self.place = os.path.join(self.dir, "place")
        os.mkdir(self.place)
        os.chmod(self.place, 0o1777)
        os.chmod(self.dir, 0o755)
        self.path = os.path.join(self.place, "zap")

    def stranger(self):
        evil = subprocess.Popen(
            [sys.executable, "-c", EVIL, self.path], stdout=subprocess.PIPE,
            text=True, preexec_fn=become_a_stranger)
        self.addCleanup(evil.stdout.close)
        self.addCleanup(evil.wait)
        self.addCleanup(evil.kill)
        self.assertEqual(evil.stdout.readline(), "ready\n")
        return evil

    def broker(self, **settings):
        return self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"), ["--zap", "ipc://" + self.path],
            zap_reply_timeout=1, **{**CALM, **settings}))

    def ask(self, password):
        return kit.run("services", "--broker", self.ipc("f"), "--user", "ann",
                       "--password", password)

    def refused_to_start(self, word):
        done = kit.run("broker", "--frontend", self.ipc("f"), "--backend",
                       self.ipc("b"), "--zap", "ipc://" + self.path)
        self.assertNotEqual(done.code, 0)
        self.assertIn(word, done.err)
        self.assertIn(self.path, done.err)

    @unittest.skipUnless(ROOT, "only root can become a stranger")
    def test_a_strangers_from_the_beginning(self):
        self.stranger()
        self.refused_to_start("belongs to uid %d" % STRANGER)

    def test_a_place_that_all_may_write(self):
        os.chmod(self.place, 0o777)
        self.refused_to_start("can be written by everybody")

    @unittest.skipUnless(ROOT, "only root can become a stranger")
    def test_a_stranger_takes_the_place(self):
        zap = kit.Command("zap", "--bind", "ipc://" + self.path, "--user",
                          "ann", "--password", "right")
        zap.line()
        broker = self.broker()
        self.assertEqual(self.ask("right").code, 0)
        self.assertEqual(self.ask("wrong").code, 4)
        zap.end()
        evil = self.stranger()
        time.sleep(0.5)  # the broker connects there: nothing may come of it
        for word in ("anything", "right"):
            done = self.ask(word)
            self.assertEqual(done.code, 3, done.err)
        evil.kill()
        self.assertEqual(evil.stdout.read(), "", "passwords were told")
        self.assertTrue(any("another user" in x for x in broker.err))
        os.unlink(self.path)
        self.keep(kit.Command("zap", "--bind", "ipc://" + self.path, "--user",
                              "ann", "--password", "right")).line()
        self.until(lambda: self.ask("right").code == 0, 10, "an answer of ours")
        self.assertEqual(self.ask("wrong").code, 4)

    @unittest.skipUnless(ROOT, "only root can become a stranger")
    def test_one_who_is_told_to(self):
        self.stranger()
        self.broker(trust_others="true")
        self.assertEqual(self.ask("anything").code, 0)


class Files(kit.Case):
    """A table of files that decide who gets in, and modes that they may not
    have: each is named, and nothing starts."""

    def setUp(self):
        super().setUp()
        self.at = {}
        for name, text in (("users", "ann:%s\n" % kit.run(
                "zap", "--hash", "pw").out.strip()),
                ("settings", "access = \"allow ann *; deny * *\"\n")):
            self.at[name] = os.path.join(self.dir, name)
            with open(self.at[name], "w") as f:
                f.write(text)
            os.chmod(self.at[name], 0o600)
        self.at["cert"] = os.path.join(self.dir, "cert")
        self.assertEqual(kit.run("keygen", self.at["cert"]).code, 0)
        self.at["secret"] = self.at["cert"] + "_secret"
        self.at["allow"] = os.path.join(self.dir, "allow")
        os.mkdir(self.at["allow"], 0o755)

    def commands(self):
        broker = ("broker", "--frontend", self.ipc("f"), "--backend",
                  self.ipc("b"))
        curve = ("--curve-cert", self.at["cert"], "--curve-allow",
                 self.at["allow"])
        return (("users", ("zap", "--bind", self.ipc("z"), "--users",
                           self.at["users"])),
                ("users", (*broker, "--plain-users", self.at["users"])),
                ("settings", (*broker, "--config", self.at["settings"])),
                ("secret", (*broker, *curve)),
                ("allow", (*broker, *curve)),
                ("secret", ("call", "--broker", self.ipc("f"), "--curve-cert",
                            self.at["cert"], "--curve-server",
                            self.at["cert"], "Demo.add", "1", "2")))

    def named(self, name, words):
        done = kit.run(*words)
        self.assertNotEqual(done.code, 0, words)
        self.assertEqual(done.out, "", words)
        self.assertIn(self.at[name], done.err, words)
        self.between(done.seconds, 0, 5, words)

    def test_modes(self):
        for name, words in self.commands():
            before = os.stat(self.at[name]).st_mode & 0o777
            for mode in (0o666, 0o620, *([0o644] if name == "secret" else [])):
                os.chmod(self.at[name], mode | (0o111 if name == "allow" else 0))
                self.named(name, words)
            os.chmod(self.at[name], before)

    def test_kinds(self):
        for name, words in self.commands():
            os.rename(self.at[name], self.at[name] + ".kept")
            os.mkfifo(self.at[name])
            self.named(name, words)
            os.unlink(self.at[name])
            if name != "allow":
                os.mkdir(self.at[name])
                self.named(name, words)
                os.rmdir(self.at[name])
            os.rename(self.at[name] + ".kept", self.at[name])

    @unittest.skipUnless(ROOT, "only root can give files away")
    def test_owners(self):
        for name, words in self.commands():
            os.chown(self.at[name], STRANGER, STRANGER)
            self.named(name, words)
            os.chown(self.at[name], 0, 0)

    def test_a_setting_allows_it(self):
        os.chmod(self.at["users"], 0o666)
        done = self.keep(kit.Command(
            "zap", "--bind", self.ipc("z"), "--users", self.at["users"],
            trust_others="true"))
        self.assertTrue(done.line().startswith("ready"))


if __name__ == "__main__":
    kit.main()
