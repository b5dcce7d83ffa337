#include "bsd/model/local_experts.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "weights/mixtral_names.h"

namespace wdmoe::bsd {
namespace {

class LocalExperts final : public ExpertRunner {
 public:
  LocalExperts(weights::Checkpoint checkpoint, const ModelConfig& config,
               kernels::ExpertBackend& backend)
      : checkpoint_(std::move(checkpoint)),
        backend_(backend),
        experts_(config.experts),
        holders_(config.experts, {0}),
        work_(config.experts),
        counts_(config.experts) {}

  Result<void> load(const ModelConfig& config) {
    handles_.reserve(config.layers * config.experts);
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
      for (std::size_t expert = 0; expert < config.experts; ++expert) {
        Result<ExpertWeights> weights =
            weights::find_expert(checkpoint_, layer, expert, {config.hidden, config.ffn});
        if (!weights) return tl::unexpected<Error>(std::move(weights).error());
        Result<kernels::ExpertHandle> handle = backend_.load(*weights);
        if (!handle)
          return fail("layer " + std::to_string(layer) + " expert " + std::to_string(expert),
                      std::move(handle).error());
        handles_.push_back(*handle);
      }
    }
    return {};
  }

  const Holders& holders(std::size_t) const override { return holders_; }

  std::size_t worth_under_way() const override { return 1; }

  /// Computes at once; there is nothing to wait for.
  Result<void> begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                     Matrix<float> y, StepCosts& costs) override {
    WDMOE_CHECK(x.stride == x.cols && y.stride == y.cols && x.rows == y.rows);
    const auto start = SteadyClock().now();
    const Span<const kernels::ExpertWork> work = group(layer, selection);
    bool overflowed = false;  // cannot be: the answer is f32
    Result<void> done = backend_.run(
        work, Tensor{reinterpret_cast<const std::byte*>(x.data), DType::f32, x.rows, x.cols},
        MutableTensor{reinterpret_cast<std::byte*>(y.data), DType::f32, y.rows, y.cols},
        overflowed);
    costs.wire_wait += SteadyClock().now() - start;
    return done;
  }

  Result<void> finish(StepCosts&) override { return {}; }
  void abandon() override {}

 private:
  /// Counting sort by expert; rows stay in order within each.
  Span<const kernels::ExpertWork> group(std::size_t layer, const Selection& selection) {
    std::fill(counts_.begin(), counts_.end(), std::size_t{0});
    for (const Choice& choice : selection) ++counts_[choice.expert];
    if (rows_.size() < selection.size()) rows_.resize(selection.size());
    std::size_t used = 0, next = 0;
    for (std::size_t expert = 0; expert < experts_; ++expert) {
      const std::size_t count = counts_[expert];
      counts_[expert] = next;  // from here on: where this expert's next row goes
      if (count == 0) continue;
      work_[used++] = {handles_[layer * experts_ + expert], {rows_.data() + next, count}};
      next += count;
    }
    for (const Choice& choice : selection)
      rows_[counts_[choice.expert]++] = {choice.row, choice.weight};
    return {work_.data(), used};
  }

  weights::Checkpoint checkpoint_;  ///< keeps the files mapped
  kernels::ExpertBackend& backend_;
  std::size_t experts_;
  Holders holders_;
  std::vector<kernels::ExpertHandle> handles_;  ///< [layers · experts]
  std::vector<kernels::ExpertWork> work_;
  std::vector<std::size_t> counts_;
  std::vector<kernels::RowWeight> rows_;
};

}  // namespace

Result<std::unique_ptr<ExpertRunner>> make_local_experts(const weights::Checkpoint& checkpoint,
                                                         const ModelConfig& config,
                                                         kernels::ExpertBackend& backend) {
  auto runner = std::make_unique<LocalExperts>(checkpoint, config, backend);
  WDMOE_TRY(runner->load(config));
  return runner;
}

}  // namespace wdmoe::bsd
