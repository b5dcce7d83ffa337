#include "bsd/decode.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "kernels/ops.h"

namespace wdmoe::bsd {
namespace {

/// Splits a step's time into its stages; measures only, decides nothing.
class Stopwatch {
 public:
  /// Time since the last call (or construction).
  Nanoseconds lap() {
    const Instant now = SteadyClock().now();
    return now - std::exchange(last_, now);
  }
  Nanoseconds total() const { return SteadyClock().now() - start_; }

 private:
  Instant start_ = SteadyClock().now();
  Instant last_ = start_;
};

/// From here on a second message per device costs less than what overlaps.
constexpr std::size_t kWorthParting = 128;

/// A batch's rows as one range, or as two halves.
class Parts {
 public:
  Parts(std::size_t rows, std::size_t most) {
    const std::size_t first = most > 1 && rows >= kWorthParting ? rows / 2 : rows;
    parts_ = {{{0, first}, {first, rows - first}}};
    count_ = first < rows ? 2 : 1;
  }
  const RowRange* begin() const { return parts_.data(); }
  const RowRange* end() const { return parts_.data() + count_; }

 private:
  std::array<RowRange, ExpertRunner::kMostUnderWay> parts_;
  std::size_t count_;
};

std::size_t rows_of(Span<const Slice> batch) {
  std::size_t rows = 0;
  for (const Slice& slice : batch) rows += slice.tokens.size();
  return rows;
}

}  // namespace

Result<std::unique_ptr<Decoder>> Decoder::load(const weights::Checkpoint& checkpoint,
                                               const ModelConfig& config, kernels::ThreadPool& pool,
                                               ExpertRunner& experts, SelectionPolicy& policy) {
  Result<ModelWeights> weights = ModelWeights::find(checkpoint, config);
  if (!weights) return tl::unexpected<Error>(std::move(weights).error());
  return std::unique_ptr<Decoder>(
      new Decoder(checkpoint, config, *std::move(weights), pool, experts, policy));
}

Decoder::Decoder(const weights::Checkpoint& checkpoint, const ModelConfig& config,
                 ModelWeights weights, kernels::ThreadPool& pool, ExpertRunner& experts,
                 SelectionPolicy& policy)
    : checkpoint_(checkpoint),
      config_(config),
      weights_(std::move(weights)),
      pool_(pool),
      experts_(experts),
      attention_(config_, weights_, pool),
      gate_(weights_, pool),
      selector_(experts, policy, config.experts_per_token) {}

Result<Matrix<const float>> Decoder::step(Span<const Slice> batch, StepCosts& costs) {
  WDMOE_TRY(check(batch));
  Stopwatch watch;
  const Matrix<float> x = look_up(batch);  // [rows, hidden]
  costs.head += watch.lap();
  attention_.begin(batch);
  selector_.begin(batch);
  if (Result<void> done = run_layers(batch, x, costs); !done) {
    experts_.abandon();
    return tl::unexpected<Error>(std::move(done).error());
  }
  watch.lap();
  const Matrix<const float> logits = head(batch, x);  // [wanted, vocabulary]
  costs.head += watch.lap();
  for (const Slice& slice : batch) slice.cache->advance(slice.tokens.size());
  selector_.completed();
  costs.tokens += x.rows;
  costs.tally += selector_.tally(0, x.rows);
  costs.total += watch.total();
  return logits;
}

/// A large batch goes in two parts: attention of one runs here while the devices compute the other.
Result<void> Decoder::run_layers(Span<const Slice> batch, Matrix<float> x, StepCosts& costs) {
  const Matrix<float> sums = sums_.matrix(x.rows, config_.hidden);
  const Parts parts(x.rows, experts_.worth_under_way());
  const auto of = [](const Matrix<float>& all, RowRange part) {
    return all.slice_rows(part.first, part.count);
  };
  Stopwatch watch;
  for (std::size_t layer = 0; layer < config_.layers; ++layer) {
    for (const RowRange part : parts) {
      if (layer > 0) WDMOE_TRY(finish_experts(of(x, part), of(sums, part), costs));
      watch.lap();
      attention_.forward(layer, batch, part, of(x, part));  // here, on the base station
      costs.attention += watch.lap();
      WDMOE_TRY(begin_experts(layer, part, of(x, part), of(sums, part), costs));  // on the devices
    }
  }
  for (const RowRange part : parts) WDMOE_TRY(finish_experts(of(x, part), of(sums, part), costs));
  return {};
}

/// sums = Σ weight · expert(norm(x)) over the experts that each row's gate and the policy choose;
/// there once finish_experts() has returned.
Result<void> Decoder::begin_experts(std::size_t layer, RowRange part, Matrix<float> x,
                                    Matrix<float> sums, StepCosts& costs) {
  Stopwatch watch;
  const Matrix<float> normed = normed_.matrix(x.rows, config_.hidden);
  kernels::rms_norm(weights_.layers[layer].expert_norm, config_.rms_norm_epsilon, x, normed);
  costs.attention += watch.lap();
  const Result<Matrix<const float>> gates = gate_.forward(layer, normed);  // rows sum to 1
  if (!gates) return tl::unexpected<Error>(gates.error());
  costs.gate += watch.lap();
  // Which experts, on which devices.
  const Result<const Selection*> chosen = selector_.select(layer, part, *gates);
  if (!chosen) return tl::unexpected<Error>(chosen.error());
  costs.selection += watch.lap();
  return experts_.begin(layer, **chosen, normed, sums, costs);
}

Result<void> Decoder::finish_experts(Matrix<float> x, Matrix<const float> sums, StepCosts& costs) {
  WDMOE_TRY(experts_.finish(costs));
  Stopwatch watch;
  selector_.finished();
  kernels::add_scaled(1.0f, sums, x);
  costs.combine += watch.lap();
  return {};
}

Result<void> Decoder::check(Span<const Slice> batch) const {
  if (batch.empty()) return fail(Code::bad_input, "a step needs at least one sequence");
  for (const Slice& slice : batch) {
    if (slice.tokens.empty()) return fail(Code::bad_input, "a sequence's slice holds no token");
    const std::size_t end = slice.cache->length() + slice.tokens.size();
    WDMOE_CHECK(end <= slice.cache->capacity());
    if (end > config_.max_positions)
      return fail(Code::limit, "position " + std::to_string(end - 1) + " is beyond the model's " +
                                   std::to_string(config_.max_positions));
    for (const Token token : slice.tokens)
      if (token >= config_.vocabulary)
        return fail(Code::bad_input, "token " + std::to_string(token) +
                                         " is not below the vocabulary's size " +
                                         std::to_string(config_.vocabulary));
  }
  return {};
}

Matrix<float> Decoder::look_up(Span<const Slice> batch) {
  const Matrix<float> x = x_.matrix(rows_of(batch), config_.hidden);
  std::size_t row = 0;
  for (const Slice& slice : batch)
    for (const Token token : slice.tokens)
      kernels::copy_row(weights_.embedding, token, x.row(row++));
  return x;
}

/// Last norm and LM head, on the wanted rows only.
Matrix<const float> Decoder::head(Span<const Slice> batch, Matrix<const float> x) {
  std::size_t count = 0;
  for (const Slice& slice : batch) count += wanted_rows(slice);
  const Matrix<float> wanted = wanted_.matrix(count, config_.hidden);
  const Matrix<float> logits = logits_.matrix(count, config_.vocabulary);
  std::size_t row = 0, next = 0;
  for (const Slice& slice : batch) {
    row += slice.tokens.size();
    const std::size_t kept = wanted_rows(slice);
    for (std::size_t i = row - kept; i < row; ++i)
      std::copy_n(x.row(i), config_.hidden, wanted.row(next++));
  }
  if (count == 0) return logits;
  kernels::rms_norm(weights_.final_norm, config_.rms_norm_epsilon, wanted, wanted);
  kernels::linear(pool_, weights_.head, wanted, logits);
  return logits;
}

}  // namespace wdmoe::bsd
