# SPDX-License-Identifier: BSD-3-Clause
# Flags that every target of the project is built with.
add_library(gate_options INTERFACE)
target_compile_options(gate_options INTERFACE -Wall -Wextra -Wshadow
  -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
  -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef
  -Wimplicit-fallthrough -fno-omit-frame-pointer)
target_compile_definitions(gate_options INTERFACE _GNU_SOURCE)
if(GATE_WERROR)
  target_compile_options(gate_options INTERFACE -Werror)
endif()
if(GATE_SANITIZE)
  target_compile_options(gate_options INTERFACE -fsanitize=${GATE_SANITIZE}
    -fno-sanitize-recover=all)
  target_link_options(gate_options INTERFACE -fsanitize=${GATE_SANITIZE})
endif()
if(GATE_FUZZ)
  target_compile_options(gate_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
# assert() stays on in release builds: it is for our own mistakes.
foreach(flags CMAKE_C_FLAGS_RELEASE CMAKE_C_FLAGS_RELWITHDEBINFO)
  string(REPLACE "-DNDEBUG" "" ${flags} "${${flags}}")
endforeach()
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(APPEND CMAKE_C_FLAGS_RELEASE " -g")
