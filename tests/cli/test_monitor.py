# SPDX-License-Identifier: BSD-3-Clause
"""--monitor, gate monitor and gate health: what they show is what happened, and
each line of docs/observe.md (Who may ask) holds."""
import base64
import hashlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess

import msgpack
import zmq

from cli import CALM, Session, kit
import peers

TOKEN = "a-token-of-some-length"
HOSTILE = "<img src=x onerror=alert(1)>"
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Broker(kit.OurBroker):
    """A broker with a monitor at a free port."""

    def __init__(self, *options, monitor="127.0.0.1:0", **settings):
        kit.Command.__init__(self, "broker", "--frontend", "tcp://127.0.0.1:*",
                             "--backend", "tcp://127.0.0.1:*", "--monitor",
                             monitor, *options, **{**CALM, **settings})
        found = re.fullmatch(
            r"ready frontend=(\S+) backend=(\S+) monitor=(\S+)", self.line())
        self.front, self.back, self.url = found.groups()
        self.port = int(self.url.rsplit(":", 1)[1]) \
            if self.url.startswith("http") else 0


def ask(port, path, method="GET", body=None, host=None, **headers):
    """Status, headers and text."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30 * kit.SLOW)
    try:
        c.putrequest(method, path, skip_host=host is not None)
        if host:
            c.putheader("Host", host)
        for name, value in headers.items():
            c.putheader(name.replace("_", "-"), value)
        if body is not None:
            c.putheader("Content-Length", str(len(body)))
        c.endheaders(body)
        r = c.getresponse()
        return r.status, dict(r.getheaders()), r.read().decode()
    finally:
        c.close()


def promtool(*args, text=None):
    """None: it is not here."""
    if not shutil.which("promtool"):
        return None
    return subprocess.run(["promtool", *args], input=text, text=True,
                          capture_output=True, timeout=60 * kit.SLOW)


class Shows(Session):
    @classmethod
    def start(cls):
        cls.broker = cls.share(Broker(slow_ms=1))
        cls.service = cls.share(kit.OurService(cls.broker.back, **CALM))

    def get(self, path, **headers):
        status, _, text = ask(self.broker.port, path, **headers)
        self.assertEqual(status, 200, text)
        return text

    def values(self, metrics):
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                for line in metrics.splitlines() if not line.startswith("#")}

    def test_the_numbers_are_those_of_the_ledger(self):
        self.call("Demo.sleep", "20")
        for _ in range(4):
            self.call("Demo.add", "1", "2")
        for _ in range(2):
            self.raises("TypeError", "Demo.add", "1", "x")
        seen = {}

        def all_there():
            seen.update(self.values(self.get("/metrics")))
            return seen.get('gaterpc_broker_calls_total{service="Demo",'
                            'outcome="exception"}') == 2
        self.until(all_there)
        ledger = {
            'gaterpc_broker_calls_total{service="Demo",outcome="ok"}': 5,
            'gaterpc_broker_exceptions_total{service="Demo",'
            'class="TypeError"}': 2,
            'gaterpc_broker_method_calls_total{service="Demo",method="add",'
            'outcome="ok"}': 4,
            'gaterpc_broker_method_calls_total{service="Demo",method="add",'
            'outcome="error"}': 2,
            'gaterpc_broker_call_seconds_count{service="Demo"}': 7,
            'gaterpc_broker_call_seconds_bucket{service="Demo",le="+Inf"}': 7,
            'gaterpc_broker_workers{service="Demo",state="up"}': 1,
            'gaterpc_broker_state{state="ready"}': 1}
        self.assertEqual({k: seen.get(k) for k in ledger}, ledger)
        snapshot = json.loads(self.get("/api/v1/snapshot"))
        demo = snapshot["services"][0]
        self.assertEqual((demo["outcomes"]["ok"],
                          demo["outcomes"]["exception"]), (5, 2))
        self.assertEqual(json.loads(self.get("/api/v1/services"))[0]["name"],
                         "Demo")
        self.assertGreaterEqual(len(json.loads(self.get("/api/v1/slow"))), 1)
        self.assertIn("clients", json.loads(self.get("/api/v1/clients")))
        self.assertIn("version", json.loads(self.get("/api/v1/version")))

    def test_open_metrics_and_promtool(self):
        text = self.get("/metrics", Accept="application/openmetrics-text")
        self.assertTrue(text.endswith("# EOF\n"))
        plain = self.get("/metrics")
        self.assertNotIn("# EOF", plain)
        families = re.findall(r"^# TYPE (\S+)", plain, re.M)
        self.assertEqual(len(families), len(set(families)))
        done = promtool("check", "metrics", text=plain)
        if done:
            self.assertEqual((done.returncode, done.stderr), (0, ""),
                             done.stderr)

    def test_names_of_strangers_are_text(self):
        with zmq.Context() as context, context.socket(zmq.DEALER) as s:
            s.linger = 0
            s.rcvtimeo = int(20000 * kit.SLOW)
            s.connect(self.broker.back)
            s.send_multipart([b"", b"MDPW01", b"\1",
                              HOSTILE.encode() + b":d\n\"x:9"])
            s.poll(10000)
            odd = context.socket(zmq.DEALER)
            odd.linger = 0
            odd.connect(self.broker.back)
            odd.send_multipart([b"", b"MDPW01", b"\1", b"a\nb\"\\:d:9"])
            names = []

            def there():
                names[:] = [x["name"] for x in
                            json.loads(self.get("/api/v1/services"))]
                return len(names) == 3
            self.until(there)
            self.assertIn(HOSTILE, names)
            self.assertIn("a?b\"\\", names)
            # The stranger answers one call of a name of 100 kB.
            with context.socket(zmq.DEALER) as c:
                c.linger = 0
                c.rcvtimeo = int(20000 * kit.SLOW)
                c.connect(self.broker.front)
                c.send_multipart([b"", b"MDPC01", HOSTILE.encode(), b"1"] + [
                    msgpack.packb(x) for x in ("m" * 100000, [], {})])
                while True:
                    f = s.recv_multipart()
                    if f[2] == b"\2":
                        break
                    s.send_multipart([b"", b"MDPW01", b"\4"])
                s.send_multipart([b"", b"MDPW01", b"\3", f[3], b"", f[5],
                                  msgpack.packb({"result": None, "exception": [
                                      "E" * 5000, "\x00" * 5000, ""]})])
                c.recv_multipart()

            def counted():
                metrics = self.get("/metrics")
                return 'service="%s",outcome="exception"} 1' % HOSTILE in metrics
            self.until(counted)
            metrics = self.get("/metrics")
            self.assertNotIn("m" * 40, metrics)
            self.assertNotIn("E" * 70, metrics)
            done = promtool("check", "metrics", text=metrics)
            if done:
                self.assertEqual(done.returncode, 0, done.stderr)
            odd.close()

    def test_the_page_is_itself_alone(self):
        status, headers, text = ask(self.broker.port, "/")
        self.assertEqual(status, 200)
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(",
                     "document.write", 'style="', ' onclick="', "@import"):
            self.assertNotIn(word, text)
        for url in re.findall(r"https?://[^'\"\s)]+", text):
            self.assertEqual(url, "http://www.w3.org/2000/svg")
        csp = headers["Content-Security-Policy"]
        for kind in ("script", "style"):
            inside = text.split("<%s>" % kind)[1].split("</%s>" % kind)[0]
            digest = hashlib.sha256(inside.encode()).digest()
            self.assertIn("%s-src 'sha256-%s'" % (
                kind, base64.b64encode(digest).decode()), csp)
        self.assertNotIn("unsafe", csp)
        again = ask(self.broker.port, "/", If_None_Match=headers["ETag"])
        self.assertEqual((again[0], again[2]), (304, ""))

    def test_what_may_not_be_asked(self):
        port = self.broker.port
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            status, headers, _ = ask(port, "/metrics", method)
            self.assertEqual(status, 405, method)
            self.assertEqual(headers["Allow"], "GET, HEAD")
        for host in ("evil.example", "evil.example:%d" % port,
                     "localhost.evil.example", "127.0.0.1.evil.example", "",
                     "[evil]"):
            self.assertIn(ask(port, "/metrics", host=host or " ")[0],
                          (400, 421), host)
        for host in ("localhost", "localhost:1", "127.0.0.1:%d" % port,
                     "[::1]:%d" % port):
            self.assertEqual(ask(port, "/healthz", host=host)[0], 200, host)
        self.assertEqual(ask(port, "/metrics", body=b"x")[0], 413)
        self.assertIn(ask(port, "/" + "x" * 2000)[0], (414,))
        self.assertEqual(ask(port, "/nosuch")[0], 404)
        self.assertEqual(ask(port, "/api/v1/../../etc/passwd")[0], 404)
        self.assertEqual(ask(port, "/healthz", "HEAD")[2], "")

    def test_every_answer_is_hardened(self):
        for path in ("/", "/metrics", "/nosuch", "/api/v1/snapshot"):
            headers = ask(self.broker.port, path,
                          Origin="http://evil.example")[1]
            self.assertEqual(headers["Cache-Control"], "no-cache"
                             if path == "/" else "no-store")
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(headers["Cross-Origin-Resource-Policy"],
                             "same-origin")
            self.assertIn("frame-ancestors 'none'",
                          headers["Content-Security-Policy"])
            self.assertFalse([h for h in headers
                              if h.lower().startswith("access-control")])

    def test_a_refusal_is_hardened_too(self):
        for status, what in ((405, {"method": "POST"}),
                             (421, {"host": "evil.example"}),
                             (413, {"body": b"x"})):
            got, headers, _ = ask(self.broker.port, "/metrics", **what)
            self.assertEqual(got, status)
            self.assertEqual(headers["Cache-Control"], "no-store")
            self.assertEqual(headers["Connection"].lower(), "close")
            self.assertNotIn("Access-Control-Allow-Origin", headers)
        self.assertEqual(ask(self.broker.port, "/", "HEAD")[2], "")

    def test_headers_are_bounded(self):
        for head in (b"X-Long: " + b"x" * 40000, b"X-%d: y\r\n" * 4000
                     % tuple(range(4000))):
            with self.connect("127.0.0.1") as s:
                try:
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                              + head + b"\r\n\r\n")
                    status = s.recv(100)
                except ConnectionError:
                    status = b""
                self.assertFalse(status.startswith(b"HTTP/1.1 200"), status)
        self.assertEqual(self.get("/healthz"), "ok\n")

    def connect(self, source):
        s = socket.socket()
        s.settimeout(30 * kit.SLOW)
        s.bind((source, 0))
        s.connect(("127.0.0.1", self.broker.port))
        return s

    def test_so_many_in_all(self):
        """64, of five addresses that may have 16 each; who comes then waits."""
        held = []
        try:
            for i in range(80):
                held.append(self.connect("127.0.0.%d" % (2 + i // 16)))
                held[-1].sendall(b"GET /healthz HTTP/1.1\r\n")
            for s in held[64:]:
                s.sendall(b"Host: localhost\r\n\r\n")
            self.assertEqual(select.select(held, [], [], .7)[0], [],
                             "the last ones wait for a place")
            for s in held[:16]:
                s.close()
            for s in held[64:]:
                self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200"))
        finally:
            for s in held:
                s.close()
        self.until(self.is_there, 20, "there is a place again")

    def is_there(self):
        try:
            return ask(self.broker.port, "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def test_who_says_nothing_is_cut(self):
        with self.connect("127.0.0.1") as silent, \
                self.connect("127.0.0.1") as half:
            half.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
            for s in (silent, half):
                data = s.recv(1000)
                self.assertFalse(data.startswith(b"HTTP/1.1 200"), data)
                while data:  # at most a refusal, and the end
                    data = s.recv(1000)

    def test_connections_are_bounded(self):
        """Of one address. Each has begun to ask and is held so: an answer ends
        its connection."""
        held = []
        try:
            for _ in range(40):
                s = socket.create_connection(("127.0.0.1", self.broker.port))
                s.settimeout(30 * kit.SLOW)
                held.append(s)
                try:
                    s.sendall(b"GET /healthz HTTP/1.1\r\n")
                except OSError:
                    pass  # refused already
            self.until(lambda: len(select.select(held, [], [], 0)[0]) == 24,
                       what="all but 16 are refused")
            kept = [s for s in held if not select.select([s], [], [], 0)[0]]
            for s in kept:
                s.sendall(b"Host: localhost\r\n\r\n")
            answered = 0
            for s in held:
                try:
                    answered += s.recv(1000).startswith(b"HTTP/1.1 200")
                except OSError:
                    pass
            self.assertEqual(answered, 16)
        finally:
            for s in held:
                s.close()

        self.until(self.is_there)

    def test_health(self):
        at = "127.0.0.1:%d" % self.broker.port
        self.assertEqual(self.get("/healthz"), "ok\n")
        self.assertEqual(self.get("/readyz"), "ok\n")
        self.assertEqual(json.loads(self.get("/readyz?verbose")),
                         {"ok": True, "state": "ready"})
        for words, code in ((("--monitor", at), 0),
                            (("--monitor", at, "--ready"), 0),
                            (("--monitor", "1"), 3),
                            (("--broker", self.broker.front), 0),
                            (("--broker", self.broker.front, "--ready"), 0),
                            (("--broker", self.broker.front, "--service",
                              "Demo"), 0),
                            (("--broker", self.broker.front, "--service",
                              "Nix"), 1),
                            (("--broker", kit.free_tcp()), 3),
                            (("--monitor", at, "--service", "Demo"), 2)):
            done = kit.run("health", *words)
            self.assertEqual(done.code, code, (words, done.err))


class Guarded(kit.Case):
    def file(self, text):
        name = os.path.join(self.dir, "token")
        with open(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600),
                  "w") as f:
            f.write(text + "\n")
        return name

    def refused(self, word, *args, **settings):
        done = kit.run("broker", "--frontend", "tcp://127.0.0.1:*",
                       "--backend", "tcp://127.0.0.1:*", "--monitor", *args,
                       **settings)
        self.assertEqual((done.code, done.out), (2, ""), done.err)
        self.assertIn(word, done.err)

    def test_nobody_from_elsewhere_without_a_token(self):
        self.refused("monitor_token_file", "0.0.0.0:0")
        self.refused("16 bytes", "127.0.0.1:0",
                     monitor_token_file=self.file("short"))
        self.refused("no/such", "127.0.0.1:0", monitor_token_file="/no/such")
        self.refused("monitor_open", "127.0.0.1:0", monitor_open="all")
        for addr in ("localhost:1", "::1:5", "127.0.0.1:70000", "unix:"):
            self.refused(addr, addr)

    def test_with_a_token(self):
        broker = self.keep(Broker(
            monitor="0.0.0.0:0", monitor_token_file=self.file(TOKEN),
            monitor_hosts="gate.example, other.example"))
        basic = base64.b64encode(b"any:" + TOKEN.encode()).decode()
        for value, status in ((None, 401), ("Bearer x", 401), ("Bearer ", 401),
                              ("Bearer " + TOKEN, 200),
                              ("Bearer " + TOKEN + "x", 401),
                              ("Bearer " + TOKEN * 2, 401),
                              ("Basic " + basic, 200), ("Basic eDp5", 401),
                              ("Basic !", 401)):
            headers = {"Authorization": value} if value else {}
            for path in ("/metrics", "/api/v1/snapshot", "/"):
                self.assertEqual(ask(broker.port, path, **headers)[0], status,
                                 (value, path))
        self.assertEqual(ask(broker.port, "/healthz")[0], 200)
        for host, status in (("gate.example:99", 200), ("OTHER.example", 200),
                             ("gate", 421), ("gate.example, ", 421)):
            self.assertEqual(ask(broker.port, "/healthz", host=host)[0],
                             status, host)
        self.assertIn("the traffic is plain", "".join(broker.err))
        self.assertEqual(broker.end(), 0)

    def test_health_may_be_closed_and_clients_hidden(self):
        broker = self.keep(Broker(monitor_token_file=self.file(TOKEN),
                                  monitor_open="", monitor_clients="false"))
        self.assertEqual(ask(broker.port, "/healthz")[0], 401)
        done = kit.run("health", "--monitor", "127.0.0.1:%d" % broker.port)
        self.assertEqual(done.code, 4)
        bearer = {"Authorization": "Bearer " + TOKEN}
        self.assertEqual(ask(broker.port, "/api/v1/clients", **bearer)[0], 404)
        text = ask(broker.port, "/api/v1/snapshot", **bearer)[2]
        self.assertNotIn("clients", json.loads(text))

    def test_a_unix_socket(self):
        path = os.path.join(self.dir, "monitor.sock")
        broker = self.keep(Broker(monitor="unix:" + path))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)
        done = kit.run("health", "--monitor", "unix:" + path)
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(broker.end(), 0)
        self.assertFalse(os.path.exists(path))

    def test_what_nobody_reads_is_bounded(self):
        """Half a MiB an answer, over sockets whose buffers take 208 KiB."""
        path = os.path.join(self.dir, "monitor.sock")
        broker = self.keep(Broker(monitor="unix:" + path))
        for i in range(40):
            self.much_to_tell(broker, "Service-%d" % i)
        held = []

        def asked(what):
            s = socket.socket(socket.AF_UNIX)
            held.append(s)
            s.settimeout(30 * kit.SLOW)
            s.connect(path)
            s.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % what)
            return s.recv(12)[-3:]
        try:
            self.until(lambda: len(self.whole(path)) > 500000, 20)
            said = [asked(b"/api/v1/services") for _ in range(50)]
            self.assertEqual(said[0], b"200")
            self.assertEqual(said[-1], b"503")
            self.assertLess(said.count(b"200"), 45)
            self.assertEqual(asked(b"/healthz"), b"200")
        finally:
            for s in held:
                s.close()
        self.until(lambda: len(self.whole(path)) > 500000, 20,
                   "there is room again")

    def much_to_tell(self, broker, name):
        """A service with as many methods as have rows."""
        worker = self.keep(peers.RawWorker(broker.back))
        client = self.keep(peers.RawClient(broker.front))
        worker.register(name)
        rids = [client.request(name, "method-of-a-long-name-%03d" % i)
                for i in range(64)]
        for _ in rids:
            worker.answer(worker.expect(peers.REQUEST, 20), peers.result(1))
        for _ in rids:
            self.assertIsNotNone(client.recv(20))

    def whole(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30 * kit.SLOW)
            s.connect(path)
            s.sendall(b"GET /api/v1/services HTTP/1.0\r\nHost: localhost\r\n"
                      b"\r\n")
            data = b""
            while more := s.recv(1 << 20):
                data += more
            return data

    def test_a_drain_is_not_ready(self):
        broker = self.keep(Broker(drain_timeout_ms=20000))
        self.keep(kit.OurService(broker.back, **CALM))
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.sleep", "4000", **CALM))

        def under_way():
            text = ask(broker.port, "/api/v1/broker")[2]
            return json.loads(text)["in_flight"] == 1
        self.until(under_way)
        broker.signal(signal.SIGTERM)
        self.until(lambda: ask(broker.port, "/readyz")[0] == 503)
        self.assertEqual(ask(broker.port, "/healthz")[0], 200)
        self.assertEqual(call.wait(), 0)


class Beside(kit.Case):
    """gate monitor."""

    def test_a_broker_that_stands_still(self):
        broker = self.keep(kit.OurBroker(**CALM))
        self.keep(kit.OurService(broker.back, **CALM))
        beside = self.keep(kit.Command("monitor", "--broker", broker.front,
                                       "--listen", "0", **CALM))
        url = re.fullmatch(r"ready monitor=(\S+)", beside.line()).group(1)
        port = int(url.rsplit(":", 1)[1])
        self.assertEqual(ask(port, "/readyz")[0], 200)
        client = self.keep(peers.RawClient(broker.front))
        self.assertEqual(client.call("Demo", "add", 1, 2), 3)
        self.until(lambda: 'calls_total{service="Demo",outcome="ok"} 1\n'
                   in ask(port, "/metrics")[2], 20, "the call")
        broker.signal(signal.SIGSTOP)
        try:
            self.until(lambda: ask(port, "/healthz")[0] == 503)
            self.assertEqual(ask(port, "/metrics")[0], 503)
        finally:
            broker.signal(signal.SIGCONT)
        self.until(lambda: ask(port, "/healthz")[0] == 200)
        self.assertEqual(beside.end(), 0)


class Rules(kit.Case):
    def test_what_is_shipped(self):
        share = os.path.join(ROOT, "share")
        with open(os.path.join(share, "grafana.json")) as f:
            text = f.read()
        json.loads(text)
        with open(os.path.join(share, "alerts.yml")) as f:
            text += f.read()
        with open(os.path.join(ROOT, "src/proto/tally/metrics.c")) as f:
            known = f.read()
        for name in set(re.findall(r"\bgaterpc_\w+", text)):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            self.assertIn(base, known, name)
        if not shutil.which("promtool"):
            self.skipTest("promtool is not here: the rules are not checked")
        done = promtool("check", "rules", os.path.join(share, "alerts.yml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = promtool("test", "rules",
                        os.path.join(HERE, "alerts_test.yml"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


kit.main()
