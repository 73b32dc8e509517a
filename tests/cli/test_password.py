# SPDX-License-Identifier: BSD-3-Clause
"""Passwords that stand on no command line: from files, systemd's credentials,
standard input, a terminal; and those that do are wiped there."""
import os
import pty
import select
import signal
import subprocess
import termios
import time

from cli import CALM, kit

PASSWORD = "correct horse"


class Passwords(kit.Shared):
    @classmethod
    def start(cls):
        d = cls.shared_dir
        cls.users, cls.file = d + "/users", d + "/pw"
        done = subprocess.run([kit.GATE, "zap", "--hash"], text=True,
                              input=PASSWORD + "\n", capture_output=True,
                              env=kit.environment(), timeout=60)
        cls.hash = done.stdout.strip()
        with open(cls.users, "w") as f:
            f.write("ann:%s\n" % cls.hash)
        with open(cls.file, "w") as f:
            f.write(PASSWORD + "\n")
        os.chmod(cls.file, 0o600)
        cls.broker = cls.share(kit.OurBroker(
            "ipc://%s/f" % d, "ipc://%s/b" % d, ["--plain-users", cls.users],
            **CALM))
        cls.service = cls.share(kit.OurService(
            cls.broker.back, "--plain-user", "ann", "--plain-password-file",
            cls.file, **CALM))

    def gate(self, verb, *words, input="", **env):
        to = ("--backend", self.broker.back) if verb == "serve" else (
            "--broker", self.broker.front)
        return subprocess.run(
            [kit.GATE, verb, *to, *words], input=input, text=True, timeout=60,
            capture_output=True, env={**kit.environment(**CALM), **env})

    def written(self, text, mode=0o600, name="other"):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def test_each_verb(self):
        auth = ("--plain-user", "ann", "--plain-password-file", self.file)
        for verb, words in (("call", ("Demo.add", "1", "2")),
                            ("services", ()), ("inspect", ("Demo",)),
                            ("drain", ("Nobody",))):
            done = self.gate(verb, *words, *auth)
            # draining needs a rule: that she is ann is known
            if verb == "drain":
                self.assertIn("User ann may not call Gate.drain", done.stderr)
            else:
                self.assertEqual(done.returncode, 0, done.stderr)
        done = self.gate("services", "--plain-user", "ann",
                         "--plain-password-file", self.written("wrong\n"))
        self.assertEqual(done.returncode, 4, done.stderr)

    def test_zap(self):
        zap = self.keep(kit.Command("zap", "--bind", self.ipc("z"), "--user",
                                    "ann", "--password-file", self.file))
        broker = self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"), ["--zap", zap.line().split("=")[1]],
            **CALM))
        done = kit.run("services", "--broker", broker.front, "--user", "ann",
                       "--password-file", self.file)
        self.assertEqual(done.code, 0, done.err)

    def test_files(self):
        for text, mode, word in (("", 0o600, "empty"),
                                 ("\n", 0o600, "empty"),
                                 ("a\nb\n", 0o600, "one line"),
                                 ("x" * 300, 0o600, "more than"),
                                 ("x\n", 0o644, "read by everybody"),
                                 ("x\n", 0o640, "read by its group"),
                                 ("x\n", 0o620, "written by its group")):
            path = self.written(text, mode)
            done = self.gate("services", "--plain-user", "ann",
                             "--plain-password-file", path)
            self.assertEqual((done.returncode, done.stdout), (2, ""), word)
            self.assertIn(word, done.stderr)
            self.assertIn(path, done.stderr)
        for text in (PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n"):
            done = self.gate("services", "--plain-user", "ann",
                             "--plain-password-file", self.written(text))
            self.assertEqual(done.returncode, 0, done.stderr)
        os.mkfifo(self.dir + "/fifo", 0o600)
        done = self.gate("services", "--plain-user", "ann",
                         "--plain-password-file", self.dir + "/fifo")
        self.assertEqual(done.returncode, 2)
        self.assertIn("is a FIFO", done.stderr)

    def test_standard_input(self):
        done = self.gate("services", "--plain-user", "ann",
                         "--plain-password-file", "-",
                         input=PASSWORD + "\nmore\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.gate("services", "--plain-user", "ann",
                         "--plain-password-file", "-")
        self.assertEqual(done.returncode, 2, done.stderr)

    def test_credentials(self):
        os.mkdir(self.dir + "/cred")
        self.written(PASSWORD, name="cred/plain-password")
        self.written(PASSWORD, name="cred/ann.pw")
        env = {"CREDENTIALS_DIRECTORY": self.dir + "/cred"}
        for words in ((), ("--plain-password-file", "ann.pw")):
            done = self.gate("services", "--plain-user", "ann", *words, **env)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = self.gate("services", "--plain-user", "ann")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--plain-password-file", done.stderr)

    def test_halves(self):
        for words in (("--plain-password-file", self.file),
                      ("--plain-password", "x"), ("--password-file", self.file),
                      ("--plain-user", "ann", "--plain-password", "x",
                       "--plain-password-file", self.file)):
            done = self.gate("services", *words)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn("usage: gate", done.stderr)

    def lines(self, pid):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().decode()

    def test_words_are_wiped(self):
        for words in (("--plain-password", PASSWORD),
                      ("--plain-password=" + PASSWORD,)):
            serve = self.keep(kit.Command(
                "serve", "--demo", "--backend", self.broker.back,
                "--plain-user", "ann", *words, **CALM))
            serve.ready = serve.line()
            self.assertNotIn(PASSWORD, self.lines(serve.pid))
            self.assertIn("ann", self.lines(serve.pid))

    def test_supervised(self):
        serve = self.keep(kit.Command(
            "serve", "--supervise", "--demo", "--backend", self.broker.back,
            "--plain-user", "ann", "--plain-password", PASSWORD, **CALM))
        for _ in range(2):
            self.assertEqual(serve.line(), "ready service=Demo")
            with open("/proc/%d/task/%d/children" % (serve.pid, serve.pid)) as f:
                children = [int(x) for x in f.read().split()]
            # started by a thread of the supervisor: look for it by parent
            children = children or [
                int(p) for p in os.listdir("/proc") if p.isdigit()
                and self.parent(p) == serve.pid]
            self.assertEqual(len(children), 1)
            self.assertNotIn(PASSWORD, self.lines(children[0]))
            self.assertNotIn(PASSWORD, self.lines(serve.pid))
            os.kill(children[0], signal.SIGKILL)

    @staticmethod
    def parent(pid):
        try:
            with open("/proc/%s/stat" % pid) as f:
                return int(f.read().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            return -1

    # ---- at a terminal -----------------------------------------------------
    def at_a_terminal(self, words, answers, kill=None):
        """(exit status, all that was seen, echo at the end)"""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        child = subprocess.Popen([kit.GATE, *words], stdin=slave, stdout=slave,
                                 stderr=slave, env=kit.environment(**CALM),
                                 preexec_fn=kit.die_with_the_test)
        self.addCleanup(child.kill)
        seen, end = b"", time.monotonic() + 60 * kit.SLOW
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 4096)
            if answers and seen.endswith(answers[0][0]):
                text = answers.pop(0)[1]
                if text is None:
                    child.send_signal(kill)
                else:
                    os.write(master, text + b"\n")
            if child.poll() is not None and not select.select(
                    [master], [], [], 0)[0]:
                break
        echo = termios.tcgetattr(slave)[3] & termios.ECHO
        os.close(slave)
        return child.wait(10), seen.decode(), bool(echo)

    def test_prompt(self):
        words = ("services", "--broker", self.broker.front, "--plain-user",
                 "ann")
        code, seen, echo = self.at_a_terminal(
            words, [(b"Password of ann: ", PASSWORD.encode())])
        self.assertEqual((code, echo), (0, True), seen)
        self.assertNotIn(PASSWORD, seen)
        self.assertIn("Demo", seen)
        code, seen, echo = self.at_a_terminal(
            words, [(b"Password of ann: ", None)], kill=signal.SIGINT)
        self.assertEqual((code, echo), (-signal.SIGINT, True), seen)

    def test_hash(self):
        twice = [(b"Password: ", b"pw"), (b"Again: ", b"pw")]
        code, seen, echo = self.at_a_terminal(("zap", "--hash"), twice)
        self.assertEqual((code, echo), (0, True), seen)
        self.assertIn("$y$", seen)
        code, seen, echo = self.at_a_terminal(
            ("zap", "--hash"), [(b"Password: ", b"pw"), (b"Again: ", b"px")])
        self.assertEqual((code, echo), (2, True), seen)
        self.assertRegex(self.hash, r"^\$y\$\S+$")
        done = kit.run("zap", "--hash", "pw")
        self.assertRegex(done.out, r"^\$y\$\S+\n$")


if __name__ == "__main__":
    kit.main()
