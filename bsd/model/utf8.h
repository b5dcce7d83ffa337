#pragma once
// UTF-8 as the tokenizer needs it: validation, walking, and the repair of broken byte runs.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wdmoe::bsd::text {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// Length of the longest valid UTF-8 prefix (text.size() when all of it is valid).
std::size_t valid_utf8_prefix(std::string_view text);

bool is_ascii(std::string_view text);

/// The character that starts at `offset` of valid UTF-8; its end goes to `end`.
char32_t next_char(std::string_view text, std::size_t offset, std::size_t& end);

/// The last character of valid, non-empty UTF-8; its start goes to `start`.
char32_t last_char(std::string_view text, std::size_t& start);

void append_utf8(std::string& out, char32_t c);
std::string to_utf8(char32_t c);

/// What non-empty `bytes` begin with: a whole character, the start of one, or neither.
enum class Beginning { whole, partial, invalid };
Beginning beginning_of(std::string_view bytes);

/// Unicode classes with the extent that Rust's std and regex crates give them.
bool is_white_space(char32_t c);  // White_Space
bool is_numeric(char32_t c);      // general category N
bool is_word(char32_t c);         // \w
bool is_punctuation(char32_t c);  // ASCII punctuation or general category P

/// Bytes in, valid UTF-8 out: each maximal invalid part becomes one U+FFFD, as the WHATWG decoder
/// and Rust's from_utf8_lossy do it, however the bytes are cut into pieces.
class LossyUtf8 {
 public:
  void push(std::string_view bytes, std::string& out);
  void finish(std::string& out);  // an unfinished character becomes U+FFFD

 private:
  void push_byte(unsigned char byte, std::string& out);

  std::string held_;                        // the valid beginning of a character
  std::size_t wanted_ = 0;                  // its full length
  unsigned char low_ = 0x80, high_ = 0xBF;  // what the next byte may be
};

}  // namespace wdmoe::bsd::text
