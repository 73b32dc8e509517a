# SPDX-License-Identifier: BSD-3-Clause
"""gate bench: each verb runs, shortly, and its JSON is what it promises."""
import json
import os
import subprocess

GATE = os.environ["GATE_COMMAND"]


def bench(verb, *args):
    run = subprocess.run(
        [GATE, "bench", verb, "--json", "--seconds", "0.05", "--rounds", "1",
         *args], stdout=subprocess.PIPE, text=True, timeout=100)
    assert run.returncode == 0, (verb, run.returncode)
    report = json.loads(run.stdout)
    assert {"machine", "settings", "results", "references"} <= set(report)
    assert report["results"], verb
    for result in report["results"]:
        assert result["median"] > 0 and not result["errors"], result


bench("echo", "--transport", "registry,inproc,ipc,tcp", "--outstanding", "10")
bench("stream", "--transport", "ipc")
bench("threads", "--transport", "ipc", "--outstanding", "10")
bench("processes", "--transport", "ipc", "--outstanding", "10")
