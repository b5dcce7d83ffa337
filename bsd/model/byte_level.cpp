#include "bsd/model/byte_level.h"

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

bool stands_for_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::size_t kLetterEnd = 0x100 + 68;  // 68 bytes do not stand for themselves

const std::array<int, kLetterEnd>& byte_of_letter() {
  static const auto table = [] {
    std::array<int, kLetterEnd> bytes{};
    bytes.fill(-1);
    std::size_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte)
      bytes[stands_for_itself(byte) ? byte : next++] = static_cast<int>(byte);
    return bytes;
  }();
  return table;
}

}  // namespace

const std::array<std::string, 256>& byte_letters() {
  static const auto table = [] {
    std::array<std::string, 256> letters;
    const auto& bytes = byte_of_letter();
    for (std::size_t c = 0; c < bytes.size(); ++c)
      if (bytes[c] >= 0)
        letters[static_cast<std::size_t>(bytes[c])] = to_utf8(static_cast<char32_t>(c));
    return letters;
  }();
  return table;
}

std::string to_byte_level(std::string_view bytes) {
  const auto& letters = byte_letters();
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) out += letters[static_cast<unsigned char>(byte)];
  return out;
}

std::optional<std::string> from_byte_level(std::string_view letters) {
  const auto& bytes = byte_of_letter();
  std::string out;
  for (std::size_t at = 0; at < letters.size();) {
    const char32_t c = next_char(letters, at, at);
    if (c >= bytes.size() || bytes[c] < 0) return std::nullopt;
    out += static_cast<char>(bytes[c]);
  }
  return out;
}

}  // namespace wdmoe::bsd::text
