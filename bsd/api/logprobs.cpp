#include "bsd/api/logprobs.h"

#include <algorithm>

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

double ms(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

json chat_entry(const Tokenizer& tokenizer, Token token, float logprob) {
  json bytes = json::array();
  for (const char byte : tokenizer.bytes_of(token))
    bytes.push_back(static_cast<unsigned char>(byte));
  return {
      {"token", token_text(tokenizer, token)}, {"logprob", logprob}, {"bytes", std::move(bytes)}};
}

/// The best `top` and the token itself; where two tokens read the same, the better one stands.
json top_map(const Tokenizer& tokenizer, const TokenLogprob& entry, std::uint32_t top) {
  json map = json::object();
  std::uint32_t rank = 0;
  for (const auto& [token, logprob] : entry.top)
    if (rank++ < top || token == entry.token) map.emplace(token_text(tokenizer, token), logprob);
  map.emplace(token_text(tokenizer, entry.token), entry.logprob);
  return map;
}

}  // namespace

std::string token_text(const Tokenizer& tokenizer, Token token) {
  const std::string bytes = tokenizer.bytes_of(token);
  if (text::valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  std::string text = "bytes:";
  for (const char byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    text += {'\\', 'x', kDigits[value >> 4], kDigits[value & 15]};
  }
  return text;
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;  // not a continuation
  }));
}

json completion_logprobs(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& tokens,
                         bool first_is_null, std::uint32_t top, std::size_t offset) {
  json texts = json::array(), logprobs = json::array(), tops = json::array();
  json offsets = json::array();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token token = tokens[i].token;
    const bool is_null = first_is_null && i == 0;
    offsets.push_back(offset);
    if (!tokenizer.is_special(token))  // the text leaves special ones out, and a first blank
      offset += characters(offset > 0 ? tokenizer.bytes_of(token)
                                      : tokenizer.decode(Span<const Token>(&token, 1), true));
    texts.push_back(token_text(tokenizer, token));
    logprobs.push_back(is_null ? json() : json(tokens[i].logprob));
    tops.push_back(is_null ? json() : top_map(tokenizer, tokens[i], top));
  }
  return {{"tokens", std::move(texts)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

json chat_logprobs(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& tokens,
                   std::uint32_t top) {
  json content = json::array();
  for (const TokenLogprob& token : tokens) {
    json entry = chat_entry(tokenizer, token.token, token.logprob);
    json best = json::array();
    for (std::size_t i = 0; i < std::min<std::size_t>(top, token.top.size()); ++i)
      best.push_back(chat_entry(tokenizer, token.top[i].first, token.top[i].second));
    entry["top_logprobs"] = std::move(best);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}};
}

json costs_json(const StepCosts& costs) {
  const double rows = static_cast<double>(costs.tally.rows);
  return {{"bs_ms", ms(costs.total - costs.wire_wait)},
          {"wait_ms", ms(costs.wire_wait)},
          {"bytes_sent", costs.bytes_sent},
          {"bytes_received", costs.bytes_received},
          {"round_trips", costs.round_trips},
          {"policy", std::string(costs.policy)},
          {"kept_gate_mass", costs.tally.rows == 0 ? 1.0 : costs.tally.kept / rows},
          {"experts_dropped", costs.tally.drops},
          {"experts_substituted", costs.tally.substitutions}};
}

json totals_json(const StepCosts& costs) {
  json totals = costs_json(costs);
  totals["messages"] = costs.messages;
  totals["rows"] = costs.tokens;
  totals["stages_ms"] = {{"attention", ms(costs.attention)}, {"gate", ms(costs.gate)},
                         {"selection", ms(costs.selection)}, {"serialise", ms(costs.serialise)},
                         {"wire_wait", ms(costs.wire_wait)}, {"combine", ms(costs.combine)},
                         {"head", ms(costs.head)},           {"total", ms(costs.total)}};
  return totals;
}

}  // namespace wdmoe::bsd::api
