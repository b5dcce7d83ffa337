#include "kernels/plugin.h"

#include <string>
#include <system_error>

#include <dlfcn.h>

namespace wdmoe::kernels {

std::filesystem::path plugin_folder() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.parent_path().parent_path() / "lib" / "wdmoe";
}

Result<std::unique_ptr<ExpertBackend>> make_plugin_backend(const std::filesystem::path& folder,
                                                           std::string_view name) {
  const std::filesystem::path file = folder / ("libwdmoe_" + std::string(name) + ".so");
  std::error_code error;
  if (!std::filesystem::exists(file, error))
    return fail(Code::not_found, file.string() + " is not there: install the package wdmoe-agent-" +
                                     std::string(name) + ", or take another backend");
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return fail(Code::unsupported, std::string("cannot load the plug-in: ") + ::dlerror());
  const auto* entry = static_cast<const PluginEntry*>(::dlsym(library, "wdmoe_plugin"));
  if (entry == nullptr || std::string_view(entry->version) != WDMOE_VERSION)
    return fail(Code::unsupported,
                file.string() + " is of version " + (entry ? entry->version : "unknown") +
                    ": expected this program's, " WDMOE_VERSION "; install both from one build");
  return entry->make();
}

}  // namespace wdmoe::kernels
