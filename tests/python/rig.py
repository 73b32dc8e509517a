# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of python/gate share: the package beside the build under test,
and the kit of tests/wire. A library with a sanitizer cannot be loaded by an
interpreter that has none: skipped then."""
import asyncio
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("GATE_BUILD", os.path.join(ROOT, "build", "debug"))
# (a worker process that imports us again has none of GATE_* but the library)
LIBRARY = os.environ.get("GATE_LIBRARY",
                         os.path.join(BUILD, "libgaterpc.so"))
sys.path[:0] = [os.path.join(ROOT, "python"), os.path.join(ROOT, "tests",
                                                           "wire")]


def skip(reason):
    print("skipped: " + reason)
    sys.exit(77)


with open(LIBRARY, "rb") as _f:
    _code = _f.read()
for _name in ("asan", "tsan"):
    if b"__%s_init" % _name.encode() in _code:
        skip("the library is built with %s, which python3 is not" % _name)
try:
    import msgpack  # noqa: F401
    import zmq  # noqa: F401
except ImportError as e:
    skip(str(e))

import kit  # noqa: E402

for _name in [n for n in os.environ if n.startswith("GATE_")]:
    del os.environ[_name]  # the library would take them for settings
os.environ["GATE_LIBRARY"] = LIBRARY
import gate  # noqa: E402

SLOW = kit.SLOW
WAIT = 60 * SLOW  # for what shall come


class Session(kit.Shared):
    """A broker and the demo service for all tests of a class."""

    settings = {"mdp_heartbeat_interval": 5000}

    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(**cls.settings))
        cls.service = cls.share(kit.OurService(cls.broker.back,
                                               **cls.settings))

    def connect(self, **options):
        options.setdefault("wait", WAIT)
        client = gate.connect(self.broker.front, **options)
        self.addCleanup(client.close)
        return client

    def aio(self, **options):
        options.setdefault("wait", WAIT)
        return gate.aio.connect(self.broker.front, **options)


def runs(test):
    """A test that is a coroutine."""
    def run(self):
        asyncio.run(asyncio.wait_for(test(self), 4 * WAIT))
    run.__name__ = test.__name__
    return run


async def until(what, condition):
    """Waits for what shall come true."""
    for _ in range(int(WAIT * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("%s did not happen" % what)
