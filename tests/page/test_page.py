# SPDX-License-Identifier: BSD-3-Clause
"""The page in a real browser: its numbers are the broker's, names are text, a
broker that is gone is said, keys and schemes work. GATE_PICTURES=FOLDER keeps
pictures of what was seen. Skipped where there is no Chromium."""
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
import browser  # noqa: E402
import kit  # noqa: E402
import peers  # noqa: E402

EVIL = "<img src=x onerror=alert(1)>"
CALM = {"mdp_heartbeat_interval": 5000}
PICTURES = os.environ.get("GATE_PICTURES")
# Text on what is behind it: WCAG's ratio, of all visible leaves with text.
CONTRAST = """(()=>{const lum=c=>{const v=c.map(x=>{x/=255;return x<=.03928?x/12.92:((x+.055)/1.055)**2.4});
return .2126*v[0]+.7152*v[1]+.0722*v[2]},rgb=s=>(s.match(/[\\d.]+/g)||[]).map(Number);
const back=e=>{for(;e;e=e.parentElement){const c=rgb(getComputedStyle(e).backgroundColor);if(c.length==3||c[3]>.9)return c.slice(0,3)}return[255,255,255]};
const bad=[];for(const e of document.querySelectorAll("h1,h2,td,th,span,b,button,div.WARN,div.ERROR"))
{if(!e.offsetParent||![...e.childNodes].some(n=>n.nodeType==3&&n.data.trim()))continue;const a=lum(rgb(getComputedStyle(e).color).slice(0,3)),b=lum(back(e)),
r=(Math.max(a,b)+.05)/(Math.min(a,b)+.05);if(r<4.5)bad.push([e.tagName,e.className,e.textContent.slice(0,30),r])}return bad})()"""


class Page(kit.Case):
    def setUp(self):
        super().setUp()
        if not browser.found():
            self.skipTest("no Chromium is here: the page is not looked at")
        self.monitor = "127.0.0.1:%d" % kit.free_port()
        self.begin()
        self.folder = tempfile.mkdtemp(prefix="gate-page-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.page = browser.Browser(self.folder, patience=60 * kit.SLOW)
        self.addCleanup(self.page.close)

    def begin(self):
        self.broker = self.keep(kit.Command(
            "broker", "--frontend", "tcp://127.0.0.1:*", "--backend",
            "tcp://127.0.0.1:*", "--monitor", self.monitor, slow_ms=50, **CALM))
        said = dict(w.split("=", 1) for w in self.broker.line().split()[1:])
        self.broker.front, self.broker.back = said["frontend"], said["backend"]
        self.client = self.keep(peers.RawClient(self.broker.front))

    def snapshot(self):
        with urllib.request.urlopen("http://%s/api/v1/snapshot" % self.monitor,
                                    timeout=30) as got:
            return json.load(got)

    def open(self):
        self.page.go("http://%s/" % self.monitor)
        self.drawn("D", "the first answer")

    def drawn(self, expression, what):
        self.until(lambda: self.page.js("!!(typeof D!='undefined'&&(%s))"
                                        % expression), 40, what)

    def text(self, selector):
        return self.page.js("document.querySelector(%s).innerText"
                            % json.dumps(selector))

    def fails(self, *call):
        with self.assertRaises(peers.RemoteError):
            self.client.call(*call)

    def picture(self, name, width=1440, **look):
        if not PICTURES:
            return
        self.page.look(width, 1000, **look)
        self.drawn("draw()||1", "drawn anew")
        self.page.picture(os.path.join(PICTURES, name))

    def pictures(self, name):
        for part, look in (("light", {}), ("dark", {"scheme": "dark"}),
                           ("700", {"width": 700}),
                           ("print", {"width": 794, "media": "print"})):
            self.picture("%s-%s.png" % (name, part), **look)

    def test_what_it_shows_is_what_was_counted(self):
        self.keep(kit.OurService(self.broker.back, **CALM))
        self.client.call("Demo", "add", 1, 2)
        self.open()
        self.drawn("snaps.length>1", "two answers")
        for _ in range(20):
            self.client.call("Demo", "add", 1, 2)
        for _ in range(5):
            self.fails("Demo", "add", 1, "x")
        self.client.call("Demo", "upper", "x")
        self.client.call("Demo", "sleep", 60)
        self.client.call("Demo", "pid")
        self.fails("Demo", "crash")
        # the ledger: 1 + 20 + 3 well, 5 + 1 not
        self.drawn("snaps.at(-1).by.get('Demo')&&sum(snaps.at(-1).by.get("
                   "'Demo').out)==30", "all calls")
        self.assertEqual(self.page.js("snaps.at(-1).by.get('Demo').out.ok"), 24)
        errors = {c["name"]: c["n"] for c in
                  self.snapshot()["services"][0]["classes"]}
        self.assertEqual(errors, {"TypeError": 5, "WorkerLostError": 1})
        for name, n in errors.items():
            self.assertRegex(self.text("#errs"), r"%s\s+%d\s" % (name, n))
        self.same_elsewhere(24, errors)
        self.assertIn("Demo.sleep", self.text("#slow"))
        self.assertIn("1 / 1", self.text("#tiles"))
        self.drawn("D.pools.some(p=>p.kind=='processes'&&p.restarts)",
                   "the crash, as its worker tells it")
        self.assertIn("restarts: crash 1", self.text("#pools"))
        self.drawn("D.tail.some(x=>x.text.includes('killed'))", "its line")
        self.assertEqual(self.page.complaints(), [])
        if PICTURES:
            self.three_services()

    def same_elsewhere(self, ok, errors):
        """The same in /metrics, in top and in Gate.observe."""
        with urllib.request.urlopen("http://%s/metrics" % self.monitor,
                                    timeout=30) as got:
            lines = got.read().decode().splitlines()
        demo = self.client.call("Gate", "observe")["services"][0]
        top = json.loads(kit.run("top", "--broker", self.broker.front, "--json",
                                 "--once", "--view", "errors", **CALM).out)
        bad = sum(errors.values())
        for outcome, n in (("ok", ok), ("exception", bad)):
            self.assertIn('gaterpc_broker_calls_total{service="Demo",outcome='
                          '"%s"} %d' % (outcome, n), lines)
            self.assertEqual(demo["outcomes"][outcome], n)
        self.assertEqual({r["CLASS"]: r["TOTAL"] for r in top["rows"]}, errors)
        self.assertIn('gaterpc_broker_call_seconds_count{service="Demo"} %d'
                      % (ok + bad), lines)
        self.assertEqual(demo["total"]["n"], ok + bad)
        now = self.page.js("[...snaps.at(-1).by.get('Demo').total.entries()]")
        slots = demo["total"]["slots"]
        self.assertEqual(sorted(map(list, now)),
                         sorted(map(list, zip(slots[::2], slots[1::2]))))
        median = self.page.js("quant(snaps.at(-1).by.get('Demo').total,.5)")
        self.assertLessEqual(abs(median * 1e6 - demo["total"]["p50_us"]),
                             demo["total"]["p50_us"] / 8 + 1)

    def three_services(self):
        """Something to look at."""
        for name in ("Search", "Mail"):
            self.keep(peers.Background(peers.Worker(
                self.broker.back, name, peers.demo_methods(),
                hb=peers.CALM_HB)))
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for name in ("Demo", "Search", "Mail"):
                for i in range(5):
                    self.client.call(name, "add", i, 2)
            self.client.call("Demo", "upper", "x")
            self.client.call("Demo", "sleep", 60)
            self.client.call("Demo", "fib", 20)
            if time.monotonic() % 3 < .2:
                self.fails("Search", "add", 1, "x")
        self.page.press("j")
        self.page.press("Enter")
        self.pictures("page")

    def test_names_are_text(self):
        worker = self.keep(peers.Background(peers.Worker(
            self.broker.back, EVIL, {EVIL: lambda: 1}, hb=peers.CALM_HB)))
        self.until(lambda: EVIL in self.client.call("Gate", "get_services"), 20,
                   "it is registered")
        self.client.call(EVIL, EVIL)
        self.client.request(EVIL, "x" * 100000, (), {})
        self.client.call(EVIL, EVIL)
        self.open()
        self.drawn("D.services.some(s=>s.methods.length)", "its method")
        self.page.press("j")
        self.page.press("Enter")
        self.until(lambda: self.text("#svc").count("<img") == 2, 20,
                   "its method is shown")
        self.assertEqual(self.page.js("document.images.length"), 0)
        self.assertLess(self.page.js("document.body.innerText.length"), 20000)
        self.assertEqual(self.page.complaints(), [])
        self.assertTrue(worker)

    def test_a_broker_that_is_gone_and_back(self):
        self.keep(kit.OurService(self.broker.back, **CALM))
        self.client.call("Demo", "add", 1, 2)
        self.open()
        self.assertEqual(self.page.js("$('stale').style.display") or "none",
                         "none")
        self.broker.signal(signal.SIGKILL)
        self.broker.wait()
        self.drawn("$('stale').style.display=='block'", "the red bar")
        self.assertRegex(self.text("#stale"), "^No answer from the broker for")
        self.picture("page-gone.png")
        self.begin()
        self.drawn("$('stale').style.display=='none'", "it is back")
        self.assertEqual(self.page.complaints(), [])

    def test_keys_schemes_and_paper(self):
        self.keep(kit.OurService(self.broker.back, **CALM))
        self.client.call("Demo", "add", 1, 2)
        self.client.call("Demo", "sleep", 60)
        self.fails("Demo", "crash")
        self.open()
        self.drawn("D.tail.length", "the crash's line")
        for scheme in ("light", "dark"):
            self.page.look(1440, 1000, scheme)
            self.assertEqual(self.page.js(CONTRAST), [], scheme)
        self.page.press("p")
        self.assertTrue(self.page.js("paused"))
        self.page.press("p")
        self.page.press("?")
        self.assertTrue(self.page.js("$('keys').open"))
        self.page.js("$('keys').close()")
        self.page.press("t")
        self.assertEqual(self.page.js(
            "document.documentElement.dataset.theme"), "light")
        self.page.press("/")
        for key in "nix":
            self.page.press(key)
        self.until(lambda: self.page.js("services.n") == 0, 10, "filtered")
        self.page.press("Escape")
        self.until(lambda: self.page.js("services.n") == 1, 10, "all again")
        self.page.look(700, 1000)
        self.until(lambda: self.page.js(
            "document.documentElement.scrollWidth") <= 700, 10,
            "nothing beside the screen")
        self.assertEqual(self.page.printed()[:5], b"%PDF-")
        self.assertEqual(self.page.complaints(), [])

    def test_300_services(self):
        workers = [self.keep(peers.RawWorker(self.broker.back))
                   for _ in range(300)]
        for i, worker in enumerate(workers):
            worker.register("Service-%03d" % i)
        for i in range(3):
            rid = self.client.request("Service-%03d" % i, "f", (), {})
            workers[i].answer(workers[i].expect(peers.REQUEST, 20),
                              peers.result(1))
            self.assertIsNotNone(self.client.reply(rid, 20))
        self.open()
        self.drawn("D.services.length==300", "all of them")
        rows = self.page.js("document.querySelectorAll('#svc tr.svc').length")
        self.assertEqual(rows, 300)
        self.assertIn("+276 others", self.page.js("$('topo').textContent"))
        self.assertLess(self.page.js(
            "document.querySelectorAll('*').length"), 12000)
        self.pictures("page-300")
        self.assertEqual(self.page.complaints(), [])


kit.main()
