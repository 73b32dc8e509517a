# SPDX-License-Identifier: BSD-3-Clause
"""Each public function either is called by a stress_nomem* test, where every
allocation fails in turn, or stands below because it asks for no memory."""
import re

from house import files, read, verdict

# Nothing but reading, setting a field, or an argument built by value.
ASKS_FOR_NONE = """
    gate_version gate_error gate_err_name gate_err_text gate_perror gate_exit_code
    gate_child_state_text gate_level_name gate_log_dropped
    gate_null gate_bool gate_int gate_uint gate_f64 gate_str gate_strn gate_bin
    gate_bytes gate_obj gate_val gate_raw gate_ext gate_queue_arg gate_caller_fd gate_answerer_fd
    gate_huge_arg gate_same
    gate_onone gate_oi64 gate_oll gate_oint gate_ou64 gate_of64 gate_obool
    gate_ostr gate_odup gate_obytes gate_oobj gate_oval gate_oqueue gate_osame
    gate_opt_ gate_kwslot_
    gate_future_ready gate_future_error gate_stream_error gate_stream_index
    gate_stream_single gate_cq_fd gate_dict_capacity gate_service_name
""".split()
# Macros that call what they are named after.
MACROS = {"gate_list": "gate_list_here_", "gate_map": "gate_map_here_",
          "gate_no_args": "gate_args_", "gate_named": "gate_kwslot_",
          "gate_kwopt": "gate_opt_"}


def declared():
    names = set()
    for name in files(".h", under="include/"):
        for rest in read(name).split("GATE_API ")[1:]:
            found = re.search(r"\b(gate_\w+)\s*\(", rest.split(";", 1)[0])
            if found:
                names.add(found.group(1))
    return names


def called():
    names = set()
    for name in files(".c", under="tests/stress/nomem"):
        text = re.sub(r"/\*.*?\*/", "", read(name), flags=re.S)
        for word in re.findall(r"\b(gate_\w+)\s*\(", text):
            names |= {word, word + "_", MACROS.get(word, word)}
        for cls in re.findall(r"GATE_OWN\((\w+)\)", text):
            names.add(cls + "_destroy")
    return names


public, tried, none = declared(), called(), set(ASKS_FOR_NONE)
verdict(["no stress_nomem test calls " + n
         for n in sorted(public - tried - none)]
        + ["no public function: " + n for n in sorted(none - public)])
