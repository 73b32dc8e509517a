# SPDX-License-Identifier: BSD-3-Clause
"""summary.py RESULTS STARTED: adds up ctest's reports of all presets and the
notes of script/test, ends like ctest does; exit code 1 if anything failed."""
import glob
import os
import re
import sys
import time
import xml.etree.ElementTree as xml

folder, started = sys.argv[1], int(sys.argv[2])
failed, skipped, total = [], [], 0


def reason(case):
    """The last line that a skipped test wrote."""
    lines = (case.findtext("system-out") or "").strip().splitlines()
    return lines[-1].replace("skipped: ", "") if lines else "no reason given"


def inside(case):
    """What a test that passed skipped in itself: (its part, why)."""
    text = case.findtext("system-out") or ""
    for line in text.splitlines():
        found = (re.match(r"skipped: (?:(\S+/\S+): )?(.+)", line)
                 or re.match(r"\[SKIP\] (\S+): (?!Test is disabled)(.+)", line)
                 or re.match(r"(?:(\S+) \(.*|.*)\.\.\. skipped ['\"](.*)['\"]$", line))
        if found:
            yield (found.group(1) or "a part", found.group(2))


print("\n== summary")
for report in sorted(glob.glob(os.path.join(folder, "*.xml")),
                     key=os.path.getmtime):
    preset = os.path.splitext(os.path.basename(report))[0]
    counts = {"run": 0, "fail": 0, "notrun": 0}
    for case in xml.parse(report).getroot().iter("testcase"):
        name = "%s.%s" % (preset, case.get("name"))
        status = case.get("status")
        counts[status if status in counts else "notrun"] += 1
        if status == "run":
            total += 1
            skipped += ["%s, %s: %s" % (name, *part) for part in inside(case)]
        elif case.find("skipped") is not None and status != "fail":
            skipped.append("%s: %s" % (name, reason(case)))
        else:
            total += 1
            failed.append(name)
    print("%-10s %4d passed %4d failed %4d skipped"
          % (preset, counts["run"], counts["fail"], counts["notrun"]))
    if not sum(counts.values()):
        failed.append(preset + ": no tests at all")

notes = os.path.join(folder, "notes.tsv")
if os.path.exists(notes):
    with open(notes) as f:
        for line in f:
            name, verdict, text = line.rstrip("\n").split("\t")
            total += 1
            print("%-24s %s (%s)" % (name, verdict, text))
            if verdict == "failed":
                failed.append(name)

again = []
for log in sorted(glob.glob(os.path.join(folder, "*.ctest"))):
    preset = os.path.splitext(os.path.basename(log))[0]
    with open(log, errors="replace") as f:
        for name in re.findall(r"Test +#\d+: (\S+) \.*[A-Za-z ]*\*\*\*(?!Skipped|Not)",
                               f.read()):
            name = "%s.%s" % (preset, name)
            if name not in failed and name not in again:
                again.append(name)
if again:
    print("\nThe following tests passed only when they were run again:")
    for name in again:
        print("\t" + name)
if skipped:
    print("\nThe following tests were skipped:")
    for line in skipped:
        print("\t" + line)
passed = total - len(failed)
print("\n%d%% tests passed, %d tests failed out of %d\n"
      % (100 * passed // total if total else 0, len(failed), total))
print("Total Test time (real) = %7.2f sec" % (time.time() - started))
if failed or not total:
    print("\nThe following tests FAILED:")
    for name in failed:
        print("\t" + name)
    sys.exit(1)
