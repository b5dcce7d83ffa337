#include "bsd/engine.h"

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "bsd/moe/switchable.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/golden_models.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using test::EngineFixture;

namespace {

using Turn = Engine::Turn;

std::string letters(const std::vector<Token>& tokens) {
  return test::LetterTokenizer(50).decode({tokens.data(), tokens.size()}, true);
}

}  // namespace

TEST_CASE("engine: golden prompts served together give transformers' greedy continuations") {
  for (const auto& golden : test::golden_models()) {
    CAPTURE(golden.path);
    for (const std::size_t together : {golden.prompts.size(), std::size_t{3}}) {
      EngineOptions options;
      options.prefill_chunk = 20;  // long prompts take many steps beside others' tokens
      options.max_sequences = together;
      EngineFixture fixture(golden.path, options);
      for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
        const auto& prompt = golden.prompts[i];
        Request request = EngineFixture::greedy(i, prompt.tokens,
                                                static_cast<std::uint32_t>(prompt.greedy.size()));
        request.ignore_eos = true;
        REQUIRE(fixture.submit(request));
      }
      fixture.finish();
      for (std::size_t i = 0; i < golden.prompts.size(); ++i) {
        CAPTURE(i);
        CHECK(fixture.told[i].tokens() == golden.prompts[i].greedy);
        CHECK(fixture.told[i].finish() == FinishReason::length);
      }
    }
  }
}

TEST_CASE("engine: text arrives token by token with counts, and the end carries the sum of costs") {
  const test::TinyModel files;
  EngineOptions options;
  options.prefill_chunk = 16;
  EngineFixture fixture(files.path(), options);
  const auto prompt = test::tokens_of(40, 1);  // three passes of prompt
  const auto expected = fixture.model.greedy(prompt, 10);
  REQUIRE(fixture.submit(EngineFixture::greedy(5, prompt, 10)));
  fixture.finish();
  const test::Told& told = fixture.told[5];
  REQUIRE(told.events.size() == 10);
  CHECK(told.tokens() == expected);
  CHECK(told.text() == letters(expected));
  CHECK(told.finish() == FinishReason::length);
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(told.events[i].id == 5);
    CHECK(told.events[i].prompt_tokens == 40);
    CHECK(told.events[i].completion_tokens == i + 1);
    CHECK(told.events[i].text.size() == 1);
    rows += told.events[i].costs.tokens;
  }
  CHECK(rows == 8 + 9 * 1);  // the pass that ended the prompt, and nine of one token
  CHECK(told.events[9].totals.tokens == 40 + 9);
  CHECK(told.events[9].totals.total > told.events[8].costs.total);
  const EngineStats stats = fixture.engine.stats();
  CHECK(stats.steps == 3 + 9);
  CHECK(stats.prompt_tokens == 40);
  CHECK(stats.generated_tokens == 10);
  CHECK(stats.full == 1);
  CHECK(stats.running == 0);
  CHECK(stats.kv_pages_free == stats.kv_pages_total);
}

TEST_CASE("engine: a request's bill counts its own rows' decisions, by the policy it asked for") {
  const test::TinyModel files;
  EngineFixture fixture(files.path());
  const auto policy = SwitchablePolicy::make({}).value();
  fixture.decoder->set_policy(*policy);
  const auto prompt = test::tokens_of(20, 1);
  const auto expected = fixture.model.greedy(prompt, 10);
  Request plain = EngineFixture::greedy(1, prompt, 10), thrifty = plain;
  thrifty.id = 2;
  thrifty.wish = {*policy_index("budget"), 0.5};
  REQUIRE(fixture.submit(plain));
  REQUIRE(fixture.submit(thrifty));
  fixture.finish();
  CHECK(fixture.told[1].tokens() == expected);
  const StepCosts own = fixture.told[1].events.back().totals;
  const StepCosts other = fixture.told[2].events.back().totals;
  const std::size_t decisions = fixture.model.config().layers * (20 + 9);  // the last is not fed
  CHECK(own.policy == "topk");
  CHECK(own.tally.rows == decisions);
  CHECK(own.tally.kept == static_cast<double>(decisions));
  CHECK(own.tally.drops == 0);
  CHECK(other.policy == "budget");
  CHECK(other.tally.rows == decisions);
  CHECK(other.tally.kept < static_cast<double>(decisions));
  CHECK(other.tally.drops > 0);
  CHECK(fixture.told[2].events.front().costs.tally.rows == fixture.model.config().layers * 20);
  const SelectionTally all = fixture.engine.stats().costs.tally;
  CHECK(all.rows == 2 * decisions);
  CHECK(all.drops == other.tally.drops);
}

TEST_CASE("engine: no part of a stop string is ever sent, and the text ends right before it") {
  const test::TinyModel files;
  EngineFixture fixture(files.path());
  const auto prompt = test::tokens_of(12, 2);
  const std::string whole = letters(fixture.model.greedy(prompt, 30));
  RequestId id = 0;
  for (const std::size_t at : {0u, 1u, 7u, 20u}) {
    for (const std::size_t length : {1u, 3u, 9u}) {
      Request request = EngineFixture::greedy(++id, prompt, 30);
      const std::string stop = whole.substr(at, length);
      request.stop = {"~never~", stop};
      REQUIRE(fixture.submit(request));
      fixture.finish();
      CAPTURE(stop);
      CHECK(fixture.told[id].text() == whole.substr(0, whole.find(stop)));
      CHECK(fixture.told[id].finish() == FinishReason::stop);
      CHECK(fixture.told[id].tokens().size() == whole.find(stop) + length);
    }
  }
  Request held = EngineFixture::greedy(++id, prompt, 30);  // begins a stop string, never ends it
  held.stop = {whole.substr(25) + "~"};
  REQUIRE(fixture.submit(held));
  fixture.finish();
  CHECK(fixture.told[id].text() == whole);
  CHECK(fixture.told[id].finish() == FinishReason::length);
}

TEST_CASE("engine: an end token ends the text unsaid, unless it is to be ignored") {
  const test::TinyModel plain;
  const auto prompt = test::tokens_of(9, 3);
  test::LocalModel model(plain.path());
  const auto continuation = model.greedy(prompt, 20);
  ModelConfig shape = test::TinyModel::default_shape();
  shape.eos_tokens = {continuation[6]};
  const auto first = static_cast<std::size_t>(
      std::find(continuation.begin(), continuation.end(), continuation[6]) - continuation.begin());
  const test::TinyModel files(shape);
  EngineFixture fixture(files.path());
  REQUIRE(fixture.submit(EngineFixture::greedy(1, prompt, 20)));
  Request ignoring = EngineFixture::greedy(2, prompt, 20);
  ignoring.ignore_eos = true;
  REQUIRE(fixture.submit(ignoring));
  fixture.finish();
  CHECK(fixture.told[1].text() == letters(continuation).substr(0, first));
  CHECK(fixture.told[1].finish() == FinishReason::stop);
  CHECK(fixture.told[1].events.back().token == continuation[6]);
  CHECK(fixture.told[2].text() == letters(continuation));
}

TEST_CASE("engine: the prompt's logits and logprobs are those of a plain pass") {
  const test::TinyModel files;
  EngineOptions options;
  options.prefill_chunk = 7;
  EngineFixture fixture(files.path(), options);
  const auto prompt = test::tokens_of(30, 4);
  const auto expected = fixture.model.logits(prompt, {30});
  Request request = EngineFixture::greedy(1, prompt, 0);
  request.all_logits = true;
  request.echo_logprobs = true;
  request.top_logprobs = 3;
  REQUIRE(fixture.submit(request));
  request.id = 2;
  request.max_tokens = 2;
  REQUIRE(fixture.submit(request));
  fixture.finish();
  for (const RequestId id : {1u, 2u}) {
    const test::Told& told = fixture.told[id];
    REQUIRE(told.events.size() == (id == 1 ? 1 : 3));
    const TokenEvent& event = told.events[0];
    CHECK_FALSE(event.token);
    REQUIRE(event.logits.size() == 30);
    REQUIRE(event.prompt_logprobs.size() == 30);
    CHECK(event.prompt_logprobs[0].token == prompt[0]);
    CHECK(event.prompt_logprobs[0].top.empty());
    double worst = 0;
    for (std::size_t row = 0; row < 30; ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < 50; ++i) {
        const double logit = static_cast<double>(expected[row * 50 + i]);
        worst = std::max(worst, std::fabs(logit - static_cast<double>(event.logits[row][i])));
        sum += std::exp(logit);
      }
      if (row == 29) continue;
      const TokenLogprob& logprob = event.prompt_logprobs[row + 1];
      CHECK(logprob.token == prompt[row + 1]);
      CHECK(logprob.top.size() >= 3);
      const double twin = static_cast<double>(expected[row * 50 + prompt[row + 1]]) - std::log(sum);
      worst = std::max(worst, std::fabs(twin - static_cast<double>(logprob.logprob)));
    }
    CHECK(worst < 5e-5);
    CHECK(told.finish() == FinishReason::length);
    CHECK(told.events.back().totals.tokens >= 30);
  }
  CHECK(fixture.told[2].events[1].logprob->token == fixture.told[2].events[1].token);
}

TEST_CASE("engine: a cancelled request frees its place and its pages before the next step") {
  const test::TinyModel files;
  EngineOptions options;
  options.max_sequences = 1;
  EngineFixture fixture(files.path(), options);
  REQUIRE(fixture.submit(EngineFixture::greedy(1, test::tokens_of(40, 5), 1000)));
  REQUIRE(fixture.submit(EngineFixture::greedy(2, test::tokens_of(40, 6), 1000)));
  REQUIRE(fixture.submit(EngineFixture::greedy(3, test::tokens_of(40, 7), 2)));
  for (int i = 0; i < 5; ++i) CHECK(fixture.engine.turn() == Turn::stepped);
  CHECK(fixture.engine.stats().running == 1);
  CHECK(fixture.engine.stats().waiting == 2);
  fixture.engine.cancel(1);
  fixture.engine.cancel(2);  // while it waits
  fixture.engine.cancel(99);
  fixture.engine.turn();
  CHECK(fixture.told[1].finish() == FinishReason::cancelled);
  CHECK(fixture.told[1].tokens().size() == 5);
  CHECK(fixture.told[2].finish() == FinishReason::cancelled);
  fixture.finish();
  CHECK(fixture.told[3].finish() == FinishReason::length);
  const EngineStats stats = fixture.engine.stats();
  CHECK(stats.cancelled == 2);
  CHECK(stats.kv_pages_free == stats.kv_pages_total);
}

TEST_CASE("engine: who does not fit waits for a place in order, and whoever runs can finish") {
  const test::TinyModel files;
  EngineFixture fixture(files.path(), {}, 4 * kPageTokens);
  for (RequestId id = 1; id <= 6; ++id)
    REQUIRE(fixture.submit(
        EngineFixture::greedy(id, test::tokens_of(20, static_cast<unsigned>(id)), 40)));
  fixture.engine.turn();
  CHECK(fixture.engine.stats().running == 2);
  CHECK(fixture.engine.stats().kv_pages_free == 0);
  std::size_t most = 0;
  while (fixture.engine.turn() != Turn::idle) most = std::max(most, fixture.engine.stats().running);
  CHECK(most == 2);
  for (RequestId id = 1; id <= 6; ++id)
    CHECK(fixture.told[id].tokens() ==
          fixture.model.greedy(test::tokens_of(20, static_cast<unsigned>(id)), 40));
}

TEST_CASE("engine: refuses what cannot be served, by name") {
  ModelConfig shape = test::TinyModel::default_shape();
  shape.max_positions = 400;
  const test::TinyModel files(shape);
  EngineOptions options;
  options.max_sequences = 1;
  options.max_waiting = 1;
  EngineFixture fixture(files.path(), options, 10 * kPageTokens);
  const Request good = EngineFixture::greedy(1, {1, 2}, 5);
  struct Case {
    const char* name;
    std::function<void(Request&)> spoil;
    Code code;
    const char* says;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Case cases[] = {
      {"no prompt", [](Request& r) { r.prompt = {}; }, Code::bad_input, "prompt"},
      {"strange token", [](Request& r) { r.prompt = {50}; }, Code::bad_input, "50"},
      {"long prompt", [](Request& r) { r.prompt.assign(500, 1); }, Code::limit, "context of 400"},
      {"long answer", [](Request& r) { r.max_tokens = 4294967295u; }, Code::limit, "context"},
      {"small cache", [](Request& r) { r.max_tokens = 350; }, Code::limit, "key-value cache"},
      {"empty stop", [](Request& r) { r.stop = {""}; }, Code::bad_input, "stop"},
      {"huge stop", [](Request& r) { r.stop = {std::string(5000, 'x')}; }, Code::bad_input, "stop"},
      {"many stops", [](Request& r) { r.stop.assign(18, "x"); }, Code::bad_input, "stop"},
      {"many logits",
       [](Request& r) {
         r.prompt.assign((1u << 22) / 50 + 1, 1);
         r.all_logits = true;
       },
       Code::limit, "83886 tokens"},
      {"cold", [](Request& r) { r.sampling.temperature = -1; }, Code::bad_input, "temperature"},
      {"NaN", [=](Request& r) { r.sampling.temperature = nan; }, Code::bad_input, "temperature"},
      {"policy", [](Request& r) { r.wish.policy = 200; }, Code::bad_input, "policy"},
      {"quality", [](Request& r) { r.wish.quality = 1.5; }, Code::bad_input, "quality"},
      {"top_p", [](Request& r) { r.sampling.top_p = 0; }, Code::bad_input, "top_p"},
      {"min_p", [](Request& r) { r.sampling.min_p = 2; }, Code::bad_input, "min_p"},
      {"penalty", [](Request& r) { r.sampling.repetition_penalty = 0; }, Code::bad_input,
       "penalty"},
      {"logprobs", [](Request& r) { r.top_logprobs = 1u << 30; }, Code::bad_input, "logprobs"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Request request = good;
    c.spoil(request);
    const auto refused = fixture.submit(request);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == c.code);
    CHECK(refused.error().text.find(c.says) != std::string::npos);
  }
  Request chat = good;  // with a client's 16 stop strings and the chat's own
  chat.stop.assign(17, "x");
  REQUIRE(fixture.submit(chat));
  fixture.finish();
  REQUIRE(fixture.submit(good));
  CHECK(fixture.submit(good).error().code == Code::bad_input);  // its id is in use
  REQUIRE(fixture.submit(EngineFixture::greedy(2, {1}, 5)));
  CHECK(fixture.submit(EngineFixture::greedy(3, {1}, 5)).error().code == Code::busy);
  fixture.finish();
  CHECK(fixture.submit(EngineFixture::greedy(3, {1}, 5)));
  fixture.finish();
}

TEST_CASE("engine: a seed gives the same text alone and in company") {
  const test::TinyModel files;
  const auto sampled = [&](RequestId id) {
    Request request = EngineFixture::greedy(id, test::tokens_of(10, static_cast<unsigned>(id)), 30);
    request.sampling.temperature = 0.8f;
    request.sampling.seed = id;
    return request;
  };
  EngineFixture alone(files.path()), together(files.path());
  for (RequestId id = 1; id <= 4; ++id) {
    REQUIRE(alone.submit(sampled(id)));
    alone.finish();
    REQUIRE(together.submit(sampled(id)));
  }
  together.finish();
  for (RequestId id = 1; id <= 4; ++id) CHECK(alone.told[id].text() == together.told[id].text());
}
