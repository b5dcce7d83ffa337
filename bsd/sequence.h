#pragma once
// One request in progress: its tokens, its cache, its random state, and what the client has been
// told. Engine thread only.

#include <memory>
#include <optional>
#include <vector>

#include "bsd/inbox.h"
#include "bsd/model/batch.h"
#include "bsd/model/kv_cache.h"
#include "bsd/model/model_config.h"
#include "bsd/model/sampler.h"
#include "bsd/model/tokenizer.h"
#include "bsd/request.h"
#include "bsd/stop_matcher.h"
#include "common/tensor.h"

namespace wdmoe::bsd {

class Sequence {
 public:
  /// `cache` has room for prompt and max_tokens.  `config` and `tokenizer` outlive the sequence.
  Sequence(Submission submission, std::unique_ptr<KvSequence> cache, const ModelConfig& config,
           const Tokenizer& tokenizer);

  RequestId id() const { return request_.id; }
  /// Tokens that the cache lacks: the rest of the prompt, or the one that was sampled last.
  std::size_t pending() const { return tokens_.size() - cache_->length(); }
  bool prefilling() const { return cache_->length() < request_.prompt.size(); }
  bool finished() const { return finished_; }
  std::size_t generated() const { return tokens_.size() - request_.prompt.size(); }
  bool wants_all_logits() const { return request_.all_logits || request_.echo_logprobs; }

  /// The next `count` pending tokens; valid until accept().
  Slice slice(std::size_t count);
  /// Takes what the pass gave for that slice (the rows it asked for), samples, and appends the
  /// events that follow, costs not yet filled in.
  void accept(Matrix<const float> logits, std::vector<TokenEvent>& events);
  /// Adds a pass to the request's bill and writes it into its events.
  void charge(const StepCosts& costs, Span<TokenEvent> events);
  /// The end that comes from outside: cancelled, or an error with one line.
  TokenEvent end(FinishReason reason, std::string error = {});

  void emit(TokenEvent event) { sink_(std::move(event)); }

 private:
  TokenEvent event() const;
  void collect_prompt(Matrix<const float> logits);
  TokenEvent next_token(Span<const float> logits);
  bool is_end_token(Token token) const;

  Request request_;
  EventSink sink_;
  std::unique_ptr<KvSequence> cache_;
  const ModelConfig& config_;
  Sampler sampler_;
  StreamDecoder decoder_;
  StopMatcher stop_;
  std::vector<Token> tokens_;  ///< prompt and completion
  std::size_t first_fed_ = 0;  ///< position of the last slice's first token
  bool prompt_reported_ = false, finished_ = false;
  std::vector<TokenLogprob> prompt_logprobs_;
  std::vector<std::vector<float>> prompt_logits_;
  StepCosts costs_;
};

}  // namespace wdmoe::bsd
