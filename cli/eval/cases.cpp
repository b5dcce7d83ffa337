#include "cli/eval/cases.h"

#include <algorithm>

#include "bsd/joint.h"
#include "bsd/moe/catalogue.h"

namespace wdmoe::cli::eval {
namespace {

bool same(const Case& a, const Case& b) {
  return a.policy == b.policy && a.allocator == b.allocator && a.quality == b.quality;
}

Result<void> check(Span<const std::string> policies, Span<const std::string> allocators,
                   Span<const double> qualities) {
  for (const std::string& policy : policies)
    if (auto made = bsd::make_policy(policy); !made) return tl::unexpected<Error>(made.error());
  for (const std::string& allocator : allocators)
    if (auto known = bsd::sharing_from(allocator); !known)
      return tl::unexpected<Error>(known.error());
  for (const double quality : qualities)
    if (!(quality >= 0 && quality <= 1))
      return fail(Code::bad_input, "--quality " + std::to_string(quality) +
                                       ": should be between 0 and 1, the kept gate mass");
  return {};
}

}  // namespace

Result<void> check_quality_is_read(Span<const Case> cases, std::string_view flag) {
  const auto reads = [](const Case& how) { return bsd::reads_quality(how.policy); };
  if (std::any_of(cases.begin(), cases.end(), reads)) return {};
  return fail(Code::bad_input, std::string(flag) +
                                   ": no chosen policy reads it; add --policy budget or minmax, or "
                                   "leave it out");
}

Result<std::vector<Case>> cases_of(Span<const std::string> policies,
                                   Span<const std::string> allocators,
                                   Span<const double> qualities) {
  WDMOE_TRY(check(policies, allocators, qualities));
  std::vector<Case> cases{{"topk", allocators.empty() ? "" : "equal", {}, {}}};
  const auto add = [&cases](Case next) {
    const auto equal = [&next](const Case& known) { return same(known, next); };
    if (std::none_of(cases.begin(), cases.end(), equal)) cases.push_back(std::move(next));
  };
  const std::vector<std::string> no_cell{""};
  for (const std::string& policy : policies)
    for (const std::string& allocator :
         allocators.empty() ? Span<const std::string>(no_cell) : allocators) {
      if (!bsd::reads_quality(policy) || qualities.empty()) {
        add({policy, allocator, {}, {}});
        continue;
      }
      for (const double quality : qualities) add({policy, allocator, quality, {}});
    }
  return cases;
}

}  // namespace wdmoe::cli::eval
