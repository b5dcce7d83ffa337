#pragma once
// The search inside `minmax`: from the gate's own choice downwards, one move at a time, each the
// cheapest way (in weight error per second) to relieve whatever the layer waits for.

#include <array>
#include <cstdint>
#include <vector>

#include "bsd/moe/draft.h"
#include "bsd/moe/visit_queue.h"
#include "bsd/moe/weight_error.h"

namespace wdmoe::bsd {

class Descent {
 public:
  /// Lowers the latency of `draft` until nothing helps or the next move would leave the rows with
  /// less than `quality` kept gate mass on average (or one with less than its floor).  `loads`
  /// carries the draft on entry and on return.
  ///
  /// The moves and their order do not depend on `quality`: a lower one only walks further along
  /// the same path, on which latency never rises.  Hence monotone by construction.
  void run(const Problem& problem, double quality, Draft& draft, Loads& loads);

 private:
  /// Row `row` leaves a device: the slots in `leaving` go, `arrivals` come in their place.
  struct Plan {
    double loss = 0;   // kept share of the row given up; negative: gained
    double harm = 0;   // growth of the row's weight error; negative: it shrinks
    double saved = 0;  // s of the bottleneck, > 0
    double air = 0;    // s of airtime added, negative: freed
    std::uint64_t leaving = 0;
    std::size_t arrivals = 0;
    std::array<Pick, kMaxTopK> arrival;
  };
  struct Change {
    std::uint32_t row;
    Pick pick;
    bool added;
  };

  void set_up(const Problem& problem, Draft& draft, Loads& loads);
  bool step(std::size_t busiest, double latency, double least_mass);
  bool cheapest_exit(VisitQueue& queue, double latency, std::uint32_t& row, Plan& best);
  void order(VisitQueue& queue);
  float guess_price(std::uint32_t row, std::uint16_t device) const;
  double error_of(std::size_t row, const RowWeights& weights) const {
    return weights.error(problem_->ranks, row);
  }
  bool plan_exit(std::size_t row, std::size_t device, double latency, Plan& best);
  bool plan_leaving(std::size_t row, std::size_t device, std::uint64_t leaving, double latency,
                    Plan& plan) const;
  bool place(std::size_t row, double latency, std::uint64_t candidates, std::size_t from,
             Plan& plan) const;
  bool place_cheaply(std::size_t row, double latency, std::uint64_t candidates, std::size_t from,
                     double error, const RowWeights& weights, Plan& plan) const;
  bool air_fits(double more, double latency) const;
  double done_with(std::size_t row, std::uint16_t device, std::uint16_t expert, const Plan& plan,
                   bool& has_row) const;
  void apply(std::uint32_t row, const Plan& plan);
  void change(std::uint32_t row, Pick pick, bool add);
  void undo_to(std::size_t mark);
  std::uint8_t& flag_of(const VisitQueue& queue, std::uint32_t row, std::uint16_t device);
  void queue_visit(std::uint32_t row, std::uint16_t device);
  void enter(VisitQueue& queue, std::uint32_t row, std::uint16_t device);
  void edit(std::uint32_t row, Pick pick, bool add);

  const Problem* problem_ = nullptr;
  Draft* draft_ = nullptr;
  Loads* loads_ = nullptr;
  bool medium_ = false;               // the bottleneck is the shared medium, not a device
  double mass_ = 0;                   // sum of kept shares
  std::size_t looks_ = 0;             // exits priced so far; bounds the work
  std::uint64_t room_ = 0;            // devices that could take a row below the current latency
  std::vector<VisitQueue> queues_;    // [devices + 1], the medium last
  std::vector<std::uint8_t> queued_;  // [2, devices, rows] has an entry: at its device, the medium
  std::vector<std::uint64_t> used_;   // [rows] ranks that the row uses
  Plan single_;
  std::vector<Change> changes_;  // since the start, to undo the last that did not pay
};

}  // namespace wdmoe::bsd
