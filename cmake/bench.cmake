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
