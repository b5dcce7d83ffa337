// Who is let in, who is turned away, who leaves and returns.

#include <algorithm>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/fleet/cell.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("fleet: a Hello that does not fit is refused with its status") {
  struct Case {
    const char* name;
    std::function<void(wire::Hello&)> change;
    wire::Status status;
    const char* says;
  };
  const Case cases[] = {
      {"good", [](auto&) {}, wire::Status::ok, "welcome"},
      {"newer protocol", [](auto& hello) { hello.protocol_min = 7, hello.protocol_max = 9; },
       wire::Status::bad_version, "7 to 9"},
      {"another model", [](auto& hello) { hello.model_id = "other"; }, wire::Status::wrong_model,
       "other"},
      {"another width", [](auto& hello) { hello.hidden_dim = 25; }, wire::Status::bad_shape, "25"},
      {"only bf16", [](auto& hello) { hello.dtypes = {DType::bf16}; }, wire::Status::bad_shape,
       "f32"},
      {"an expert too many",
       [](auto& hello) {
         hello.experts.push_back({0, kExperts});
       },
       wire::Status::unknown_expert, "expert 4"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Cell cell;
    auto options = cell.agent();
    options.experts = {{0, 0}};
    const wire::Welcome welcome = verdict_on(cell, c.change, options);
    CHECK(welcome.status == c.status);
    CHECK(welcome.message.find(c.says) != std::string::npos);
  }
}

TEST_CASE("fleet: a second agent of one name is refused, the same process is let back in") {
  Cell cell;
  auto options = cell.agent("twin");
  options.instance = 41;
  options.experts = test::planned_experts(cell.weights, 0, 1);
  const test::FakeAgent first(cell.context, cell.weights, options);
  REQUIRE(cell.complete());

  const auto nothing = [](wire::Hello&) {};
  options.instance = 42;
  CHECK(verdict_on(cell, nothing, options).status == wire::Status::duplicate_identity);
  CHECK(cell.fleet->complete());
  options.instance = 41;  // the radio dropped; the old connection has not noticed yet
  CHECK(verdict_on(cell, nothing, options).status == wire::Status::ok);
  CHECK(cell.fleet->roster().devices().size() == 1);
}

TEST_CASE("fleet: an expert that nobody holds is named") {
  Cell cell;
  CHECK(cell.fleet->missing().find(
            "8 of 8 experts have no agent: layer 0: 0, 1, 2, 3; layer 1: 0") != std::string::npos);
  const Outcome outcome =
      exchange(cell, 0, choose(*cell.fleet, 0, 1), test::random_rows(1, kHidden, 1));
  REQUIRE_FALSE(outcome.result);
  CHECK(outcome.result.error().code == Code::unavailable);
  CHECK(outcome.result.error().text.find("no agent") != std::string::npos);
}

TEST_CASE("fleet: agents come back after the base station was restarted") {
  Cell cell(DType::f32, std::nullopt, "tcp://127.0.0.1:*");
  const test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  cell.restart();
  CHECK_FALSE(cell.fleet->complete());
  REQUIRE(cell.complete());
  const Selection selection = choose(*cell.fleet, 0, 2);
  CHECK(exchange(cell, 0, selection, test::random_rows(2, kHidden, 1)).result);
}

TEST_CASE("fleet: an agent that stops says Goodbye and leaves its experts homeless") {
  Cell cell;
  test::FakeFleet fakes(cell.context, cell.weights, 2, cell.agent());
  REQUIRE(cell.complete());
  fakes.stop(1);
  CHECK(cell.until([&] { return !cell.fleet->complete(); }));
  CHECK(cell.fleet->missing().find("4 of 8") != std::string::npos);
  CHECK(cell.fleet->holders(0)[0].size() == 1);
}

TEST_CASE("fleet: CURVE lets listed keys in under their own name only") {
  const auto server = wire::make_keys(), listed = wire::make_keys(), stranger = wire::make_keys();
  REQUIRE((server && listed && stranger));
  Cell cell(DType::f32,
            wire::ServerKeys{server->secret,
                             {{listed->public_key, "jetson"}, {std::string(40, '0'), "x"}}},
            "tcp://127.0.0.1:*");
  auto options = cell.sole_agent("jetson");

  options.keys = wire::ClientKeys{*stranger, server->public_key};
  {
    const test::FakeAgent outsider(cell.context, cell.weights, options);
    CHECK(cell.until([&] { return cell.fleet->keys_refused() >= 1; }));
    CHECK(cell.fleet->roster().devices().empty());
  }
  options.keys = wire::ClientKeys{*listed, server->public_key};
  {
    auto impostor = options;
    impostor.name = "other";
    const auto welcome = verdict_on(
        cell, [](wire::Hello&) {}, impostor);
    CHECK(welcome.status == wire::Status::denied);
    CHECK(welcome.message.find("jetson") != std::string::npos);
  }
  const test::FakeAgent agent(cell.context, cell.weights, options);
  REQUIRE(cell.complete());
  CHECK(exchange(cell, 0, choose(*cell.fleet, 0, 2), test::random_rows(2, kHidden, 1)).result);
}

TEST_CASE("fleet: of an expert's holders minmax takes the one that is done first") {
  Cell cell;
  auto options = cell.sole_agent("slow");
  const test::FakeAgent slow(cell.context, cell.weights, options);
  REQUIRE(cell.complete());
  options.name = "fast";
  auto fast = std::make_unique<test::FakeAgent>(cell.context, cell.weights, options);
  REQUIRE(cell.until([&] { return cell.fleet->holders(1)[3].size() == 2; }));

  constexpr std::size_t kRows = 6;
  const std::vector<float> gates = test::random_rows(kRows, kExperts, 5);
  std::vector<float> probabilities(gates.size());
  std::transform(gates.begin(), gates.end(), probabilities.begin(),
                 [](float gate) { return 0.2f + 0.1f * std::abs(gate); });
  const std::vector<double> per_row{4e-3, 1e-3};  // slow came first
  SelectionInput input;
  input.probabilities = {probabilities.data(), kRows, kExperts};
  input.holders = &cell.fleet->holders(0);
  input.latencies.per_row_s = per_row;
  Selection selection;
  make_policy("minmax", {1.0}).value()->select(input, selection);
  std::vector<std::size_t> visits(2);
  for (const Choice& choice : selection) ++visits.at(choice.device);
  CHECK(visits[0] + visits[1] == 2 * kRows);  // nothing was dropped
  CHECK(visits[1] > visits[0]);

  const std::vector<float> x = test::random_rows(kRows, kHidden, 6);
  const Outcome both = exchange(cell, 0, selection, x);
  REQUIRE(both.result);
  CHECK(worst_difference(both.y, expected(cell.weights, 0, selection, x)) < 1e-5f);

  fast.reset();  // says Goodbye; the other has everything too
  REQUIRE(cell.until([&] { return cell.fleet->holders(0)[0].size() == 1; }));
  CHECK(cell.fleet->complete());
  CHECK(exchange(cell, 0, choose(*cell.fleet, 0, kRows), x).result);
}
