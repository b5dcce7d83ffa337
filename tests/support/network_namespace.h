#pragma once
// A test program in network namespaces of its own: `near`, where it lives, and `far`, joined by a
// pair of interfaces near0 (10.8.0.1) and far0 (10.8.0.2, .10, .11 …).

#include <optional>
#include <string>
#include <vector>

#include "common/fd.h"

namespace wdmoe::test {

/// Leaves the namespaces of the machine, for a new one that has a loopback only.  False, with
/// errno set, where that is not permitted.  Call before any thread is started.
bool enter_network_namespace();

/// Runs a command of iproute2, as in a shell; throws with its line if it fails.
void run(const std::string& command);

/// What a command prints.
std::string output_of(const std::string& command);

class Pair {
 public:
  Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair();  ///< removes the interfaces

  /// From here on this thread is at the far end, or back.
  void go_far() const;
  void go_near() const;

  static constexpr const char* kNear = "near0";
  static std::string far_address(int number) { return "10.8.0." + std::to_string(10 + number); }

 private:
  OwnedFd near_, far_;
};

/// A TCP flow from near to far that has as much to send as can be sent.
struct Flow {
  int number = 0;                    ///< it goes to far_address(number)
  std::optional<unsigned> priority;  ///< SO_PRIORITY of the sender
  double seconds = 2;
  // what it reports
  double received_bps = 0;  ///< payload, from a quarter of the time on
};

/// Runs flows at the same time until each is over.
void send_together(const Pair& pair, std::vector<Flow>& flows);

}  // namespace wdmoe::test
