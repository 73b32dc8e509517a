# SPDX-License-Identifier: BSD-3-Clause
"""What the command's tests share: the kit of tests/wire, and a session."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
import kit  # noqa: E402


# Slower than the kit's: nothing here is about heartbeats, and a loaded machine
# must not make them fail.
CALM = {"mdp_heartbeat_interval": 5000}


class Session(kit.Shared):
    """A broker and the demo service for all tests of a class."""

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(**CALM))
        cls.service = cls.share(kit.OurService(cls.broker.back, **CALM))

    def gate(self, verb, *args, **settings):
        settings = {**CALM, **settings}
        return kit.run(verb, "--broker", self.broker.front, *args, **settings)

    def call(self, *args):
        """The lines that a call prints; it must succeed."""
        done = self.gate("call", *args)
        self.assertEqual((done.code, done.err), (0, ""), args)
        return done.out.splitlines()

    def raises(self, cls, *args, code=1):
        """A call that fails so; its first line on stderr."""
        done = self.gate("call", *args)
        first = (done.err.splitlines() or [""])[0]
        self.assertEqual((done.code, first.split(":")[0]), (code, cls), done.err)
        return first
