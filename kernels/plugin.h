#pragma once
// Backends that live in libraries of their own, loaded at run time: the same program starts with
// and without CUDA.  `libwdmoe_NAME.so` exports one PluginEntry, called `wdmoe_plugin`.

#include <filesystem>
#include <memory>
#include <string_view>

#include "common/result.h"
#include "kernels/expert_backend.h"

namespace wdmoe::kernels {

/// What a plug-in exports.  Program and plug-in pass C++ values: both must be of one version.
struct PluginEntry {
  const char* version;  ///< WDMOE_VERSION of its build; first, so that it can always be read
  Result<std::unique_ptr<ExpertBackend>> (*make)();
};

/// Where this program's plug-ins are: ../lib/wdmoe, seen from the folder of its file.
std::filesystem::path plugin_folder();

/// Opens `folder`/libwdmoe_`name`.so (never closed again) and makes its backend.  Errors: no such
/// plug-in (not_found), one of another version or broken (unsupported), or why the backend cannot
/// work here (unavailable).
Result<std::unique_ptr<ExpertBackend>> make_plugin_backend(const std::filesystem::path& folder,
                                                           std::string_view name);

}  // namespace wdmoe::kernels
