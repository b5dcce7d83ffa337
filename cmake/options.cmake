# What every target of ours compiles with.  No global flags: link wdmoe::options instead.
option(WDMOE_WERROR "Treat warnings as errors (on in every preset)" OFF)
set(WDMOE_SANITIZE "" CACHE STRING "Sanitizers for all our targets: address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# Release compiles with -O3; the target property WDMOE_OPTIMISE names a lower level, 1 or 0, where compiling takes
# longer than running ever will (docs/performance.md, "Build").
set(level $<TARGET_PROPERTY:WDMOE_OPTIMISE>)
set(level_given $<NOT:$<STREQUAL:${level},>>)
add_library(wdmoe_options INTERFACE)
add_library(wdmoe::options ALIAS wdmoe_options)
target_compile_features(wdmoe_options INTERFACE cxx_std_17)
target_include_directories(wdmoe_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(wdmoe_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor
  $<$<BOOL:${WDMOE_WERROR}>:-Werror>
  $<$<CONFIG:Release>:-g1>
  $<$<AND:$<CONFIG:Release>,${level_given}>:-O${level}>)
target_compile_definitions(wdmoe_options INTERFACE WDMOE_VERSION="${PROJECT_VERSION}"
  $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
if(WDMOE_SANITIZE)
  # GCC sees uninitialised values in Boost's and the standard library's headers once they are instrumented.
  target_compile_options(wdmoe_options INTERFACE
    -fsanitize=${WDMOE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Wno-maybe-uninitialized)
  target_link_options(wdmoe_options INTERFACE -fsanitize=${WDMOE_SANITIZE})
endif()

# wdmoe_library(NAME SOURCES … LINK … [CXX20] [OPTIMISE LEVEL]): one folder, one target `wdmoe::NAME`.
function(wdmoe_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "CXX20" "OPTIMISE" "SOURCES;LINK;PRIVATE_LINK")
  add_library(wdmoe_${name} STATIC ${arg_SOURCES})
  add_library(wdmoe::${name} ALIAS wdmoe_${name})
  target_link_libraries(wdmoe_${name} PUBLIC wdmoe::options ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
  set_target_properties(wdmoe_${name} PROPERTIES WDMOE_OPTIMISE "${arg_OPTIMISE}")
  if(arg_CXX20)
    target_compile_features(wdmoe_${name} PUBLIC cxx_std_20)
  endif()
endfunction()
