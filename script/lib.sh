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

# step TEXT COMMAND...: what is done, where it is every 5 seconds, and how long
# it took; all of its output only when it fails.
step() {
  step_text=$1
  shift
  step_began=$(date +%s)
  step_shown=$step_began
  mkdir -p build
  step_log=$(mktemp build/step-XXXXXX)
  { "$@" 2>&1 </dev/null && echo "ended well"; } |
    while IFS= read -r line; do
      printf '%s\n' "$line" >>"$step_log"
      now=$(date +%s)
      [ $((now - step_shown)) -lt 5 ] || {
        step_shown=$now
        printf '   %4d s  %.68s\n' $((now - step_began)) "$line"
      }
    done
  if [ "$(tail -1 "$step_log")" != "ended well" ]; then
    tail -60 "$step_log" >&2
    rm -f "$step_log"
    return 1
  fi
  rm -f "$step_log"
  printf '   %4d s  %s: done\n' $(($(date +%s) - step_began)) "$step_text"
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
  echo "   to be installed:$missing"
  as_root=
  if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || {
      echo "$(basename "$0"): not root, no sudo: apt-get install$missing" >&2
      exit 1
    }
  fi
  export DEBIAN_FRONTEND=noninteractive
  step "apt-get update" $as_root apt-get update -q || return 1
  # shellcheck disable=SC2086 # a list of words
  step "apt-get install" $as_root apt-get install -q -y \
    --no-install-recommends $missing
}
