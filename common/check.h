#pragma once
// WDMOE_CHECK: an invariant of ours.  Always compiled in; aborts with file, line and the condition.
// Never on anything that a peer, a user or a file can cause: those are Result errors.

namespace wdmoe::detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition);
}  // namespace wdmoe::detail

#define WDMOE_CHECK(condition)                                                       \
  do {                                                                               \
    if (!(condition)) ::wdmoe::detail::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
