# wdmoe_schema(NAME FILE): generates FILE's C++ header at build time, as target `wdmoe::NAME`.
function(wdmoe_schema name file)
  get_filename_component(stem ${file} NAME_WE)
  set(header ${PROJECT_BINARY_DIR}/generated/schemas/${stem}_generated.h)
  add_custom_command(
    OUTPUT ${header}
    COMMAND ${FLATC} --cpp --scoped-enums --cpp-std c++17
            -o ${PROJECT_BINARY_DIR}/generated/schemas ${CMAKE_CURRENT_SOURCE_DIR}/${file}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
    COMMENT "flatc ${file}")
  add_custom_target(wdmoe_${name}_generate DEPENDS ${header})
  add_library(wdmoe_${name} INTERFACE)
  add_library(wdmoe::${name} ALIAS wdmoe_${name})
  add_dependencies(wdmoe_${name} wdmoe_${name}_generate)
  target_include_directories(wdmoe_${name} SYSTEM INTERFACE ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(wdmoe_${name} INTERFACE deps::flatbuffers)
endfunction()
