#pragma once
// Hugging Face's tokenizer.json, whole: added tokens, normalizer, pre-tokenizer, BPE,
// post-processor and decoder put together as its `tokenizers` library does.

#include <filesystem>
#include <memory>
#include <string_view>

#include "bsd/model/tokenizer.h"

namespace wdmoe::bsd::text {

constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;  // some 4 million tokens

/// bad_input with the byte offset when `text` is not UTF-8, limit when it is too long.
Result<void> check_text(std::string_view text);

Result<std::unique_ptr<const Tokenizer>> load_tokenizer_json(const std::filesystem::path& file);

/// The same from the file's content; `name` stands in messages.
Result<std::unique_ptr<const Tokenizer>> parse_tokenizer_json(std::string_view content,
                                                              const std::string& name);

}  // namespace wdmoe::bsd::text
