# SPDX-License-Identifier: BSD-3-Clause
"""One ledger, four faces: what a test counted of calls that end in every way, of
workers in C and in Python that leave and come back, is what Gate.observe,
/metrics, gate top and the page in a browser say, to the call and the class; and
p50 and p99 are within a histogram's step of what was measured."""
import collections
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.request

from cli import CALM, kit

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "page"))
import browser  # noqa: E402
import peers  # noqa: E402

PY = "Py<b>\"\\"
ODD = type("Odd\"\\Class", (Exception,), {})
ENDS = ("ok", "exception", "refused", "lost", "expired", "cancelled",
        "orphaned")
STEP = 1.126  # a histogram's, and a rounding
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def options(**keys):
    """A request's or a control message's extension frame."""
    return b"\xc1GX1" + peers.pack(keys)


def odd(*_):
    raise ODD("it \"is\" <so>")


class Book:
    """What was done."""

    def __init__(self):
        self.ends = collections.defaultdict(collections.Counter)
        self.classes = collections.Counter()
        self.methods = collections.defaultdict(lambda: [0, 0])

    def note(self, service, end, n=1, cls=None, method="_other"):
        self.ends[service][end] += n
        self.methods[service, method][end != "ok"] += n
        if cls:
            self.classes[service, cls] += n

    def all(self):
        return ({s: {e: c[e] for e in ENDS} for s, c in self.ends.items()},
                dict(self.classes),
                {k: tuple(n) for k, n in self.methods.items()})


def observed(seen):
    """Of a snapshot, in the book's form."""
    ends, classes, methods = {}, {}, {}
    for s in seen["services"]:
        if "outcomes" not in s:
            continue
        name = s["name"]
        ends[name] = s["outcomes"]
        classes.update({(name, c["name"]): c["n"] for c in s["classes"]})
        for m in s["methods"]:
            bad = sum(m["outcomes"].values()) - m["outcomes"]["ok"]
            methods[name, m["name"]] = (m["outcomes"]["ok"], bad)
    return ends, classes, methods


def measured(text):
    """Of /metrics, in the book's form; a series that comes twice is none."""
    ends, classes, methods, found = {}, {}, {}, set()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        series, value = line.rsplit(" ", 1)
        assert series not in found, series
        found.add(series)
        name = series.split("{")[0]
        at = {k: re.sub(r"\\(.)", r"\1", v) for k, v in LABEL.findall(series)}
        if at.get("service") in (None, "_other"):
            continue
        if name == "gaterpc_broker_calls_total":
            ends.setdefault(at["service"], {})[at["outcome"]] = int(value)
        elif name == "gaterpc_broker_exceptions_total":
            classes[at["service"], at["class"]] = int(value)
        elif name == "gaterpc_broker_method_calls_total":
            both = methods.setdefault((at["service"], at["method"]), [0, 0])
            both[at["outcome"] != "ok"] = int(value)
    return ends, classes, {k: tuple(n) for k, n in methods.items() if any(n)}


class Ledger(kit.Case):
    def setUp(self):
        super().setUp()
        self.book, self.times = Book(), []
        self.broker = self.keep(kit.Command(
            "broker", "--frontend", "tcp://127.0.0.1:*", "--backend",
            "tcp://127.0.0.1:*", "--monitor", "127.0.0.1:0",
            access="deny * Demo.about; allow * *", **CALM))
        said = dict(w.split("=", 1) for w in self.broker.line().split()[1:])
        self.front, self.back = said["frontend"], said["backend"]
        self.url = said["monitor"]
        self.client = self.keep(peers.RawClient(self.front))
        self.demo = self.keep(kit.OurService(self.back, **CALM))

    # ---- what happens ----
    def well(self, service, method, *args, n=1):
        for _ in range(n):
            self.client.call(service, method, *args)
        self.book.note(service, "ok", n, method=method)

    def fails(self, cls, service, method, *args, end="exception",
              row="_other"):
        with self.assertRaises(peers.RemoteError) as raised:
            self.client.call(service, method, *args)
        self.assertEqual(raised.exception.story[0], cls)
        self.book.note(service, end, cls=cls, method=row)

    def answered(self, rid, cls, **end):
        frames = self.client.reply(rid, 20)
        self.assertEqual(peers.unpack(frames[0])["exception"][0], cls)
        self.book.note(cls=cls, **end)

    def python(self):
        methods = {"a\"b\\c": lambda: 1, "<i>": lambda: 1, "ä ö": lambda: 1,
                   "nap": time.sleep, "odd": odd}
        worker = self.keep(peers.Background(peers.Worker(
            self.back, PY, methods, hb=60, secure=False)))
        self.until(lambda: PY in self.client.call("Gate", "get_services"), 20)
        for name in ("a\"b\\c", "<i>", "ä ö"):
            self.well(PY, name, n=3)
        self.fails(ODD.__name__, PY, "odd", row="odd")
        self.fails("AttributeError", PY, "no\nsuch")
        for seconds in [.03] * 12 + [.2]:
            begin = time.monotonic()
            self.client.call(PY, "nap", seconds)
            self.times.append(time.monotonic() - begin)
            self.book.note(PY, "ok", method="nap")
        return worker

    def ours(self):
        self.well("Demo", "add", 1, 2, n=5)
        self.fails("TypeError", "Demo", "add", 1, "x", row="add")
        self.fails("WorkerLostError", "Demo", "crash", row="crash")
        self.fails("AccessDeniedError", "Demo", "about", end="refused")

        done = kit.run("call", "--broker", self.front, "--timeout", "300",
                       "Demo.sleep", "60000", **CALM)
        self.assertIn("TimeoutError", done.err)
        self.until(lambda: self.of("Demo")["outcomes"]["cancelled"] == 1, 20,
                   "who has no time left takes its call back")
        self.book.note("Demo", "cancelled")

    def one_at_a_time(self):
        """A worker that takes one call, and all that may befall those who
        wait."""
        worker = self.keep(peers.RawWorker(self.back))
        worker.register("One", maximum=1)
        rid = self.client.request("One", "m")
        request = worker.expect(peers.REQUEST, 20)
        worker.answer(request, peers.result(1))
        self.client.reply(rid, 20)
        self.book.note("One", "ok", method="m")
        held = self.client.request("One", "m")
        worker.expect(peers.REQUEST, 20)
        rid = peers.new_id()
        self.client.send(b"", peers.MDPC, b"One", rid, *peers.body("m", [], {}),
                         options(t=100))
        self.answered(rid, "BusyWorkerError", service="One", end="refused",
                      method="m")  # its time was over in the queue
        rid = self.client.request("One", "m")
        self.client.send(b"", peers.MDPC, b"One", rid, options(x=True))
        self.book.note("One", "cancelled", method="m")
        leaver = peers.RawClient(self.front)
        leaver.request("One", "m")
        self.until(lambda: self.of("One")["queued"] == 1, 20, "it waits")
        leaver.close()
        self.until(lambda: self.of("One")["queued"] == 0, 20, "it is orphaned")
        self.book.note("One", "orphaned", method="m")
        waits = self.client.request("One", "m")
        self.until(lambda: self.of("One")["queued"] == 1, 20, "the last one waits")
        worker.close()
        self.answered(held, "WorkerLostError", service="One", end="lost",
                      method="m")
        self.answered(waits, "ServiceUnAvailableError", service="One",
                      end="refused", method="m")

    def of(self, name):
        return next(s for s in self.snapshot()["services"]
                    if s["name"] == name)

    def come_back(self, python):
        """Each service's worker leaves, and another one comes."""
        rid = self.client.request("Demo", "sleep", [60000])
        self.until(lambda: self.of("Demo")["in_flight"] == 1, 20, "it runs")
        self.demo.signal(signal.SIGKILL)
        self.demo.wait()
        self.answered(rid, "WorkerLostError", service="Demo", end="lost")
        self.keep(kit.OurService(self.back, **CALM))
        self.well("Demo", "add", 1, 2)
        python.stop()
        self.keep(peers.Background(peers.Worker(
            self.back, PY, {"<i>": lambda: 1}, hb=60, secure=False)))
        self.until(lambda: self.of(PY)["workers"] == 1, 20, "another one")
        self.well(PY, "<i>")

    # ---- what is said ----
    def snapshot(self):
        return self.client.call("Gate", "observe")

    def rows(self, view):
        done = kit.run("top", "--broker", self.front, "--json", "--once",
                       "--view", view, **CALM)
        self.assertEqual((done.code, done.err), (0, ""))
        return json.loads(done.out)["rows"]

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as got:
            return got.read().decode()

    def face_metrics(self, book):
        """Within a tick: what it answers is up to 250 ms old."""
        end = time.monotonic() + 10 * kit.SLOW
        while measured(self.metrics()) != book and time.monotonic() < end:
            time.sleep(.1)
        self.assertEqual(measured(self.metrics()), book)

    def face_top(self, classes, methods):
        row = next(r for r in self.rows("methods") if r["METHOD"] == "nap")
        self.quantiles([row["P50"], row["P99"]])
        self.assertEqual({(r["SERVICE"], r["CLASS"]): r["TOTAL"]
                          for r in self.rows("errors")}, classes)
        self.assertEqual({(r["SERVICE"], r["METHOD"]):
                          (r["CALLS"] - r["ERRORS"], r["ERRORS"])
                          for r in self.rows("methods")}, methods)

    def face_page(self, ends, classes, methods):
        if not browser.found():
            print("no Chromium is here: the page is not looked at")
            return
        folder = tempfile.mkdtemp(prefix="gate-page-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        page = browser.Browser(folder, patience=60 * kit.SLOW)
        self.addCleanup(page.close)
        page.go(self.url + "/")
        self.until(lambda: page.js("typeof D!='undefined'&&!!D"), 40, "it draws")
        by = page.js("[...snaps.at(-1).by].map(([n,s])=>[n,s.out,"
                     "[...s.methods].map(([m,x])=>[m,x.out])])")
        self.assertEqual({n: out for n, out, _ in by if out}, ends)
        self.assertEqual(
            {(n, m): (o["ok"], sum(o.values()) - o["ok"])
             for n, _, each in by for m, o in each}, methods)
        said = page.js("D.services.flatMap(s=>s.classes.map("
                       "c=>[s.name,c.name,c.n]))")
        self.assertEqual({(s, c): n for s, c, n in said}, classes)
        for (_, name), _ in classes.items():
            self.assertIn(name, page.js("$('errs').innerText"))
        self.quantiles(page.js("[.5,.99].map(q=>1e6*quant(snaps.at(-1).by.get("
                               "%s).methods.get('nap').run,q))"
                               % json.dumps(PY)))
        self.assertEqual(page.complaints(), [])

    def quantiles(self, said):
        """Each is at least what the handler slept, and at most what the client
        saw, but for the step that a histogram has."""
        times = sorted(self.times)
        for us, least, most in zip(said, (.03, .2), (times[6], times[-1])):
            self.assertGreaterEqual(us * STEP, least * 1e6)
            self.assertLessEqual(us, most * 1e6 * STEP)

    def test_every_face_says_what_was_done(self):
        python = self.python()
        self.ours()
        self.one_at_a_time()
        before = observed(self.snapshot())
        self.come_back(python)
        ends, classes, methods = book = self.book.all()
        with self.subTest("Gate.observe"):
            self.assertEqual(observed(self.snapshot()), book)
        for service, counts in before[0].items():
            for end, n in counts.items():
                self.assertLessEqual(n, ends[service][end], "none goes back")
        with self.subTest("/metrics"):
            self.face_metrics(book)
        with self.subTest("gate top"):
            self.face_top(classes, methods)
        with self.subTest("the page"):
            self.face_page(ends, classes, methods)
        nap = next(m for m in self.of(PY)["methods"] if m["name"] == "nap")
        self.quantiles([nap["run"]["p50_us"], nap["run"]["p99_us"]])


kit.main()
