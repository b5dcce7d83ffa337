# Debian packages: wdmoe-agent, wdmoe-agent-cuda, wdmoe-bsd and wdmoe-tools, one per install component.  scripts/package makes them.
find_program(HELP2MAN help2man REQUIRED)
set(PACKAGING ${PROJECT_SOURCE_DIR}/packaging)
add_custom_target(man COMMENT "man pages")
add_custom_target(packaged DEPENDS man)  # everything that packages hold

# wdmoe_program(TARGET COMPONENT HELP_OPTION): installs a program and its man page, which is its own help.
function(wdmoe_program target component help_option)
  install(TARGETS ${target} RUNTIME DESTINATION bin COMPONENT ${component})
  set(page ${CMAKE_CURRENT_BINARY_DIR}/${target}.1.gz)
  add_custom_command(OUTPUT ${page}
    COMMAND sh ${PACKAGING}/man_page ${HELP2MAN} ${help_option} ${PROJECT_VERSION} ${page}
            ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:${target}>
    DEPENDS ${target} ${PACKAGING}/man_page VERBATIM)
  add_custom_target(${target}-man DEPENDS ${page})
  add_dependencies(man ${target}-man)
  install(FILES ${page} DESTINATION share/man/man1 COMPONENT ${component})
endfunction()

# wdmoe_package(COMPONENT NAME TEXT): what dpkg says about it, and nothing else.
macro(wdmoe_package component name text)
  string(TOUPPER ${component} upper)
  list(APPEND CPACK_COMPONENTS_ALL ${component})
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${name})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${text}")
  install(FILES ${PACKAGING}/copyright ${PROJECT_BINARY_DIR}/packaging/changelog.gz DESTINATION share/doc/${name}
          COMPONENT ${component})
endmacro()

# wdmoe_daemon_scripts(COMPONENT PACKAGE UNITS STATE): configuration files and maintainer scripts.
macro(wdmoe_daemon_scripts component package units state conffiles)
  string(TOUPPER ${component} upper)
  set(PACKAGE ${package})
  set(UNITS ${units})
  set(STATE ${state})
  set(folder ${PROJECT_BINARY_DIR}/packaging/${component})
  foreach(script postinst prerm postrm)
    configure_file(${PACKAGING}/${script}.in ${folder}/${script} @ONLY
                   FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endforeach()
  file(WRITE ${folder}/conffiles "${conffiles}\n")
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
      ${folder}/conffiles ${folder}/postinst ${folder}/prerm ${folder}/postrm)
endmacro()

configure_file(${PACKAGING}/changelog.in ${PROJECT_BINARY_DIR}/packaging/changelog @ONLY)
execute_process(COMMAND gzip -9nkf ${PROJECT_BINARY_DIR}/packaging/changelog COMMAND_ERROR_IS_FATAL ANY)

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # packages need the programs, not the tests
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "wdmoe maintainers <maintainers@wdmoe.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
if(CMAKE_CROSSCOMPILING)
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
endif()

wdmoe_program(wdmoe-agent agent --help)
wdmoe_package(agent wdmoe-agent
 "Daemon for a device (a Jetson kit, a PC) that holds experts of a Mixtral\nmodel and computes them for a base station over an encrypted connection.")
wdmoe_daemon_scripts(agent wdmoe-agent "wdmoe-agent.service 'wdmoe-agent@*.service'" agent /etc/wdmoe/agent.toml)
if(WDMOE_HAS_CUDA)
  add_dependencies(packaged wdmoe_cuda)
  install(TARGETS wdmoe_cuda LIBRARY DESTINATION lib/wdmoe COMPONENT cuda)
  wdmoe_package(cuda wdmoe-agent-cuda
   "Plug-in with which wdmoe-agent computes its experts on an NVIDIA GPU (Jetson\nOrin or a PC). It finds the driver and cuBLAS at run time.")
  set(CPACK_DEBIAN_CUDA_PACKAGE_DEPENDS "wdmoe-agent (= ${PROJECT_VERSION})")
endif()
if(WDMOE_BSD)
  wdmoe_program(wdmoe-bsd bsd --help)
  wdmoe_package(bsd wdmoe-bsd
   "Daemon that runs attention, gating and an OpenAI-style API; the experts are\non devices that run wdmoe-agent.")
  wdmoe_daemon_scripts(bsd wdmoe-bsd wdmoe-bsd.service bsd /etc/wdmoe/bsd.toml)
  wdmoe_program(wdmoe tools --help-all)
  wdmoe_program(wdmoe-airlink tools --help)
  wdmoe_package(tools wdmoe-tools
   "The operator's tool: splits models among devices, makes keys, runs, measures\nand simulates.")
endif()
include(CPack)
