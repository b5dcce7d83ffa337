#pragma once
// An engine over a tiny model in this process, turned by hand, with a clock that the test owns.

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bsd/engine.h"
#include "tests/support/expert_runners.h"
#include "tests/support/local_model.h"

namespace wdmoe::test {

class FakeClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  void advance(Nanoseconds by) { now_ += by; }

 private:
  Instant now_{};
};

/// Token t reads as one letter, 'a' + t modulo 26; none is special.
class LetterTokenizer final : public bsd::Tokenizer {
 public:
  explicit LetterTokenizer(std::size_t vocabulary) : vocabulary_(vocabulary) {}
  Result<std::vector<bsd::Token>> encode(std::string_view text, bool) const override {
    std::vector<bsd::Token> tokens;
    for (const char c : text) tokens.push_back(static_cast<bsd::Token>(c - 'a'));
    return tokens;
  }
  std::string decode(Span<const bsd::Token> tokens, bool) const override {
    std::string text;
    for (const bsd::Token token : tokens) text += static_cast<char>('a' + token % 26);
    return text;
  }
  std::size_t vocabulary_size() const override { return vocabulary_; }
  bool is_special(bsd::Token) const override { return false; }
  std::optional<bsd::Token> token_of(std::string_view) const override { return std::nullopt; }

 private:
  std::size_t vocabulary_;
};

/// Everything one request was told.
struct Told {
  std::vector<bsd::TokenEvent> events;
  std::vector<bsd::Token> tokens() const {
    std::vector<bsd::Token> all;
    for (const auto& event : events)
      if (event.token) all.push_back(*event.token);
    return all;
  }
  std::string text() const {
    std::string all;
    for (const auto& event : events) all += event.text;
    return all;
  }
  /// The finish of the last event; fails the invariant that no event follows an end.
  bsd::FinishReason finish() const {
    for (std::size_t i = 0; i + 1 < events.size(); ++i)
      WDMOE_CHECK(events[i].finish == bsd::FinishReason::none);
    return events.empty() ? bsd::FinishReason::none : events.back().finish;
  }
};

class EngineFixture {
 public:
  explicit EngineFixture(const std::filesystem::path& path, bsd::EngineOptions options = {},
                         std::size_t cache_tokens = 16384)
      : model(path, 1, cache_tokens),
        experts(model.experts()),
        policy(bsd::make_top_k_policy()),
        decoder(
            bsd::Decoder::load(model.checkpoint(), model.config(), model.pool(), experts, *policy)
                .value()),
        tokenizer(model.config().vocabulary),
        engine(options, *decoder, model.cache(), tokenizer, host, clock) {}

  static bsd::Request greedy(bsd::RequestId id, std::vector<bsd::Token> prompt,
                             std::uint32_t max_tokens) {
    bsd::Request request;
    request.id = id;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    return request;
  }

  Result<void> submit(bsd::Request request) {
    Told& mine = told[request.id];
    return engine.submit(std::move(request), [&mine](bsd::TokenEvent event) {
      mine.events.push_back(std::move(event));
    });
  }

  /// Turns until there is nothing left to do.
  void finish() {
    while (engine.turn() != bsd::Engine::Turn::idle) continue;
  }

  LocalModel model;
  FlakyExperts experts;
  std::unique_ptr<bsd::SelectionPolicy> policy;
  std::unique_ptr<bsd::Decoder> decoder;
  LetterTokenizer tokenizer;
  bsd::LocalHost host;
  FakeClock clock;
  bsd::Engine engine;
  std::map<bsd::RequestId, Told> told;
};

}  // namespace wdmoe::test
