# wdmoe_test(NAME SOURCES … LINK … [LABELS …] [COMPUTES]): one doctest program per library target.
# COMPUTES: its slow twins take seconds, so it is optimised like the libraries; others are quicker to run than to optimise.
# Exit code 77 means "this machine cannot run it" and shows as skipped.
add_library(wdmoe_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/main.cpp)
target_link_libraries(wdmoe_test_main PUBLIC wdmoe::options deps::doctest)
set_target_properties(wdmoe_test_main PROPERTIES WDMOE_OPTIMISE 0)

function(wdmoe_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "COMPUTES" "" "SOURCES;LINK;LABELS")
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE wdmoe_test_main ${arg_LINK})
  target_compile_definitions(${name} PRIVATE
    WDMOE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" WDMOE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(NOT arg_COMPUTES)
    set_target_properties(${name} PROPERTIES WDMOE_OPTIMISE 0)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77 TIMEOUT 300)
endfunction()
