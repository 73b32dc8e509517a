# SPDX-License-Identifier: BSD-3-Clause
#   tests/wire/test_*.py    raw Python peers against the command   (wire)
#   tests/fault/fault_*.c   own main, public headers, children     (fault)
# Both drive the `gate` command; peers against peers runs without it.
set(GATE_SYSTEM_PYTHON /usr/bin/python3 CACHE FILEPATH
  "the Python that has zmq and msgpack")
set(slow 1)
if(GATE_SANITIZE)
  set(slow 3)
endif()

file(GLOB tests CONFIGURE_DEPENDS tests/wire/test_*.py)
foreach(source ${tests})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE test_ wire_ name ${name})
  if(TARGET gate)
    gate_test(${name} wire 600 ${CMAKE_COMMAND} -E env
      GATE_COMMAND=$<TARGET_FILE:gate> GATE_SLOW=${slow}
      PYTHONDONTWRITEBYTECODE=1 ${GATE_SYSTEM_PYTHON} ${source})
  elseif(name STREQUAL "wire_peers")
    gate_test(${name} wire 600 ${GATE_SYSTEM_PYTHON} -B ${source})
  endif()
endforeach()

if(TARGET gate)
  set(fault ${CMAKE_CURRENT_SOURCE_DIR}/tests/fault)
  file(GLOB kit CONFIGURE_DEPENDS ${fault}/*.c)
  list(FILTER kit EXCLUDE REGEX "/(fault_[^/]*|clock_shim)\\.c$")
  add_library(gate_fault STATIC ${kit}
    ${CMAKE_CURRENT_SOURCE_DIR}/tests/kit/nats_server.c)
  target_compile_options(gate_fault PUBLIC "-iquote${fault}"
    "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/kit")
  target_compile_definitions(gate_fault PRIVATE ${GATE_TEST_NATS})
  target_link_libraries(gate_fault PUBLIC gate_options gaterpc gate_msgpack
    gate_zeromq Threads::Threads)
  add_library(gate_clock MODULE ${fault}/clock_shim.c) # preloaded
  set(preload_fault_clock $<TARGET_FILE:gate_clock>)
  set(preload_fault_nights $<TARGET_FILE:gate_clock>)
  file(GLOB tests CONFIGURE_DEPENDS tests/fault/fault_*.c)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE gate_fault)
    gate_test(${name} fault 900 ${CMAKE_COMMAND} -E env GATE_SLOW=${slow}
      $<TARGET_FILE:${name}> $<TARGET_FILE:gate> ${preload_${name}})
  endforeach()
  # With lanes from the first message on; under TSan, which runs no fault tests
  # else, as stress.
  set(label fault)
  if(GATE_SANITIZE STREQUAL "thread")
    set(label stress)
  endif()
  foreach(name mixed worker_kill same_identity drain hot_restart streams again)
    gate_test(fault_${name}_lane ${label} 900 ${CMAKE_COMMAND} -E env
      GATE_LANE=always GATE_SLOW=${slow} $<TARGET_FILE:fault_${name}>
      $<TARGET_FILE:gate>)
    add_dependencies(tests_${label} fault_${name})
  endforeach()
  # The same with workers of Python's kind.
  if(NOT GATE_SANITIZE)
    foreach(name same_identity worker_kill broker_restart stop_cont slow_reader
        flood)
      gate_test(fault_${name}_python fault 900 ${CMAKE_COMMAND} -E env
        "GATE_FAULT_WORKER=${GATE_SYSTEM_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/tests/wire/worker.py"
        $<TARGET_FILE:fault_${name}> $<TARGET_FILE:gate>)
    endforeach()
  endif()
endif()
