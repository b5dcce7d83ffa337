#pragma once
// The policy of a running station: can be exchanged from another thread between two layers, and
// gives each row what its request asked for.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bsd/moe/catalogue.h"
#include "bsd/moe/selection.h"
#include "common/latest.h"
#include "common/result.h"

namespace wdmoe::bsd {

/// How a station chooses experts for requests that ask for nothing else.
struct PolicySetting {
  std::string policy = "topk";  ///< of policies()
  PolicyOptions options = {};
};

/// Rows that want the same policy and quality are selected together, each such group as if it had
/// the devices to itself.  The quality of a row: its wish, else the setting's, else the layer's
/// budget, else the policy's own default.
class SwitchablePolicy final : public SelectionPolicy {
 public:
  /// `layer_quality`: [layers] least kept gate mass of each layer, or empty.
  /// Errors as make_policy().
  static Result<std::unique_ptr<SwitchablePolicy>> make(const PolicySetting& setting,
                                                        std::vector<double> layer_quality = {});

  /// From the next layer on.  Callable from any thread; errors as make_policy(), nothing changes.
  Result<void> set(const PolicySetting& setting);
  PolicySetting setting() const { return wanted_.get(); }  ///< callable from any thread
  /// [layers] or empty.  Callable from any thread.
  Span<const double> layer_quality() const {
    return {layer_quality_.data(), layer_quality_.size()};
  }

  // Engine thread:
  std::string_view name() const override { return policies()[policy_].name; }
  void select(const SelectionInput& input, Selection& selection) override;

 private:
  /// What rows agree on.
  struct Kind {
    std::uint8_t policy;
    double quality;
  };
  /// The rows of one kind, gathered.
  struct Group {
    Kind kind;
    std::vector<std::uint32_t> rows;
    std::vector<float> probabilities;  // [rows, experts]
    std::vector<float> row_quality;    // [rows] or empty
    Selection selection;               // its rows count within `rows`
    std::size_t taken;                 // of selection, while merging
  };

  explicit SwitchablePolicy(std::vector<double> layer_quality)
      : layer_quality_(std::move(layer_quality)) {}
  Result<void> adopt(const PolicySetting& setting);
  Kind kind_of(const PolicyWish& wish, std::size_t layer) const;
  Group& group_of(const Kind& kind);
  void select_one(const SelectionInput& input, const Kind& kind, Selection& selection);
  void select_group(const SelectionInput& input, Group& group);

  Latest<PolicySetting> wanted_;
  std::atomic<std::uint64_t> version_{0};
  const std::vector<double> layer_quality_;

  // Engine thread:
  std::uint64_t seen_ = 0;  // of version_
  std::uint8_t policy_ = 0;
  double quality_ = -1;
  PolicyOptions inside_;                                     // of instances_
  std::vector<std::unique_ptr<SelectionPolicy>> instances_;  // [policies()]
  std::vector<Group> groups_;                                // kept for their memory
  std::size_t group_count_ = 0;
  std::vector<std::size_t> group_of_row_;
};

}  // namespace wdmoe::bsd
