#pragma once
// Serves requests: admits them, forms each step's batch, calls the decoder, samples, reports
// tokens. Continuous batching: one forward pass carries the next token of every running sequence
// and a slice of waiting prompts.  submit(), cancel(), stop() and stats() are callable from any
// thread; all else belongs to the engine thread, which the caller makes (it also owns the fleet's
// sockets).

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bsd/decode.h"
#include "bsd/engine_host.h"
#include "bsd/inbox.h"
#include "bsd/model/kv_cache.h"
#include "bsd/model/tokenizer.h"
#include "bsd/sequence.h"
#include "common/clock.h"
#include "common/latest.h"
#include "common/result.h"

namespace wdmoe::bsd {

struct EngineOptions {
  std::size_t prefill_chunk = 512;  ///< most prompt tokens in one step, of all sequences
  std::size_t max_sequences = 32;   ///< most that run together
  std::size_t max_rows = 1024;      ///< most tokens in one step: the wire's limit of one message
  std::size_t max_waiting = 64;     ///< most that wait for a place; further ones are refused (busy)
  std::size_t max_context = 0;      ///< prompt and completion; 0: the model's positions
  milliseconds retry_deadline{15'000};  ///< how long a step that lost a device is tried again
};

/// The engine's life so far.
struct EngineStats {
  std::size_t running = 0, waiting = 0;
  std::size_t kv_pages_total = 0, kv_pages_free = 0;
  std::uint64_t steps = 0, failed_steps = 0;
  std::uint64_t prompt_tokens = 0, generated_tokens = 0;
  std::uint64_t stopped = 0, full = 0, cancelled = 0, failed = 0;  ///< requests, by how they ended
  StepCosts costs;                                                 ///< of all steps
};

class Engine {
 public:
  /// Everything passed in outlives the engine.
  Engine(const EngineOptions& options, Decoder& decoder, KvCache& cache, const Tokenizer& tokenizer,
         EngineHost& host, const Clock& clock);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Accepts a request or says why not: bad_input (no prompt, a token outside the vocabulary, a
  /// sampling value out of range), limit (longer than the context or the whole cache), busy,
  /// unavailable (stopping).  `sink` is called on the engine thread; its last event has a finish.
  Result<void> submit(Request request, EventSink sink);
  /// Frees the sequence before the next step; its last event says cancelled.
  void cancel(RequestId id) { inbox_.cancel(id); }
  /// No new requests from now on; run() returns when those accepted have ended, at the latest at
  /// `deadline` (by the engine's clock), when the rest fails.
  void stop(Instant deadline);
  EngineStats stats() const { return stats_.get(); }
  std::size_t max_context() const { return max_context_; }

  /// Serves until stopped.  `alive` is called once a turn, at least every second (watchdog).
  void run(const std::function<void()>& alive);

  enum class Turn { idle, stepped, failed };
  /// Takes in what came and runs at most one step.  failed: a device did not answer; wait, then
  /// turn again.  Never waits itself, except for devices.
  Turn turn();

 private:
  using Sequences = std::vector<std::unique_ptr<Sequence>>;

  void take_cancellations();
  void admit();
  void plan();
  Turn step();
  void deliver(Matrix<const float> logits, StepCosts& costs);
  StepCosts costs_of(std::size_t index, std::size_t first_row, const StepCosts& costs);
  Turn step_failed(const Error& error);
  void fail_all(const std::string& why);
  void fail_submission(const Submission& submission, FinishReason reason, const std::string& why);
  void emit(Sequence& sequence, TokenEvent event);
  void count(FinishReason reason);
  void drop_finished();
  void publish();

  const EngineOptions options_;
  Decoder& decoder_;
  KvCache& cache_;
  const Tokenizer& tokenizer_;
  EngineHost& host_;
  const Clock& clock_;
  const std::size_t max_context_;

  Inbox inbox_;
  std::atomic<Instant::rep> stop_at_{Instant::max().time_since_epoch().count()};
  Latest<EngineStats> stats_;

  std::deque<Submission> waiting_;
  Sequences running_;  // in order of admission
  std::vector<Sequence*> planned_;
  std::vector<Slice> batch_;
  std::vector<TokenEvent> events_;
  std::optional<Instant> failing_since_;
  EngineStats totals_;
};

}  // namespace wdmoe::bsd
