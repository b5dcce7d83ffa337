#include "weights/manifest.h"

#include <doctest/doctest.h>

#include "tests/weights/files.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

namespace {

ShardManifest sample() {
  return {"kitchen",
          std::string(64, 'a'),
          8,
          12,
          2,
          4,
          DType::bf16,
          {{0, 1}, {1, 3}},
          {{"config.json", 10, std::string(64, '0')},
           {"model.safetensors", 2000, std::string(64, 'f')}}};
}

}  // namespace

TEST_CASE("manifest: what is written is read back") {
  const auto read = parse_shard_manifest(to_json(sample()));
  REQUIRE(read);
  CHECK(to_json(*read) == to_json(sample()));
  CHECK(read->experts == sample().experts);
  CHECK(read->dtype == DType::bf16);

  ShardManifest entry = sample();
  for (FileDigest& file : entry.files) file.name = "kitchen/" + file.name;
  const SplitManifest split{std::string(64, 'a'), {entry}, {{0, 0}}};
  const auto read_split = parse_split_manifest(to_json(split));
  REQUIRE(read_split);
  CHECK(to_json(*read_split) == to_json(split));
  CHECK_FALSE(parse_shard_manifest(to_json(split)));
  CHECK_FALSE(parse_split_manifest(to_json(sample())));
}

TEST_CASE("manifest: no truncation or flipped bit crashes; each is read or refused") {
  const std::string json = to_json(sample());
  for (std::size_t size = 0; size + 2 < json.size(); ++size)
    CHECK_FALSE(parse_shard_manifest(json.substr(0, size)));
  for (std::size_t bit = 0; bit < 8 * json.size(); ++bit) {
    std::string damaged = json;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto read = parse_shard_manifest(damaged);
    if (!read) continue;
    CAPTURE(bit);
    for (const ExpertId id : read->experts) {
      CHECK(id.layer < read->layers);
      CHECK(id.expert < read->experts_per_layer);
    }
  }
}
