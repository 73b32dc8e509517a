# SPDX-License-Identifier: BSD-3-Clause
"""Other people's systems beside ours: the page is made of what was recorded, and
where script/bench-peers has built the drivers, each of them answers."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RECORD = os.path.join(ROOT, "bench", "peers.json")
FORMER = "the former table"
PROGRAM = os.path.join(ROOT, "build", "peers", "bench_peers")


class Page(unittest.TestCase):
    def test_from_the_record(self):
        with open(RECORD) as f:
            record = json.load(f)
        with tempfile.TemporaryDirectory() as folder:
            def path(name):
                return os.path.join(folder, name)

            def put(name, value):
                with open(path(name), "w") as f:
                    json.dump(value, f)
            put("calls.json", record["calls"])
            for key, name in (("threads", "threads"), ("processes", "procs")):
                for i, one in enumerate(record[key]):
                    put("%s-%d.json" % (name, i), one)
            with open(path("page.md"), "w") as f:
                f.write("before\n<!-- peers -->\n%s\n<!-- end -->\nafter\n"
                        % FORMER)
            subprocess.run([sys.executable, "-B", os.path.join(
                ROOT, "script", "peers_page.py"), folder, path("again.json"),
                path("page.html"), path("page.md")], check=True,
                stdout=subprocess.DEVNULL, timeout=60)
            with open(path("page.md")) as f:
                section = f.read()
            with open(path("page.html")) as f:
                page = f.read()
        self.assertNotIn(FORMER, section)
        self.assertTrue(section.startswith("before\n"))
        self.assertTrue(section.endswith("after\n"))
        for name in ("NATS", "Gearman", "gRPC", "nng", "gaterpc, by sockets"):
            self.assertIn(name, section)
            self.assertIn(name, page)
        self.assertIn("<svg", page)
        self.assertTrue(page.rstrip().endswith("</html>"))
        self.assertNotIn("http://", page.replace("http://www.w3.org/2000/svg",
                                                 ""))


    def test_what_is_asked(self):
        """Each figure that was recorded has its row, and what misses is bold."""
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.md")
            with open(page, "w") as f:
                f.write("".join("<!-- bench:%s -->\n%s\n<!-- end -->\n" % (
                    name, FORMER) for name in ("targets", "gains")))
            subprocess.run([sys.executable, "-B", os.path.join(
                ROOT, "script", "bench_targets.py"),
                os.path.join(os.path.dirname(RECORD), "record.json"), RECORD,
                page], check=True, timeout=60)
            with open(page) as f:
                asked, gains = f.read().split("<!-- end -->")[:2]
        self.assertNotIn(FORMER, asked + gains)
        for what in ("one outstanding", "1,000 outstanding", "stream items/s",
                     "process pool", "thread pool", "1,000 services"):
            self.assertIn("| " + what, asked)
        for line in asked.splitlines():
            if "at least 0.5" in line:
                value = line.split("ipc ")[1].strip(" |")
                self.assertEqual(value.startswith("**"),
                                 float(value.strip("*")) < 0.5)
        for name in ("NATS", "ProcessPoolExecutor", "a bare zactor"):
            self.assertIn(name, gains)


class Drivers(unittest.TestCase):
    @unittest.skipUnless(os.path.exists(PROGRAM),
                         "script/bench-peers has not been run here")
    def test_every_system_answers(self):
        done = subprocess.run(
            [PROGRAM, "--rounds", "1", "--seconds", "0.1", "--outstanding",
             "1,10"], stdout=subprocess.PIPE, text=True, timeout=200)
        self.assertEqual(done.returncode, 0)
        report = json.loads(done.stdout)
        for one in report["results"] + report["references"]:
            with self.subTest(system=one["system"], w=one["outstanding"]):
                self.assertGreater(one["n"], 0)
                self.assertEqual(one["errors"], 0)


unittest.main(verbosity=2)
