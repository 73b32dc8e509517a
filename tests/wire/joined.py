# SPDX-License-Identifier: BSD-3-Clause
"""nats-servers on loopback, and brokers that are joined over them."""
import os
import re
import shutil
import subprocess

import kit

SERVER = shutil.which("nats-server") or "/usr/sbin/nats-server"
LIBRARY = os.path.join(os.path.dirname(kit.GATE), "libgaterpc-uplink-nats.so")
BEAT_MS = 1000  # of tests in which a broker is to be lost
CALM_MS = 4000  # of others: a machine that stands still is no partition


def missing():
    if not os.access(SERVER, os.X_OK):
        return "nats-server is not installed"
    if not os.path.exists(LIBRARY):
        return "built without libnats: no " + os.path.basename(LIBRARY)
    return None


class Nats:
    """A nats-server; routes make it one of a cluster."""

    def __init__(self, port=None, cluster=None, routes=(), args=()):
        self.port = port or kit.free_port()
        self.args = [SERVER, "-a", "127.0.0.1", "-p", str(self.port), *args]
        if cluster:
            self.args += ["--cluster_name", "t", "--cluster",
                          "nats://127.0.0.1:%d" % cluster, "--routes",
                          ",".join("nats://127.0.0.1:%d" % r for r in routes)]
        self.url = "nats://127.0.0.1:%d" % self.port
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=kit.die_with_the_test)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()


class Joined(kit.Command):
    """`gate broker --uplink` on free endpoints."""

    def __init__(self, urls, name, *options, **settings):
        settings.setdefault("mdp_heartbeat_interval", kit.CALM_MS)
        settings.setdefault("uplink_heartbeat_ms", CALM_MS)
        super().__init__("broker", "--frontend", "tcp://127.0.0.1:*",
                         "--backend", "tcp://127.0.0.1:*", "--uplink", urls,
                         "--uplink-name", name, *options, **settings)
        line = self.line()
        found = re.fullmatch(
            r"ready frontend=(\S+) backend=(\S+) uplink=(\S+)", line)
        if not found:
            raise AssertionError("not the ready line: %r" % line)
        self.front, self.back, self.called = found.groups()

    def services(self):
        return kit.run("services", "--broker", self.front).out.split()


def call(broker, *args, **settings):
    return kit.run("call", "--broker", broker.front, *args, **settings)
