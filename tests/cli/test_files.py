# SPDX-License-Identifier: BSD-3-Clause
"""gate call --file and --raw: what goes in from files and pipes of every kind,
and what comes out, or does not, into whatever stdout is."""
import os
import subprocess
import threading

from cli import CALM, Session, kit


class Files(Session):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.dir, "f")

    def write(self, data):
        with open(self.path, "wb") as out:
            out.write(data)
        return self.path

    def run_with(self, *args, data=None, stdout=subprocess.PIPE, **settings):
        """gate call with data on a pipe to its stdin, and stdout where said."""
        done = subprocess.run(
            [kit.GATE, "call", "--broker", self.broker.front, *args],
            env=kit.environment(**{**CALM, **settings}), input=data,
            stdout=stdout, stderr=subprocess.PIPE, timeout=90 * kit.SLOW)
        err = done.stderr.decode()
        self.assertIsNone(kit.BAD.search(err), err)
        return done.returncode, done.stdout, err

    # ---- in -----------------------------------------------------------------
    def test_a_pipe_is_read_to_its_end(self):
        for size in (0, 1, 100000, 3000001):
            code, out, err = self.run_with("Demo.blob", "--file", "-",
                                           data=b"x" * size)
            self.assertEqual((code, out, err), (0, b"%d\n" % size, ""))

    def test_a_fifo(self):
        os.mkfifo(self.path)
        feeder = threading.Thread(target=self.write, args=(b"y" * 70000,))
        feeder.start()
        self.assertEqual(self.call("Demo.blob", "--file", self.path), ["70000"])
        feeder.join()

    def test_files_that_do_not_say_their_size(self):
        for path in ("/proc/version", "/proc/self/mountinfo",
                     "/sys/kernel/mm/transparent_hugepage/enabled"):
            if not os.path.exists(path):
                print("no %s here" % path)
                continue
            size, = self.call("Demo.blob", "--file", path)
            self.assertGreater(int(size), 0, path)
        with open("/proc/version", "rb") as version:
            self.assertEqual(self.call("Demo.blob", "--file", "/proc/version"),
                             [str(len(version.read()))])
        self.assertEqual(self.call("Demo.blob", "--file", "/dev/null"), ["0"])

    def test_files_by_size(self):
        for size in (0, 1, 65535, 65536, 65537, 2000000):
            path = self.write(b"z" * size)
            self.assertEqual(self.call("Demo.blob", "--file", path),
                             [str(size)])

    def test_from_where_stdin_stands(self):
        with open(self.write(b"w" * 1000), "rb") as half:
            os.lseek(half.fileno(), 400, os.SEEK_SET)
            done = subprocess.run(
                [kit.GATE, "call", "--broker", self.broker.front, "Demo.blob",
                 "--file", "-"], env=kit.environment(**CALM), stdin=half,
                capture_output=True, timeout=90 * kit.SLOW)
        self.assertEqual(done.stdout, b"600\n", done.stderr)

    def test_what_it_cannot_be(self):
        for path, why in ((self.dir, "Is a directory"),
                          (self.path + "no", "No such file or directory"),
                          ("/proc/self/mem", "Input/output error")):
            done = self.gate("call", "Demo.blob", "--file", path)
            self.assertEqual((done.code, done.out), (2, ""), path)
            self.assertIn(why, done.err)

    def test_without_end(self):
        done = self.gate("call", "Demo.blob", "--file", "/dev/zero",
                         huge_max_bytes=100000)
        self.assertEqual((done.code, done.out), (2, ""), done.err)
        self.assertIn("/dev/zero: more than huge_max_bytes = 100000", done.err)

    # ---- out ----------------------------------------------------------------
    def test_raw_prints_what_plain_prints(self):
        path = self.write(b"v" * 2500000)
        plain = self.gate("call", "Demo.echo", "--file", path,
                          msgpack_bin_max=1000000)
        raw = self.gate("call", "--raw", "Demo.echo", "--file", path,
                        msgpack_bin_max=1000000)
        self.assertEqual((plain.code, raw.code), (0, 0), raw.err)
        self.assertGreater(len(plain.out), 2500000)
        self.assertEqual(plain.out, raw.out)
        for words in (["Demo.echo", "1"], ["Demo.add", "1", "2"]):
            self.assertEqual(self.call("--raw", *words), self.call(*words))

    def test_both_keep_to_the_configs_limit(self):
        config = os.path.join(self.dir, "c")
        with open(config, "w") as out:
            out.write("huge_max_bytes = 1500000\n")
        path = self.write(b"u" * 1600000)
        for raw in ([], ["--raw"]):
            done = self.gate("call", *raw, "Demo.echo", "--file", path)
            self.assertEqual(done.code, 0, done.err)
            done = self.gate("call", *raw, "--config", config, "Demo.echo",
                             "--file", path)
            self.assertEqual((done.code, done.out), (1, ""), done.err)
            self.assertIn("huge_max_bytes = 1500000", done.err)

    def test_a_stdout_that_takes_nothing(self):
        calls = (["Demo.add", "1", "2"], ["--raw", "Demo.add", "1", "2"],
                 ["--raw", "Demo.upper", "abc"], ["Demo.echo", "x" * 100000],
                 ["--raw", "Demo.huge", "3000000", "hex"])
        for words in calls:
            with open("/dev/full", "wb") as full:
                code, _, err = self.run_with(*words, stdout=full)
            self.assertEqual((code, err),
                             (1, "gate: stdout: No space left on device\n"),
                             words)


kit.main()
