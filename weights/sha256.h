#pragma once
// SHA-256 over streams of bytes (OpenSSL).

#include <memory>
#include <string>
#include <string_view>

#include "common/span.h"

struct evp_md_ctx_st;

namespace wdmoe::weights {

/// Two lower-case digits a byte.
std::string hex_of(Span<const unsigned char> bytes);

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

}  // namespace wdmoe::weights
