# SPDX-License-Identifier: BSD-3-Clause
"""examples/module.c: gate serve loads it and its methods answer."""
import sys

from gate import Gate

with Gate(sys.argv[1]) as gate:
    assert gate.ready == "ready service=Greeter\n", gate.ready
    assert gate.call("Greeter.greet", "you") == '"hello you"\n'
    assert gate.call("Greeter.greet", "me") == '"hello me"\n'
    assert gate.call("Greeter.calls") == "2\n"
