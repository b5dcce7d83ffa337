#include "bsd/decode.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include <doctest/doctest.h>

#include "bsd/model/local_experts.h"
#include "bsd/moe/switchable.h"
#include "kernels/expert_backend.h"
#include "tests/support/allocations.h"
#include "tests/support/local_model.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

std::vector<Token> tokens_of(std::size_t count, std::uint32_t seed, std::size_t vocabulary) {
  std::vector<Token> tokens(count);
  for (Token& token : tokens) {
    seed = seed * 1664525u + 1013904223u;
    token = static_cast<Token>((seed >> 8) % vocabulary);
  }
  return tokens;
}

std::vector<float> rows_of(Matrix<const float> m) {
  return {m.data, m.data + m.rows * m.cols};
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

/// Fails the exchange of one layer while `failures` lasts, as a fleet that lost a device does.
class Flaky final : public ExpertRunner {
 public:
  explicit Flaky(ExpertRunner& inner) : inner_(inner) {}
  const Holders& holders(std::size_t layer) const override {
    return homeless ? *homeless : inner_.holders(layer);
  }
  std::size_t worth_under_way() const override { return inner_.worth_under_way(); }
  Result<void> begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                     Matrix<float> y, StepCosts& costs) override {
    if (layer == 1 && failures > 0) {
      --failures;
      return fail(Code::timeout, "device-3 did not answer");
    }
    return inner_.begin(layer, selection, x, y, costs);
  }
  Result<void> finish(StepCosts& costs) override { return inner_.finish(costs); }
  void abandon() override { inner_.abandon(); }
  Latencies latencies() override {
    Latencies known;
    known.fixed_s = known.per_row_s = {latencies_s.data(), latencies_s.size()};
    return known;
  }
  Waiting last_wait() const override { return waiting; }
  int failures = 0;
  std::vector<double> latencies_s;
  Waiting waiting;
  std::optional<Holders> homeless;

 private:
  ExpertRunner& inner_;
};

/// As a fleet: takes the rows in begin(), computes in finish(), and has spoiled y until then.
class Remote final : public ExpertRunner {
 public:
  explicit Remote(ExpertRunner& inner) : inner_(inner) {}
  const Holders& holders(std::size_t layer) const override { return inner_.holders(layer); }
  std::size_t worth_under_way() const override { return kMostUnderWay; }
  Result<void> begin(std::size_t layer, const Selection& selection, Matrix<const float> x,
                     Matrix<float> y, StepCosts&) override {
    for (std::size_t row = 0; row < y.rows; ++row) std::fill_n(y.row(row), y.cols, NAN);
    sent_.push_back({layer, selection, rows_of(x), y});
    most = std::max(most, sent_.size());
    return {};
  }
  Result<void> finish(StepCosts& costs) override {
    const Sent sent = sent_.front();
    sent_.pop_front();
    return inner_.begin(sent.layer, sent.selection, {sent.x.data(), sent.y.rows, sent.y.cols},
                        sent.y, costs);
  }
  void abandon() override { sent_.clear(); }
  std::size_t most = 0;  ///< were under way together

 private:
  struct Sent {
    std::size_t layer;
    Selection selection;
    std::vector<float> x;
    Matrix<float> y;
  };
  ExpertRunner& inner_;
  std::deque<Sent> sent_;
};

// Logits here are of order 1 and each is a sum of some hundred f32 products: batching may move them
// by reordering those sums, a few epsilon (1.2e-7) times sqrt(layers · terms).
constexpr double kRounding = 2e-5;

}  // namespace

TEST_CASE("decode: chunks, single tokens and neighbours in the batch change nothing but rounding") {
  for (const std::size_t window : {std::size_t{0}, std::size_t{9}}) {
    CAPTURE(window);
    ModelConfig shape = test::TinyModel::default_shape();
    shape.sliding_window = window;
    const test::TinyModel files(shape);
    test::LocalModel model(files.path());
    const auto prompt = tokens_of(75, 1, shape.vocabulary);
    const std::vector<float> whole = model.logits(prompt, {75});
    for (const std::vector<std::size_t>& chunks :
         {std::vector<std::size_t>{32, 32, 11}, {1, 40, 34}, std::vector<std::size_t>(75, 1)}) {
      CAPTURE(chunks.size());
      CHECK(worst_difference(whole, model.logits(prompt, chunks)) < kRounding);
    }

    // Three sequences of different age in one batch, against each alone.
    const std::vector<Token> prompts[] = {tokens_of(40, 2, 50), tokens_of(7, 3, 50),
                                          tokens_of(70, 4, 50)};
    const std::size_t old[] = {39, 0, 35};  // what the cache holds before the common step
    std::vector<std::unique_ptr<KvSequence>> caches;
    std::vector<Slice> batch;
    for (std::size_t i = 0; i < 3; ++i) {
      caches.push_back(model.cache().open());
      REQUIRE(caches[i]->reserve(prompts[i].size()));
      StepCosts costs;
      if (old[i] > 0) {
        const Slice before{caches[i].get(), {prompts[i].data(), old[i]}, Slice::Logits::none};
        const auto none = model.decoder().step({&before, 1}, costs);
        REQUIRE(none);
        CHECK(none->rows == 0);
      }
      batch.push_back({caches[i].get(),
                       {prompts[i].data() + old[i], prompts[i].size() - old[i]},
                       Slice::Logits::last});
    }
    StepCosts costs;
    const auto together = model.decoder().step({batch.data(), batch.size()}, costs);
    REQUIRE(together);
    REQUIRE(together->rows == 3);
    CHECK(costs.tokens == 1 + 7 + 35);
    const std::vector<float> got = rows_of(*together);
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(i);
      const auto alone = model.logits(prompts[i], {prompts[i].size()});
      const auto vocabulary = static_cast<std::ptrdiff_t>(shape.vocabulary);
      const std::vector<float> last(alone.end() - vocabulary, alone.end());
      const auto row = got.begin() + static_cast<std::ptrdiff_t>(i) * vocabulary;
      CHECK(worst_difference(last, {row, row + vocabulary}) < kRounding);
      CHECK(caches[i]->length() == prompts[i].size());
    }
  }
}

TEST_CASE(
    "decode: a step that fails in the middle leaves the caches as they were and can be retried") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  Flaky flaky(model.experts());
  const auto policy = make_top_k_policy();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), flaky, *policy);
  REQUIRE(decoder);
  const auto prompt = tokens_of(50, 9, 50);
  const auto cache = model.cache().open();
  REQUIRE(cache->reserve(50));
  const Slice first{cache.get(), {prompt.data(), 20}, Slice::Logits::none};
  const Slice second{cache.get(), {prompt.data() + 20, 30}, Slice::Logits::all};
  StepCosts costs;
  flaky.failures = 1;
  const auto failed = (*decoder)->step({&first, 1}, costs);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::timeout);
  CHECK(cache->length() == 0);
  REQUIRE((*decoder)->step({&first, 1}, costs));
  flaky.failures = 2;
  REQUIRE_FALSE((*decoder)->step({&second, 1}, costs));
  REQUIRE_FALSE((*decoder)->step({&second, 1}, costs));
  CHECK(cache->length() == 20);
  const auto after = (*decoder)->step({&second, 1}, costs);
  REQUIRE(after);
  const auto undisturbed = model.logits(prompt, {50});
  CHECK(worst_difference({undisturbed.begin() + 20 * 50, undisturbed.end()}, rows_of(*after)) <
        kRounding);

  flaky.homeless = Holders{{0}, {}, {}, {}};
  REQUIRE(cache->reserve(51));
  const Slice third{cache.get(), {prompt.data(), 1}, Slice::Logits::last};
  const auto homeless = (*decoder)->step({&third, 1}, costs);
  REQUIRE_FALSE(homeless);
  CHECK(homeless.error().code == Code::unavailable);
  CHECK(homeless.error().text.find("layer 0: no device holds expert") == 0);
}

TEST_CASE("decode: a large batch in two parts gives the same logits") {
  for (const std::size_t window : {std::size_t{0}, std::size_t{9}}) {
    CAPTURE(window);
    ModelConfig shape = test::TinyModel::default_shape();
    shape.sliding_window = window;
    const test::TinyModel files(shape);
    test::LocalModel model(files.path());
    Remote remote(model.experts());
    const auto policy = make_top_k_policy();
    const auto decoder =
        Decoder::load(model.checkpoint(), model.config(), model.pool(), remote, *policy).value();
    // One sequence that is cut in its middle, and one that is in the second part only; both have a
    // past.
    const std::vector<Token> prompts[] = {tokens_of(150, 2, 50), tokens_of(30, 3, 50)};
    const std::size_t old[] = {13, 7};
    std::vector<std::unique_ptr<KvSequence>> caches;
    std::vector<Slice> past, batch;
    for (std::size_t i = 0; i < 2; ++i) {
      caches.push_back(model.cache().open());
      REQUIRE(caches[i]->reserve(prompts[i].size()));
      past.push_back({caches[i].get(), {prompts[i].data(), old[i]}, Slice::Logits::none});
      batch.push_back({caches[i].get(),
                       {prompts[i].data() + old[i], prompts[i].size() - old[i]},
                       Slice::Logits::all});
    }
    StepCosts costs;
    REQUIRE(decoder->step({past.data(), past.size()}, costs));
    CHECK(remote.most == 1);  // few rows: one message per device
    const auto logits = decoder->step({batch.data(), batch.size()}, costs);
    REQUIRE(logits);
    CHECK(remote.most == 2);
    const std::vector<float> got = rows_of(*logits);
    std::vector<float> wanted;
    for (std::size_t i = 0; i < 2; ++i) {
      const auto all = model.logits(prompts[i], {prompts[i].size()});
      wanted.insert(wanted.end(), all.begin() + static_cast<std::ptrdiff_t>(old[i] * 50),
                    all.end());
    }
    CHECK(worst_difference(got, wanted) < kRounding);
  }
}

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
  Remote remote(model.experts());
  const auto policy = SwitchablePolicy::make({}).value();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), remote, *policy).value();
  Notes notes;
  decoder->selector().add_witness(notes);
  const std::vector<Token> prompts[] = {tokens_of(100, 2, 50), tokens_of(60, 3, 50)};
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
  Flaky flaky(model.experts());
  const auto policy = make_top_k_policy();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), flaky, *policy).value();
  Notes notes;
  decoder->selector().add_witness(notes);
  const auto prompt = tokens_of(4, 9, 50);
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

TEST_CASE("decode: refuses tokens and positions that the model does not have") {
  ModelConfig shape = test::TinyModel::default_shape();
  shape.max_positions = 10;
  const test::TinyModel files(shape);
  test::LocalModel model(files.path());
  const auto cache = model.cache().open();
  REQUIRE(cache->reserve(32));
  StepCosts costs;
  const auto code_of = [&](const std::vector<Token>& tokens) {
    const Slice slice{cache.get(), {tokens.data(), tokens.size()}, Slice::Logits::last};
    const auto result = model.decoder().step({&slice, 1}, costs);
    REQUIRE_FALSE(result);
    return result.error().code;
  };
  CHECK(code_of({1, 50}) == Code::bad_input);
  CHECK(code_of({}) == Code::bad_input);
  CHECK(code_of(std::vector<Token>(11, 1)) == Code::limit);
  CHECK_FALSE(model.decoder().step({}, costs));
  CHECK(cache->length() == 0);
}

TEST_CASE("decode: every stage's time is accounted for") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  const auto prompt = tokens_of(64, 5, 50);
  const auto cache = model.cache().open();
  REQUIRE(cache->reserve(64));
  const Slice slice{cache.get(), {prompt.data(), 64}, Slice::Logits::all};
  StepCosts costs;
  REQUIRE(model.decoder().step({&slice, 1}, costs));
  for (const auto part :
       {costs.attention, costs.gate, costs.selection, costs.wire_wait, costs.combine, costs.head})
    CHECK(part.count() > 0);
  const auto sum = costs.attention + costs.gate + costs.selection + costs.serialise +
                   costs.wire_wait + costs.combine + costs.head;
  CHECK(sum <= costs.total);
  CHECK(costs.tokens == 64);
}

TEST_CASE("decode: a warm step does not allocate") {
  const test::TinyModel files;
  test::LocalModel model(files.path());
  const auto prompt = tokens_of(64, 6, 50);
  const auto a = model.cache().open(), b = model.cache().open();
  REQUIRE(a->reserve(100));
  REQUIRE(b->reserve(100));
  StepCosts costs;
  const Slice warm[] = {{a.get(), {prompt.data(), 40}, Slice::Logits::all},
                        {b.get(), {prompt.data(), 24}, Slice::Logits::last}};
  REQUIRE(model.decoder().step({warm, 2}, costs));
  const Slice next[] = {{a.get(), {prompt.data(), 1}, Slice::Logits::last},
                        {b.get(), {prompt.data(), 30}, Slice::Logits::last}};
  REQUIRE(model.decoder().step({next, 2}, costs));  // its kernels' small-batch paths, too
  const std::size_t before = test::allocations();
  const bool stepped = model.decoder().step({next, 2}, costs).has_value();
  const std::size_t after = test::allocations();
  CHECK(stepped);
  CHECK(after == before);
}
