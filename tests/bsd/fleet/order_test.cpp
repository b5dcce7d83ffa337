// The fleet with the actuator "order": cut parcels, their sums, and what is under way.

#include <atomic>
#include <deque>

#include "bsd/fleet/order_actuator.h"
#include "tests/bsd/fleet/cell.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

constexpr std::size_t kRows = 500;
constexpr std::size_t kPieceRows = 170;  // of kHidden f32 elements, in kPieceBytes

test::FakeAgentOptions roomy(const Cell& cell) {
  test::FakeAgentOptions agent = cell.agent();
  agent.max_rows = 1024;
  return agent;
}

shaping::Plan plan_of(std::size_t agents) {
  shaping::Plan plan;
  plan.number = 1;
  plan.shares.resize(agents);
  for (std::size_t slot = 0; slot < agents; ++slot) plan.shares[slot].slot = slot;
  return plan;
}

/// An answer of zeros to a Dispatch of so many rows.
void answer(Puppet& puppet, std::uint64_t id, std::size_t rows) {
  const MutableTensor out = puppet.encoder.begin_rows(rows, kHidden, DType::f32);
  std::fill_n(out.data, out.size_bytes(), std::byte{0});
  puppet.send(puppet.encoder.finish_result(id, 0, {}, {}));
}

}  // namespace

TEST_CASE("order: parcels in pieces give the sums of whole ones, switched at any time") {
  CHECK(most_piece_rows(kHidden * sizeof(float)) == kPieceRows);
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 3, roomy(cell));
  REQUIRE(cell.complete());
  OrderActuator order(*cell.fleet);
  const Selection selection = choose(*cell.fleet, 1, kRows);
  const auto x = test::random_rows(kRows, kHidden, 3);
  const auto whole = exchange(cell, 1, selection, x);
  REQUIRE(whole.result);
  CHECK(whole.costs.messages == 3);
  REQUIRE(order.apply(plan_of(3)));
  for (int round = 0; round < 5; ++round) {
    const auto cut = exchange(cell, 1, selection, x);
    REQUIRE_MESSAGE(cut.result, cut.result.error().text);
    CHECK(cut.costs.messages > 3);
    CHECK(cut.y == whole.y);
  }
  REQUIRE(order.restore());
  CHECK(exchange(cell, 1, selection, x).costs.messages == 3);
  std::vector<shaping::Observed> observed;
  REQUIRE(order.observe(observed));
  CHECK(observed.empty());
}

TEST_CASE("order: a warm exchange in pieces does not allocate") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 2, roomy(cell));
  REQUIRE(cell.complete());
  cell.fleet->set_ordered(true);
  const Selection selection = choose(*cell.fleet, 0, kRows);
  const auto x = test::random_rows(kRows, kHidden, 4);
  std::vector<float> y(x.size());
  StepCosts costs;
  const auto round = [&] {
    return cell.fleet->begin(0, selection, {x.data(), kRows, kHidden}, {y.data(), kRows, kHidden},
                             costs) &&
           cell.fleet->finish(costs);
  };
  for (int warm = 0; warm < 40; ++warm) REQUIRE(round());
  const std::size_t before = test::allocations_of_this_thread();
  bool good = true;
  for (int turn = 0; turn < 20; ++turn) good = round() && good;
  const std::size_t after = test::allocations_of_this_thread();
  CHECK(good);
  CHECK(after == before);
}

TEST_CASE("order: what is under way to an agent has a bound; the rest follows its answers") {
  constexpr std::size_t kPart = 5 * kPieceRows;  // five pieces each
  Cell cell;
  std::atomic<bool> begun{false};
  std::size_t before_pong = 0, all = 0;
  test::FakeAgentOptions options = roomy(cell);
  options.experts = test::planned_experts(cell.weights, 0, 1);
  Puppet puppet(cell, options, [&](Puppet& self) {
    if (!self.greet()) return;
    std::deque<std::pair<std::uint64_t, std::size_t>> open;
    bool pinged = false, counted = false;
    while (all < 10) {
      const auto message = self.receive();
      if (!message) return;
      if (const auto* dispatch = std::get_if<wire::Dispatch>(&*message)) {
        ++all;
        open.emplace_back(dispatch->id, dispatch->rows.rows);
      } else if (std::holds_alternative<wire::Pong>(*message)) {
        before_pong = all;
        counted = true;
      }
      if (!pinged) {
        while (!begun) std::this_thread::yield();
        self.send(self.encoder.ping(1));  // its Pong comes after all that was sent before
        pinged = true;
      }
      for (; counted && !open.empty(); open.pop_front())
        answer(self, open.front().first, open.front().second);
    }
  });
  REQUIRE(cell.complete());
  cell.fleet->set_ordered(true);
  const Selection selection = choose(*cell.fleet, 0, kPart);
  const auto x = test::random_rows(kPart, kHidden, 5);
  std::vector<float> y(x.size()), z(x.size());
  StepCosts costs;
  for (auto* to : {&y, &z})
    REQUIRE(cell.fleet->begin(0, selection, {x.data(), kPart, kHidden},
                              {to->data(), kPart, kHidden}, costs));
  begun = true;
  CHECK(costs.messages == kMostPieces);
  REQUIRE(cell.fleet->finish(costs));
  REQUIRE(cell.fleet->finish(costs));
  CHECK(before_pong == kMostPieces);
  CHECK(all == 10);
  CHECK(costs.messages == 10);
}

TEST_CASE("order: a step that is given up leaves nothing behind") {
  Cell cell;
  const test::FakeFleet fakes(cell.context, cell.weights, 2, roomy(cell));
  REQUIRE(cell.complete());
  cell.fleet->set_ordered(true);
  const Selection selection = choose(*cell.fleet, 0, kRows);
  const auto x = test::random_rows(kRows, kHidden, 6);
  std::vector<float> y(x.size());
  StepCosts costs;
  const auto expected = exchange(cell, 0, selection, x).y;
  REQUIRE(cell.fleet->begin(0, selection, {x.data(), kRows, kHidden}, {y.data(), kRows, kHidden},
                            costs));
  cell.fleet->abandon();
  const auto again = exchange(cell, 0, selection, x);
  REQUIRE_MESSAGE(again.result, again.result.error().text);
  CHECK(again.y == expected);
}
