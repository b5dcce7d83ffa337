# Every third-party library, once, from system packages only (scripts/packages.txt installs them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# wdmoe_pkg(NAME MODULE): imported target `deps::NAME` from pkg-config, with system includes.
function(wdmoe_pkg name module)
  pkg_check_modules(DEPS_${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  add_library(deps::${name} ALIAS PkgConfig::DEPS_${name})
endfunction()

# Header-only libraries that ship no pkg-config file everywhere: look for one header.
function(wdmoe_header_only name header)
  find_path(DEPS_${name}_INCLUDE ${header} REQUIRED)
  add_library(deps_${name} INTERFACE)
  target_include_directories(deps_${name} SYSTEM INTERFACE ${DEPS_${name}_INCLUDE})
  add_library(deps::${name} ALIAS deps_${name})
endfunction()

wdmoe_pkg(zmq libzmq)
wdmoe_pkg(hwy libhwy)
wdmoe_pkg(systemd libsystemd)
wdmoe_pkg(crypto libcrypto)
wdmoe_header_only(cppzmq zmq.hpp)
wdmoe_header_only(flatbuffers flatbuffers/flatbuffers.h)
wdmoe_header_only(tomlplusplus toml++/toml.h)
wdmoe_header_only(cli11 CLI/CLI.hpp)
wdmoe_header_only(gsl gsl/span)
wdmoe_header_only(expected tl/expected.hpp)
wdmoe_header_only(rapidjson rapidjson/document.h)
# spdlog and fmt are compiled into our one file that uses them: their sonames differ between distributions.
wdmoe_header_only(spdlog spdlog/spdlog.h)
target_compile_definitions(deps_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
find_program(FLATC flatc REQUIRED)

if(WDMOE_BSD)
  wdmoe_pkg(fmt fmt)
  wdmoe_pkg(pcre2 libpcre2-8)
  wdmoe_pkg(utf8proc libutf8proc)
  wdmoe_pkg(sentencepiece sentencepiece)
  wdmoe_pkg(prometheus prometheus-cpp-core)
  wdmoe_header_only(json nlohmann/json.hpp)
  find_package(Boost 1.74 REQUIRED)
  add_library(deps::boost ALIAS Boost::headers)
endif()

if(WDMOE_TESTS)
  wdmoe_header_only(doctest doctest/doctest.h)
  find_package(benchmark REQUIRED)
endif()
