#include "kernels/cuda/api.h"

#include <dlfcn.h>

#define WDMOE_TEXT_OF(name) #name
#define WDMOE_TEXT(name) WDMOE_TEXT_OF(name)  // of the symbol that cuda.h maps the name to

namespace wdmoe::cuda {
namespace {

constexpr int kOldestDriver = 11'080, kOldestCublas = 11, kNewestCublas = 13;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

template <class Function>
Result<void> look_up(void* library, const char* soname, const char* symbol, Function*& to) {
  to = reinterpret_cast<Function*>(::dlsym(library, symbol));
  if (to != nullptr) return {};
  return fail(Code::unavailable, std::string(soname) + " has no " + symbol +
                                     ": expected a CUDA driver of 11.8 or later");
}

Result<void> open_driver(Api& api) {
  constexpr const char* kSoname = "libcuda.so.1";
  void* library = ::dlopen(kSoname, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return fail(Code::unavailable, std::string("no NVIDIA driver here: ") + ::dlerror());
#define WDMOE_LOOK_UP(name) WDMOE_TRY(look_up(library, kSoname, WDMOE_TEXT(name), api.name));
  WDMOE_CUDA_FUNCTIONS(WDMOE_LOOK_UP)
#undef WDMOE_LOOK_UP
  if (api.cuDriverGetVersion(&api.driver_version) != CUDA_SUCCESS ||
      api.driver_version < kOldestDriver)
    return fail(Code::unavailable, "the NVIDIA driver offers CUDA " +
                                       version_text(api.driver_version) +
                                       ": expected 11.8 or later; JetPack 6 or a newer driver has");
  return {};
}

Result<void> open_cublas(Api& api) {
  std::string tried;
  const int newest = std::min(kNewestCublas, api.driver_version / 1000);
  for (int major = newest; major >= kOldestCublas; --major) {
    api.cublas_soname = "libcublas.so." + std::to_string(major);
    void* library = ::dlopen(api.cublas_soname.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      tried += std::string(tried.empty() ? "" : "; ") + ::dlerror();
      continue;
    }
#define WDMOE_LOOK_UP(name, Type) \
  WDMOE_TRY(look_up(library, api.cublas_soname.c_str(), #name, api.name));
    WDMOE_CUBLAS_FUNCTIONS(WDMOE_LOOK_UP)
#undef WDMOE_LOOK_UP
    return {};
  }
  return fail(Code::unavailable, "no cuBLAS for CUDA " + version_text(api.driver_version) +
                                     " (package libcublas): " + tried);
}

}  // namespace

Result<void> Api::check(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return {};
  const char* name = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) name = "unknown error";
  const Code code = result == CUDA_ERROR_OUT_OF_MEMORY ? Code::limit : Code::unavailable;
  return fail(code, std::string("cuda: ") + what + ": " + name);
}

Result<void> Api::check_cublas(cublas::Status status, const char* what) {
  if (status == cublas::kSuccess) return {};
  return fail(Code::unavailable,
              std::string("cuda: ") + what + ": cuBLAS status " + std::to_string(status));
}

Result<Api> open_api() {
  Api api;
  if (auto opened = open_driver(api); !opened) return tl::unexpected(opened.error());
  if (auto opened = open_cublas(api); !opened) return tl::unexpected(opened.error());
  return api;
}

}  // namespace wdmoe::cuda
