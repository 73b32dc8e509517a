# SPDX-License-Identifier: BSD-3-Clause
# bench/*.c: own mains that print JSON and see all rooms; ctest only makes sure
# that they run (label bench, smallest size).
file(GLOB benches CONFIGURE_DEPENDS bench/*.c)
foreach(source ${benches})
  get_filename_component(name ${source} NAME_WE)
  add_executable(bench_${name} ${source})
  gate_quote(bench_${name} proto huge pool actors)
  target_link_libraries(bench_${name} PRIVATE gi_all)
  gate_test(bench_${name} bench 120 bench_${name} 2)
endforeach()
# bench_threads compares with these where they are there.
if(TARGET bench_threads)
  foreach(peer glib-2.0:GLIB libuv:LIBUV)
    string(REPLACE ":" ";" peer ${peer})
    list(GET peer 0 module)
    list(GET peer 1 name)
    pkg_check_modules(BENCH_${name} QUIET IMPORTED_TARGET ${module})
    if(BENCH_${name}_FOUND)
      target_link_libraries(bench_threads PRIVATE PkgConfig::BENCH_${name})
      target_compile_definitions(bench_threads PRIVATE GI_BENCH_${name})
    endif()
  endforeach()
endif()
