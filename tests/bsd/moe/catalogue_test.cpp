#include "bsd/moe/catalogue.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>

using namespace wdmoe;
using namespace wdmoe::bsd;

TEST_CASE("catalogue: makes every policy it lists, each under its own name") {
  for (const PolicyEntry& entry : policies()) {
    CAPTURE(entry.name);
    const auto policy = make_policy(entry.name);
    REQUIRE(policy.has_value());
    CHECK((*policy)->name() == entry.name);
    CHECK(entry.help.find('\n') == std::string_view::npos);
  }
}

TEST_CASE("catalogue: an unknown name is answered with the known ones") {
  const auto policy = make_policy("fastest");
  REQUIRE_FALSE(policy.has_value());
  CHECK(policy.error().code == Code::not_found);
  CHECK(policy.error().text.find("'fastest'") != std::string::npos);
  for (const PolicyEntry& entry : policies()) {
    CHECK(policy.error().text.find(entry.name) != std::string::npos);
  }
  CHECK_FALSE(make_policy(std::string(1'000'000, 'x')).has_value());
  CHECK(make_policy(std::string(1'000'000, 'x')).error().text.size() < 300);
}

TEST_CASE("catalogue: options out of range are refused by name") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double quality : {1.5, nan}) {
    const auto policy = make_policy("minmax", {quality, 0.3});
    REQUIRE_FALSE(policy.has_value());
    CHECK(policy.error().text.find("quality") != std::string::npos);
  }
  for (const double beta : {-0.1, 1.1, nan}) {
    const auto policy = make_policy("beta", {-1, beta});
    REQUIRE_FALSE(policy.has_value());
    CHECK(policy.error().text.find("beta") != std::string::npos);
  }
  for (const double theta : {1.1, nan}) {
    const auto policy = make_policy("wlr", {-1, 0.3, theta});
    REQUIRE_FALSE(policy.has_value());
    CHECK(policy.error().text.find("theta") != std::string::npos);
  }
}
