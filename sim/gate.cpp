#include "sim/gate.h"

#include <algorithm>
#include <cmath>

#include "bsd/trace/reader.h"
#include "sim/random.h"

namespace wdmoe::sim {
namespace {

/// The layers of a recorded trace, in the order of its file.
class TraceGate final : public GateSource {
 public:
  TraceGate(std::unique_ptr<bsd::trace::Reader> reader, std::size_t most_steps)
      : reader_(std::move(reader)), most_steps_(most_steps) {}

  Result<std::optional<LayerGates>> next() override {
    for (;;) {
      const auto more = reader_->next(record_);
      if (!more) return tl::unexpected<Error>(more.error());
      if (!*more) return std::nullopt;
      if (steps_ == 0 || record_.step != last_step_) ++steps_;
      last_step_ = record_.step;
      if (steps_ > most_steps_) return std::nullopt;
      if (record_.probabilities.rows > 0)
        return std::optional(LayerGates{record_.layer, record_.probabilities});
    }
  }

 private:
  std::unique_ptr<bsd::trace::Reader> reader_;
  std::size_t most_steps_, steps_ = 0;
  std::uint64_t last_step_ = 0;
  bsd::trace::Record record_;
};

}  // namespace

SyntheticGate::SyntheticGate(const Scenario& scenario, std::uint64_t seed)
    : spec_(scenario.workload),
      layers_(scenario.model.layers),
      experts_(scenario.model.experts),
      random_(random_stream(seed, Stream::gate)),
      popularity_(layers_ * experts_),
      state_(layers_ * experts_),
      probabilities_(spec_.rows * experts_) {
  std::mt19937_64 popularity = random_stream(seed, Stream::popularity);
  for (double& logit : popularity_) logit = spec_.skew * normal_(popularity);
  normal_.reset();
  for (double& x : state_) x = normal_(random_);
}

Result<std::optional<LayerGates>> SyntheticGate::next() {
  if (batch_ == spec_.batches) return std::nullopt;
  const std::size_t layer = layer_;
  fill(layer);
  if (++layer_ == layers_) layer_ = 0, ++batch_;
  return std::optional(
      LayerGates{layer, Matrix<const float>(probabilities_.data(), spec_.rows, experts_)});
}

void SyntheticGate::fill(std::size_t layer) {
  const double keep = spec_.locality, fresh = std::sqrt(1 - keep * keep);
  double* const x = state_.data() + layer * experts_;
  const double* const popularity = popularity_.data() + layer * experts_;
  for (std::size_t row = 0; row < spec_.rows; ++row) {
    float* const p = probabilities_.data() + row * experts_;
    float greatest = -INFINITY, sum = 0;
    for (std::size_t expert = 0; expert < experts_; ++expert) {
      x[expert] = keep * x[expert] + fresh * normal_(random_);
      p[expert] = static_cast<float>(popularity[expert] + spec_.spread * x[expert]);
      greatest = std::max(greatest, p[expert]);
    }
    for (std::size_t expert = 0; expert < experts_; ++expert)
      sum += p[expert] = std::exp(p[expert] - greatest);
    for (std::size_t expert = 0; expert < experts_; ++expert) p[expert] /= sum;
  }
}

Result<std::unique_ptr<GateSource>> open_workload(const Scenario& scenario, std::uint64_t seed) {
  const std::string& path = scenario.workload.trace;
  if (path.empty())
    return std::unique_ptr<GateSource>(std::make_unique<SyntheticGate>(scenario, seed));
  auto reader = bsd::trace::Reader::open(path);
  if (!reader) return tl::unexpected<Error>(std::move(reader).error());
  const bsd::trace::Header& header = (*reader)->header();
  if (header.experts != scenario.model.experts || header.layers != scenario.model.layers)
    return fail(Code::bad_input, path + ": recorded from " + std::to_string(header.layers) +
                                     " layers of " + std::to_string(header.experts) +
                                     " experts; set model.layers and " +
                                     "model.experts of the scenario to these");
  return std::unique_ptr<GateSource>(
      std::make_unique<TraceGate>(std::move(*reader), scenario.workload.batches));
}

}  // namespace wdmoe::sim
