#pragma once
// GPT-2's printable alphabet for bytes: every byte is one character, so that any text is made of
// 256 letters.  Printable Latin-1 bytes stand for themselves, the rest for U+0100 and up in order.

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace wdmoe::bsd::text {

/// The UTF-8 letter of every byte.
const std::array<std::string, 256>& byte_letters();

std::string to_byte_level(std::string_view bytes);

/// The bytes that `letters` stand for; nothing when a character is not of the alphabet.
std::optional<std::string> from_byte_level(std::string_view letters);

}  // namespace wdmoe::bsd::text
