#include "weights/split.h"

#include <cstring>

#include <doctest/doctest.h>

#include "tests/weights/files.h"
#include "weights/mixtral_names.h"
#include "weights/sha256.h"
#include "weights/shard.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

namespace {

/// A small model, split over 3 agents.
struct Fixture {
  TempFolder folder;
  Checkpoint model;
  SplitReport report;
  std::filesystem::path out = folder / "out";

  explicit Fixture(SplitOptions options = {}, RandomModel spec = small_model()) {
    REQUIRE(write_random_model(spec, folder / "model"));
    model = *Checkpoint::open(folder / "model");
    auto split = write_split(model, *default_plan(3, spec.layers, spec.experts), out, options);
    REQUIRE(split);
    report = std::move(*split);
  }
  std::filesystem::path shard() const { return out / "agent-0"; }
};

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.rows == b.rows && a.cols == b.cols &&
         std::memcmp(a.data, b.data, a.size_bytes()) == 0;
}

}  // namespace

TEST_CASE("split: opened shards hold the source's experts, bit by bit, each once") {
  const Fixture fixture;
  std::size_t found = 0;
  for (const Access access : {Access::mapped, Access::staged})
    for (int agent = 0; agent < 3; ++agent) {
      const auto shard =
          open_shard(fixture.out / ("agent-" + std::to_string(agent)), {true, access});
      REQUIRE(shard);
      CHECK(shard->manifest.name == "agent-" + std::to_string(agent));
      CHECK(shard->manifest.model_id == *model_id(fixture.model));
      CHECK(*model_id(shard->checkpoint) == *model_id(fixture.model));
      CHECK(shard->manifest.hidden == 8);
      CHECK(shard->manifest.ffn == 12);
      CHECK(shard->weights_bytes == shard->experts.size() * 3 * 8 * 12 * 2);
      CHECK(shard->checkpoint.tensors().size() == 3 * shard->experts.size());
      for (const HeldExpert& held : shard->experts) {
        CHECK(held.id.expert % 3 == static_cast<std::size_t>(agent));
        const auto source = find_expert(fixture.model, held.id.layer, held.id.expert, {8, 12});
        REQUIRE(source);
        CHECK(same_bytes(held.weights.gate, source->gate));
        CHECK(same_bytes(held.weights.up, source->up));
        CHECK(same_bytes(held.weights.down, source->down));
        ++found;
      }
    }
  CHECK(found == 2 * 2 * 4);
}

TEST_CASE("split: the common manifest lists every file with its digest") {
  const Fixture fixture;
  const auto split = read_split_manifest(fixture.out);
  REQUIRE(split);
  CHECK(split->model_id == fixture.report.manifest.model_id);
  REQUIRE(split->shards.size() == 3);
  CHECK(is_split(fixture.out));
  CHECK_FALSE(is_shard(fixture.out));
  std::size_t files = 0;
  for (const ShardManifest& shard : split->shards)
    for (const FileDigest& file : shard.files) {
      CHECK(sha256_of_file(fixture.out / file.name) == file.sha256);
      CHECK(std::filesystem::file_size(fixture.out / file.name) == file.bytes);
      ++files;
    }
  CHECK(files == 9);
  CHECK(get(fixture.shard() / "config.json") == get(fixture.folder / "model" / "config.json"));
  // Nothing temporary is left behind.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(fixture.out))
    if (entry.is_regular_file()) {
      const auto extension = entry.path().extension();
      CHECK((extension == ".json" || extension == ".safetensors"));
    }
}

TEST_CASE("split: --dtype converts every weight and keeps the model's identity") {
  RandomModel spec = small_model();
  spec.dtype = DType::f32;
  SplitOptions options;
  options.dtype = DType::bf16;
  std::uint64_t last = 0, total = 0;
  options.progress = [&](std::uint64_t done, std::uint64_t all) {
    CHECK(done > last);
    last = done;
    total = all;
  };
  const Fixture fixture(options, spec);
  CHECK(last == total);
  CHECK(total == 2 * 4 * 3 * 8 * 12 * 2);
  const auto shard = open_shard(fixture.shard());
  REQUIRE(shard);
  CHECK(shard->manifest.dtype == DType::bf16);
  CHECK(shard->manifest.model_id == *model_id(fixture.model));
  const auto source = find_expert(fixture.model, 0, 0, {8, 12});
  for (std::size_t i = 0; i < 8 * 12; ++i) {
    float expected = 0;
    std::uint16_t bits = 0;
    std::memcpy(&expected, source->gate.data + 4 * i, 4);
    std::memcpy(&bits, shard->experts[0].weights.gate.data + 2 * i, 2);
    CHECK(bits == bf16_from_float(expected));
  }
}

TEST_CASE("split: refuses a folder in use, a shard as source, and leaves others' files alone") {
  const Fixture fixture;
  const auto plan = default_plan(2, 2, 4);
  const auto again = write_split(fixture.model, *plan, fixture.out, {});
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Code::denied);
  CHECK(mentions(again.error(), "--force"));
  SplitOptions force;
  force.force = true;
  CHECK(write_split(fixture.model, *plan, fixture.out, force));
  CHECK(read_split_manifest(fixture.out)->shards.size() == 2);

  CHECK(mentions(write_split(fixture.model, *plan, fixture.folder / "model", force).error(),
                 "the model itself"));
  const auto shard = Checkpoint::open(fixture.shard());
  REQUIRE(shard);
  CHECK(mentions(write_split(*shard, *plan, fixture.folder / "x", {}).error(), "shard already"));
}

TEST_CASE("split: a plan's replicas are written twice, experts of the base station not at all") {
  const Fixture fixture;
  const auto plan = parse_plan(
      R"({"agents":[{"name":"left","experts":[[0,0],[1,2]]},{"name":"right","experts":[[0,0]]}],
          "bs":"rest"})",
      2, 4);
  REQUIRE(plan);
  REQUIRE(write_split(fixture.model, *plan, fixture.folder / "plan", {}));
  const auto left = open_shard(fixture.folder / "plan" / "left");
  const auto right = open_shard(fixture.folder / "plan" / "right");
  REQUIRE(left);
  REQUIRE(right);
  CHECK(left->experts.size() == 2);
  CHECK(right->experts.size() == 1);
  CHECK(same_bytes(left->experts[0].weights.down, right->experts[0].weights.down));
  CHECK(read_split_manifest(fixture.folder / "plan")->on_bs.size() == 6);
}

TEST_CASE("open_shard: damage is told by file and by what is wrong") {
  struct Case {
    const char* name;
    const char* file;
    void (*damage)(std::string&);
    const char* word;
  };
  const Case cases[] = {
      {"bit flip in a weight", "model.safetensors",
       [](std::string& text) { text.back() = static_cast<char>(text.back() ^ 1); }, "SHA-256"},
      {"truncated weights", "model.safetensors", [](std::string& text) { text.pop_back(); },
       "the manifest says"},
      {"longer weights", "model.safetensors", [](std::string& text) { text += 'x'; },
       "the manifest says"},
      {"changed config", "config.json", [](std::string& text) { text[0] = ' '; }, "SHA-256"},
      {"manifest cut", "manifest.json", [](std::string& text) { text.resize(text.size() / 2); },
       "not JSON"},
      {"manifest from the future", "manifest.json",
       [](std::string& text) { text.replace(text.find("\"version\": 1"), 12, "\"version\": 2"); },
       "version 2"},
      {"an expert it does not hold", "manifest.json",
       [](std::string& text) { text.replace(text.find("[0, 0]"), 6, "[0, 1]"); },
       "expert 1 of layer 0"},
      {"another dtype", "manifest.json",
       [](std::string& text) { text.replace(text.find("\"f16\""), 5, "\"f32\""); }, "f16"},
      {"another shape", "manifest.json",
       [](std::string& text) { text.replace(text.find("\"ffn\": 12"), 9, "\"ffn\": 13"); },
       "w1.weight"},
      {"a digest that is none", "manifest.json",
       [](std::string& text) { text[text.find("sha256") + 10] = 'X'; }, "sha256"},
      {"weights not listed", "manifest.json",
       [](std::string& text) { text.replace(text.find("model.safetensors"), 5, "moral"); },
       "does not list"},
      {"a file outside", "manifest.json",
       [](std::string& text) { text.replace(text.find("config.json"), 11, "../passwd.j"); },
       "../passwd"},
      {"an expert outside the model", "manifest.json",
       [](std::string& text) { text.replace(text.find("[0, 0]"), 6, "[0, 9]"); }, "[0, 9]"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const Fixture fixture;
    std::string text = get(fixture.shard() / c.file);
    c.damage(text);
    put(fixture.shard() / c.file, text);
    const auto shard = open_shard(fixture.shard());
    REQUIRE_FALSE(shard);
    CAPTURE(shard.error().text);
    CHECK(mentions(shard.error(), c.word));
    if (std::string(c.name) == "bit flip in a weight") {
      CHECK(mentions(shard.error(), "model.safetensors"));
      CHECK(open_shard(fixture.shard(), {false, Access::mapped}));  // not asked, not seen
    }
  }
}

TEST_CASE("open_shard: missing files are named") {
  const Fixture fixture;
  CHECK(mentions(open_shard(fixture.folder / "nowhere").error(), "manifest.json"));
  CHECK(mentions(open_shard(fixture.folder / "model").error(), "wdmoe split"));
  CHECK(mentions(open_shard(fixture.out).error(), "wdmoe-shard"));
  std::filesystem::remove(fixture.shard() / "config.json");
  CHECK(mentions(open_shard(fixture.shard()).error(), "config.json"));
  std::filesystem::remove(fixture.shard() / "model.safetensors");
  CHECK(mentions(open_shard(fixture.shard()).error(), "model.safetensors"));
}
