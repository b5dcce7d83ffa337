// An engine on a thread of its own, and how it ends.
#include <chrono>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "bsd/engine.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/tiny_model.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using test::EngineFixture;

TEST_CASE("engine: run() serves other threads' requests and returns when stopped and drained") {
  const test::TinyModel files;
  EngineFixture fixture(files.path());
  std::size_t alive = 0;
  std::thread thread([&] { fixture.engine.run([&] { ++alive; }); });
  std::vector<std::promise<FinishReason>> ends(4);
  for (RequestId id = 0; id < ends.size(); ++id) {
    REQUIRE(fixture.engine.submit(EngineFixture::greedy(id, test::tokens_of(5, 1), 20),
                                  [&ends, id](TokenEvent event) {
                                    if (event.finish != FinishReason::none)
                                      ends[id].set_value(event.finish);
                                  }));
  }
  CHECK(ends[0].get_future().get() == FinishReason::length);
  fixture.engine.stop(fixture.clock.now() + std::chrono::hours{1});
  CHECK(fixture.engine.submit(EngineFixture::greedy(9, {1}, 1), [](TokenEvent) {}).error().code ==
        Code::unavailable);
  thread.join();
  for (std::size_t i = 1; i < ends.size(); ++i)
    CHECK(ends[i].get_future().get() == FinishReason::length);
  CHECK(alive > 0);
}

TEST_CASE("engine: a request accepted right before the stop is served") {
  const test::TinyModel files;
  EngineFixture fixture(files.path());
  bool first = true;
  fixture.engine.run([&] {  // between an idle turn and the question whether all is done
    if (!std::exchange(first, false)) return;
    REQUIRE(fixture.submit(EngineFixture::greedy(1, {1, 2}, 3)));
    fixture.engine.stop(fixture.clock.now() + std::chrono::hours{1});
  });
  CHECK(fixture.told[1].finish() == FinishReason::length);
}

TEST_CASE("engine: past the stop deadline the rest is told so") {
  const test::TinyModel files;
  EngineOptions options;
  options.max_sequences = 1;
  EngineFixture fixture(files.path(), options);
  REQUIRE(fixture.submit(EngineFixture::greedy(1, {1}, 1000)));
  REQUIRE(fixture.submit(EngineFixture::greedy(2, {1}, 1000)));
  fixture.engine.stop(fixture.clock.now());
  fixture.engine.run([] {});
  for (const RequestId id : {1u, 2u}) {
    CHECK(fixture.told[id].finish() == FinishReason::error);
    CHECK(fixture.told[id].events.back().error == "the base station is stopping");
  }
}
