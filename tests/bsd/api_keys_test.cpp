#include "bsd/api_keys.h"

#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::bsd;

namespace {

std::string content(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// printf abc | sha256sum
constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

}  // namespace

TEST_CASE("api keys: a hash lets in the key that it is of, and no other") {
  const auto keys = ApiKeys::parse("# ours\n\nann sha256:" + std::string(kAbc) + "\r\n", "f");
  REQUIRE(keys);
  CHECK(keys->allow("abc"));
  for (const char* key : {"", "ab", "abcd", "ABC", kAbc}) CHECK_FALSE(keys->allow(key));
  CHECK_FALSE(ApiKeys().allow("abc"));
}

TEST_CASE("api keys: bad files are refused by line") {
  const std::string good = "ann sha256:" + std::string(kAbc) + "\n";
  for (const std::string& line :
       {std::string("abc"), std::string("ann sha256:abc"), good.substr(0, 70),
        "ann sha256:" + std::string(64, 'G'), " sha256:" + std::string(kAbc), good}) {
    CAPTURE(line);
    const auto keys = ApiKeys::parse(good + line, "the.keys");
    REQUIRE_FALSE(keys);
    CHECK(keys.error().text.find("the.keys:2: ") == 0);
  }
  std::string many;
  for (std::size_t i = 0; i <= kMostApiKeys; ++i)
    many += "n" + std::to_string(i) + " sha256:" + kAbc + "\n";
  CHECK(ApiKeys::parse(many, "f").error().code == Code::limit);
}

TEST_CASE("api keys: noise never crashes the parser") {
  std::mt19937 random(5);
  const std::string good = "ann sha256:" + std::string(kAbc) + "\nbob sha256:" + kAbc + "\n";
  for (int round = 0; round < 2000; ++round) {
    std::string text = good.substr(0, random() % (good.size() + 1));
    if (!text.empty()) text[random() % text.size()] = static_cast<char>(random() % 256);
    (void)ApiKeys::parse(text, "f");
  }
}

TEST_CASE("api keys: a made key is shown once, kept as a hash, and lets in") {
  const test::TempFolder folder;
  const auto file = folder / "api.keys";
  const auto ann = add_api_key(file, "ann"), bob = add_api_key(file, "bob");
  REQUIRE(ann);
  REQUIRE(bob);
  CHECK(*ann != *bob);
  CHECK(ann->size() == 6 + 64);
  CHECK(content(file).find(ann->substr(6)) == std::string::npos);
  auto keys = ApiKeyFile::open(file);
  REQUIRE(keys);
  CHECK(keys->allow(*ann));
  CHECK(keys->allow(*bob));
  CHECK(add_api_key(file, "ann").error().code == Code::denied);
  CHECK(add_api_key(file, "a b").error().code == Code::bad_input);
  CHECK(add_api_key(folder / "no" / "such.keys", "ann").error().text.find("such.keys") !=
        std::string::npos);
}

TEST_CASE("api keys: a file that others may write, or that is not there, is refused") {
  const test::TempFolder folder;
  const auto file = folder / "api.keys";
  CHECK(ApiKeyFile::open(file).error().code == Code::not_found);
  REQUIRE(add_api_key(file, "ann"));
  ::chmod(file.c_str(), 0666);
  CHECK(ApiKeyFile::open(file).error().code == Code::denied);
}

TEST_CASE("api keys: what becomes of the file counts for the next request but a few") {
  const test::TempFolder folder;
  const auto file = folder / "api.keys";
  const auto ann = add_api_key(file, "ann");
  REQUIRE(ann);
  auto keys = ApiKeyFile::open(file);
  REQUIRE(keys);
  const auto becomes = [&](const std::string& key, bool allowed) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (keys->allow(key) != allowed) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  };
  const auto bob = add_api_key(file, "bob");
  REQUIRE(bob);
  CHECK(becomes(*bob, true));
  std::ofstream(file) << "nonsense\n";  // nobody gets in by breaking the file
  CHECK(becomes(*ann, false));
  std::ofstream(file) << "";
  const auto cay = add_api_key(file, "cay");
  REQUIRE(cay);
  CHECK(becomes(*cay, true));
  CHECK_FALSE(keys->allow(*bob));
}
