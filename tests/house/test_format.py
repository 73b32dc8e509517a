# SPDX-License-Identifier: BSD-3-Clause
"""clang-format decides."""
import shutil
import subprocess

from house import ROOT, files, skip

tool = shutil.which("clang-format-14") or shutil.which("clang-format")
if not tool:
    skip("no clang-format-14")
raise SystemExit(subprocess.run(
    [tool, "--dry-run", "-Werror", *files(".c", ".h")], cwd=ROOT).returncode)
