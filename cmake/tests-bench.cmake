# SPDX-License-Identifier: BSD-3-Clause
# The tests of gate bench:
#   tests/unit/cli/bench/*.c    its histogram, load and medians   (unit, Criterion)
#   tests/bench/test_*.py   every verb runs, short            (bench)
if(TARGET gi_bench)
  if(NOT GATE_SANITIZE STREQUAL "thread")
    foreach(name hist load result)
      add_executable(unit_bench_${name} tests/unit/cli/bench/${name}.c)
      gate_see(unit_bench_${name} cli/bench)
      target_link_libraries(unit_bench_${name} PRIVATE gi_bench
        gate_criterion m)
      gate_test(unit_bench_${name} unit 120 unit_bench_${name}
        --short-filename -j1 --verbose)
    endforeach()
  endif()
  file(GLOB tests CONFIGURE_DEPENDS tests/bench/test_*.py)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE test_ bench_ name ${name})
    # Baselines are those of a release build; script/test runs one.
    if(name STREQUAL "bench_instruction_count" AND
       (GATE_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release"))
      continue()
    endif()
    gate_script(${name} bench 300 ${GATE_PYTHON} -B ${source})
  endforeach()
endif()
