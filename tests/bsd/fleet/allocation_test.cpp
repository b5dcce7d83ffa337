// A warm exchange does not allocate, with one and with two under way.

#include "tests/bsd/fleet/cell.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

void exchange_without_allocating(const std::string& endpoint) {
  constexpr std::size_t kRows = 40;
  Cell cell(DType::f16, std::nullopt, endpoint);
  const test::FakeFleet fakes(cell.context, cell.weights, 3, cell.agent());
  REQUIRE(cell.complete());
  const auto x = test::random_rows(kRows, kHidden, 1);
  std::vector<float> y(x.size()), z(x.size());
  const Selection all = choose(*cell.fleet, 0, kRows), some = choose(*cell.fleet, 1, 7);
  StepCosts costs;
  const auto begin = [&](const Selection& selection, std::size_t rows, std::vector<float>& to) {
    return cell.fleet->begin(1, selection, {x.data(), rows, kHidden}, {to.data(), rows, kHidden},
                             costs);
  };
  // Two large ones under way, as in a prefill, then a small one alone, as in decode.
  const auto round = [&] {
    return begin(all, kRows, y) && begin(all, kRows, z) && cell.fleet->finish(costs) &&
           begin(some, 7, y) && cell.fleet->finish(costs) && cell.fleet->finish(costs);
  };
  // Frames are swapped between those kept and the one read next: all of them grow in a few rounds.
  for (int warm = 0; warm < 20; ++warm) REQUIRE(round());
  const std::size_t before = test::allocations_of_this_thread();
  bool good = true;
  for (int turn = 0; turn < 50; ++turn) good = round() && good;
  const std::size_t after = test::allocations_of_this_thread();
  CHECK(good);
  CHECK(after == before);
}

}  // namespace

TEST_CASE("fleet: a warm exchange does not allocate") {
  exchange_without_allocating("");  // ipc
}

TEST_CASE("fleet: nor does watching TCP connections") {
  exchange_without_allocating("tcp://127.0.0.1:*");
}
