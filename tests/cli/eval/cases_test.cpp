#include "cli/eval/cases.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace wdmoe;
using namespace wdmoe::cli::eval;

namespace {

std::string text(const std::vector<Case>& cases) {
  std::string all;
  for (const Case& c : cases)
    all += fmt::format("{}/{}{} ", c.policy, c.allocator,
                       c.quality ? fmt::format("/{:.2f}", *c.quality) : "");
  return all;
}

}  // namespace

TEST_CASE("cases_of: vanilla first, knobs only where they steer, nothing twice") {
  using Names = std::vector<std::string>;
  using Numbers = std::vector<double>;
  CHECK(text(*cases_of(Names{"minmax", "wlr"}, Names{}, Numbers{0.9, 0.8})) ==
        "topk/ minmax//0.90 minmax//0.80 wlr/ ");
  CHECK(text(*cases_of(Names{"topk", "budget"}, Names{"equal", "exact"}, Numbers{})) ==
        "topk/equal topk/exact budget/equal budget/exact ");
  CHECK(text(*cases_of(Names{"wlr", "wlr"}, Names{"exact"}, Numbers{})) == "topk/equal wlr/exact ");
  CHECK(cases_of(Names{"best"}, Names{}, Numbers{}).error().text.find("wlr") != std::string::npos);
  CHECK(cases_of(Names{"topk"}, Names{"fair"}, Numbers{}).error().code == Code::not_found);
  CHECK(cases_of(Names{"topk"}, Names{}, Numbers{1.5}).error().code == Code::bad_input);
}

TEST_CASE("check_quality_is_read: a knob that no policy has is refused by its name") {
  const auto unread = check_quality_is_read(std::vector<Case>{{"topk", "", {}, {}}, {}}, "--knob");
  REQUIRE_FALSE(unread.has_value());
  CHECK(unread.error().code == Code::bad_input);
  CHECK(unread.error().text.find("--knob: no chosen policy reads it") == 0);
  for (const char* policy : {"budget", "minmax"})
    CHECK(check_quality_is_read(std::vector<Case>{{"topk", "", {}, {}}, {policy, "", {}, {}}}, ""));
}
