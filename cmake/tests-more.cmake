# SPDX-License-Identifier: BSD-3-Clause
# Tests that are scripts, and the examples. All are given the build under test
# by environment: GATE_COMMAND (the gate command), GATE_BUILD (its directory),
# GATE_SLOW (by what upper time bounds are stretched). Exit code 77 = skipped,
# the reason being the last line of output.
find_program(GATE_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
set(GATE_SLOW 1)
if(GATE_SANITIZE OR GATE_FUZZ)
  set(GATE_SLOW 5)
endif()

# gate_script(NAME LABEL TIMEOUT command...)
function(gate_script name label timeout)
  gate_test(${name} ${label} ${timeout} ${ARGN})
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT
    "GATE_COMMAND=${CMAKE_BINARY_DIR}/gate" "GATE_BUILD=${CMAKE_BINARY_DIR}"
    "GATE_SLOW=${GATE_SLOW}")
endfunction()

if(TARGET gate)
  add_library(cli_fragile MODULE tests/cli/fragile.c) # of test_supervise.py
  set_target_properties(cli_fragile PROPERTIES PREFIX "")
  target_link_libraries(cli_fragile PRIVATE gate_options gaterpc gate_msgpack)
  file(GLOB tests CONFIGURE_DEPENDS tests/cli/test_*.py)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE test_ cli_ name ${name})
    gate_script(${name} cli 300 ${GATE_PYTHON} -B ${source})
  endforeach()
  if(TARGET gi_monitor)
    gate_script(page_chromium cli 300 ${GATE_PYTHON} -B tests/page/test_page.py)
  endif()
  if(TARGET gi_bench)
    gate_script(bench_gate bench 120 ${GATE_PYTHON} -B tests/cli/bench_smoke.py)
  endif()
  include(cmake/examples.cmake)
endif()

# python/gate, by the Python that has zmq and msgpack; each says why where the
# library has a sanitizer.
if(TARGET gate)
  file(GLOB tests CONFIGURE_DEPENDS tests/python/test_*.py)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE test_ python_ name ${name})
    gate_script(${name} cli 300 ${GATE_SYSTEM_PYTHON} -B ${source})
  endforeach()
endif()

include(cmake/cxx.cmake)

# The rules hold for the sources: once is enough, in a plain build.
if(NOT GATE_SANITIZE AND NOT GATE_FUZZ)
  file(GLOB tests CONFIGURE_DEPENDS tests/house/test_*.py)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE test_ house_ name ${name})
    gate_script(${name} house 300 ${GATE_PYTHON} -B ${source})
  endforeach()
endif()
