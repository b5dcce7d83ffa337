#pragma once
// The kernel's side of every agent's connection: what TCP knows of the path, and the class its
// packets get from the interface's queue discipline.  Over ipc:// there is none, and nothing is
// known.  Engine thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bsd/radio/link_state.h"
#include "common/clock.h"
#include "wire/connection.h"
#include "wire/messages.h"

namespace wdmoe::bsd {

/// As the estimator takes them: the base station's view of the downlink, an agent's of the uplink.
radio::TcpSample tcp_sample(const wire::TcpInfo& info, BitsPerSecond pacing, Instant now);
radio::TcpSample tcp_sample(const wire::Uplink& report, Instant now);

class Connections {
 public:
  /// The SO_PRIORITY of the agent with this number in the roster; empty: left alone.
  using PriorityOf = std::function<std::uint32_t(std::size_t device)>;
  /// Between two samples of one connection: a controller looks every 20 ms.
  static constexpr milliseconds kSampleEvery{10};

  explicit Connections(PriorityOf priority_of) : priority_of_(std::move(priority_of)) {}

  enum class Found { same, fresh, denied };
  /// A frame of `device` came over `source`.  fresh: over another connection than the last, which
  /// now has its priority; denied: the kernel refused that (CAP_NET_ADMIN).
  Found heard(std::size_t device, const wire::Source& source);

  /// Numeric address of the agent's end, without port; empty: none, or not heard of.
  std::string address(std::size_t device) const;
  std::uint32_t priority(std::size_t device) const;  ///< read back; 0: none
  /// None: no TCP connection, gone, or a sample was taken less than kSampleEvery ago.
  std::optional<radio::TcpSample> sample(std::size_t device, Instant now);

 private:
  struct End {
    wire::Source source;  // the last
    std::optional<wire::Connection> connection;
    Instant next_sample{};
  };
  PriorityOf priority_of_;
  std::vector<End> ends_;  // [devices]
};

}  // namespace wdmoe::bsd
