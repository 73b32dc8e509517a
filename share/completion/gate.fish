# SPDX-License-Identifier: BSD-3-Clause
# fish completion for gate(1): the command says itself what a word may become.
function __gate_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in ($words[1] --complete $words[2..-1] "$word" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$word"
        else
            echo $line
        end
    end
end
complete -c gate -f -a '(__gate_complete)'
