#include "bsd/model/kv_cache.h"

#include <random>
#include <set>
#include <stdexcept>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

ModelConfig small() {
  ModelConfig config;
  config.layers = 3;
  config.kv_heads = 2;
  config.head_dim = 6;
  return config;
}

}  // namespace

TEST_CASE("kv cache: what is written at a position is found where attention looks for it") {
  const ModelConfig config = small();
  KvCache cache(config, 8 * KvCache::page_bytes(config));
  REQUIRE(cache.pages_total() == 8);
  const auto a = cache.open(), b = cache.open();
  REQUIRE(a->reserve(70));
  REQUIRE(b->reserve(33));
  const auto value = [](int who, std::size_t layer, std::size_t position, std::size_t i) {
    return static_cast<float>(((static_cast<std::size_t>(who) * 3 + layer) * 100 + position) * 100 +
                              i);
  };
  const auto fill = [&](KvSequence& sequence, int who, std::size_t tokens) {
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
      for (std::size_t position = 0; position < tokens; ++position) {
        std::vector<float> key(12), val(12);
        for (std::size_t i = 0; i < 12; ++i) {
          key[i] = value(who, layer, position, i);
          val[i] = -key[i];
        }
        sequence.write(layer, position, key.data(), val.data());
      }
    }
    sequence.advance(tokens);
  };
  fill(*a, 0, 70);
  fill(*b, 1, 33);
  const auto check = [&](const KvSequence& sequence, int who, std::size_t tokens) {
    std::size_t wrong = 0;
    for (std::size_t layer = 0; layer < config.layers; ++layer)
      for (std::size_t position = 0; position < tokens; ++position)
        for (std::size_t head = 0; head < 2; ++head)
          for (std::size_t d = 0; d < 6; ++d) {
            const std::size_t page = position / kPageTokens;
            const std::size_t at = (head * kPageTokens + position % kPageTokens) * 6 + d;
            const float expected = value(who, layer, position, head * 6 + d);
            wrong += sequence.key_pages(layer)[page][at] != expected;
            wrong += sequence.value_pages(layer)[page][at] != -expected;
          }
    CHECK(wrong == 0);
  };
  CHECK(a->length() == 70);
  check(*a, 0, 70);
  check(*b, 1, 33);
}

TEST_CASE("kv cache: a full cache refuses, changes nothing, and has room again afterwards") {
  const ModelConfig config = small();
  KvCache cache(config, 4 * KvCache::page_bytes(config) + 17);
  REQUIRE(cache.pages_total() == 4);
  auto first = cache.open();
  const auto second = cache.open();
  REQUIRE(first->reserve(3 * kPageTokens));
  REQUIRE(second->reserve(1));
  CHECK(cache.pages_free() == 0);
  const auto refused = second->reserve(kPageTokens + 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::busy);
  CHECK(second->capacity() == kPageTokens);
  CHECK(second->reserve(kPageTokens));  // fits the page it has
  first.reset();
  CHECK(cache.pages_free() == 3);
  CHECK(second->reserve(4 * kPageTokens));
  CHECK_FALSE(second->reserve(SIZE_MAX));
}

TEST_CASE("kv cache: no page is ever in two hands, whatever the order of comings and goings") {
  const ModelConfig config = small();
  KvCache cache(config, 16 * KvCache::page_bytes(config));
  std::mt19937 random(11);
  std::vector<std::unique_ptr<KvSequence>> open;
  for (int i = 0; i < 2000; ++i) {
    if (random() % 3 == 0 && !open.empty()) {
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(random() % open.size()));
    } else {
      if (random() % 2 == 0 || open.empty()) open.push_back(cache.open());
      KvSequence& sequence = *open[random() % open.size()];
      (void)sequence.reserve(sequence.capacity() + random() % 100);
    }
    std::set<const float*> seen;
    std::size_t held = 0;
    for (const auto& sequence : open) {
      for (const float* page : sequence->key_pages(0)) seen.insert(page);
      held += sequence->key_pages(0).size();
    }
    REQUIRE(seen.size() == held);
    REQUIRE(held + cache.pages_free() == cache.pages_total());
  }
}

TEST_CASE("kv cache: a bound that holds no page is refused at start-up with the least that does") {
  const ModelConfig config = small();
  const std::string least = std::to_string(KvCache::page_bytes(config));
  CHECK_THROWS_WITH_AS(KvCache(config, 100), doctest::Contains(least.c_str()), std::runtime_error);
}

TEST_CASE("kv cache: an enormous bound costs nothing until pages are written") {
  const ModelConfig config = small();
  KvCache cache(config, std::size_t{1} << 30);  // address space only
  const auto sequence = cache.open();
  REQUIRE(sequence->reserve(1000));
  const std::vector<float> row(12, 1.0f);
  sequence->write(2, 999, row.data(), row.data());
}

TEST_CASE("kv cache: a copy has pages of its own and goes its own way") {
  const ModelConfig config = small();
  KvCache cache(config, 5 * KvCache::page_bytes(config));
  const auto source = cache.open();
  REQUIRE(source->reserve(70));  // one page more than the 33 tokens below take
  const std::vector<float> ones(12, 1.0f), twos(12, 2.0f);
  for (std::size_t layer = 0; layer < config.layers; ++layer)
    for (std::size_t position = 0; position < 33; ++position)
      source->write(layer, position, ones.data(), ones.data());
  source->advance(33);
  {
    const auto copy = cache.copy(*source);
    REQUIRE(copy);
    CHECK(cache.pages_free() == 0);  // 3 and 2
    CHECK((*copy)->length() == 33);
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
      CHECK((*copy)->key_pages(layer)[1][0] == 1.0f);
      (*copy)->write(layer, 32, twos.data(), twos.data());
      CHECK((*copy)->value_pages(layer)[1][0] == 2.0f);
      CHECK(source->value_pages(layer)[1][0] == 1.0f);
    }
    const auto refused = cache.copy(*source);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::busy);
  }
  CHECK(cache.pages_free() == 2);
}
