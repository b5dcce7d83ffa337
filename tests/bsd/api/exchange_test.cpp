#include "bsd/api/exchange.h"

#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "tests/bsd/api/fakes.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;

namespace {

/// A call of some prompts at an engine that answers when told to.
class Fixture {
 public:
  explicit Fixture(std::size_t prompts) {
    Call call;
    Request request;
    request.prompt = {1};
    request.max_tokens = 1;
    call.choices.assign(prompts, request);
    exchange = std::make_unique<Exchange>(
        Answer(std::move(call), {"id", 1, "demo", "print"}, tokenizer_), hooks_, kFirst,
        [this](std::size_t choice) -> EventSink {
          return [this, choice](TokenEvent event) { exchange->accept(choice, std::move(event)); };
        });
  }

  static constexpr RequestId kFirst = 1;
  FakeEngine engine{false};
  std::unique_ptr<Exchange> exchange;

 private:
  Hooks hooks_ = engine.hooks();
  ByteTokenizer tokenizer_;
};

}  // namespace

TEST_CASE("exchange: a long list of prompts leaves places to others") {
  Fixture fixture(Exchange::kMostInFlight + 2);
  REQUIRE_FALSE(fixture.exchange->start());
  for (RequestId id = 1; id <= Exchange::kMostInFlight + 2; ++id) {
    CHECK(fixture.engine.open().size() <= Exchange::kMostInFlight);
    CHECK_FALSE(fixture.exchange->finished());
    fixture.engine.answer(id);
  }
  CHECK(fixture.exchange->finished());
  CHECK_FALSE(fixture.exchange->error());
}

TEST_CASE("exchange: no refusal ends a call while a part of it is with the engine") {
  for (const Code code : {Code::busy, Code::unavailable}) {
    Fixture fixture(3);
    fixture.engine.set_capacity(2);
    REQUIRE_FALSE(fixture.exchange->start());
    fixture.engine.refuse_with({code, "not now"});
    fixture.engine.answer(1);
    CHECK_FALSE(fixture.exchange->finished());
    fixture.engine.accept_again();
    fixture.engine.answer(2);
    fixture.engine.answer(3);
    CHECK(fixture.exchange->finished());
    CHECK_FALSE(fixture.exchange->error());
  }
}

TEST_CASE("exchange: a call that others keep out of the queue asks again, and at last fails") {
  for (const bool frees : {true, false}) {
    CAPTURE(frees);
    Fixture fixture(2);
    fixture.engine.set_capacity(1);
    REQUIRE_FALSE(fixture.exchange->start());
    CHECK_FALSE(fixture.exchange->stalled());
    fixture.engine.refuse_with({Code::busy, "the queue is full"});
    fixture.engine.answer(1);
    for (std::size_t i = 0; i + 1 < Exchange::kMostRetries; ++i) {
      REQUIRE(fixture.exchange->stalled());
      fixture.exchange->retry();
    }
    REQUIRE(fixture.exchange->stalled());
    if (frees) fixture.engine.accept_again();
    fixture.exchange->retry();
    CHECK_FALSE(fixture.exchange->stalled());
    fixture.engine.answer(2);
    CHECK(fixture.exchange->finished());
    CHECK(fixture.exchange->error().has_value() != frees);
    if (!frees) CHECK(fixture.exchange->error()->status == 429);
  }
}

TEST_CASE("exchange: a call that begins while the queue is full fails at once") {
  Fixture fixture(2);
  fixture.engine.set_capacity(0);
  const auto refused = fixture.exchange->start();
  REQUIRE(refused);
  CHECK(refused->status == 429);
  CHECK(fixture.exchange->finished());
}
