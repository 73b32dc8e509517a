# SPDX-License-Identifier: BSD-3-Clause
# lib.sh -- what the scripts share; sourced by sh.

# say TEXT: a heading, in colour on a terminal.
say() {
  if [ -t 1 ]; then printf '\033[1;34m== %s\033[0m\n' "$*"; else echo "== $*"; fi
}

# quietly COMMAND...: its output is shown only when it fails.
quietly() {
  if ! quiet_output=$("$@" 2>&1); then
    printf '%s\n' "$quiet_output" >&2
    return 1
  fi
}
