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

# install_missing PACKAGE...: Debian packages that are not there yet. Needs the
# network only then.
install_missing() {
  missing=
  for p; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true) in
      installed*) ;;
      *) missing="$missing $p" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  echo "$(basename "$0"): installing$missing" >&2
  as_root=
  if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || {
      echo "$(basename "$0"): not root, no sudo: apt-get install$missing" >&2
      exit 1
    }
  fi
  export DEBIAN_FRONTEND=noninteractive
  $as_root apt-get update -q >&2
  # shellcheck disable=SC2086 # a list of words
  $as_root apt-get install -q -y --no-install-recommends $missing >&2
}
