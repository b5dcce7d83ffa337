#include "bsd/moe/switchable.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace wdmoe::bsd {

namespace {

Result<void> check(const PolicySetting& setting) {
  const auto fits = make_policy(setting.policy, setting.options);
  return fits ? Result<void>{} : tl::unexpected<Error>(fits.error());
}

}  // namespace

Result<std::unique_ptr<SwitchablePolicy>> SwitchablePolicy::make(
    const PolicySetting& setting, std::vector<double> layer_quality) {
  std::unique_ptr<SwitchablePolicy> made(new SwitchablePolicy(std::move(layer_quality)));
  WDMOE_TRY(check(setting));
  WDMOE_TRY(made->adopt(setting));
  made->wanted_.set(setting);
  return made;
}

Result<void> SwitchablePolicy::set(const PolicySetting& setting) {
  WDMOE_TRY(check(setting));
  wanted_.set(setting);
  version_.fetch_add(1, std::memory_order_release);
  return {};
}

Result<void> SwitchablePolicy::adopt(const PolicySetting& setting) {
  const auto index = policy_index(setting.policy);
  if (!index) return tl::unexpected<Error>(index.error());
  PolicyOptions inside = setting.options;  // what lives in an instance
  inside.quality = -1;
  if (instances_.empty() || inside.beta != inside_.beta || inside.theta != inside_.theta) {
    std::vector<std::unique_ptr<SelectionPolicy>> instances;
    for (const PolicyEntry& entry : policies()) {
      auto made = make_policy(entry.name, inside);
      if (!made) return tl::unexpected<Error>(made.error());
      instances.push_back(std::move(*made));
    }
    instances_ = std::move(instances);
    inside_ = inside;
  }
  policy_ = *index;
  quality_ = setting.options.quality;
  return {};
}

SwitchablePolicy::Kind SwitchablePolicy::kind_of(const PolicyWish& wish, std::size_t layer) const {
  const double standing =
      quality_ >= 0 || layer_quality_.empty() ? quality_ : layer_quality_[layer];
  return {wish.policy.value_or(policy_), wish.quality.value_or(standing)};
}

SwitchablePolicy::Group& SwitchablePolicy::group_of(const Kind& kind) {
  for (std::size_t index = 0; index < group_count_; ++index) {
    Group& group = groups_[index];
    if (group.kind.policy == kind.policy && group.kind.quality == kind.quality) return group;
  }
  if (group_count_ == groups_.size()) groups_.emplace_back();
  Group& fresh = groups_[group_count_++];
  fresh.kind = kind;
  fresh.rows.clear();
  return fresh;
}

void SwitchablePolicy::select(const SelectionInput& input, Selection& selection) {
  if (const auto version = version_.load(std::memory_order_acquire); version != seen_) {
    seen_ = version;
    WDMOE_CHECK(adopt(wanted_.get()));  // set() has tried it
  }
  WDMOE_CHECK(layer_quality_.empty() || input.layer < layer_quality_.size());
  if (input.wishes.empty()) return select_one(input, kind_of({}, input.layer), selection);

  const std::size_t rows = input.probabilities.rows;
  WDMOE_CHECK(input.wishes.size() == rows);
  group_count_ = 0;
  group_of_row_.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    Group& group = group_of(kind_of(input.wishes[row], input.layer));
    group.rows.push_back(static_cast<std::uint32_t>(row));
    group_of_row_[row] = static_cast<std::size_t>(&group - groups_.data());
  }
  if (group_count_ == 1) return select_one(input, groups_[0].kind, selection);

  for (std::size_t index = 0; index < group_count_; ++index) select_group(input, groups_[index]);
  selection.clear();
  for (std::size_t row = 0; row < rows; ++row) {
    Group& group = groups_[group_of_row_[row]];
    for (; group.taken < group.selection.size(); ++group.taken) {
      Choice choice = group.selection[group.taken];
      if (group.rows[choice.row] != row) break;
      choice.row = static_cast<std::uint32_t>(row);
      selection.push_back(choice);
    }
  }
}

void SwitchablePolicy::select_one(const SelectionInput& input, const Kind& kind,
                                  Selection& selection) {
  SelectionInput asked = input;
  asked.wishes = {};
  if (kind.quality >= 0) asked.quality = kind.quality;
  instances_[kind.policy]->select(asked, selection);
}

void SwitchablePolicy::select_group(const SelectionInput& input, Group& group) {
  const std::size_t experts = input.probabilities.cols;
  group.probabilities.resize(group.rows.size() * experts);
  group.row_quality.clear();
  for (std::size_t index = 0; index < group.rows.size(); ++index) {
    std::copy_n(input.probabilities.row(group.rows[index]), experts,
                group.probabilities.data() + index * experts);
    if (!input.row_quality.empty())
      group.row_quality.push_back(input.row_quality[group.rows[index]]);
  }
  SelectionInput own = input;
  own.probabilities = {group.probabilities.data(), group.rows.size(), experts};
  own.row_quality = {group.row_quality.data(), group.row_quality.size()};
  own.previous = nullptr;  // of all rows, not of these
  select_one(own, group.kind, group.selection);
  group.taken = 0;
}

}  // namespace wdmoe::bsd
