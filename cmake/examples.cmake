# SPDX-License-Identifier: BSD-3-Clause
# Each example is a program that checks its own results and exits with 0.
file(GLOB examples CONFIGURE_DEPENDS examples/*.c)
foreach(source ${examples})
  get_filename_component(name ${source} NAME_WE)
  if(name STREQUAL "module")
    add_library(example_module MODULE ${source})
    set_target_properties(example_module PROPERTIES PREFIX "")
    target_link_libraries(example_module PRIVATE gate_options gaterpc
      gate_msgpack)
  else()
    add_executable(example_${name} ${source})
    target_link_libraries(example_${name} PRIVATE gate_options gaterpc
      gate_msgpack Threads::Threads m)
  endif()
endforeach()
target_link_libraries(example_treehash PRIVATE PkgConfig::CRYPTO)
if(NOT GATE_TESTS)
  return()
endif()

foreach(source ${examples})
  get_filename_component(name ${source} NAME_WE)
  if(NOT name MATCHES "^(module|wordcount|treehash)$") # driven by scripts below
    gate_script(example_${name} example 120 example_${name})
  endif()
endforeach()
gate_script(example_module example 120 ${GATE_PYTHON} -B
  tests/example/module.py $<TARGET_FILE:example_module>)
gate_script(example_wordcount example 120 ${GATE_PYTHON} -B
  tests/example/wordcount.py $<TARGET_FILE:example_wordcount>)
gate_script(example_treehash example 120 ${GATE_PYTHON} -B
  tests/example/treehash.py $<TARGET_FILE:example_treehash>)
gate_script(example_python_client example 120 ${GATE_PYTHON} -B
  examples/python_client.py --gate $<TARGET_FILE:gate>)
