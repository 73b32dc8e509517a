# SPDX-License-Identifier: BSD-3-Clause
"""Verbs that print rows: at a terminal heads with units above aligned columns, in a
pipe the same fields by tabs and no heads, with --json one line that is JSON."""
import fcntl
import json
import os
import re
import select
import struct
import subprocess
import termios

from cli import CALM, Session, kit

# Words, heads at a terminal, and what is in a row of theirs.
VERBS = (
    ("services --stats", ["SERVICE", "WORKERS", "CREDIT", "QUEUED", "OLDEST ms",
                          "CALLS", "ERRORS", "LOCAL", "FAR"], "Demo"),
    ("services --workers", ["SERVICE", "WORKER", "IN FLIGHT", "MAX", "SILENT ms",
                            "STATE"], "Demo"),
    ("inspect Demo", ["METHOD", "SIGNATURE", "RUNS", "DOC"], "add"),
    ("settings", ["SETTING", "VALUE", "DEFAULT", "SOURCE", "MEANING"], "heartbeat"),
    ("brokers", ["BROKER", "NODE", "STATE", "ZONE", "RTT ms", "SERVICES", "TO",
                 "FROM", "KEPT bytes", "RESENT", "AGE ms", "STALLED ms"], None),
    ("context list", ["NAME", "BROKER", "USER"], "here"),
)

class Tables(Session):
    def environment(self):
        return {**kit.environment(**CALM), "GATE_BROKER": self.broker.front,
                "XDG_CONFIG_HOME": os.path.join(self.dir, "config"), "TERM": "xterm"}

    def setUp(self):
        super().setUp()
        self.piped("context", "add", "here", "--broker", self.broker.front)

    def piped(self, *words):
        done = subprocess.run([kit.GATE, *words], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, env=self.environment(),
                              timeout=60 * kit.SLOW)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def shown(self, *words):
        """What a terminal gets, in lines."""
        master, slave = kit.terminal()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.addCleanup(os.close, master)
        process = subprocess.Popen([kit.GATE, *words], stdout=slave,
                                   stderr=subprocess.DEVNULL, env=self.environment())
        os.close(slave)
        text = b""
        while select.select([master], [], [], 60 * kit.SLOW)[0]:
            try:
                text += os.read(master, 65536)
            except OSError:  # the last one has closed it
                break
        self.assertEqual(process.wait(60 * kit.SLOW), 0)
        return text.decode().replace("\r\n", "\n").splitlines()

    def columns(self, heads, line):
        """Where each head begins and ends."""
        found, at = [], 0
        for head in heads:
            at = line.index(head, at)
            found.append((at, at + len(head)))
            at += len(head)
        return found

    def test_at_a_terminal_and_in_a_pipe(self):
        for words, heads, name in VERBS:
            with self.subTest(words):
                head, *rows = self.shown(*words.split())
                self.assertEqual(re.split(r"  +", head.strip()), heads)
                lines = [x.split("\t") for x in self.piped(*words.split()).splitlines()]
                self.assertEqual(len(rows), len(lines))
                if name is None:
                    self.assertEqual(rows, [])  # joined with no other broker
                    continue
                self.assertTrue(any(name in fields for fields in lines), lines)
                self.aligned(self.columns(heads, head), rows, lines)

    def aligned(self, columns, rows, lines):
        """Each field stands below its head: at its left end, or its right one."""
        for row, fields in zip(rows, lines):
            for (left, right), field in zip(columns, fields[-len(columns):]):
                if field.isdigit():  # its length may be another one now
                    self.assertTrue(re.match(r"\d+( |$)", row[left:])
                                    or re.search(r"(^| )\d+$", row[:right]), row)
                    continue
                self.assertIn(field, (
                    row[left:left + len(field)],
                    row[right - len(field):right]), (row, field))

    def test_json(self):
        for words, heads, name in VERBS:
            with self.subTest(words):
                text = self.piped(*words.split(), "--json")
                self.assertEqual(text.count("\n"), 1)
                told = json.loads(text)
                self.assertIsInstance(told, (dict, list))
                self.assertTrue(name is None or name in str(told), text)


kit.main()
