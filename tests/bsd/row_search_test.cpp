// The row search against bad cases: what it looks at stays bounded.  joint_optimum_test.cpp has
// how good it is.
#include "bsd/row_search.h"

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

constexpr std::size_t kTopK = 8, kExperts = 128, kDevices = 3;

/// One row, nearly even gates, every expert on three devices.
struct WideRow {
  std::vector<float> probabilities, floors{0.999f};
  Holders holders{kExperts, {0, 1, 2}};
  WideRow() {
    for (std::size_t expert = 0; expert < kExperts; ++expert)
      probabilities.push_back(0.01f - 1e-5f * static_cast<float>(expert));
  }
  SelectionInput input() const {
    SelectionInput in;
    in.top_k = kTopK;
    in.probabilities = {probabilities.data(), 1, kExperts};
    in.holders = &holders;
    in.row_quality = floors;
    return in;
  }
};

RowSearch fresh() {
  return RowSearch([](Span<const DeviceLoad>) { return 0.0; });
}

}  // namespace

TEST_CASE("row search: sets that cannot reach the row's floor are not looked at") {
  WideRow row;
  row.holders[0].clear();  // without the best expert no set reaches the floor
  row.probabilities[0] = 0.5f;
  RowSearch search = fresh();
  CHECK(search.prepare(row.input(), kDevices));
  CHECK(search.visits() == 0);

  row.holders.assign(kExperts, {0});
  row.floors = {1.0f};  // only the top 8 will do
  CHECK(search.prepare(row.input(), kDevices));
  CHECK(search.visits() == kTopK);
}

TEST_CASE("row search: gives up on a row with too many options, or too hard ones to find") {
  WideRow row;
  RowSearch search = fresh();
  CHECK_FALSE(search.prepare(row.input(), kDevices));
  CHECK(search.visits() <= (RowSearch::kMostOptions + 1) * kTopK);

  // Sets of 8 are needed, but the cell has no device for any but 7 of the experts.
  row.probabilities.assign(kExperts, 0.005f);
  for (std::size_t expert = 7; expert < kExperts; ++expert) row.holders[expert] = {9};
  CHECK_FALSE(search.prepare(row.input(), kDevices));
  CHECK(search.visits() <= RowSearch::kMostVisits);
}
