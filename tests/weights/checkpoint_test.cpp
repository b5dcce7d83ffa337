#include "weights/checkpoint.h"

#include <cstring>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/weights/files.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

namespace {

std::string one_tensor(const std::string& name, const std::string& data) {
  return safetensors_file("{\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" +
                              std::to_string(data.size()) + "],\"data_offsets\":[0," +
                              std::to_string(data.size()) + "]}}",
                          data);
}

std::string index_of(const std::string& entries) {
  return "{\"weight_map\":{" + entries + "}}";
}

}  // namespace

TEST_CASE("checkpoint: mapped and staged bytes are the file's") {
  const TempFolder folder;
  put(folder / "x.safetensors", one_tensor("t", "hello"));
  for (const Access access : {Access::mapped, Access::staged}) {
    const auto checkpoint = Checkpoint::open(folder / "x.safetensors", access);
    REQUIRE(checkpoint);
    const NamedTensor* tensor = checkpoint->find("t");
    REQUIRE(tensor != nullptr);
    CHECK(std::memcmp(tensor->data.data(), "hello", 5) == 0);
    CHECK(checkpoint->find("u") == nullptr);
    CHECK(checkpoint->directory() == folder.path());
    CHECK(checkpoint->file_bytes(folder / "x.safetensors").size() ==
          get(folder / "x.safetensors").size());
  }
}

TEST_CASE("checkpoint: the tensors outlive the Checkpoint they were copied from") {
  const TempFolder folder;
  put(folder / "model.safetensors", one_tensor("t", "hello"));
  Checkpoint copy = [&] { return *Checkpoint::open(folder.path()); }();
  std::filesystem::remove(folder / "model.safetensors");
  CHECK(std::memcmp(copy.find("t")->data.data(), "hello", 5) == 0);
}

TEST_CASE("checkpoint: parts are joined by their index") {
  const TempFolder folder;
  put(folder / "p1.safetensors", one_tensor("a", "1"));
  put(folder / "p2.safetensors", one_tensor("b", "22"));
  put(folder / "model.safetensors.index.json",
      index_of(R"("a":"p1.safetensors","b":"p2.safetensors")"));
  const auto checkpoint = Checkpoint::open(folder.path());
  REQUIRE(checkpoint);
  CHECK(checkpoint->tensors().size() == 2);
  CHECK(checkpoint->files().size() == 2);
  CHECK(checkpoint->find("b")->data.size() == 2);
}

TEST_CASE("checkpoint: an index that lies or leads outside is refused by name") {
  struct Case {
    const char* name;
    std::string index;
    const char* word;
  };
  const Case cases[] = {
      {"path upwards", index_of(R"("a":"../p1.safetensors")"), "'a'"},
      {"dot dot", index_of(R"("a":"..")"), "'a'"},
      {"absolute path", index_of(R"("a":"/etc/passwd")"), "'a'"},
      {"backslash", index_of(R"("a":"x\\p1.safetensors")"), "'a'"},
      {"NUL in the name", index_of(R"("a":"p1.safetensors\u0000x")"), "'a'"},
      {"empty name", index_of(R"("a":"")"), "'a'"},
      {"not text", index_of(R"("a":1)"), "'a'"},
      {"tensor missing", index_of(R"("a":"p1.safetensors","z":"p1.safetensors")"), "'z'"},
      {"part missing", index_of(R"("a":"p9.safetensors")"), "p9.safetensors"},
      {"tensor in two parts", index_of(R"("a":"p1.safetensors","b":"p3.safetensors")"), "'a'"},
      {"no map", "{}", "weight_map"},
      {"empty map", index_of(""), "weight_map"},
      {"key twice", index_of(R"("a":"p1.safetensors","a":"p1.safetensors")"), "twice"},
      {"not an object", "[]", "object"},
      {"nested for ever", std::string(100'000, '['), "deeper"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const TempFolder folder;
    put(folder / "p1.safetensors", one_tensor("a", "1"));
    put(folder / "p3.safetensors", one_tensor("a", "1"));
    put(folder / "model.safetensors.index.json", c.index);
    const auto checkpoint = Checkpoint::open(folder.path());
    REQUIRE_FALSE(checkpoint);
    CAPTURE(checkpoint.error().text);
    CHECK(mentions(checkpoint.error(), c.word));
  }
}

TEST_CASE("checkpoint: what is no checkpoint says so and names the path") {
  const TempFolder folder;
  CHECK(mentions(Checkpoint::open(folder / "absent").error(), "absent"));
  CHECK(Checkpoint::open(folder / "absent").error().code == Code::not_found);
  CHECK(mentions(Checkpoint::open(folder.path()).error(), "model.safetensors"));
  put(folder / "x.bin", "x");
  CHECK(mentions(Checkpoint::open(folder / "x.bin").error(), "x.bin"));
  put(folder / "empty.safetensors", "");
  CHECK(mentions(Checkpoint::open(folder / "empty.safetensors").error(), "empty.safetensors"));
  REQUIRE(::mkfifo((folder / "fifo.safetensors").c_str(), 0600) == 0);
  CHECK(mentions(Checkpoint::open(folder / "fifo.safetensors").error(), "regular file"));
}

TEST_CASE("checkpoint: matrix() demands the exact shape and a float dtype") {
  const TempFolder folder;
  put(folder / "x.safetensors",
      safetensors_file(R"({"m":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},)"
                       R"("v":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]},)"
                       R"("i":{"dtype":"I16","shape":[2,3],"data_offsets":[18,30]}})",
                       std::string(30, '\1')));
  const auto checkpoint = Checkpoint::open(folder / "x.safetensors");
  REQUIRE(checkpoint);
  const auto matrix = checkpoint->matrix("m", 2, 3);
  REQUIRE(matrix);
  CHECK(matrix->dtype == DType::f16);
  CHECK(matrix->rows == 2);
  CHECK(checkpoint->matrix("v", 1, 3));
  CHECK(mentions(checkpoint->matrix("m", 3, 2).error(), "[2, 3]"));
  CHECK(mentions(checkpoint->matrix("v", 3, 1).error(), "'v'"));
  CHECK(checkpoint->matrix("i", 2, 3).error().code == Code::unsupported);
  CHECK(checkpoint->matrix("z", 2, 3).error().code == Code::not_found);
}
