# SPDX-License-Identifier: BSD-3-Clause
"""gate.compat: one program in gate-rpc's words, whose imports alone differ:
client, worker, broker and authentication, each against the other's. Where the
original is (GATERPC names its folder), every mix of both; else ours alone."""
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import unittest

ORIGINAL = os.environ.get("GATERPC", "")

import rig  # noqa: E402
import kit  # noqa: E402

PROGRAM = os.path.join(rig.HERE, "compat_program.py")


def has_original():
    if not ORIGINAL:
        return "no gate-rpc: GATERPC names the folder of its source"
    done = subprocess.run([sys.executable, "-c", "import gaterpc.core"],
                          env=environment("/tmp"), capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def environment(folder):
    return {**os.environ, "COMPAT_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(
                [os.path.join(rig.ROOT, "python")] + ORIGINAL.split())}


class Rig(kit.Case):
    def start(self, *args):
        p = subprocess.Popen([sys.executable, PROGRAM, *args], text=True,
                             env=environment(self.dir), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE,
                             start_new_session=True,
                             preexec_fn=kit.die_with_the_test)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(self.kill, p)
        self.assertEqual(p.stdout.readline(), "ready\n", args)
        return p

    @staticmethod
    def kill(p):
        """With its executors' processes, which the original leaves behind."""
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def passes(self, *args):
        with tempfile.TemporaryFile("w+") as err:
            p = subprocess.Popen([sys.executable, PROGRAM, *args], text=True,
                                 env=environment(self.dir), stderr=err,
                                 stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, start_new_session=True,
                                 preexec_fn=kit.die_with_the_test)
            line = p.stdout.readline()
            self.kill(p)
            p.wait()
            p.stdout.close()
            err.seek(0)
            self.assertEqual(line, "all as it should be\n",
                             "%s\n%s" % (args, err.read()[-3000:]))

    def mix(self, client, broker, worker, words=()):
        front, back = self.ipc("f"), self.ipc("b")
        if broker == "command":
            self.keep(kit.OurBroker(front, back))
        else:
            self.start(broker, "broker", front, back)
        self.start(worker, "worker", back)
        self.passes(client, "client", front, *words)

    def authenticated(self, zap, client, broker, worker):
        front, back, z = self.ipc("f"), self.ipc("b"), self.ipc("z")
        who = ("\u5821\u5792", "\u54d4" * 5)
        self.start(zap, "zap", z)
        self.start(broker, "broker", front, back, z)
        self.start(worker, "worker", back, *who)
        self.passes(client, "client", front, *who)


class Mixes(Rig):
    def test_ours_alone(self):
        self.mix("gate.compat", "gate.compat", "gate.compat", ["length"])

    def test_with_our_command(self):
        self.mix("gate.compat", "command", "gate.compat")

    def test_in_one_process(self):
        self.passes("gate.compat", "all", self.ipc("f"), "inproc://all")

    def test_users(self):
        self.authenticated(*["gate.compat"] * 4)

    def test_huge_data_alone(self):
        import asyncio
        from gate.compat import HugeData

        async def there_and_back(module, data):
            c = HugeData(data=data, compress_module=module)
            packed = b"".join([d async for d in c.compress()])
            d = HugeData(compress_module=module)
            for i in range(0, len(packed), 1000):
                d.add_data(packed[i:i + 1000])
            d.flush()
            return b"".join([p async for p in d.decompress(1000)])
        for module in ("gzip", "bz2", "lzma"):
            for data in (b"", b"x", os.urandom(5000) * 20):
                self.assertEqual(asyncio.run(there_and_back(module, data)),
                                 data, module)


def original_mix(names):
    def test(self):
        self.mix(*names)
    return test


WHY = has_original()
for _names in itertools.product(("gate.compat", "gaterpc"), repeat=3):
    if "gaterpc" in _names and _names != ("gaterpc",) * 3:
        _name = "test_original_" + "_".join(
            "ours" if n == "gate.compat" else "theirs" for n in _names)
        setattr(Mixes, _name, unittest.skipIf(WHY, WHY)(original_mix(_names)))


@unittest.skipIf(WHY, WHY)
class Users(Rig):
    def test_original_zap(self):
        self.authenticated("gaterpc", *["gate.compat"] * 3)

    def test_original_broker(self):
        self.authenticated("gate.compat", "gate.compat", "gaterpc",
                           "gate.compat")


if __name__ == "__main__":
    unittest.main(verbosity=2)
