# SPDX-License-Identifier: BSD-3-Clause
# What the library stands on, each as one interface target.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# gate_package(TARGET pkg-config modules...): system headers, so that their
# warnings are not ours.
function(gate_package target)
  pkg_check_modules(${target}_PC REQUIRED IMPORTED_TARGET ${ARGN})
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE PkgConfig::${target}_PC)
endfunction()

# Debian 13 calls it msgpack-c; gaterpc.pc requires it by the name it has here.
pkg_search_module(MSGPACK_PC QUIET msgpack msgpack-c)
set(GATE_PC_MSGPACK ${MSGPACK_PC_MODULE_NAME})
gate_package(gate_msgpack ${GATE_PC_MSGPACK})
gate_package(gate_uuid uuid)
gate_package(gate_zeromq libczmq libzmq)
gate_package(gate_codecs zlib liblzma libzstd liblz4)
find_package(BZip2 REQUIRED) # Debian has no bzip2.pc
target_link_libraries(gate_codecs INTERFACE BZip2::BZip2)
gate_package(gate_jansson jansson)

set(GATE_CODEC_DEFS)
pkg_check_modules(ISAL QUIET IMPORTED_TARGET libisal)
if(GATE_ISAL AND ISAL_FOUND)
  target_link_libraries(gate_codecs INTERFACE PkgConfig::ISAL)
  set(GATE_CODEC_DEFS GI_HAVE_ISAL=1)
endif()

if(GATE_MONITOR)
  pkg_check_modules(MICROHTTPD QUIET IMPORTED_TARGET libmicrohttpd>=0.9.75)
endif()

# Brokers joined over NATS: a library of its own, opened when it is used.
pkg_check_modules(NATS QUIET IMPORTED_TARGET libnats)
option(GATE_NATS "build the uplink's carrier where libnats is" ON)
