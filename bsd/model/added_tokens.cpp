#include "bsd/model/added_tokens.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

bool ends_with_word(std::string_view text) {
  std::size_t start = 0;
  return !text.empty() && is_word(last_char(text, start));
}

bool starts_with_word(std::string_view text) {
  std::size_t end = 0;
  return !text.empty() && is_word(next_char(text, 0, end));
}

/// Where the white space at the end of `text` begins.
std::size_t trailing_space(std::string_view text) {
  std::size_t start = 0;
  while (!text.empty() && is_white_space(last_char(text, start))) text = text.substr(0, start);
  return text.size();
}

std::size_t leading_space(std::string_view text) {
  std::size_t at = 0, end = 0;
  while (at < text.size() && is_white_space(next_char(text, at, end))) at = end;
  return at;
}

}  // namespace

void Trie::add(std::string_view key, std::uint32_t value) {
  std::uint32_t node = 0;
  starts_[static_cast<unsigned char>(key.front())] = true;
  for (const char c : key) {
    const std::uint64_t edge = std::uint64_t{node} * 256 + static_cast<unsigned char>(c);
    const auto [found, is_new] = edges_.emplace(edge, static_cast<std::uint32_t>(values_.size()));
    if (is_new) values_.push_back(kNoValue);
    node = found->second;
  }
  if (values_[node] == kNoValue) values_[node] = value;
}

std::optional<Trie::Hit> Trie::longest(std::string_view text, std::size_t offset) const {
  if (!starts_[static_cast<unsigned char>(text[offset])]) return std::nullopt;
  std::optional<Hit> best;
  std::uint32_t node = 0;
  for (std::size_t at = offset; at < text.size(); ++at) {
    const auto found =
        edges_.find(std::uint64_t{node} * 256 + static_cast<unsigned char>(text[at]));
    if (found == edges_.end()) break;
    node = found->second;
    if (values_[node] != kNoValue) best = Hit{values_[node], at + 1 - offset};
  }
  return best;
}

AddedTokens::AddedTokens(const nlohmann::json& list, const Bpe& bpe, const Normalizer* normalizer) {
  if (!list.is_array()) throw LoadError(Code::bad_input, "added_tokens should be an array");
  for (std::size_t i = 0; i < list.size(); ++i)
    add(Part(list[i], "added_tokens[" + std::to_string(i) + "]"), bpe);

  for (AddedToken& token : tokens_) {
    Piece form{token.content, true};
    if (token.normalized && normalizer != nullptr)
      if (const auto done = normalizer->apply(form); !done)
        throw LoadError(done.error().code,
                        "added token '" + token.content + "': " + done.error().text);
    token.form = std::move(form.text);
  }
  // Where two tokens read the same, the special one counts, as in Hugging Face's order.
  for (const bool special : {true, false})
    for (std::uint32_t i = 0; i < tokens_.size(); ++i)
      if (tokens_[i].special == special && !tokens_[i].form.empty())
        (tokens_[i].normalized ? normalized_ : raw_).add(tokens_[i].form, i);
}

void AddedTokens::add(const Part& part, const Bpe& bpe) {
  part.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
  AddedToken token;
  token.content = part.string("content");
  token.special = part.boolean("special", false);
  token.normalized = part.boolean("normalized", !token.special);
  token.lstrip = part.boolean("lstrip", false);
  token.rstrip = part.boolean("rstrip", false);
  token.single_word = part.boolean("single_word", false);
  part.number("id", Bpe::kMaxToken);
  if (token.content.empty()) return;
  if (token.special) specials_.insert(token.content);
  if (by_content_.count(token.content) != 0) return;

  const auto known = bpe.find(token.content);
  const Token beyond = std::max(id_end_, static_cast<Token>(bpe.size()));
  token.id = known ? *known : beyond;
  if (token.id > Bpe::kMaxToken) part.bad("id", "up to " + std::to_string(Bpe::kMaxToken));
  id_end_ = std::max(id_end_, token.id + 1);
  by_id_[token.id] = tokens_.size();
  by_content_[token.content] = tokens_.size();
  tokens_.push_back(std::move(token));
}

Result<std::vector<Segment>> AddedTokens::extract(std::string_view text,
                                                  const Normalizer* normalizer) const {
  std::vector<Segment> raw, out;
  cut(Piece{std::string(text), true}, raw_, raw);
  for (Segment& segment : raw) {
    if (segment.token) {
      out.push_back(std::move(segment));
      continue;
    }
    if (normalizer != nullptr) WDMOE_TRY(normalizer->apply(segment.piece));
    cut(segment.piece, normalized_, out);
  }
  return out;
}

void AddedTokens::cut(const Piece& piece, const Trie& trie, std::vector<Segment>& out) const {
  const std::string_view text = piece.text;
  std::size_t done = 0;
  const auto emit = [&](std::optional<Token> token, std::size_t begin, std::size_t end) {
    if (begin >= end) return;
    out.push_back({token, {piece.text.substr(begin, end - begin), piece.at_start && begin == 0}});
  };
  for (std::size_t at = 0; !trie.empty() && at < text.size();) {
    const auto hit = trie.longest(text, at);
    if (!hit) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[hit->value];
    std::size_t begin = at, end = at + hit->length;
    at = end;
    if (token.single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
      continue;
    if (token.lstrip) begin = std::max(trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    emit(std::nullopt, done, begin);
    emit(token.id, begin, end);
    done = end;
  }
  emit(std::nullopt, done, text.size());
}

const AddedToken* AddedTokens::find(Token id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::optional<Token> AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(content);
  if (found == by_content_.end()) return std::nullopt;
  return tokens_[found->second].id;
}

}  // namespace wdmoe::bsd::text
