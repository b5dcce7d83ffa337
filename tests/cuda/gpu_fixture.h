#pragma once
// The plug-in over the stand-in of CUDA, as tests use it.

#include <cstdlib>
#include <memory>
#include <string>

#include <dlfcn.h>
#include <doctest/doctest.h>

#include "kernels/plugin.h"
#include "tests/cuda/standin.h"
#include "tests/kernels/expert_cases.h"

namespace wdmoe::cuda::test {

inline Result<std::unique_ptr<kernels::ExpertBackend>> try_cuda() {
  return kernels::make_plugin_backend(WDMOE_BINARY_DIR "/lib/wdmoe", "cuda");
}

inline std::unique_ptr<kernels::ExpertBackend> make_cuda() {
  auto backend = try_cuda();
  if (!backend) FAIL(backend.error().text);
  return std::move(*backend);
}

/// A function of the stand-in that the plug-in has found (or will find) on the library path.
template <class Function>
Function* standin_function(const char* name) {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(library != nullptr, "run by ctest, or with LD_LIBRARY_PATH at the stand-in");
  void* function = ::dlsym(library, name);
  REQUIRE_MESSAGE(function != nullptr, "the real driver is in the stand-in's place");
  return reinterpret_cast<Function*>(function);
}

inline StandinCounters counters() {
  return standin_function<StandinCounters()>("wdmoe_standin_counters")();
}

/// While it lives, the stand-in fails as `spec` says.
class Fault {
 public:
  explicit Fault(const std::string& spec) { set(spec.c_str()); }
  ~Fault() { set(""); }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

 private:
  static void set(const char* spec) {
    standin_function<void(const char*)>("wdmoe_standin_fault")(spec);
  }
};

/// While it lives, the stand-in's environment has `name`=`value`.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Setting() { ::unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
};

}  // namespace wdmoe::cuda::test
