#include "bsd/shaping/ownership.h"

#include <fstream>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd/shaping/route.h"
#include "tests/support/temp_folder.h"

using namespace wdmoe;
using namespace wdmoe::shaping;

TEST_CASE("records: what was written is read, listed and erased") {
  const test::TempFolder folder;
  const Records records(folder / "state");
  CHECK_FALSE(*records.read("tc", "eth0"));
  CHECK(records.all("tc")->empty());
  REQUIRE(records.write({"tc", "eth1", {{"root", "mq"}}}));
  REQUIRE(records.write({"tc", "eth0", {{"root", "noqueue"}}}));
  REQUIRE(records.write({"wifi", "wlan0", {}}));
  const auto read = records.read("tc", "eth0");
  REQUIRE((read && *read));
  CHECK((*read)->before.at("root") == "noqueue");
  const auto all = records.all("tc");
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK(all->at(0).interface == "eth0");
  CHECK(records.erase("tc", "eth0"));
  CHECK(records.erase("tc", "eth0"));  // again: nothing to do
  CHECK(records.all("tc")->size() == 1);
}

TEST_CASE("records: a damaged file is an error with its name, never a crash") {
  const test::TempFolder folder;
  const Records records(folder.path());
  REQUIRE(records.write({"tc", "eth0", {{"root", "mq"}}}));
  std::ifstream in(folder / "tc-eth0.json");
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  for (const std::string& text :
       {std::string(), good.substr(0, good.size() / 2), std::string("[]"), std::string("{}"),
        std::string(R"({"version": 2, "actuator": "tc", "interface": "eth0", "before": {}})"),
        std::string(R"({"version": 1, "actuator": 7, "interface": "eth0", "before": {}})"),
        std::string(R"({"version": 1, "actuator": "tc", "interface": "eth0", "before": {"a": 1}})"),
        std::string(60'000, '['), std::string(100'000, ' ')}) {
    std::ofstream(folder / "tc-eth0.json") << text;
    const auto read = records.read("tc", "eth0");
    REQUIRE_FALSE(read);
    CHECK(read.error().text.find("tc-eth0.json") != std::string::npos);
  }
}

TEST_CASE("claim: one process at a time, and gone with it") {
  const std::string name = "t" + std::to_string(getpid());  // the machine's namespace is shared
  {
    const auto claim = Claim::take("tc", name);
    REQUIRE(claim);
    const auto second = Claim::take("tc", name);
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Code::busy);
    CHECK(Claim::take("wifi", name));
  }
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto claim = Claim::take("tc", name);
    (void)!write(ready[1], claim ? "y" : "n", 1);
    pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  CHECK_FALSE(Claim::take("tc", name));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(Claim::take("tc", name));
}

TEST_CASE("interface names: the kernel's rule") {
  for (const char* good : {"eth0", "wlan0.100", "br-lan", "a", "abcdefghijklmno"})
    CHECK(check_interface_name(good));
  for (const char* bad : {"", ".", "..", "a b", "a/b", "a:b", "a\tb", "abcdefghijklmnop", "\x7f",
                          "wl\xc3\xa4n", "a\nb"})
    CHECK_FALSE(check_interface_name(bad));
}
