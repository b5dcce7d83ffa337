#include "sim/simulate.h"

#include <algorithm>
#include <mutex>
#include <thread>

#include "bsd/moe/catalogue.h"
#include "common/check.h"
#include "sim/gate.h"

namespace wdmoe::sim {
namespace {

/// What the workers share: the next run to do, and the first failure.
class Runs {
 public:
  Runs(Span<const Scenario> at_values, std::vector<Point>& points, const Progress& progress)
      : at_values_(at_values), points_(points), progress_(progress) {}

  void work() {
    for (;;) {
      std::size_t run = 0;
      {
        const std::lock_guard lock(mutex_);
        if (next_ == total() || error_) return;
        run = next_++;
      }
      Point& point = points_[run / seeds()];
      const std::size_t variants = points_.size() / at_values_.size();
      const auto account =
          simulate_one(at_values_[run / seeds() / variants], point.variant, run % seeds() + 1);
      const std::lock_guard lock(mutex_);
      if (!account)
        error_ = account.error();
      else
        point.runs[run % seeds()] = *account;
      progress_(++done_, total());
    }
  }

  const std::optional<Error>& error() const { return error_; }

 private:
  std::size_t seeds() const { return at_values_[0].run.seeds; }
  std::size_t total() const { return points_.size() * seeds(); }

  Span<const Scenario> at_values_;
  std::vector<Point>& points_;
  const Progress& progress_;
  std::mutex mutex_;
  std::size_t next_ = 0, done_ = 0;
  std::optional<Error> error_;
};

bsd::PolicyOptions options_of(const Variant& variant) {
  bsd::PolicyOptions options;
  if (variant.knob == "quality") options.quality = variant.value;
  if (variant.knob == "beta") options.beta = variant.value;
  if (variant.knob == "theta") options.theta = variant.value;
  return options;
}

/// The knob of a policy and the values the scenario gives it.
struct Knob {
  const char* name = "";
  Span<const double> values;
};

Knob knob_of(const std::string& policy, const RunSpec& run) {
  if (bsd::reads_quality(policy)) return {"quality", run.quality};
  if (policy == "beta") return {"beta", run.beta};
  if (policy == "wlr") return {"theta", run.theta};
  return {};
}

}  // namespace

std::vector<Variant> variants_of(const Scenario& scenario) {
  std::vector<Variant> variants{{"topk", "", -1, bsd::Sharing::equal}};
  for (const std::string& policy : scenario.run.policies) {
    const Knob knob = knob_of(policy, scenario.run);
    for (const std::string& allocator : scenario.run.allocators) {
      const auto sharing = bsd::sharing_from(allocator);
      WDMOE_CHECK(sharing);  // the scenario's own check
      for (const double value : knob.values)
        variants.push_back({policy, knob.name, value, *sharing});
      const Variant plain{policy, "", -1, *sharing};
      if (knob.values.empty() && !plain.is_vanilla()) variants.push_back(plain);
    }
  }
  return variants;
}

Result<Account> simulate_one(const Scenario& scenario, const Variant& variant, std::uint64_t seed) {
  auto policy = bsd::make_policy(variant.policy, options_of(variant));
  if (!policy) return tl::unexpected<Error>(std::move(policy).error());
  auto gates = open_workload(scenario, seed);
  if (!gates) return tl::unexpected<Error>(std::move(gates).error());
  CellPolicy in_cell(**policy, variant.sharing, scenario, seed);
  bsd::SelectionInput input;
  input.top_k = scenario.model.top_k;
  input.holders = &in_cell.holders();
  bsd::Selection selection;
  for (;;) {
    const auto layer = (*gates)->next();
    if (!layer) return tl::unexpected<Error>(layer.error());
    if (!*layer) break;
    input.layer = (*layer)->layer;
    input.probabilities = (*layer)->probabilities;
    in_cell.select(input, selection);
    WDMOE_TRY(in_cell.status());
  }
  return in_cell.account();
}

Result<std::vector<Point>> simulate(const Scenario& scenario, std::size_t threads,
                                    const Progress& progress) {
  std::vector<Scenario> at_values;
  for (const double value : scenario.sweep.values) {
    auto point = at_sweep_value(scenario, value);
    if (!point) return tl::unexpected<Error>(std::move(point).error());
    at_values.push_back(std::move(*point));
  }
  if (at_values.empty()) at_values.push_back(scenario);
  std::vector<Point> points;
  for (std::size_t index = 0; index < at_values.size(); ++index) {
    for (const Variant& variant : variants_of(at_values[index])) {
      Point& point = points.emplace_back();
      if (!scenario.sweep.values.empty()) point.sweep_value = scenario.sweep.values[index];
      point.variant = variant;
      point.runs.resize(scenario.run.seeds);
    }
  }
  Runs runs(at_values, points, progress);
  std::vector<std::thread> workers;
  for (std::size_t worker = 1; worker < threads; ++worker)
    workers.emplace_back([&runs] { runs.work(); });
  runs.work();
  for (std::thread& worker : workers) worker.join();
  if (runs.error()) return tl::unexpected<Error>(*runs.error());
  return points;
}

}  // namespace wdmoe::sim
