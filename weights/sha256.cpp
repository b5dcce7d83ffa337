#include "weights/sha256.h"

#include <array>

#include <openssl/evp.h>

#include "common/check.h"

namespace wdmoe::weights {

std::string hex_of(Span<const unsigned char> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  // Fails only without memory or without SHA-256 in the library: nothing can go on then.
  WDMOE_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void Sha256::add(Bytes bytes) {
  WDMOE_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

void Sha256::add(std::string_view text) {
  WDMOE_CHECK(EVP_DigestUpdate(context_.get(), text.data(), text.size()) == 1);
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  WDMOE_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
  return hex_of({digest.data(), size});
}

}  // namespace wdmoe::weights
