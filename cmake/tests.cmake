# SPDX-License-Identifier: BSD-3-Clause
# Tests are found by where they lie; see tests/README.md.
#   tests/unit/<room>/*.c   Criterion, sees that room's private headers  (unit)
#   tests/api/*.c           Criterion, public headers and the library    (unit)
#   tests/stress/*.c        own main, sees all rooms; run under TSan too (stress)
#   tests/fuzz/fuzz_*.c     LLVMFuzzerTestOneInput; corpus replay        (fuzz)
#   tests/wire/test_*.py    raw pyzmq peers against the command          (wire)
#   tests/cli/test_*.py     the command's outputs and exit codes          (cli)
#   tests/house/*.py        the project's own rules                      (house)
#   examples/               each runs                                  (example)
set(GATE_SAN_FAIL
  "ERROR: (Leak|Address)Sanitizer|runtime error:|WARNING: ThreadSanitizer")
# No suppression: what libzmq hands over is annotated (base/handover.h), what it
# does inside is not looked at.
set(GATE_TSAN_OPTIONS
  "ignore_noninstrumented_modules=1:history_size=7")

# gate_criterion: Criterion, and where it does not run (ThreadSanitizer) as much
# of it as the tests use (tests/kit/plain).
add_library(gate_criterion INTERFACE)
if(GATE_SANITIZE STREQUAL "thread")
  add_library(gate_plain OBJECT tests/kit/plain/runner.c)
  target_include_directories(gate_plain SYSTEM PUBLIC tests/kit/plain)
  target_link_libraries(gate_plain PRIVATE gate_options)
  target_link_libraries(gate_criterion INTERFACE gate_plain
    $<TARGET_OBJECTS:gate_plain> m)
else()
  pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
  target_link_libraries(gate_criterion INTERFACE PkgConfig::CRITERION)
endif()

# gate_test(NAME LABEL TIMEOUT command...). Exit code 77 = skipped: the reason is
# the last line of output, "skipped: ...".
# What kills, floods or counts descriptors and shared memory runs alone, since
# beside others it would measure them.
# The target tests_LABEL builds what the tests of a label run.
function(gate_test name label timeout)
  if(NOT TARGET tests_${label})
    add_custom_target(tests_${label})
  endif()
  foreach(target ${name} gate)
    if(TARGET ${target})
      add_dependencies(tests_${label} ${target})
    endif()
  endforeach()
  add_test(NAME ${name} COMMAND ${ARGN}
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout}
    SKIP_RETURN_CODE 77
    FAIL_REGULAR_EXPRESSION "${GATE_SAN_FAIL}"
    ENVIRONMENT "TSAN_OPTIONS=${GATE_TSAN_OPTIONS}")
  if(name MATCHES "^(api|stress|wire)_huge|^api_calls$|^cli_files$|uplink") # they end under traffic
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT
      "LSAN_OPTIONS=suppressions='${CMAKE_CURRENT_SOURCE_DIR}/tests/lsan.supp':print_suppressions=0")
  endif()
  if(label MATCHES "stress|fault|bench" OR name STREQUAL "api_huge")
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

set(rooms ${GATE_SEE_ALL})
if(GATE_SANITIZE STREQUAL "thread") # the rest has one thread
  list(FILTER rooms INCLUDE REGEX "^(pool/(sync|memory|mail|async|shared|jobs|procs)|actors/net)$")
endif()
foreach(room ${rooms})
  file(GLOB tests CONFIGURE_DEPENDS tests/unit/${room}/*.c)
  foreach(source ${tests})
    get_filename_component(name ${source} NAME_WE)
    get_filename_component(leaf ${room} NAME)
    set(target unit_${leaf}_${name})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE gate_see_all)
    target_compile_options(${target} PRIVATE
      "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/kit")
    target_link_libraries(${target} PRIVATE gi_all gate_criterion)
    gate_test(${target} unit 300 ${target} --short-filename -j1 --verbose)
  endforeach()
endforeach()
set(GATE_TEST_NATS) # tests that join brokers say why they do not, where they cannot
if(TARGET gaterpc-uplink-nats)
  set(GATE_TEST_NATS TEST_HAS_NATS)
endif()
file(GLOB tests CONFIGURE_DEPENDS tests/api/*.c)
foreach(source ${tests})
  get_filename_component(name ${source} NAME_WE)
  add_executable(api_${name} ${source} tests/kit/rig.c tests/kit/nats_server.c)
  target_compile_options(api_${name} PRIVATE
    "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/kit")
  target_link_libraries(api_${name} PRIVATE gate_options gaterpc
    gate_msgpack gate_zeromq Threads::Threads gate_criterion)
  target_compile_definitions(api_${name} PRIVATE ${GATE_TEST_NATS})
  gate_test(api_${name} unit 300 api_${name} --short-filename -j1 --verbose)
endforeach()

file(GLOB tests CONFIGURE_DEPENDS tests/stress/*.c)
if(NOT GATE_SANITIZE STREQUAL "thread")
  list(FILTER tests EXCLUDE REGEX "/tsan_sees\\.c$")
endif()
foreach(source ${tests})
  get_filename_component(name ${source} NAME_WE)
  add_executable(stress_${name} ${source})
  target_link_libraries(stress_${name} PRIVATE gate_see_all)
  target_link_libraries(stress_${name} PRIVATE gi_all)
  if(name MATCHES "^nomem")
    target_sources(stress_${name} PRIVATE tests/kit/nomem.c)
    target_compile_options(stress_${name} PRIVATE
      "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/kit")
  endif()
  if(name MATCHES "^uplink")
    target_sources(stress_${name} PRIVATE tests/kit/nats_server.c)
    target_compile_options(stress_${name} PRIVATE
      "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/kit")
    target_compile_definitions(stress_${name} PRIVATE ${GATE_TEST_NATS})
  endif()
  gate_test(stress_${name} stress 600 stress_${name})
endforeach()

# The inputs of a target: tests/fuzz/corpus/NAME.tar.gz, unpacked to seeds/NAME;
# and what lies in a folder NAME beside it, until script/corpus.py packs it.
function(gate_corpus name out)
  set(seeds ${CMAKE_BINARY_DIR}/seeds/${name})
  set(archive ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/corpus/${name}.tar.gz)
  file(REMOVE_RECURSE ${seeds})
  file(MAKE_DIRECTORY ${seeds})
  if(EXISTS ${archive})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${archive})
    file(ARCHIVE_EXTRACT INPUT ${archive} DESTINATION ${seeds})
  endif()
  file(GLOB loose CONFIGURE_DEPENDS tests/fuzz/corpus/${name}/*)
  if(loose)
    file(COPY ${loose} DESTINATION ${seeds})
  endif()
  set(${out} ${seeds} PARENT_SCOPE)
endfunction()

# tests/sim: one program; a stress test, so that it runs under TSan too.
file(GLOB sources CONFIGURE_DEPENDS tests/sim/*.c)
add_executable(stress_sim ${sources})
target_compile_options(stress_sim PRIVATE
  "-iquote${CMAKE_CURRENT_SOURCE_DIR}/tests/sim")
target_link_libraries(stress_sim PRIVATE gate_see_all gi_all)
gate_test(stress_sim stress 600 stress_sim)

file(GLOB tests CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source ${tests})
  get_filename_component(name ${source} NAME_WE)
  if(GATE_FUZZ)
    add_executable(${name} ${source})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${source} tests/fuzz/replay.c)
  endif()
  target_link_libraries(${name} PRIVATE gate_see_all)
  target_link_libraries(${name} PRIVATE gi_all)
  file(STRINGS ${source} big REGEX "include \"big.h\"")
  if(big)
    target_link_options(${name} PRIVATE
      -Wl,--wrap=gi_mem_alloc,--wrap=gi_mem_realloc,--wrap=gi_mem_free)
  endif()
  if(name STREQUAL "fuzz_zap")
    target_link_options(${name} PRIVATE -Wl,--wrap=crypt_r)
  elseif(name STREQUAL "fuzz_json")
    target_sources(${name} PRIVATE src/cli/text/json_arg.c
      src/cli/text/json_read.c)
  endif()
  string(REPLACE fuzz_ "" corpus ${name})
  gate_corpus(${corpus} seeds)
  if(GATE_FUZZ)
    gate_test(${name} fuzz 120 ${name} -runs=0 ${seeds})
  else()
    set(random)
    if(name MATCHES "fuzz_(broker|client|service)_core") # at random: 1 M when long
      set(random -random=20000)
    endif()
    gate_test(${name} fuzz 300 ${name} ${random} ${seeds})
  endif()
endforeach()

include(${CMAKE_CURRENT_LIST_DIR}/tests-wire.cmake)
include(cmake/tests-more.cmake)
include(cmake/tests-bench.cmake)
