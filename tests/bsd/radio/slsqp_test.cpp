// Holds the allocator against SciPy's SLSQP on tests/golden/allocate/slsqp.json and prints how
// often SLSQP fails or is worse: the table of docs/allocation.md.

#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "bsd/radio/allocate.h"
#include "bsd/radio/certificate.h"
#include "tests/bsd/radio/random_problem.h"

using nlohmann::json;
using namespace wdmoe;
using namespace wdmoe::radio;

static json golden() {
  std::ifstream file(std::string(WDMOE_SOURCE_DIR) + "/tests/golden/allocate/slsqp.json");
  REQUIRE(file.good());
  return json::parse(file);
}

static void load(OwnedProblem& out, const json& file, const json& row) {
  out.devices.clear();
  for (const json& numbers : row[3]) {
    DeviceDemand device;
    device.tokens = numbers[0];
    device.power_dl = Watts(file["power_dl_w"]);
    device.power_ul = Watts(file["power_ul_w"]);
    device.gain_dl = ratio_from(Decibels(numbers[1].get<double>() / 10));
    device.gain_ul = ratio_from(Decibels(numbers[2].get<double>() / 10));
    device.compute_per_token = Seconds(numbers[3].get<double>() * 1e-6);
    out.devices.push_back(device);
  }
  out.problem = {*medium_from(row[0].get<std::string>()), Hertz(row[2]),
                 WattsPerHertz(file["noise_w_per_hz"]), Bits(file["bits_per_token"]), out.devices};
}

namespace {
/// What became of one way of calling SLSQP.
struct Tally {
  int total = 0, failed = 0, worse = 0, much_worse = 0, silently_worse = 0;
  double largest = 0;  // relative excess over our latency

  void add(double excess, bool success) {
    ++total;
    failed += !success;
    worse += excess > 1e-6;
    much_worse += excess > 1e-2;
    silently_worse += success && excess > 1e-6;
    largest = std::max(largest, excess);
  }
};
}  // namespace

TEST_CASE("slsqp: the allocator is never worse by more than 1e-6, on 1,200 random problems") {
  const json file = golden();
  REQUIRE(file["instances"].size() >= 1000);
  Allocator allocator;
  OwnedProblem owned;
  std::map<std::string, Tally> tallies;
  double most_behind = 0, worst_residual = 0;
  for (const json& row : file["instances"]) {
    load(owned, file, row);
    const auto solved = allocator.solve(owned.problem);
    REQUIRE(solved.has_value());
    worst_residual = std::max(worst_residual, certify(owned.problem, solved->devices).residual());
    const double ours = solved->waiting_latency.count();
    const std::string kind = row[0].get<std::string>() + (row[1] == 1 ? " 12 decades" : " cell");
    for (const std::size_t column : {4, 6}) {
      const double theirs = row[column].is_null() ? std::numeric_limits<double>::infinity()
                                                  : row[column].get<double>();
      CAPTURE(row.dump());
      CHECK(ours <= theirs * (1 + 1e-6));
      most_behind = std::max(most_behind, ours / theirs - 1);
      tallies[(column == 4 ? "raw    " : "scaled ") + kind].add(theirs / ours - 1,
                                                                row[column + 1] == 1);
    }
  }
  std::printf("%-34s %5s %7s %7s %7s %16s %9s\n", "SLSQP", "cases", "failed", ">1e-6", ">1e-2",
              ">1e-6 'success'", "largest");
  for (const auto& [name, t] : tallies)
    std::printf("%-34s %5d %7d %7d %7d %16d %9.2g\n", name.c_str(), t.total, t.failed, t.worse,
                t.much_worse, t.silently_worse, t.largest);
  std::printf("ours behind SLSQP by at most %.2g; worst KKT residual %.2g\n", most_behind,
              worst_residual);
  CHECK(worst_residual <= 1e-9);
  // That both solve the same problem: where SLSQP is at its best it finds our optimum.
  for (const char* medium : {"fdma_separate", "fdma_common", "airtime"}) {
    const Tally& best = tallies[std::string("scaled ") + medium + " cell"];
    CHECK(best.total - best.worse >= best.total * 9 / 10);
  }
}
