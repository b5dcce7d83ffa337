#include "bsd/decode.h"

#include <doctest/doctest.h>

#include "tests/bsd/decode_rows.h"
#include "tests/support/allocations.h"
#include "tests/support/expert_runners.h"
#include "tests/support/local_model.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("decode: chunks, single tokens and neighbours in the batch change nothing but rounding") {
  for (const std::size_t window : {std::size_t{0}, std::size_t{9}}) {
    CAPTURE(window);
    ModelConfig shape = test::TinyModel::default_shape();
    shape.sliding_window = window;
    const test::TinyModel files(shape);
    test::LocalModel model(files.path());
    const auto prompt = test::tokens_of(75, 1, shape.vocabulary);
    const std::vector<float> whole = model.logits(prompt, {75});
    for (const std::vector<std::size_t>& chunks :
         {std::vector<std::size_t>{32, 32, 11}, {1, 40, 34}, std::vector<std::size_t>(75, 1)}) {
      CAPTURE(chunks.size());
      CHECK(worst_difference(whole, model.logits(prompt, chunks)) < kRounding);
    }

    // Three sequences of different age in one batch, against each alone.
    const std::vector<Token> prompts[] = {test::tokens_of(40, 2, 50), test::tokens_of(7, 3, 50),
                                          test::tokens_of(70, 4, 50)};
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
  test::FlakyExperts flaky(model.experts());
  const auto policy = make_top_k_policy();
  const auto decoder =
      Decoder::load(model.checkpoint(), model.config(), model.pool(), flaky, *policy);
  REQUIRE(decoder);
  const auto prompt = test::tokens_of(50, 9, 50);
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
    test::RemoteExperts remote(model.experts());
    const auto policy = make_top_k_policy();
    const auto decoder =
        Decoder::load(model.checkpoint(), model.config(), model.pool(), remote, *policy).value();
    // One sequence that is cut in its middle, and one that is in the second part only; both have a
    // past.
    const std::vector<Token> prompts[] = {test::tokens_of(150, 2, 50), test::tokens_of(30, 3, 50)};
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
  const auto prompt = test::tokens_of(64, 5, 50);
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
  const auto prompt = test::tokens_of(64, 6, 50);
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
