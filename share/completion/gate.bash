# SPDX-License-Identifier: BSD-3-Clause
# bash completion for gate(1): the command says itself what a word may become.
_gate() {
  local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} word about files= gate
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  local cur=${words[${#words[@]} - 1]}
  gate=${words[0]/#\~\//$HOME/}
  COMPREPLY=()
  while IFS=$'\t' read -r word about; do
    if [[ $word == :files ]]; then
      files=yes
    else
      COMPREPLY+=("$word")
    fi
  done < <("$gate" --complete "${words[@]:1}" 2>/dev/null)
  if [[ $files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  elif [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *. ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _gate gate
