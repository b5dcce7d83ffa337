#pragma once
// For tests that this machine may be unable to run: they show as skipped, never as passed.

#include <cstdio>
#include <cstdlib>
#include <string>

namespace wdmoe::test {

/// Ends the whole test program as skipped (cmake/testing.cmake), so such tests have one of their
/// own.
[[noreturn]] inline void skip(const std::string& reason) {
  std::printf("skipped: %s\n", reason.c_str());
  std::exit(77);
}

}  // namespace wdmoe::test
