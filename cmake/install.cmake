# SPDX-License-Identifier: BSD-3-Clause
# What `cmake --install` puts into a prefix: library, headers, command, man page,
# a pkg-config file and a CMake package. tests/house/test_package.py builds a
# program against both.
include(CMakePackageConfigHelpers)

install(TARGETS gaterpc EXPORT gaterpcTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.def")
if(TARGET gate)
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
  set_target_properties(gate PROPERTIES INSTALL_RPATH "$ORIGIN/${up}")
  install(TARGETS gate RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES share/completion/gate.bash RENAME gate
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES share/completion/_gate
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
  install(FILES share/completion/gate.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  install(FILES share/grafana.json share/alerts.yml
    DESTINATION ${CMAKE_INSTALL_DATADIR}/gaterpc)
endif()

# Man pages are made of what says it already (script/man.py): gate.1, headers,
# documents. Without Python 3 there is gate(1) alone.
find_program(GATE_MAN_PYTHON python3)
if(GATE_MAN_PYTHON)
  set(man "${CMAKE_CURRENT_BINARY_DIR}/man")
  file(GLOB man_sources CONFIGURE_DEPENDS include/gaterpc/*.h
    include/gaterpc/errors.def docs/*.md docs/gate.1 README.md src/cli/main.c)
  add_custom_command(OUTPUT ${man}/made
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${man}
    COMMAND ${GATE_MAN_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/script/man.py ${man}
    COMMAND ${CMAKE_COMMAND} -E touch ${man}/made
    DEPENDS ${man_sources} script/man.py script/headers.py VERBATIM)
  add_custom_target(gate_man ALL DEPENDS ${man}/made)
  install(DIRECTORY ${man}/ DESTINATION ${CMAKE_INSTALL_MANDIR}
    PATTERN made EXCLUDE)

  # The API as HTML (script/reference.py), from the headers alone.
  set(reference "${CMAKE_CURRENT_BINARY_DIR}/reference")
  file(GLOB api_headers CONFIGURE_DEPENDS include/gaterpc/*.h
    include/gaterpc/*.hpp include/gaterpc/*.def include/gaterpc/cpp/*.hpp)
  add_custom_command(OUTPUT ${reference}/index.html
    COMMAND ${GATE_MAN_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/script/reference.py
      ${reference}
    DEPENDS ${api_headers} script/reference.py script/headers.py VERBATIM)
  add_custom_target(gate_reference ALL DEPENDS ${reference}/index.html)
  install(DIRECTORY ${reference} DESTINATION ${CMAKE_INSTALL_DOCDIR})
elseif(TARGET gate)
  install(FILES docs/gate.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

# Relocatable: paths are relative to where the .pc file lies.
file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  "/${CMAKE_INSTALL_INCLUDEDIR}")
set(GATE_PC_INCLUDEDIR "\${pcfiledir}/${up}")
configure_file(cmake/gaterpc.pc.in gaterpc.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gaterpc.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/gaterpc)
configure_package_config_file(cmake/gaterpcConfig.cmake.in
  gaterpcConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(gaterpcConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gaterpcConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/gaterpcConfigVersion.cmake
  DESTINATION ${package})
install(EXPORT gaterpcTargets NAMESPACE gaterpc:: DESTINATION ${package})

# python/gate: pure Python. Where the system's Python looks: python3/dist-packages.
option(GATE_PYTHON_PACKAGE "install the Python package" OFF)
set(GATE_PYTHON_DIR lib/python3/dist-packages CACHE STRING
  "where the Python package goes, in the prefix")
if(GATE_PYTHON_PACKAGE)
  install(DIRECTORY python/gate DESTINATION ${GATE_PYTHON_DIR}
    FILES_MATCHING PATTERN "*.py" PATTERN "py.typed"
    PATTERN "__pycache__" EXCLUDE)
endif()
