#include "weights/mixtral_names.h"

#include <algorithm>
#include <cstring>

#include <doctest/doctest.h>

#include "tests/weights/files.h"
#include "weights/safetensors_writer.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

namespace {

constexpr ExpertShape kShape{8, 12};

std::string content(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.size_bytes()};
}

/// Writes tensors, in order, as one file.
void write(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  std::vector<TensorEntry> entries;
  for (const NamedTensor& tensor : tensors)
    entries.push_back({tensor.name, tensor.dtype, tensor.shape, 0, 0});
  auto writer = SafetensorsWriter::create(path, entries, {});
  REQUIRE(writer);
  for (const NamedTensor& tensor : tensors) REQUIRE(writer->append(tensor.data));
  REQUIRE(writer->finish());
}

/// The small model's experts fused as transformers v5 stores them, everything else as it was.
void write_v5(const Checkpoint& v4, const std::filesystem::path& folder) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : v4.tensors())
    if (name.find(".experts.") == std::string::npos) tensors.push_back(tensor);
  std::vector<std::string> keep(4);  // the fused bytes, alive until they are written
  for (std::size_t layer = 0; layer < 2; ++layer) {
    std::string& gate_up = keep[2 * layer];
    std::string& down = keep[2 * layer + 1];
    for (std::size_t expert = 0; expert < 4; ++expert) {
      const auto weights = find_expert(v4, layer, expert, kShape);
      REQUIRE(weights);
      gate_up += content(weights->gate) + content(weights->up);
      down += content(weights->down);
    }
    const std::string prefix = "model.layers." + std::to_string(layer) + ".mlp.experts.";
    tensors.push_back({prefix + "gate_up_proj", "F16", {4, 24, 8}, bytes_of_text(gate_up)});
    tensors.push_back({prefix + "down_proj", "F16", {4, 8, 12}, bytes_of_text(down)});
  }
  std::filesystem::create_directory(folder);
  write(folder / "model.safetensors", tensors);
  std::filesystem::copy(v4.directory() / "config.json", folder / "config.json");
}

}  // namespace

TEST_CASE("find_expert: both layouts give the same bytes") {
  const TempFolder folder;
  REQUIRE(write_random_model(small_model(), folder / "v4"));
  const auto v4 = Checkpoint::open(folder / "v4");
  REQUIRE(v4);
  write_v5(*v4, folder / "v5");
  const auto v5 = Checkpoint::open(folder / "v5");
  REQUIRE(v5);
  CHECK(layout_of(*v4) == Layout::v4);
  CHECK(layout_of(*v5) == Layout::v5);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t expert = 0; expert < 4; ++expert) {
      const auto a = find_expert(*v4, layer, expert, kShape);
      const auto b = find_expert(*v5, layer, expert, kShape);
      REQUIRE(a);
      REQUIRE(b);
      CHECK(a->gate.rows == 12);
      CHECK(b->down.rows == 8);
      CHECK(content(a->gate) == content(b->gate));
      CHECK(content(a->up) == content(b->up));
      CHECK(content(a->down) == content(b->down));
      CHECK(content(a->gate) != content(a->up));
    }
}

TEST_CASE("find_expert: a missing expert or another shape is an error with names") {
  const TempFolder folder;
  REQUIRE(write_random_model(small_model(), folder / "v4"));
  const auto v4 = Checkpoint::open(folder / "v4");
  write_v5(*v4, folder / "v5");
  const auto v5 = Checkpoint::open(folder / "v5");
  CHECK(find_expert(*v4, 0, 4, kShape).error().code == Code::not_found);
  CHECK(find_expert(*v5, 0, 4, kShape).error().code == Code::not_found);
  CHECK(find_expert(*v4, 2, 0, kShape).error().code == Code::not_found);
  CHECK(find_expert(*v5, 2, 0, kShape).error().code == Code::not_found);
  CHECK(mentions(find_expert(*v4, 0, 0, {8, 13}).error(), "w1.weight"));
  CHECK(mentions(find_expert(*v5, 0, 0, {8, 13}).error(), "gate_up_proj"));
  CHECK_FALSE(find_expert(*v5, 0, SIZE_MAX, kShape));
}

TEST_CASE("gate_name: follows the checkpoint's layout") {
  const TempFolder folder;
  REQUIRE(write_random_model(small_model(), folder / "v4"));
  const auto v4 = Checkpoint::open(folder / "v4");
  CHECK(gate_name(*v4, 1) == "model.layers.1.block_sparse_moe.gate.weight");
  put(folder / "x.safetensors",
      safetensors_file(
          R"({"model.layers.1.mlp.gate.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
          "x"));
  CHECK(gate_name(*Checkpoint::open(folder / "x.safetensors"), 1) ==
        "model.layers.1.mlp.gate.weight");
}

TEST_CASE("model_id: ignores how a model is cut and saved, sees every small change") {
  const TempFolder folder;
  RandomModel model = small_model();
  model.hidden = 512;  // so that some tensors exceed 1 MiB and are hashed by their beginning only
  model.ffn = 1100;
  REQUIRE(write_random_model(model, folder / "one"));
  const auto one = Checkpoint::open(folder / "one");
  REQUIRE(one);
  const auto id = model_id(*one);
  REQUIRE(id);
  CHECK(id->size() == 64);

  // The same tensors in two files, in another order, with another config.json text.
  std::filesystem::create_directory(folder / "two");
  std::vector<NamedTensor> parts[2];
  std::string map;
  for (const auto& [name, tensor] : one->tensors()) {
    const std::size_t part = name.size() % 2;
    parts[part].push_back(tensor);
    map += (map.empty() ? "" : ",") + ("\"" + name + "\":\"part-") + std::to_string(part) +
           ".safetensors\"";
  }
  for (std::size_t part = 0; part < 2; ++part) {
    std::reverse(parts[part].begin(), parts[part].end());
    write(folder / "two" / ("part-" + std::to_string(part) + ".safetensors"), parts[part]);
  }
  put(folder / "two" / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  const std::string config = get(folder / "one" / "config.json");
  put(folder / "two" / "config.json",
      "{\"transformers_version\":\"9\",\"use_cache\":true," + config.substr(1));
  const auto two = Checkpoint::open(folder / "two");
  REQUIRE(two);
  CHECK(*model_id(*two) == *id);

  put(folder / "two" / "config.json",
      "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}," + config.substr(1));
  CHECK(*model_id(*two) != *id);

  model.seed = 2;
  REQUIRE(write_random_model(model, folder / "other"));
  CHECK(*model_id(*Checkpoint::open(folder / "other")) != *id);

  std::filesystem::remove(folder / "one" / "config.json");
  CHECK(mentions(model_id(*one).error(), "config.json"));
}
