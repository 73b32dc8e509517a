# SPDX-License-Identifier: BSD-3-Clause
"""Each example of docs/python.md runs, by itself, beside a broker and the demo
service."""
import os
import re
import subprocess
import sys
import unittest

import rig

with open(os.path.join(rig.ROOT, "docs", "python.md"), encoding="utf-8") as f:
    EXAMPLES = re.findall(r"```python\n(.*?)```", f.read(), re.S)
SAYS = ["5\n0\n1\n2\noh no RAISED",
        "5\n5050\n0\n1\n2\ncancelled, at the service too\n", "True\n",
        "5 x\n[0, 1, 2]\n", "{'args': [1], 'kwargs': {'k': 2}}\n"]


class Examples(rig.Session):
    def test_all(self):
        self.assertEqual(len(EXAMPLES), len(SAYS))
        for text, says in zip(EXAMPLES, SAYS):
            done = subprocess.run(
                [sys.executable, "-B", "-c", "front, back = %r, %r\n%s" % (
                    self.broker.front, self.broker.back, text)],
                env={**os.environ,
                     "PYTHONPATH": os.path.join(rig.ROOT, "python")},
                capture_output=True, text=True, timeout=4 * rig.WAIT)
            self.assertEqual(done.returncode, 0, done.stderr[-3000:])
            self.assertTrue(done.stdout.startswith(says), done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
