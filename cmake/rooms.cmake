# SPDX-License-Identifier: BSD-3-Clause
# The rooms of src: one OBJECT library each.

set(GATE_SEE_PROTO proto/base proto/settings proto/value proto/wire proto/rules)
set(GATE_SEE_POOL pool/sync pool/memory pool/mail pool/async pool/shared
  pool/jobs pool/procs)
set(GATE_SEE_ACTORS actors/net actors/bulk actors/runtime actors/security
  actors/service actors/client actors/broker/core actors/broker/handover
  actors/broker/shell actors/supervisor)
set(GATE_SEE_ALL ${GATE_SEE_PROTO} huge ${GATE_SEE_POOL} ${GATE_SEE_ACTORS})

# gate_quote(TARGET ROOM...): the target's quoted includes are found in these.
function(gate_quote target)
  foreach(room ${ARGN})
    target_compile_options(${target} PRIVATE
      "-iquote${CMAKE_CURRENT_SOURCE_DIR}/src/${room}")
  endforeach()
endfunction()

# gate_room(NAME SEES rooms... LIBS packages...)
function(gate_room name)
  cmake_parse_arguments(R "" "" "SEES;LIBS;DEFS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS src/${name}/*.c)
  string(REPLACE "/" "_" target gi_${name})
  if(NOT sources)
    return()
  endif()
  add_library(${target} OBJECT ${sources})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  gate_quote(${target} ${name} ${R_SEES})
  target_link_libraries(${target} PUBLIC gate_options ${R_LIBS})
  target_compile_definitions(${target} PRIVATE ${R_DEFS})
  set_property(GLOBAL APPEND PROPERTY GATE_ROOMS ${target})
endfunction()

foreach(room ${GATE_SEE_PROTO})
  gate_room(${room} SEES ${GATE_SEE_PROTO} LIBS gate_msgpack gate_uuid)
endforeach()
gate_room(huge SEES ${GATE_SEE_PROTO} LIBS gate_msgpack gate_codecs
  DEFS ${GATE_CODEC_DEFS})
foreach(room ${GATE_SEE_POOL})
  gate_room(${room} SEES ${GATE_SEE_POOL} ${GATE_SEE_PROTO}
    LIBS gate_msgpack Threads::Threads)
endforeach()
foreach(room ${GATE_SEE_ACTORS})
  gate_room(${room} SEES ${GATE_SEE_ALL} LIBS gate_msgpack gate_zeromq
    Threads::Threads gate_journal DEFS ${GATE_JOURNAL_DEFS})
endforeach()
