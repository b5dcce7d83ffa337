#pragma once
// Who may connect: answers libzmq's ZAP requests (RFC 27) with the allow-list of agent keys.  The
// answer's User-Id is the agent's name and comes back with every message of that connection.

#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"
#include "common/span.h"
#include "wire/keys.h"
#include "wire/socket.h"

namespace wdmoe::wire {

constexpr const char* kZapDomain = "wdmoe";  // must not be empty, or libzmq skips ZAP

/// The name that holds `raw_key` (32 bytes); empty: nobody.
std::string find_agent(const AllowList& agents, Bytes raw_key);

class Zap {
 public:
  /// One per Context: the address is fixed by the RFC.
  static Result<std::unique_ptr<Zap>> open(const Context& context, AllowList agents);

  void serve();  ///< answers everything that waits; never blocks
  std::uint64_t refused() const { return refused_; }
  void* handle() const { return reply_.handle(); }

 private:
  Zap(Socket reply, AllowList agents) : reply_(std::move(reply)), agents_(std::move(agents)) {}
  Socket reply_;
  AllowList agents_;
  std::uint64_t refused_ = 0;
};

}  // namespace wdmoe::wire
