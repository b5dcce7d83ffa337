#pragma once
// Expert runners around another: one that fails when told to, one that answers late as a fleet
// does.

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <vector>

#include "bsd/moe/expert_runner.h"

namespace wdmoe::test {

/// Fails the exchange of one layer while `failures` lasts, as a fleet that lost a device does.
class FlakyExperts final : public bsd::ExpertRunner {
 public:
  explicit FlakyExperts(bsd::ExpertRunner& inner) : inner_(inner) {}
  const bsd::Holders& holders(std::size_t layer) const override {
    return homeless ? *homeless : inner_.holders(layer);
  }
  std::size_t worth_under_way() const override { return inner_.worth_under_way(); }
  Result<void> begin(std::size_t layer, const bsd::Selection& selection, Matrix<const float> x,
                     Matrix<float> y, bsd::StepCosts& costs) override {
    if (layer == 1 && failures > 0) {
      --failures;
      return fail(Code::timeout, "device-3 did not answer");
    }
    return inner_.begin(layer, selection, x, y, costs);
  }
  Result<void> finish(bsd::StepCosts& costs) override { return inner_.finish(costs); }
  void abandon() override { inner_.abandon(); }
  bsd::Latencies latencies() override {
    bsd::Latencies known;
    known.fixed_s = known.per_row_s = {latencies_s.data(), latencies_s.size()};
    return known;
  }
  bsd::Waiting last_wait() const override { return waiting; }
  int failures = 0;
  std::vector<double> latencies_s;
  bsd::Waiting waiting;
  std::optional<bsd::Holders> homeless;

 private:
  bsd::ExpertRunner& inner_;
};

/// As a fleet: takes the rows in begin(), computes in finish(), and has spoiled y until then.
class RemoteExperts final : public bsd::ExpertRunner {
 public:
  explicit RemoteExperts(bsd::ExpertRunner& inner) : inner_(inner) {}
  const bsd::Holders& holders(std::size_t layer) const override { return inner_.holders(layer); }
  std::size_t worth_under_way() const override { return kMostUnderWay; }
  Result<void> begin(std::size_t layer, const bsd::Selection& selection, Matrix<const float> x,
                     Matrix<float> y, bsd::StepCosts&) override {
    for (std::size_t row = 0; row < y.rows; ++row) std::fill_n(y.row(row), y.cols, NAN);
    sent_.push_back({layer, selection, std::vector<float>(x.data, x.data + x.rows * x.cols), y});
    most = std::max(most, sent_.size());
    return {};
  }
  Result<void> finish(bsd::StepCosts& costs) override {
    const Sent sent = sent_.front();
    sent_.pop_front();
    return inner_.begin(sent.layer, sent.selection, {sent.x.data(), sent.y.rows, sent.y.cols},
                        sent.y, costs);
  }
  void abandon() override { sent_.clear(); }
  std::size_t most = 0;  ///< were under way together

 private:
  struct Sent {
    std::size_t layer;
    bsd::Selection selection;
    std::vector<float> x;
    Matrix<float> y;
  };
  bsd::ExpertRunner& inner_;
  std::deque<Sent> sent_;
};

}  // namespace wdmoe::test
