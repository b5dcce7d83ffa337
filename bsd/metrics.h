#pragma once
// GET /metrics: what the engine and the agents count, in Prometheus' text format.  Names follow
// Prometheus' practice: base units, _total for counters, labels with few values.

#include <memory>
#include <string>

#include "bsd/air_control.h"
#include "bsd/engine.h"
#include "bsd/fleet/fleet.h"
#include "bsd/moe/ledger.h"
#include "bsd/request.h"

namespace wdmoe::bsd {

/// Callable from any thread.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  /// One finished HTTP request of the completions API.
  void count_request(unsigned http_status);
  void observe_first_token(double seconds);
  void observe_inter_token(double seconds);

  /// The whole page; `policy`: in force now.  `fleet` and `air` are empty when the experts are in
  /// this process.
  std::string text(const EngineStats& engine, const FleetSnapshot* fleet,
                   const LedgerSnapshot& selection, const std::string& policy,
                   const AirReport* air = nullptr) const;

 private:
  struct Instruments;
  std::unique_ptr<Instruments> instruments_;
};

}  // namespace wdmoe::bsd
