#pragma once
// Stand-ins for the API's tests: a tokenizer of bytes and an engine that counts letters.

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bsd/api/call.h"
#include "bsd/api/hooks.h"
#include "bsd/model/tokenizer.h"
#include "bsd/model/utf8.h"

namespace wdmoe::bsd::api {

/// Token = byte; 256 is BOS.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr Token kBos = 256;

  Result<std::vector<Token>> encode(std::string_view text, bool add_special) const override {
    if (text::valid_utf8_prefix(text) != text.size())
      return fail(Code::bad_input, "the text is not valid UTF-8");
    std::vector<Token> tokens;
    if (add_special) tokens.push_back(kBos);
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::string decode(Span<const Token> tokens, bool skip_special) const override {
    std::string out;
    text::LossyUtf8 repair;
    for (const Token token : tokens) {
      const char byte = static_cast<char>(token);
      if (token < kBos) repair.push(std::string_view(&byte, 1), out);
      if (token == kBos && !skip_special) repair.push("<s>", out);
    }
    repair.finish(out);
    return out;
  }
  std::string bytes_of(Token token) const override {
    return token < kBos ? std::string(1, static_cast<char>(token)) : "<s>";
  }
  std::size_t vocabulary_size() const override { return 257; }
  bool is_special(Token token) const override { return token == kBos; }
  std::optional<Token> token_of(std::string_view piece) const override {
    if (piece == "<s>") return kBos;
    return std::nullopt;
  }
};

inline ModelInfo test_model() {
  ModelInfo model;
  model.name = "demo";
  model.max_context = 100;
  model.created = 1'700'000'000;
  model.policies = {{"topk", "the gate's own"}, {"minmax", "ours"}};
  model.bos_token = "<s>";
  return model;
}

inline const ByteTokenizer kTokenizer;
inline const ModelInfo kModel = test_model();

inline TokenLogprob logprob(Token token, float value) {
  return {token, value, {{'z', -0.1f}, {token, value}}};
}

/// The events of a request whose answer is "abc…", as the engine would make them.
inline std::vector<TokenEvent> events_for(const Request& request) {
  std::vector<TokenEvent> events;
  TokenEvent event;
  event.id = request.id;
  event.prompt_tokens = static_cast<std::uint32_t>(request.prompt.size());
  if (request.echo_logprobs || request.all_logits || request.max_tokens == 0) {
    TokenEvent prompt = event;
    if (request.echo_logprobs)
      for (const Token token : request.prompt)
        prompt.prompt_logprobs.push_back(logprob(token, -1.5f));
    if (request.all_logits) prompt.logits.assign(request.prompt.size(), {0.5f, -1.0f});
    if (request.max_tokens == 0) prompt.finish = FinishReason::length;
    events.push_back(prompt);
  }
  for (std::uint32_t i = 0; i < request.max_tokens; ++i) {
    const Token letter = 'a' + i % 26;
    event.token = letter;
    event.text = std::string(1, static_cast<char>(letter));
    event.completion_tokens = i + 1;
    if (request.top_logprobs) event.logprob = logprob(letter, -0.25f);
    event.costs.total = std::chrono::milliseconds(5);
    event.costs.wire_wait = std::chrono::milliseconds(2);
    event.costs.bytes_sent = 100;
    event.costs.tally = {4, 3.0, 2, 1};
    event.costs.policy = "minmax";
    if (i + 1 == request.max_tokens) {
      event.finish = FinishReason::length;
      event.totals = event.costs;
    }
    events.push_back(event);
  }
  return events;
}

/// Takes requests; answers at once, or when told to.  Callable from any thread.
class FakeEngine {
 public:
  explicit FakeEngine(bool answers_at_once) : answers_at_once_(answers_at_once) {}

  void set_radio_controlled(bool on) { radio_controlled_ = on; }

  Hooks hooks() {
    Hooks hooks;
    hooks.submit = [this](Request request, EventSink sink) {
      return submit(std::move(request), std::move(sink));
    };
    hooks.cancel = [this](RequestId id) {
      const std::lock_guard<std::mutex> lock(mutex_);
      cancelled_.push_back(id);
      open_.erase(id);
    };
    hooks.health = [this] {
      const std::lock_guard<std::mutex> lock(mutex_);
      return health_;
    };
    hooks.metrics = [] { return std::string("wdmoe_device_up 1\n"); };
    hooks.policy = [this] {
      const std::lock_guard<std::mutex> lock(mutex_);
      return policy_;
    };
    hooks.set_policy = [this](const PolicyState& state) -> Result<void> {
      const std::lock_guard<std::mutex> lock(mutex_);
      policy_ = state;
      return {};
    };
    hooks.trace = [this] {
      const std::lock_guard<std::mutex> lock(mutex_);
      return trace_;
    };
    hooks.start_trace = [this](const TraceWish& wish) -> Result<TraceState> {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (wish.name == "denied") return fail(Code::denied, "recording is off");
      if (wish.name == "large") return fail(Code::limit, "no room");
      if (wish.name == "full") return fail(Code::io, "the disk is full");
      if (trace_.recording) return fail(Code::busy, "one is under way");
      trace_.recording = true;
      trace_.name = wish.name;
      trace_.tokens = wish.tokens.value_or(0);
      return trace_;
    };
    hooks.stop_trace = [this]() -> Result<TraceState> {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!trace_.recording) return fail(Code::not_found, "no recording is under way");
      trace_.recording = false;
      return trace_;
    };
    hooks.fingerprint = [](const PolicyWish& wish) {
      return std::string(wish.policy ? "test-build-wish" : "test-build");
    };
    hooks.agents = [] { return std::string(R"({"agents":[]})"); };
    hooks.status = [] { return std::string(R"({"ready":true})"); };
    hooks.radio = [this] {
      return std::string(radio_frozen_ ? R"({"state":"frozen"})" : R"({"state":"running"})");
    };
    hooks.freeze_radio = [this](bool on) -> Result<void> {
      if (!radio_controlled_) return fail(Code::unavailable, "radio.actuators is empty");
      radio_frozen_ = on;
      return {};
    };
    hooks.count_request = [this](unsigned status) {
      const std::lock_guard<std::mutex> lock(mutex_);
      statuses_.push_back(status);
    };
    return hooks;
  }

  Result<void> submit(Request request, EventSink sink) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (refusal_) return tl::unexpected(*refusal_);
      if (open_.size() >= capacity_) return fail(Code::busy, "the queue is full");
      if (!answers_at_once_) {
        open_.emplace(request.id, std::make_pair(request, sink));
        return {};
      }
    }
    for (const TokenEvent& event : events_for(request)) sink(event);
    return {};
  }

  // What the test sees and sets.
  std::vector<RequestId> open() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<RequestId> ids;
    for (const auto& [id, entry] : open_) ids.push_back(id);
    return ids;
  }
  void emit(RequestId id, TokenEvent event) {
    EventSink sink;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = open_.find(id);
      if (found == open_.end()) return;
      sink = found->second.second;
      if (event.finish != FinishReason::none) open_.erase(found);
    }
    sink(std::move(event));
  }
  void answer(RequestId id) {
    Request request;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = open_.find(id);
      if (found == open_.end()) return;
      request = found->second.first;
    }
    for (TokenEvent& event : events_for(request)) emit(id, std::move(event));
  }
  void refuse_with(Error error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    refusal_ = std::move(error);
  }
  void accept_again() {
    const std::lock_guard<std::mutex> lock(mutex_);
    refusal_.reset();
  }
  void set_capacity(std::size_t capacity) {
    const std::lock_guard<std::mutex> lock(mutex_);
    capacity_ = capacity;
  }
  void set_health(Health health) {
    const std::lock_guard<std::mutex> lock(mutex_);
    health_ = std::move(health);
  }
  std::vector<RequestId> cancelled() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return cancelled_;
  }
  std::vector<unsigned> statuses() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return statuses_;
  }

 private:
  const bool answers_at_once_;
  std::atomic<bool> radio_controlled_{true}, radio_frozen_{false};
  mutable std::mutex mutex_;
  std::map<RequestId, std::pair<Request, EventSink>> open_;
  std::vector<RequestId> cancelled_;
  std::vector<unsigned> statuses_;
  std::size_t capacity_ = 1000;
  std::optional<Error> refusal_;
  Health health_{true, {}};
  PolicyState policy_{"topk", {}, 0.3, false};
  TraceState trace_;
};

}  // namespace wdmoe::bsd::api
