#include "wire/keys.h"

#include <fstream>
#include <type_traits>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::wire;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

mode_t mode_of(const fs::path& file) {
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  return status.st_mode & 0777;
}

}  // namespace

TEST_CASE("keys: are written privately, read back, and not replaced unasked") {
  const test::TempFolder folder;
  const auto pair = write_keys(folder.path(), "jetson", false);
  REQUIRE_MESSAGE(pair, pair.error().text);
  CHECK(mode_of(folder / "jetson.key") == 0600);
  CHECK(mode_of(folder / "jetson.pub") == 0644);
  CHECK(*read_public(folder / "jetson.pub") == pair->public_key);
  const auto secret = read_secret(folder / "jetson.key");
  REQUIRE(secret);
  CHECK(*public_key_of(*secret) == pair->public_key);

  const auto again = write_keys(folder.path(), "jetson", false);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Code::denied);
  const auto forced = write_keys(folder.path(), "jetson", true);
  REQUIRE(forced);
  CHECK(forced->public_key != pair->public_key);
  CHECK(*read_public(folder / "jetson.pub") == forced->public_key);
  CHECK_FALSE(write_keys(folder.path(), "../jetson", false));
}

TEST_CASE("keys: a bad key file is named with what was expected") {
  const test::TempFolder folder;
  const auto pair = write_keys(folder.path(), "good", false);
  REQUIRE(pair);
  const fs::path file = folder / "bad.key";
  const auto error = [&] {
    const auto secret = read_secret(file);
    REQUIRE_FALSE(secret);
    CHECK(secret.error().text.find("bad.key") != std::string::npos);
    return secret.error();
  };
  CHECK(error().code == Code::not_found);
  write(file, "");
  ::chmod(file.c_str(), 0600);
  CHECK(error().text.find("40 Z85") != std::string::npos);
  write(file, std::string(40, '"'));  // not a Z85 digit
  CHECK(error().code == Code::bad_input);
  write(file, pair->public_key + "\n" + pair->public_key + "\n");
  CHECK(error().code == Code::bad_input);
  write(file, "# a comment\n" + pair->public_key + "\r\n");
  CHECK(read_secret(file));
  ::chmod(file.c_str(), 0640);
  CHECK(error().code == Code::denied);
  CHECK(error().text.find("chmod 600") != std::string::npos);
  // systemd's folder of credentials: group bits are the mask of an access list there
  ::setenv("CREDENTIALS_DIRECTORY", file.parent_path().c_str(), 1);
  CHECK(read_secret(file));
  ::chmod(file.c_str(), 0644);
  CHECK(error().code == Code::denied);
  ::unsetenv("CREDENTIALS_DIRECTORY");
  fs::remove(file);
  fs::create_directory(file);
  CHECK(error().text.find("regular file") != std::string::npos);
}

TEST_CASE("keys: the allow-list is a directory of NAME.pub, one key per name") {
  const test::TempFolder folder;
  CHECK(read_allow_list(folder.path())->empty());
  const auto a = write_keys(folder.path(), "a", false), b = write_keys(folder.path(), "b", false);
  REQUIRE((a && b));
  write(folder / "README", "not a key");
  const auto agents = read_allow_list(folder.path());
  REQUIRE(agents);
  CHECK(agents->size() == 2);
  CHECK(agents->at(a->public_key) == "a");
  CHECK(agents->at(b->public_key) == "b");

  fs::copy(folder / "a.pub", folder / "c.pub");
  const auto twice = read_allow_list(folder.path());
  REQUIRE_FALSE(twice);
  CHECK(twice.error().text.find("one key is one agent") != std::string::npos);
  CHECK_FALSE(read_allow_list(folder / "nowhere"));
}

TEST_CASE("keys: plaintext needs ipc:// or an explicit insecure") {
  const test::TempFolder folder;
  REQUIRE(write_keys(folder.path(), "bsd", false));
  const fs::path none, key = folder / "bsd.key", pub = folder / "bsd.pub";
  CHECK_FALSE(server_keys("tcp://*:1", false, none, folder.path()));
  CHECK_FALSE(server_keys("tcp://*:1", true, none, none)->has_value());
  CHECK_FALSE(server_keys("ipc:///x", false, none, none)->has_value());
  CHECK(server_keys("ipc:///x", false, key, folder.path())->has_value());
  CHECK(server_keys("tcp://*:1", false, key, folder.path())->has_value());
  CHECK_FALSE(client_keys("tcp://h:1", false, none, pub));
  CHECK_FALSE(client_keys("tcp://h:1", false, key, none));
  CHECK(client_keys("tcp://h:1", false, key, pub)->has_value());
  CHECK_FALSE(client_keys("tcp://h:1", true, key, pub)->has_value());
}
