#pragma once
// The network namespaces of an emulated cell, as `ip netns` knows them: files below /run/netns.
// Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN).

#include <string>
#include <string_view>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace wdmoe::airlink {

constexpr std::string_view kBaseStation = "bs";

/// "wdmoe.CELL.END".  Cells and ends have no dot in their names.
std::string namespace_name(std::string_view cell, std::string_view end);
std::string namespace_path(const std::string& name);

/// errno as an error about `what`; a denial says what it takes.
tl::unexpected<Error> refused(const std::string& what);

/// A cell's namespaces, gone with this object.  While it lives, a lock below /run/wdmoe-airlink
/// says so; namespaces without a locked cell are what a killed emulator left, and are removed when
/// the next one starts.
class Namespaces {
 public:
  /// Removes leftovers of every dead cell, then makes `names`.
  /// Errors: denied (not permitted), busy (that cell runs), io.
  static Result<Namespaces> make(const std::string& cell, const std::vector<std::string>& names);
  /// Only the first part; how many were removed.
  static Result<std::size_t> remove_dead();

  Namespaces(Namespaces&&) noexcept = default;
  Namespaces& operator=(Namespaces&&) = delete;
  ~Namespaces();

 private:
  explicit Namespaces(OwnedFd lock) : lock_(std::move(lock)) {}
  OwnedFd lock_;
  std::vector<std::string> names_;
};

/// Lets this thread be in another network namespace until the end of the scope.
class Visit {
 public:
  /// An empty name stays where it is.
  static Result<Visit> to(const std::string& name);
  Visit(Visit&&) noexcept = default;
  Visit& operator=(Visit&&) = delete;
  ~Visit();

 private:
  explicit Visit(OwnedFd home) : home_(std::move(home)) {}
  OwnedFd home_;
};

}  // namespace wdmoe::airlink
