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
done = subprocess.run([GATE, "bench", "echo", "--trace", "--json", "--runs",
                       "inline,thread"], capture_output=True, text=True,
                      timeout=120)
assert done.returncode == 0, done.stderr
rows = [json.loads(line) for line in done.stdout.split("\n") if line]
assert [(r["transport"], r["runs"]) for r in rows] == [
    (t, runs) for runs in ("inline", "thread")
    for t in ("registry", "inproc", "ipc", "tcp")], rows
for row in rows:
    parts = {k: v[0] for k, v in row.items() if k.endswith("_us")}
    assert ("broker_us" in parts) == (row["transport"] != "registry"), row
    assert ("pool_wait_us" in parts) == (row["runs"] == "thread"), row
    assert 0 <= parts["handler_us"] <= parts["total_us"], row
    assert parts.get("broker_us", 0) <= parts["total_us"], row
bench("stream", "--transport", "ipc")
bench("threads", "--transport", "ipc", "--outstanding", "10")
bench("processes", "--transport", "ipc", "--outstanding", "10")
