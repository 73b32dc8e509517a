# SPDX-License-Identifier: BSD-3-Clause
"""Chromium by its own protocol over a pipe: no driver, no port. A page is
looked at as a person would: what it shows, what it complains about."""
import base64
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found():
    """Where a browser is, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a browser of its own, whose files are in that folder."""

    def __init__(self, folder, width=1440, height=1000, patience=60.0):
        self.patience, self.n, self.left, self.events = patience, 0, b"", []
        ours_in, theirs_out = os.pipe()
        theirs_in, self.out = os.pipe()
        self.inp = ours_in

        def pipes():  # it reads from 3 and writes to 4
            a, b = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.process = subprocess.Popen(
            [found(), "--headless", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-pipe", "--hide-scrollbars",
             "--user-data-dir=" + os.path.join(folder, "browser"),
             "--window-size=%d,%d" % (width, height), "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=pipes,
            env={**os.environ, "TMPDIR": folder, "HOME": folder})
        os.close(theirs_in)
        os.close(theirs_out)
        self.session = None
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"]
                      if t["type"] == "page")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target,
                                flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(domain + ".enable")

    def close(self):
        try:
            session, self.session = self.session, None
            self.ask("Browser.close")
        except (OSError, AssertionError):
            self.process.kill()
        self.process.wait(self.patience)
        os.close(self.inp)
        os.close(self.out)

    # ---- the pipe -----------------------------------------------------------
    def _next(self, end):
        while b"\0" not in self.left:
            wait = max(0, end - time.monotonic())
            assert select.select([self.inp], [], [], wait)[0], "no answer"
            got = os.read(self.inp, 1 << 20)
            assert got, "the browser has ended"
            self.left += got
        message, self.left = self.left.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        self.n += 1
        message = {"id": self.n, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        end = time.monotonic() + self.patience
        while True:
            got = self._next(end)
            if got.get("id") == self.n:
                assert "error" not in got, (method, got)
                return got["result"]
            self.events.append(got)

    # ---- what a person does ---------------------------------------------------
    def go(self, url):
        self.ask("Page.navigate", url=url)

    def js(self, expression):
        got = self.ask("Runtime.evaluate", expression=expression,
                       returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def look(self, width, height, scheme="light", media=""):
        self.ask("Emulation.setDeviceMetricsOverride", width=width,
                 height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", media=media, features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, name, whole=True):
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        with open(name, "wb") as f:
            f.write(base64.b64decode(data["data"]))

    def printed(self):
        return base64.b64decode(
            self.ask("Page.printToPDF", printBackground=True)["data"])

    def complaints(self):
        """Errors of scripts and of the policy; of the network: a broker that is
        away is no fault of the page's."""
        return [e["params"] for e in self.events
                if e.get("method") == "Runtime.exceptionThrown"
                or e.get("method") == "Log.entryAdded"
                and e["params"]["entry"]["level"] == "error"
                and e["params"]["entry"]["source"] != "network"]
