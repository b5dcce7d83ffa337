# wdmoe_test(NAME SOURCES … LINK … [LABELS …]): one doctest program per library target.
# Exit code 77 means "this machine cannot run it" and shows as skipped.
add_library(wdmoe_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/main.cpp)
target_link_libraries(wdmoe_test_main PUBLIC wdmoe::options deps::doctest)

function(wdmoe_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK;LABELS")
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE wdmoe_test_main ${arg_LINK})
  target_compile_definitions(${name} PRIVATE
    WDMOE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" WDMOE_BINARY_DIR="${PROJECT_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" SKIP_RETURN_CODE 77 TIMEOUT 300)
endfunction()
