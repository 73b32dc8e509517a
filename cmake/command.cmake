# SPDX-License-Identifier: BSD-3-Clause
# The `gate` command (src/cli) with the bench drivers (src/cli/bench): public headers
# only; src/cli/bench may use raw ZeroMQ for its reference limits.
file(GLOB cli_sources CONFIGURE_DEPENDS src/cli/*.c src/cli/demo/*.c)
file(GLOB bench_sources CONFIGURE_DEPENDS src/cli/bench/*.c
  src/cli/bench/rigs/*.c)
if(cli_sources)
  if(bench_sources)
    add_library(gi_bench OBJECT ${bench_sources})
    gate_see(gi_bench cli/bench)
    target_link_libraries(gi_bench PUBLIC gate_options gaterpc gate_msgpack
      gate_zeromq gate_jansson Threads::Threads)
  endif()
  add_executable(gate ${cli_sources})
  gate_see(gate cli cli/demo cli/bench)
  target_link_libraries(gate PRIVATE gate_options gaterpc gate_msgpack
    gate_jansson gate_zeromq Threads::Threads m ${CMAKE_DL_LIBS})
  if(bench_sources)
    target_link_libraries(gate PRIVATE gi_bench)
    target_compile_definitions(gate PRIVATE GATE_HAVE_BENCH=1)
  endif()
  # sha256() of the demo service is OpenSSL's.
  pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  target_link_libraries(gate PRIVATE PkgConfig::CRYPTO)
endif()
