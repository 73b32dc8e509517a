# SPDX-License-Identifier: BSD-3-Clause
# bench_peers: other people's systems beside ours. Only with GATE_PEERS, which
# script/bench-peers alone sets; a peer whose library is missing is left out.
if(NOT GATE_PEERS OR NOT TARGET gi_bench)
  return()
endif()
enable_language(CXX)
set(peers ${CMAKE_CURRENT_SOURCE_DIR}/bench/peers)
add_executable(bench_peers ${peers}/main.c ${peers}/server.c)
set(quote "-iquote${peers}"
  "-iquote${CMAKE_CURRENT_BINARY_DIR}/see/gi_bench")
target_compile_options(bench_peers PRIVATE ${quote})
target_link_libraries(bench_peers PRIVATE gi_bench m)

# gate_peer(NAME SOURCE LIBRARY...)
function(gate_peer name source)
  if(source)
    target_sources(bench_peers PRIVATE ${source})
  endif()
  target_link_libraries(bench_peers PRIVATE ${ARGN})
  target_compile_definitions(bench_peers PRIVATE GI_PEER_${name})
  message(STATUS "bench_peers: ${name}")
endfunction()

pkg_check_modules(NATS QUIET IMPORTED_TARGET libnats)
if(NATS_FOUND)
  gate_peer(NATS ${peers}/nats.c PkgConfig::NATS)
endif()
find_library(GEARMAN_LIBRARY gearman)
find_path(GEARMAN_INCLUDE libgearman/gearman.h)
if(GEARMAN_LIBRARY AND GEARMAN_INCLUDE)
  gate_peer(GEARMAN ${peers}/gearman.c ${GEARMAN_LIBRARY})
endif()
find_library(NNG_LIBRARY nng)
find_path(NNG_INCLUDE nng/nng.h)
if(NNG_LIBRARY AND NNG_INCLUDE)
  gate_peer(NNG ${peers}/nng.c ${NNG_LIBRARY})
endif()

find_program(PROTOC protoc)
find_program(GRPC_PLUGIN grpc_cpp_plugin)
pkg_check_modules(GRPC QUIET IMPORTED_TARGET grpc++ protobuf)
if(GRPC_FOUND AND PROTOC AND GRPC_PLUGIN)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/peers)
  file(MAKE_DIRECTORY ${made})
  add_custom_command(
    OUTPUT ${made}/echo.pb.cc ${made}/echo.grpc.pb.cc
    COMMAND ${PROTOC} -I ${peers} --cpp_out=${made} --grpc_out=${made}
      --plugin=protoc-gen-grpc=${GRPC_PLUGIN} echo.proto
    DEPENDS ${peers}/echo.proto)
  add_library(bench_peer_grpc STATIC ${peers}/grpc.cpp ${made}/echo.pb.cc
    ${made}/echo.grpc.pb.cc) # C++: without the flags of our C
  target_compile_options(bench_peer_grpc PRIVATE ${quote})
  target_include_directories(bench_peer_grpc PRIVATE ${made}
    ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_link_libraries(bench_peer_grpc PUBLIC PkgConfig::GRPC gate_msgpack)
  gate_peer(GRPC "" bench_peer_grpc)
endif()
