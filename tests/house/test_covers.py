# SPDX-License-Identifier: BSD-3-Clause
"""Each .c of src has a test that is known to script/test --who: one of unit, fuzz
or stress that includes its header, or one of api, wire, fault or cli that runs it
(tests/covers.txt); and no line of that table is of a file or test that is gone."""
import os
import sys

from house import ROOT, files, verdict

sys.path.insert(0, os.path.join(ROOT, "script"))
import who  # noqa: E402

by_include, by_run = who.including(), who.table()
sources = files(".c", under="src/")
problems = ["%s: no test is known to cover it: script/who.py --record, or a line in "
            "tests/covers.txt" % name for name in sources
            if not any(who.covers(name, by_include, by_run))]
problems += ["tests/covers.txt: %s is gone" % name
             for name in sorted(set(by_run) - set(sources))]
known = {"api_" + os.path.basename(n)[:-2] for n in files(".c", under="tests/api/")}
known |= {"bench_verbs", "bench_gate"}
known |= {os.path.basename(n)[:-2] for n in files(".c", under="tests/fault/fault_")}
for kind in ("wire", "cli"):
    known |= {kind + "_" + os.path.basename(n)[len("test_"):-3]
              for n in files(".py", under="tests/%s/test_" % kind)}
problems += ["tests/covers.txt: %s: there is no test %s" % (name, test)
             for name, tests in sorted(by_run.items()) for test in tests
             if test not in known and test.removesuffix("_python") not in known]
verdict(problems)
