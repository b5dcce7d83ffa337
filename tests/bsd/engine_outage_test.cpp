// Devices that are lost while an engine works.
#include <chrono>

#include <doctest/doctest.h>

#include "bsd/engine.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using test::EngineFixture;

using Turn = Engine::Turn;

TEST_CASE("engine: a lost device delays a step, and past the deadline fails only who was in it") {
  const test::TinyModel files;
  EngineOptions options;
  options.max_sequences = 2;
  options.retry_deadline = milliseconds{1000};
  EngineFixture fixture(files.path(), options);
  const auto expected = fixture.model.greedy(test::tokens_of(20, 1), 10);
  for (RequestId id = 1; id <= 3; ++id)
    REQUIRE(fixture.submit(
        EngineFixture::greedy(id, test::tokens_of(20, static_cast<unsigned>(id)), 10)));
  CHECK(fixture.engine.turn() == Turn::stepped);
  fixture.experts.failures = 2;
  CHECK(fixture.engine.turn() == Turn::failed);
  fixture.clock.advance(milliseconds{900});
  CHECK(fixture.engine.turn() == Turn::failed);
  CHECK(fixture.engine.turn() == Turn::stepped);  // the device is back: nothing was lost
  fixture.experts.failures = 100;
  CHECK(fixture.engine.turn() == Turn::failed);  // a new outage has its own deadline
  fixture.clock.advance(milliseconds{999});
  CHECK(fixture.engine.turn() == Turn::failed);
  fixture.clock.advance(milliseconds{1});
  fixture.engine.turn();
  for (RequestId id = 1; id <= 2; ++id) {
    CHECK(fixture.told[id].finish() == FinishReason::error);
    CHECK(fixture.told[id].events.back().error == "device-3 did not answer");
    CHECK(fixture.told[id].tokens().size() == 2);
  }
  CHECK(fixture.told[1].tokens() == std::vector<Token>(expected.begin(), expected.begin() + 2));
  CHECK(fixture.told[3].events.empty());
  fixture.experts.failures = 0;
  fixture.finish();
  CHECK(fixture.told[3].finish() == FinishReason::length);
  CHECK(fixture.engine.stats().failed == 2);
  CHECK(fixture.engine.stats().failed_steps == 5);
  CHECK(fixture.engine.stats().kv_pages_free == fixture.engine.stats().kv_pages_total);
}

TEST_CASE("engine: a request cancelled during an outage is gone at once") {
  const test::TinyModel files;
  EngineFixture fixture(files.path());
  REQUIRE(fixture.submit(EngineFixture::greedy(1, {1, 2, 3}, 10)));
  fixture.experts.failures = 100;
  CHECK(fixture.engine.turn() == Turn::failed);
  fixture.engine.cancel(1);
  CHECK(fixture.engine.turn() == Turn::idle);
  CHECK(fixture.told[1].finish() == FinishReason::cancelled);
}

TEST_CASE("engine: an outage that nobody waited out does not count against a later request") {
  const test::TinyModel files;
  EngineOptions options;
  options.retry_deadline = milliseconds{1000};
  EngineFixture fixture(files.path(), options);
  REQUIRE(fixture.submit(EngineFixture::greedy(1, {1, 2, 3}, 10)));
  fixture.experts.failures = 2;
  CHECK(fixture.engine.turn() == Turn::failed);
  fixture.engine.cancel(1);
  CHECK(fixture.engine.turn() == Turn::idle);
  fixture.clock.advance(std::chrono::hours{1});
  REQUIRE(fixture.submit(EngineFixture::greedy(2, {1, 2, 3}, 2)));
  CHECK(fixture.engine.turn() == Turn::failed);  // and is tried again
  fixture.finish();
  CHECK(fixture.told[2].finish() == FinishReason::length);
}
