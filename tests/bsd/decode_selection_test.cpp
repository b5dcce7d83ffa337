// What a step tells about its selections: whose policy each row has, who waited for what.

#include <chrono>

#include <doctest/doctest.h>

#include "bsd/decode.h"
#include "bsd/moe/switchable.h"
#include "tests/bsd/decode_rows.h"
#include "tests/support/expert_runners.h"
#include "tests/support/local_model.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

/// Writes down what it is told.
class Notes final : public SelectionWitness {
 public:
  struct Decided {
    std::uint64_t step;
    std::size_t layer, first_row, rows;
    SelectionTally tally;
    std::vector<RowRun> runs;
  };
  void decided(const Decision& d) override {
    all.push_back({d.step,
                   d.input.layer,
                   d.first_row,
                   d.input.probabilities.rows,
                   d.tally,
                   {d.runs.begin(), d.runs.end()}});
  }
  void waited(const Wait& wait) override { waits.push_back(wait); }
  void completed() override { ++steps; }
  std::vector<Decided> all;
  std::vector<Wait> waits;
  std::size_t steps = 0;  // that were completed
};

}  // namespace

TEST_CASE("decode: rows have the policy that their request asked for, in both parts of a batch") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  test::RemoteExperts remote(model.experts());
  const auto policy = SwitchablePolicy::make({}).value();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), remote, *policy).value();
  Notes notes;
  decoder->selector().add_witness(notes);
  const std::vector<Token> prompts[] = {test::tokens_of(100, 2, 50), test::tokens_of(60, 3, 50)};
  const std::size_t layers = model.config().layers;
  const auto run = [&](Decoder& by, const PolicyWish& wish, StepCosts& costs) {
    std::vector<std::unique_ptr<KvSequence>> caches;
    std::vector<Slice> batch;
    for (std::size_t i = 0; i < 2; ++i) {
      caches.push_back(model.cache().open());
      REQUIRE(caches[i]->reserve(prompts[i].size()));
      batch.push_back({caches[i].get(),
                       {prompts[i].data(), prompts[i].size()},
                       Slice::Logits::all,
                       40 + i,
                       i == 1 ? wish : PolicyWish{}});
    }
    const auto logits = by.step({batch.data(), batch.size()}, costs);
    REQUIRE(logits);
    return rows_of(*logits);
  };
  const auto plain_policy = make_top_k_policy();
  const auto plain =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), remote, *plain_policy)
          .value();
  StepCosts costs;
  const auto expected = run(*plain, {}, costs);
  costs = {};
  CHECK(run(*decoder, {}, costs) == expected);  // topk is what it was, to the last bit
  CHECK(costs.tally.rows == 160 * layers);
  CHECK(costs.tally.kept == static_cast<double>(160 * layers));
  CHECK(costs.tally.drops == 0);

  notes = {};
  costs = {};
  const auto mixed = run(*decoder, {*policy_index("budget"), 0.6}, costs);
  const auto first = static_cast<std::ptrdiff_t>(100 * model.config().vocabulary);
  CHECK(worst_difference({mixed.begin(), mixed.begin() + first},
                         {expected.begin(), expected.begin() + first}) < kRounding);
  CHECK(worst_difference({mixed.begin() + first, mixed.end()},
                         {expected.begin() + first, expected.end()}) > kRounding);
  const SelectionTally others = decoder->selector().tally(0, 100);
  const SelectionTally own = decoder->selector().tally(100, 60);
  CHECK(others.rows == 100 * layers);
  CHECK(others.drops == 0);
  CHECK(own.rows == 60 * layers);
  CHECK(own.drops > 0);
  CHECK(own.kept >= 0.6 * static_cast<double>(own.rows) - 1e-3);
  CHECK(own.kept < static_cast<double>(own.rows));
  CHECK(costs.tally.drops == own.drops);

  REQUIRE(notes.all.size() == 2 * layers);
  CHECK(notes.waits.size() == 2 * layers);
  for (std::size_t i = 0; i < notes.all.size(); ++i) {
    CHECK(notes.all[i].layer == i / 2);
    CHECK(notes.waits[i].layer == i / 2);
    CHECK(notes.all[i].first_row == (i % 2) * 80);
    CHECK(notes.all[i].rows == 80);
    REQUIRE(notes.all[i].runs.size() == 2);
    CHECK(notes.all[i].runs[1].sequence == 41);
    CHECK(notes.all[i].runs[1].rows == 60);
    CHECK(notes.all[i].step == notes.all[0].step);
  }
}

TEST_CASE("decode: a prediction is told only beside the devices' own time") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  test::FlakyExperts flaky(model.experts());
  const auto policy = make_top_k_policy();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), flaky, *policy).value();
  Notes notes;
  decoder->selector().add_witness(notes);
  const auto prompt = test::tokens_of(4, 9, 50);
  const auto cache = model.cache().open();
  REQUIRE(cache->reserve(50));
  const Slice slice{cache.get(), {prompt.data(), 4}, Slice::Logits::none};
  const auto run = [&] {
    notes.waits.clear();
    StepCosts costs;
    REQUIRE(decoder->step({&slice, 1}, costs));
    REQUIRE(notes.waits.size() == model.config().layers);
    return notes.waits[0];
  };
  using std::chrono::milliseconds;
  flaky.waiting = {milliseconds(1), milliseconds(2)};
  CHECK(run().response_s == 0);  // nothing is known of the devices yet
  CHECK(run().blocked_s == 0.001);
  flaky.latencies_s = {0.004};
  CHECK(run().predicted_s > 0.004);
  CHECK(run().response_s == 0.002);
  flaky.waiting.response = {};  // another exchange was in the way
  CHECK(run().predicted_s == 0);
  CHECK(run().blocked_s == 0.001);
  CHECK(notes.steps == 6);

  flaky.failures = 1;
  StepCosts costs;
  CHECK_FALSE(decoder->step({&slice, 1}, costs));
  CHECK(notes.waits.size() == model.config().layers + 1);  // it was through the first layer
  CHECK(notes.steps == 6);
}
