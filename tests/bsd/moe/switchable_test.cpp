#include "bsd/moe/switchable.h"

#include <atomic>
#include <random>
#include <thread>

#include <doctest/doctest.h>

#include "bsd/moe/draft.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

bool same(const Selection& a, const Selection& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Choice& x, const Choice& y) {
    return x.row == y.row && x.expert == y.expert && x.device == y.device && x.weight == y.weight;
  });
}

Selection by(SelectionPolicy& policy, const SelectionInput& input) {
  Selection selection;
  policy.select(input, selection);
  return selection;
}

std::unique_ptr<SwitchablePolicy> switchable(const PolicySetting& setting,
                                             std::vector<double> layer_quality = {}) {
  auto made = SwitchablePolicy::make(setting, std::move(layer_quality));
  REQUIRE(made);
  return std::move(*made);
}

}  // namespace

TEST_CASE("switchable: topk is plain top-k to the last bit") {
  std::mt19937 random(1);
  const auto policy = switchable({});
  const auto plain = make_top_k_policy();
  for (int round = 0; round < 300; ++round) {
    const RandomCell cell(random_shape(8, 12, 5, random), random);
    CHECK(same(by(*policy, cell.input()), by(*plain, cell.input())));
  }
}

TEST_CASE("switchable: a new setting holds from the next selection on") {
  std::mt19937 random(2);
  const auto policy = switchable({});
  for (const PolicyEntry& entry : policies()) {
    for (const double quality : {-1.0, 0.7}) {
      CAPTURE(entry.name);
      const PolicySetting setting{std::string(entry.name), {quality, 0.4}};
      REQUIRE(policy->set(setting));
      CHECK(policy->setting().policy == entry.name);
      auto reference = make_policy(entry.name, setting.options);
      REQUIRE(reference);
      for (int round = 0; round < 20; ++round) {
        const RandomCell cell(random_shape(6, 10, 4, random), random);
        CHECK(same(by(*policy, cell.input()), by(**reference, cell.input())));
        CHECK(policy->name() == entry.name);
      }
    }
  }
}

TEST_CASE("switchable: a setting that does not exist is refused and changes nothing") {
  const auto policy = switchable({"budget", {0.8, 0.3}});
  CHECK_FALSE(policy->set({"fastest", {}}));
  CHECK_FALSE(policy->set({"minmax", {2.0, 0.3}}));
  CHECK_FALSE(policy->set({"beta", {-1, 7}}));
  CHECK(policy->setting().policy == "budget");
  CHECK(policy->setting().options.quality == 0.8);
  CHECK_FALSE(SwitchablePolicy::make({"fastest", {}}));
  CHECK_FALSE(SwitchablePolicy::make({"minmax", {2.0, 0.3}}));
}

TEST_CASE("switchable: rows of several wishes are selected as each wish alone would have them") {
  std::mt19937 random(3);
  const std::uint8_t budget = *policy_index("budget"), minmax = *policy_index("minmax");
  const PolicyWish kinds[] = {{}, {budget, 0.7}, {minmax, 0.8}, {std::nullopt, 0.6}};
  const auto policy = switchable({"wlr", {}});
  for (int round = 0; round < 300; ++round) {
    const RandomCell cell(random_shape(12, 8, 4, random), random);
    SelectionInput input = cell.input();
    std::vector<PolicyWish> wishes;
    for (std::size_t row = 0; row < cell.shape.rows; ++row)
      wishes.push_back(kinds[random() % std::size(kinds)]);
    input.wishes = {wishes.data(), wishes.size()};
    const Selection whole = by(*policy, input);
    std::size_t expected = 0;
    for (const PolicyWish& kind : kinds) {
      std::vector<float> probabilities;
      std::vector<std::uint32_t> rows;
      for (std::uint32_t row = 0; row < wishes.size(); ++row) {
        if (!(wishes[row] == kind)) continue;
        rows.push_back(row);
        const float* first = input.probabilities.row(row);
        probabilities.insert(probabilities.end(), first, first + cell.shape.experts);
      }
      if (rows.empty()) continue;
      auto alone = make_policy(policies()[kind.policy.value_or(*policy_index("wlr"))].name,
                               {kind.quality.value_or(-1), 0.3});
      REQUIRE(alone);
      SelectionInput part = cell.input();
      part.probabilities = {probabilities.data(), rows.size(), cell.shape.experts};
      Selection wanted = by(**alone, part), got;
      for (Choice& choice : wanted) choice.row = rows[choice.row];
      for (const Choice& choice : whole)
        if (wishes[choice.row] == kind) got.push_back(choice);
      CHECK(same(got, wanted));
      expected += wanted.size();
    }
    CHECK(whole.size() == expected);
    CHECK(std::is_sorted(whole.begin(), whole.end(),
                         [](const Choice& a, const Choice& b) { return a.row < b.row; }));
  }
}

TEST_CASE("switchable: a row's quality is its wish, else the setting's, else the layer's") {
  std::mt19937 random(4);
  const RandomCell cell({16, 8, 4, 2}, random);
  const auto kept = [&](SwitchablePolicy& policy, const PolicyWish& wish) {
    SelectionInput input = cell.input();
    input.layer = 1;
    const std::vector<PolicyWish> wishes(cell.shape.rows, wish);
    input.wishes = {wishes.data(), wishes.size()};
    return kept_gate_mass(input, by(policy, input));
  };
  const auto policy = switchable({"budget", {}}, {1.0, 0.95});
  const double by_layer = kept(*policy, {});
  CHECK(by_layer >= 0.95);
  CHECK(by_layer < 1);
  REQUIRE(policy->set({"budget", {0.85, 0.3}}));
  const double by_setting = kept(*policy, {});
  CHECK(by_setting >= 0.85);
  CHECK(by_setting < by_layer);
  const double by_wish = kept(*policy, {std::nullopt, 0.7});
  CHECK(by_wish >= 0.7);
  CHECK(by_wish < by_setting);
  CHECK(kept(*policy, {std::uint8_t{0}, 0.7}) == 1);  // topk drops nothing
}

TEST_CASE("switchable: settings change under a thread that selects") {
  std::mt19937 random(5);
  const RandomCell cell({4, 8, 4, 2}, random);
  const auto policy = switchable({});
  std::atomic<bool> stop{false};
  std::atomic<bool> refused{false};
  std::thread setter([&] {
    const PolicySetting settings[] = {{"budget", {0.6, 0.1}}, {"topk", {-1, 0.2}}};
    for (std::size_t round = 0; !stop; ++round)
      if (!policy->set(settings[round % 2])) refused = true;
  });
  std::size_t dropped = 0;
  for (int round = 0; round < 20'000 || dropped == 0; ++round)
    dropped += by(*policy, cell.input()).size() < 8;
  stop = true;
  setter.join();
  CHECK_FALSE(refused);
}
