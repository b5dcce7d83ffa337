#include "weights/safetensors.h"

#include <random>

#include <doctest/doctest.h>

#include "tests/weights/files.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

namespace {

Result<SafetensorsHeader> parse(const std::string& file) {
  return parse_safetensors(bytes_of_text(file), file.size());
}

// Written by hand after the format's description; Python's `safetensors` reads it the same.
const std::string kJson = R"({"__metadata__":{"format":"pt"},)"
                          R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
                          R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                          R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[20,20]},)"
                          R"("scalar":{"dtype":"U8","shape":[],"data_offsets":[20,21]}}   )";
const std::string kFile = safetensors_file(kJson, std::string(21, 'x'));

}  // namespace

TEST_CASE("safetensors: a file written by hand is read as it says") {
  const auto header = parse(kFile);
  REQUIRE(header);
  CHECK(header->metadata.at("format") == "pt");
  REQUIRE(header->tensors.size() == 4);
  const std::uint64_t start = 8 + kJson.size();
  const TensorEntry& a = header->tensors[0];
  CHECK(a.name == "a");
  CHECK(a.dtype == "F32");
  CHECK(a.shape == std::vector<std::uint64_t>{2});
  CHECK(a.begin == start);
  CHECK(a.end == start + 8);
  CHECK(header->tensors[1].name == "b");
  CHECK(header->tensors[1].end == start + 20);
  CHECK(header->tensors[3].end == kFile.size());
}

TEST_CASE("safetensors: every truncation is an error, and so is a byte too many") {
  for (std::size_t size = 0; size < kFile.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse(kFile.substr(0, size)));
  }
  CHECK_FALSE(parse(kFile + "x"));
}

TEST_CASE("safetensors: no flipped bit of the header crashes or reaches outside the file") {
  for (std::size_t bit = 0; bit < 8 * (8 + kJson.size()); ++bit) {
    std::string damaged = kFile;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    const auto header = parse(damaged);
    if (!header) continue;
    for (const TensorEntry& tensor : header->tensors) {
      CAPTURE(bit);
      CHECK(tensor.begin <= tensor.end);
      CHECK(tensor.end <= damaged.size());
    }
  }
}

TEST_CASE("safetensors: lies are refused, each by its name") {
  struct Case {
    const char* name;
    std::string json;
    const char* word;  // what the error must say
  };
  const std::string deep = "{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}";
  const Case cases[] = {
      {"not an object", "[]", "'{'"},
      {"leading space", R"( {"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "'{'"},
      {"broken JSON", R"({"a":)", "not JSON"},
      {"trailing text", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}x)", "not JSON"},
      {"deep nesting", deep, "deeper"},
      {"invalid UTF-8", "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
       "not JSON"},
      {"unknown dtype", R"({"a":{"dtype":"F17","shape":[4],"data_offsets":[0,4]}})", "F17"},
      {"no dtype", R"({"a":{"shape":[4],"data_offsets":[0,4]}})", "dtype"},
      {"unknown key", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}})", "'x'"},
      {"negative shape", R"({"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}})", "shape"},
      {"fractional shape", R"({"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}})", "shape"},
      {"product overflows",
       R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}})",
       "no size"},
      {"bytes overflow",
       R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", "no size"},
      {"bits fill no byte", R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", "no size"},
      {"size against shape", R"({"a":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}})", "'a'"},
      {"end before begin", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}})", "'a'"},
      {"one offset", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4]}})", "data_offsets"},
      {"past the end", R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}})", "truncated"},
      {"gap at the start", R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}})", "gap"},
      {"overlap",
       R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
       "overlap"},
      {"unclaimed bytes", R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "behind"},
      {"name twice",
       R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
       "twice"},
      {"metadata not text", R"({"__metadata__":{"n":1}})", "__metadata__"},
      {"17 dimensions",
       R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4],"data_offsets":[0,4]}})",
       "shape"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto header = parse(safetensors_file(c.json, "data"));
    REQUIRE_FALSE(header);
    CAPTURE(header.error().text);
    CHECK(mentions(header.error(), c.word));
  }
}

TEST_CASE("safetensors: a header size beyond the limit is refused before it is believed") {
  std::string file(16, '\0');
  file[3] = static_cast<char>(0x40);  // 1 GiB
  const auto header = parse_safetensors(bytes_of_text(file), std::uint64_t{1} << 40);
  REQUIRE_FALSE(header);
  CHECK(header.error().code == Code::limit);
  CHECK_FALSE(parse(std::string(16, '\xff')));
}

TEST_CASE("safetensors: what is written is read back, aligned to 64 bytes") {
  const std::vector<TensorEntry> tensors = {{"x", "F16", {3, 5}, 0, 0},
                                            {"a \"quoted\" \xc3\xa9", "F32", {}, 0, 0},
                                            {"empty", "BF16", {0}, 0, 0}};
  const auto header = safetensors_header(tensors, {{"format", "pt"}});
  REQUIRE(header);
  CHECK(header->size() % 64 == 0);
  const auto read = parse(*header + std::string(34, '\0'));
  REQUIRE(read);
  REQUIRE(read->tensors.size() == 3);
  CHECK(read->tensors[0].name == "x");
  CHECK(read->tensors[0].begin == header->size());
  CHECK(read->tensors[1].name == tensors[1].name);
  CHECK(read->tensors[1].end == header->size() + 34);

  CHECK_FALSE(safetensors_header({{"x", "F16", {1}, 0, 0}, {"x", "F16", {1}, 0, 0}}, {}));
  CHECK_FALSE(safetensors_header({{"x", "F17", {1}, 0, 0}}, {}));
  CHECK_FALSE(safetensors_header({{"__metadata__", "F16", {1}, 0, 0}}, {}));
}
