# SPDX-License-Identifier: BSD-3-Clause
# The rooms of src: one OBJECT library each. An include names the room it means,
# #include "net/frames.h", and a room's only quote path is a folder of links to
# the rooms that it may see: a wrong arrow is "No such file". What a room is
# called in includes is its path without the first folder (actors/net is net).

# gate_alias(OUT ROOM-OR-HEADER)
function(gate_alias out room)
  string(REGEX REPLACE "^(proto|pool|actors|cli)/" "" alias "${room}")
  set(${out} "${alias}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${CMAKE_CURRENT_BINARY_DIR}/see")

# gate_links(NAME ROOM-OR-HEADER...): the folder see/NAME of links to them. A room
# inside another one that is linked (client/core in client) is there already.
function(gate_links name)
  foreach(room ${ARGN})
    gate_alias(alias ${room})
    get_filename_component(around ${room} DIRECTORY)
    if(around IN_LIST ARGN AND alias MATCHES "/")
      continue()
    endif()
    set(link "${CMAKE_CURRENT_BINARY_DIR}/see/${name}/${alias}")
    get_filename_component(parent "${link}" DIRECTORY)
    file(MAKE_DIRECTORY "${parent}")
    file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}/src/${room}" "${link}" SYMBOLIC)
  endforeach()
endfunction()

# gate_see(TARGET ROOM-OR-HEADER...): what the target's quoted includes can name.
function(gate_see target)
  gate_links(${target} ${ARGN})
  target_compile_options(${target} PRIVATE
    "-iquote${CMAKE_CURRENT_BINARY_DIR}/see/${target}")
endfunction()

# gate_room(NAME SEES rooms... LIBS packages... DEFS definitions...)
function(gate_room name)
  cmake_parse_arguments(R "" "" "SEES;LIBS;DEFS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS src/${name}/*.c)
  string(REPLACE "/" "_" target gi_${name})
  add_library(${target} OBJECT ${sources})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  gate_see(${target} ${name} ${R_SEES})
  target_link_libraries(${target} PUBLIC gate_options gate_msgpack ${R_LIBS})
  target_compile_definitions(${target} PRIVATE ${R_DEFS})
  set_property(GLOBAL APPEND PROPERTY GATE_ROOMS ${target})
  set(GATE_ROOM_NAMES ${GATE_ROOM_NAMES} ${name} PARENT_SCOPE)
endfunction()

# ---- proto: pure; no clock, no thread, no socket ------------------------------
gate_room(proto/base LIBS gate_uuid)
gate_room(proto/settings SEES proto/base)
gate_room(proto/value SEES proto/base proto/settings)
gate_room(proto/wire SEES proto/base proto/settings proto/value)
gate_room(proto/rules SEES proto/base)
gate_room(proto/tally SEES proto/base)
set(proto ${GATE_ROOM_NAMES})

# ---- huge: compressors as step functions --------------------------------------
gate_room(huge SEES proto/base LIBS gate_codecs DEFS ${GATE_CODEC_DEFS})

# ---- link: brokers joined by a carrier; pure as proto -------------------------
gate_room(link SEES proto/base proto/settings proto/value LIBS gate_uuid
  DEFS $<$<CONFIG:Debug>:GI_CHECK_LAWS>)

# ---- pool: where work runs ----------------------------------------------------
gate_room(pool/sync SEES proto/base LIBS Threads::Threads)
gate_room(pool/memory SEES proto/base pool/sync LIBS Threads::Threads)
gate_room(pool/mail SEES proto/base pool/sync LIBS Threads::Threads)
gate_room(pool/async SEES proto/base proto/settings proto/value proto/wire pool/sync
  pool/memory LIBS Threads::Threads)
gate_room(pool/shared SEES proto/base proto/settings proto/value pool/sync
  LIBS Threads::Threads)
gate_room(pool/jobs SEES proto/base proto/settings proto/value proto/wire
  pool/sync pool/memory pool/mail pool/async pool/shared LIBS Threads::Threads)
gate_room(pool/procs SEES proto/base proto/settings proto/value proto/wire pool/sync
  pool/mail pool/async pool/shared pool/jobs LIBS Threads::Threads)
set(pool pool/sync pool/memory pool/mail pool/async pool/shared pool/jobs
  pool/procs)

# ---- actors: who talks --------------------------------------------------------
set(talks gate_zeromq Threads::Threads)
# Cores' laws are asserted after each event where that may cost something.
set(laws $<$<CONFIG:Debug>:GI_CHECK_LAWS>)
gate_room(actors/rings SEES proto/base proto/settings proto/value pool/sync pool/shared LIBS Threads::Threads)
gate_room(actors/net SEES ${proto} pool/sync pool/mail pool/shared/ringpair.h
  pool/memory/resident.h actors/rings LIBS ${talks})
gate_room(actors/bulk SEES ${proto} huge ${pool} LIBS ${talks})
gate_room(actors/runtime SEES ${proto} ${pool} actors/net
  LIBS ${talks})
gate_room(actors/security SEES ${proto} ${pool} actors/net actors/runtime
  LIBS ${talks})
gate_room(actors/service/core SEES ${proto} pool/sync pool/mail
  LIBS Threads::Threads DEFS ${laws})
gate_room(actors/service SEES ${proto} huge ${pool} actors/net actors/bulk
  actors/runtime actors/service/core LIBS ${talks} DEFS ${laws})
gate_room(actors/client/core SEES ${proto} pool/sync actors/net/frames.h
  actors/net/login.h LIBS ${talks})
gate_room(actors/client SEES ${proto} huge ${pool} actors/net actors/bulk
  actors/runtime actors/service/service_direct.h actors/client/core
  LIBS ${talks} DEFS ${laws})
gate_room(actors/uplink SEES ${proto} link pool/sync pool/mail actors/net
  LIBS ${talks})
# What stands above the core sees all of it; the core knows it as tables of
# functions.
gate_room(actors/broker/core SEES ${proto} pool/sync actors/net/frames.h
  LIBS ${talks})
gate_room(actors/broker/trust SEES ${proto} pool/sync actors/net/frames.h
  actors/broker/core LIBS ${talks})
gate_room(actors/broker/far SEES ${proto} link pool/sync actors/net/frames.h
  actors/broker/core LIBS ${talks})
gate_room(actors/broker/gate SEES ${proto} link pool/sync pool/jobs/call.h
  actors/net/frames.h actors/broker/core
  actors/broker/trust actors/broker/far LIBS ${talks})
gate_room(actors/broker/shell SEES ${proto} link ${pool} actors/net actors/rings
  actors/runtime actors/security actors/uplink actors/broker/core
  actors/broker/trust actors/broker/far actors/broker/gate LIBS ${talks})
gate_room(actors/supervisor SEES ${proto} ${pool} actors/runtime
  actors/service/service_direct.h LIBS ${talks})

gate_room(actors/foreign SEES ${proto} ${pool} LIBS Threads::Threads)

# Tests, fuzz targets and drivers may look into every room.
set(GATE_SEE_ALL ${GATE_ROOM_NAMES})
add_library(gate_see_all INTERFACE)
gate_links(all ${GATE_SEE_ALL} cli cli/bench cli/text)
target_compile_options(gate_see_all INTERFACE
  "-iquote${CMAKE_CURRENT_BINARY_DIR}/see/all")
