#include "bsd/shaping/shaper.h"

#include <fstream>
#include <future>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/shaping/cell.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::shaping;
using test::kBitsPerRow;
using test::kTick;
using test::measured_agent;

namespace {

/// What happened to an actuator; outlives it.
struct Record {
  std::vector<Plan> applied;
  int restored = 0;
  bool refuses = false;
  double set_factor = 1;  // what it sets, of what it was told
  std::uint64_t passed = 0;
  std::promise<void> first_restore;
};

class Fake final : public Actuator {
 public:
  explicit Fake(Record& record) : record_(record) {}
  ~Fake() override { (void)restore(); }
  std::string_view name() const override { return "fake"; }
  Result<void> apply(const Plan& plan) override {
    if (record_.refuses) return fail(Code::denied, "class 1 of eth9: not permitted");
    record_.applied.push_back(plan);
    return {};
  }
  Result<void> observe(std::vector<Observed>& out) override {
    out.clear();
    if (record_.applied.empty()) return {};
    for (const Share& share : record_.applied.back().shares) {
      Observed one;
      one.slot = share.slot;
      one.down_bps = share.down_bps * record_.set_factor;
      one.down_bytes = record_.passed;
      out.push_back(one);
    }
    return {};
  }
  Result<void> restore() override {
    if (record_.restored++ == 0) record_.first_restore.set_value();
    return {};
  }

 private:
  Record& record_;
};

/// A shaper in simulated time with one fake actuator.
struct Bench {
  explicit Bench(ShaperOptions options = long_silence()) {
    std::vector<std::unique_ptr<Actuator>> actuators;
    actuators.push_back(std::make_unique<Fake>(record));
    shaper = require(Shaper::open(options, std::move(actuators)));
  }
  static ShaperOptions long_silence() {
    ShaperOptions options;
    options.silence = milliseconds(600'000);
    return options;
  }
  void ticks(int count) {
    for (int i = 0; i < count; ++i, now_s += kTick)
      shaper->tick(now_s, agents, traffic, kBitsPerRow);
  }
  const ActuatorReport& actuator() { return (report = shaper->report()).actuators.front(); }

  Record record;
  std::vector<AgentInput> agents{measured_agent(0, 20e6, 20e6), measured_agent(1, 5e6, 5e6)};
  std::vector<Traffic> traffic{{0, 0, 0}, {1, 0, 0}};
  double now_s = 100;
  ShaperReport report;
  std::unique_ptr<Shaper> shaper;
};

}  // namespace

TEST_CASE("shaper: applies what the controller decides, once, and lets go at the end") {
  Bench bench;
  bench.ticks(50);
  CHECK(bench.record.applied.size() == 1);
  CHECK(bench.actuator().applied == 1);
  CHECK_FALSE(bench.actuator().health.degraded);
  CHECK(bench.report.ticks == 50);
  CHECK(bench.report.changes == 1);
  CHECK(bench.record.restored == 0);
  bench.agents[1].link.down.rate_bps /= 2;
  bench.ticks(10);
  CHECK(bench.record.applied.size() == 2);
  bench.shaper.reset();
  CHECK(bench.record.restored >= 1);
}

TEST_CASE("shaper: frozen, what is in force stays; resumed, it follows") {
  Bench bench;
  bench.ticks(5);
  bench.shaper->freeze(true);
  bench.agents[0].link.down.rate_bps /= 10;
  bench.ticks(50);
  CHECK(bench.record.applied.size() == 1);
  CHECK(bench.record.restored == 0);
  CHECK(bench.shaper->report().state == ShaperState::frozen);
  bench.shaper->freeze(false);
  bench.ticks(2);
  CHECK(bench.record.applied.size() == 2);
  CHECK(bench.shaper->report().state == ShaperState::running);
}

TEST_CASE("shaper: an actuator that refuses is degraded, says why, and is tried again") {
  Bench bench;
  bench.record.refuses = true;
  bench.ticks(5);
  CHECK(bench.actuator().health.degraded);
  CHECK(bench.actuator().health.reason == "class 1 of eth9: not permitted");
  CHECK(bench.actuator().failed == 1);
  bench.ticks(60);
  CHECK(bench.actuator().failed == 2);  // once a second
  bench.record.refuses = false;
  bench.ticks(80);
  CHECK(bench.record.applied.size() == 1);
  CHECK_FALSE(bench.actuator().health.degraded);
}

TEST_CASE("shaper: what is set differently from what was commanded is degraded") {
  Bench bench;
  bench.record.set_factor = 0.5;
  bench.ticks(50);
  CHECK(bench.actuator().health.degraded);
  CHECK(bench.actuator().health.reason.find("agent-0: downlink commanded") == 0);
  bench.record.set_factor = 1;
  bench.ticks(50);
  CHECK_FALSE(bench.actuator().health.degraded);
}

TEST_CASE("shaper: traffic that does not pass what was set is degraded") {
  Bench bench;
  std::uint64_t bytes = 0;
  SUBCASE("much of it") {
    bytes = 10'000;
  }
  SUBCASE("little: it takes longer to tell") {
    bytes = 300;
  }
  const auto send = [&](std::uint64_t passed) {
    for (int i = 0; i < 300; ++i) {
      bench.traffic[0].sent_bytes += bytes;
      bench.record.passed += passed;
      bench.ticks(1);
    }
  };
  send(bytes);
  CHECK_FALSE(bench.actuator().health.degraded);
  send(0);
  CHECK(bench.actuator().health.degraded);
  CHECK(bench.actuator().health.reason.find("does not pass") != std::string::npos);
  send(bytes);
  CHECK_FALSE(bench.actuator().health.degraded);
}

TEST_CASE("shaper: without ticks the watchdog lets go, and ticks take up again") {
  ShaperOptions options;
  options.silence = milliseconds(20);
  Bench bench(options);
  auto restored = bench.record.first_restore.get_future();
  bench.ticks(1);
  REQUIRE(bench.record.applied.size() == 1);
  REQUIRE(restored.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  CHECK(bench.shaper->report().state == ShaperState::safe);  // once the watchdog has given the lock
  CHECK(bench.shaper->report().rescues >= 1);
  bench.now_s += 0.2;
  bench.ticks(2);  // the first is late
  CHECK(bench.record.applied.size() >= 2);
}

TEST_CASE("shaper: a controller that keeps failing lets go") {
  Bench bench;
  bench.ticks(5);
  bench.agents[0].link.base_rtt_s = 1e99;
  bench.ticks(Shaper::kMostFailures - 1);
  CHECK(bench.record.restored == 0);
  bench.ticks(1);
  CHECK(bench.record.restored == 1);
  CHECK(bench.shaper->report().state == ShaperState::safe);
  bench.agents[0].link.base_rtt_s = 0.01;
  bench.ticks(10);
  CHECK(bench.shaper->report().state == ShaperState::running);
  CHECK(bench.record.applied.size() == 2);
}

TEST_CASE("shaper: the log has every tick and agent, with names, reasons and shares") {
  const test::TempFolder folder;
  auto options = Bench::long_silence();
  options.log_csv = folder.path() / "radio.csv";
  {
    Bench bench(options);
    bench.ticks(10);
    bench.agents.clear();
    bench.ticks(1);
  }
  std::ifstream file(options.log_csv);
  std::string line;
  REQUIRE(std::getline(file, line));
  CHECK(line + "\n" == csv_header());
  const auto columns = [](const std::string& text) {
    return std::count(text.begin(), text.end(), ',');
  };
  const auto wanted = columns(line);
  std::vector<std::string> lines;
  while (std::getline(file, line)) {
    lines.push_back(line);
    CHECK(columns(line) == wanted);
  }
  REQUIRE(lines.size() == 21);
  CHECK(lines[0].find(",1,first,") != std::string::npos);
  CHECK(lines[0].find(",agent-0,4,20000000,1,") != std::string::npos);
  CHECK(lines[3].find(",below_threshold,") != std::string::npos);
  CHECK(lines[20].find(",nothing_measured,") != std::string::npos);

  options.log_csv = folder.path() / "nowhere" / "radio.csv";
  const auto refused = Shaper::open(options, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text.find("radio.log_csv") != std::string::npos);
}
