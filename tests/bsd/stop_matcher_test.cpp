#include "bsd/stop_matcher.h"

#include <optional>
#include <random>

#include <doctest/doctest.h>

using namespace wdmoe::bsd;

namespace {

/// What the definition says, letter by letter: the text before the stop string that is complete
/// first.
std::optional<std::string> cut(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& stop : stops)
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0)
        longest = std::max(longest, stop.size());
    if (longest > 0) return text.substr(0, end - longest);
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("stop matcher: gives what lies before the stop string, however the text is cut") {
  std::mt19937 random(17);
  for (int round = 0; round < 20'000; ++round) {
    const auto random_text = [&](std::size_t length) {
      std::string text;
      for (std::size_t i = 0; i < length; ++i) text += static_cast<char>('a' + random() % 2);
      return text;
    };
    std::vector<std::string> stops;
    for (std::size_t i = random() % 3; i > 0; --i) stops.push_back(random_text(1 + random() % 6));
    const std::string text = random_text(random() % 30);
    StopMatcher matcher(stops);
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 4, text.size() - at);
      matcher.push(text.substr(at, size), out);
      at += size;
      // Never a part of a stop string: what is out is a beginning of the final answer.
      REQUIRE(cut(text, stops).value_or(text).substr(0, out.size()) == out);
    }
    REQUIRE(matcher.matched() == cut(text, stops).has_value());
    if (!matcher.matched()) matcher.finish(out);
    REQUIRE(out == cut(text, stops).value_or(text));
  }
}

TEST_CASE("stop matcher: tells what would match without taking it") {
  StopMatcher matcher({"end"});
  std::string out;
  matcher.push("the e", out);
  CHECK(out == "the ");
  CHECK(matcher.would_match("nd"));
  CHECK_FALSE(matcher.would_match("n"));
  CHECK_FALSE(matcher.would_match(""));
  matcher.push("xtent", out);
  CHECK(out == "the extent");
  CHECK_FALSE(matcher.would_match("nd"));
}

TEST_CASE("stop matcher: text that cannot begin a stop string is not held back") {
  StopMatcher matcher({"\nUser:", "###"});
  std::string out;
  matcher.push("Hello", out);
  CHECK(out == "Hello");
  matcher.push(" you\n", out);
  CHECK(out == "Hello you");
  matcher.push("Us", out);
  CHECK(out == "Hello you");
  matcher.push("e it #", out);
  CHECK(out == "Hello you\nUse it ");
  matcher.push("## and more", out);
  CHECK(matcher.matched());
  matcher.push("nothing", out);
  CHECK(out == "Hello you\nUse it ");
}
