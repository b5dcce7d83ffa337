#include "bsd/trace/statistics.h"

#include <cmath>
#include <map>
#include <set>

#include <doctest/doctest.h>

#include "tests/bsd/trace/random_trace.h"

namespace wdmoe::bsd::trace {
namespace {

using doctest::Approx;

TEST_CASE("statistics: a trace small enough for paper") {
  Statistics statistics({"m", 1, 4, 2});
  // Two tokens of one sequence: experts {0, 1}, then {0, 2}.
  const OwnedRecord first{
      0, 0, 4, {{7, 0, 1}}, {0.5f, 0.25f, 0.125f, 0.125f}, {{0, 0, 0, 0.7f}, {0, 1, 0, 0.3f}}};
  const OwnedRecord second{
      1, 0, 4, {{7, 1, 1}}, {0.25f, 0.25f, 0.25f, 0.25f}, {{0, 0, 0, 0.5f}, {0, 2, 1, 0.5f}}};
  statistics.add(first.view());
  statistics.add(second.view());
  const LayerStatistics& layer = statistics.layers()[0];
  CHECK(statistics.steps() == 2);
  CHECK(statistics.tokens() == 2);
  CHECK(statistics.sequences() == 1);
  CHECK(layer.popularity() == std::vector<double>{0.5, 0.25, 0.25, 0});
  CHECK(layer.load_entropy_bits() == Approx(1.5));
  CHECK(layer.entropy_bits == Approx(1.75 + 2));
  CHECK(layer.together[0 * 4 + 1] == 1);
  CHECK(layer.together[2 * 4 + 0] == 1);
  CHECK(layer.together[1 * 4 + 2] == 0);
  CHECK(layer.tally.kept == Approx(2));
  CHECK(layer.followed == 2);
  CHECK(layer.repeated == 1);
  CHECK(layer.locality() == Approx(0.5));
  CHECK(layer.locality_by_chance() == Approx((1 + 0.25 + 0.25) / 2));
}

TEST_CASE("statistics: an empty trace has even popularity and no locality") {
  const Statistics statistics({"m", 2, 4, 2});
  CHECK(statistics.layers()[1].popularity() == std::vector<double>(4, 0.25));
  CHECK(statistics.layers()[1].locality() == 0);
  CHECK(statistics.layers()[1].locality_by_chance() == 0);
}

TEST_CASE("statistics: sums agree with a plain count over a random trace") {
  const Header header{"m", 3, 6, 2};
  const auto records = random_trace(header, 200, 9);
  Statistics statistics(header);
  std::map<std::size_t, std::uint64_t> rows;
  std::map<std::pair<std::size_t, std::size_t>, std::uint64_t> chosen;
  std::map<std::tuple<std::size_t, std::uint64_t, std::uint32_t>, std::set<std::size_t>> of_token;
  for (const OwnedRecord& record : records) {
    statistics.add(record.view());
    std::size_t row = 0;
    for (const Run& run : record.runs)
      for (std::uint32_t i = 0; i < run.rows; ++i, ++row, ++rows[record.layer])
        for (const Choice& choice : record.choices)
          if (choice.row == row) {
            ++chosen[{record.layer, choice.expert}];
            of_token[{record.layer, run.sequence, run.position + i}].insert(choice.expert);
          }
  }
  for (std::size_t layer = 0; layer < header.layers; ++layer) {
    const LayerStatistics& got = statistics.layers()[layer];
    CHECK(got.tally.rows == rows[layer]);
    std::uint64_t followed = 0, repeated = 0;
    for (const auto& [key, experts] : of_token) {
      const auto& [of_layer, sequence, position] = key;
      const auto before = of_token.find({of_layer, sequence, position - 1});
      if (of_layer != layer || position == 0 || before == of_token.end()) continue;
      followed += experts.size();
      for (const std::size_t expert : experts) repeated += before->second.count(expert);
    }
    CHECK(got.followed == followed);
    CHECK(got.repeated == repeated);
    for (std::size_t expert = 0; expert < header.experts; ++expert)
      CHECK(got.chosen[expert] == chosen[{layer, expert}]);
  }
}

}  // namespace
}  // namespace wdmoe::bsd::trace
