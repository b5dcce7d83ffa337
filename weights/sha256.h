#pragma once
// SHA-256 over streams of bytes (OpenSSL).

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/span.h"

struct evp_md_ctx_st;

namespace wdmoe::weights {

class Sha256 {
 public:
  Sha256();

  void add(Bytes bytes);
  void add(std::string_view text);
  std::string hex();  ///< 64 lower-case digits; call once, at the end

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// Digest of a whole file, read once without keeping it in memory.
Result<std::string> sha256_of_file(const std::filesystem::path& path);

}  // namespace wdmoe::weights
