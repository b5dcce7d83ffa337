#include "weights/file.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "tests/weights/files.h"
#include "weights/sha256.h"

using namespace wdmoe;
using namespace wdmoe::weights;
using namespace wdmoe::weights::test;

TEST_CASE("AtomicFile: appears whole at commit, and not at all without") {
  const TempFolder folder;
  put(folder / "f", "old");
  {
    auto file = AtomicFile::create(folder / "f");
    REQUIRE(file);
    REQUIRE(file->write(bytes_of_text("new")));
    CHECK(get(folder / "f") == "old");
  }
  CHECK(get(folder / "f") == "old");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  auto file = AtomicFile::create(folder / "f");
  REQUIRE(file->write(bytes_of_text("new")));
  AtomicFile moved = std::move(*file);
  REQUIRE(moved.commit());
  CHECK(get(folder / "f") == "new");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("read_text: is bounded, and errors name the file") {
  const TempFolder folder;
  put(folder / "f", "12345");
  CHECK(*read_text(folder / "f", 5) == "12345");
  CHECK(read_text(folder / "f", 4).error().code == Code::limit);
  CHECK(mentions(read_text(folder / "g", 4).error(), "g"));
  CHECK(mentions(read_text(folder.path(), 4).error(), "regular file"));
}

TEST_CASE("prepare_output and check_space: say what is in the way") {
  const TempFolder folder;
  CHECK(prepare_output(folder / "new", false));
  put(folder / "new" / "f", "");
  CHECK(mentions(prepare_output(folder / "new", false).error(), "--force"));
  CHECK(prepare_output(folder / "new", true));
  CHECK(mentions(prepare_output(folder / "new" / "f", false).error(), "f"));
  CHECK(check_space(folder / "not" / "yet", 1));
  CHECK(check_space(folder / "not" / "yet", std::uint64_t{1} << 62).error().code == Code::limit);
}

TEST_CASE("sha256: published vectors") {  // FIPS 180-4 examples
  Sha256 empty;
  CHECK(empty.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.add("a");
  abc.add(bytes_of_text("bc"));
  CHECK(abc.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("FileBytes: forgotten pages read the same again, mapped or staged") {
  const TempFolder folder;
  std::string text(3 * 65'536 + 17, 'a');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
  put(folder / "f", text);
  for (const Access access : {Access::mapped, Access::staged}) {
    const auto file = FileBytes::open(folder / "f", access);
    REQUIRE(file);
    const Bytes bytes = file->bytes();
    const auto same = [&] {
      return std::equal(bytes.begin(), bytes.end(), bytes_of_text(text).begin());
    };
    CHECK(same());
    file->forget(bytes.subspan(5, 100'000));
    file->forget(bytes.subspan(7, 3));
    file->forget({});
    CHECK(same());
  }
}
