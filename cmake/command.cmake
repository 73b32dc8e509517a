# SPDX-License-Identifier: BSD-3-Clause
# The `gate` command (src/cli) with the bench drivers (src/cli/bench): public headers
# only; src/cli/bench may use raw ZeroMQ for its reference limits.
file(GLOB cli_sources CONFIGURE_DEPENDS src/cli/*.c src/cli/demo/*.c
  src/cli/text/*.c src/cli/kept/*.c src/cli/desk/*.c)
file(GLOB bench_sources CONFIGURE_DEPENDS src/cli/bench/*.c
  src/cli/bench/rigs/*.c)
if(cli_sources)
  if(bench_sources)
    add_library(gi_bench OBJECT ${bench_sources})
    gate_see(gi_bench cli/bench)
    target_link_libraries(gi_bench PUBLIC gate_options gaterpc gate_msgpack
      gate_zeromq gate_jansson Threads::Threads)
  endif()
  # libmicrohttpd is the command's alone. Without it there is no monitor, but
  # gate health all the same, and gate call --export.
  file(GLOB monitor_sources CONFIGURE_DEPENDS src/cli/monitor/*.c)
  file(GLOB watch_sources CONFIGURE_DEPENDS src/cli/watch/*.c)
  if(NOT MICROHTTPD_FOUND)
    list(FILTER monitor_sources INCLUDE REGEX "/(fetch|otlp)\\.c$")
    list(FILTER watch_sources EXCLUDE REGEX "/cmd_monitor\\.c$")
  endif()
  add_executable(gate ${cli_sources} ${watch_sources})
  gate_see(gate cli cli/demo cli/bench cli/monitor cli/watch cli/text
    cli/kept cli/desk)
  target_link_libraries(gate PRIVATE gate_options gaterpc gate_msgpack
    gate_jansson gate_zeromq Threads::Threads m ${CMAKE_DL_LIBS})
  if(bench_sources)
    target_link_libraries(gate PRIVATE gi_bench)
    target_compile_definitions(gate PRIVATE GATE_HAVE_BENCH=1)
  endif()
  # sha256() of the demo service is OpenSSL's.
  pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  target_link_libraries(gate PRIVATE PkgConfig::CRYPTO)
  add_library(gi_monitor OBJECT ${monitor_sources})
  gate_see(gi_monitor cli/monitor)
  target_link_libraries(gi_monitor PUBLIC gate_options gaterpc gate_msgpack
    gate_jansson)
  target_link_libraries(gate PRIVATE gi_monitor)
  if(MICROHTTPD_FOUND)
    set(page "${CMAKE_CURRENT_SOURCE_DIR}/src/cli/monitor/page.html")
    set_source_files_properties(src/cli/monitor/page.c PROPERTIES
      OBJECT_DEPENDS "${page}")
    target_compile_definitions(gi_monitor PRIVATE GI_PAGE_FILE="${page}")
    target_link_libraries(gi_monitor PUBLIC PkgConfig::MICROHTTPD
      PkgConfig::CRYPTO)
    target_compile_definitions(gate PRIVATE GATE_HAVE_MONITOR=1)
  endif()
endif()
