#include "bsd/moe/catalogue.h"

#include <algorithm>
#include <array>
#include <string>

#include "bsd/moe/budget.h"
#include "bsd/moe/history.h"
#include "bsd/moe/minmax.h"
#include "bsd/moe/wlr.h"

namespace wdmoe::bsd {
namespace {

constexpr double kBudgetQuality = 0.9;

constexpr std::array<PolicyEntry, 6> kPolicies{{
    {"topk", "the gate's own top-k, as the model was trained", false},
    {"wlr", "the paper's selection by cosine similarity and weight-to-latency ratio", false},
    {"history", "the paper's testbed variant: the slowest device gives up its lowest weights",
     false},
    {"budget", "drops the lowest gate weights down to the quality budget, blind to latency", true},
    {"beta", "skips experts whose weight is below beta times the row's greatest", false},
    {"minmax", "least waiting latency within the quality budget: drops, replicas, substitutes",
     true},
}};

Result<void> check(const PolicyOptions& options) {
  if (!(options.quality <= 1)) {  // NaN fails too
    return fail(Code::bad_input,
                "quality must be between 0 and 1 (or negative for the policy's "
                "default), not " +
                    std::to_string(options.quality));
  }
  if (!(options.beta >= 0 && options.beta <= 1)) {
    return fail(Code::bad_input,
                "beta must be between 0 and 1, not " + std::to_string(options.beta));
  }
  if (!(options.theta <= 1)) {
    return fail(Code::bad_input,
                "theta must be between 0 and 1 (or negative to have it searched), not " +
                    std::to_string(options.theta));
  }
  return {};
}

}  // namespace

Span<const PolicyEntry> policies() {
  return {kPolicies.data(), kPolicies.size()};
}

bool reads_quality(std::string_view name) {
  return std::any_of(kPolicies.begin(), kPolicies.end(), [name](const PolicyEntry& entry) {
    return entry.name == name && entry.reads_quality;
  });
}

Result<std::uint8_t> policy_index(std::string_view name) {
  std::string known;
  for (std::size_t index = 0; index < kPolicies.size(); ++index) {
    if (kPolicies[index].name == name) return static_cast<std::uint8_t>(index);
    known += known.empty() ? "" : ", ";
    known += kPolicies[index].name;
  }
  return fail(Code::not_found, "no selection policy '" + std::string(name.substr(0, 64)) +
                                   "'; choose one of: " + known);
}

Result<std::unique_ptr<SelectionPolicy>> make_policy(std::string_view name,
                                                     const PolicyOptions& options) {
  WDMOE_TRY(check(options));
  if (name == "topk") return make_top_k_policy();
  if (name == "wlr") return std::make_unique<RulePolicy<WlrRule>>("wlr", WlrRule(options.theta));
  if (name == "history") {
    return std::make_unique<RulePolicy<HistoryRule>>("history", HistoryRule());
  }
  if (name == "budget") {
    const double quality = options.quality >= 0 ? options.quality : kBudgetQuality;
    return std::make_unique<RulePolicy<BudgetRule>>("budget", BudgetRule(quality));
  }
  if (name == "beta") {
    return std::make_unique<RulePolicy<BetaRule>>("beta", BetaRule(options.beta));
  }
  if (name == "minmax") return std::make_unique<MinMaxPolicy>(options.quality);
  return tl::unexpected<Error>(policy_index(name).error());
}

}  // namespace wdmoe::bsd
