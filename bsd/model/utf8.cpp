#include "bsd/model/utf8.h"

#include <algorithm>
#include <cstring>

#include <utf8proc.h>

namespace wdmoe::bsd::text {
namespace {

struct LeadByte {
  std::size_t length;       // 0: cannot start a character
  unsigned char low, high;  // bounds of the second byte (Unicode table 3-7)
};

LeadByte classify(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};  // above are surrogates
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

unsigned char byte_at(std::string_view text, std::size_t offset) {
  return static_cast<unsigned char>(text[offset]);
}

std::size_t ascii_prefix(std::string_view text, std::size_t offset) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080u;
  for (; offset + 8 <= text.size(); offset += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + offset, 8);
    if ((word & kHighBits) != 0) break;
  }
  while (offset < text.size() && byte_at(text, offset) < 0x80) ++offset;
  return offset;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while ((at = ascii_prefix(text, at)) < text.size()) {
    const LeadByte lead = classify(byte_at(text, at));
    if (lead.length == 0 || at + lead.length > text.size()) return at;
    const unsigned char second = byte_at(text, at + 1);
    if (second < lead.low || second > lead.high) return at;
    for (std::size_t i = 2; i < lead.length; ++i)
      if ((byte_at(text, at + i) & 0xC0) != 0x80) return at;
    at += lead.length;
  }
  return at;
}

bool is_ascii(std::string_view text) {
  return ascii_prefix(text, 0) == text.size();
}

Beginning beginning_of(std::string_view bytes) {
  const LeadByte lead = classify(byte_at(bytes, 0));
  if (lead.length == 0) return Beginning::invalid;
  for (std::size_t i = 1; i < std::min(lead.length, bytes.size()); ++i) {
    const unsigned char low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (byte_at(bytes, i) < low || byte_at(bytes, i) > high) return Beginning::invalid;
  }
  return bytes.size() < lead.length ? Beginning::partial : Beginning::whole;
}

char32_t next_char(std::string_view text, std::size_t offset, std::size_t& end) {
  const unsigned char first = byte_at(text, offset);
  const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  end = offset + length;
  if (length == 1) return first;
  char32_t c = first & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) c = (c << 6) | (byte_at(text, offset + i) & 0x3Fu);
  return c;
}

char32_t last_char(std::string_view text, std::size_t& start) {
  start = text.size() - 1;
  while (start > 0 && (byte_at(text, start) & 0xC0) == 0x80) --start;
  std::size_t end = 0;
  return next_char(text, start, end);
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

std::string to_utf8(char32_t c) {
  std::string out;
  append_utf8(out, c);
  return out;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  const auto kind = category(c);
  return c == 0x85 || kind == UTF8PROC_CATEGORY_ZS || kind == UTF8PROC_CATEGORY_ZL ||
         kind == UTF8PROC_CATEGORY_ZP;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_word(char32_t c) {
  if (c < 0x80)
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:  // circled and squared letters are Alphabetic; the joiners are Join_Control
      return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
             (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
             c == 0x200D;
  }
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

void LossyUtf8::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) push_byte(static_cast<unsigned char>(c), out);
}

void LossyUtf8::push_byte(unsigned char byte, std::string& out) {
  if (!held_.empty()) {
    if (byte >= low_ && byte <= high_) {
      held_ += static_cast<char>(byte);
      low_ = 0x80;
      high_ = 0xBF;
      if (held_.size() == wanted_) {
        out += held_;
        held_.clear();
      }
      return;
    }
    finish(out);
  }
  const LeadByte lead = classify(byte);
  if (lead.length == 1) {
    out += static_cast<char>(byte);
  } else if (lead.length == 0) {
    out += kReplacement;
  } else {
    held_.assign(1, static_cast<char>(byte));
    wanted_ = lead.length;
    low_ = lead.low;
    high_ = lead.high;
  }
}

void LossyUtf8::finish(std::string& out) {
  if (!held_.empty()) out += kReplacement;
  held_.clear();
}

}  // namespace wdmoe::bsd::text
