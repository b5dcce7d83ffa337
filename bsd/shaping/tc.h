#pragma once
// The tc actuator: HTB on the base station's interface (classes.h shows the tree), so that every
// agent is sent what it was granted, and what is free is lent.  Uplinks are not its matter.
// Lives on the io thread.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "bsd/shaping/actuator.h"
#include "bsd/shaping/ownership.h"
#include "bsd/shaping/route.h"
#include "bsd/shaping/tc_messages.h"
#include "bsd/shaping/tc_tree.h"

namespace wdmoe::shaping {

struct TcOptions {
  std::string interface;                  ///< that carries the agents' traffic
  std::filesystem::path state_directory;  ///< for the ownership record
};

class Tc final : public Actuator {
 public:
  /// Claims the interface and removes what a killed wdmoe left on it; shapes nothing yet.
  /// not_found: no such interface; denied: no CAP_NET_ADMIN; busy: another wdmoe shapes it, or
  /// somebody else's queueing discipline is its root, which is never touched.
  static Result<std::unique_ptr<Tc>> open(const TcOptions& options);
  ~Tc() override { (void)restore(); }
  Tc(const Tc&) = delete;
  Tc& operator=(const Tc&) = delete;

  std::string_view name() const override { return "tc"; }
  Result<void> apply(const Plan& plan) override;
  Result<void> observe(std::vector<Observed>& out) override;
  Health health() const override;
  Result<void> restore() override;

 private:
  struct Agent {
    std::size_t slot = 0;
    bool ipv6 = false;
  };

  Tc(RouteSocket socket, Interface interface, Records records, Claim claim)
      : socket_(std::move(socket)),
        interface_(std::move(interface)),
        records_(std::move(records)),
        claim_(std::move(claim)) {}
  Result<void> install();
  Leaf best_leaf();
  Result<void> move_to(const Tree& wanted);

  RouteSocket socket_;
  Interface interface_;
  Records records_;
  Claim claim_;
  Leaf leaf_ = Leaf::fq_codel;
  bool touched_ = false;  // something of ours, or its record, may be there
  Tree installed_;        // empty: nothing of ours is on the interface
  std::unordered_map<std::uint32_t, Agent> agents_;  // by minor
  std::string fault_;                                // why it has no effect
};

/// Removes what a killed wdmoe left on an interface, and its record.  Returns what it did, one
/// line, or nothing if there was nothing to do.  Never touches what is not ours; busy while the
/// wdmoe that shapes it runs.
Result<std::optional<std::string>> reset_tc(const std::string& interface, const Records& records);

}  // namespace wdmoe::shaping
