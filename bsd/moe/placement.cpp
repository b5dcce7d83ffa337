#include "bsd/moe/placement.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "bsd/moe/layer_loads.h"
#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr double kLeastGain = 1e-9;  // relative; less is rounding

std::vector<std::size_t> slots_of(const PlacementProblem& problem) {
  std::vector<std::size_t> slots;
  for (const std::uint64_t bytes : problem.memory_bytes) {
    slots.push_back(static_cast<std::size_t>(bytes / problem.expert_bytes));
  }
  return slots;
}

/// Improves a placement step by step; every expert has one holder until copies are added.
class Search {
 public:
  Search(const PlacementProblem& problem, Placement placement)
      : problem_(problem), placement_(std::move(placement)), free_(slots_of(problem)) {
    const auto held = count_held(placement_, free_.size());
    for (std::size_t device = 0; device < free_.size(); ++device) free_[device] -= held[device];
    moves_.resize(problem.layers);
    for (std::size_t layer = 0; layer < problem.layers; ++layer) {
      latency_.push_back(evaluate(layer, placement_[layer]));
    }
  }

  void improve() {
    for (std::size_t layer = 0; layer < problem_.layers; ++layer) {
      limit_ = evaluations_ + kMostEvaluations / 2 / problem_.layers;
      look_at(layer);
    }
    limit_ = kMostEvaluations;
    while (step()) {  // beyond the limit a layer that changed has no moves any more
    }
  }
  void add_copies();
  void drop_idle_copies();
  Placement result() && { return std::move(placement_); }

 private:
  /// An expert of a layer goes to another device.
  struct Move {
    double gain = -kEndless;  // s of the layer's latency; may be a loss
    std::size_t layer = 0, expert = 0, to = 0;
  };
  /// Two experts of a layer change places.
  struct Swap {
    double gain = 0;
    std::size_t first = 0, second = 0;
  };
  struct LayerMoves {
    std::vector<Move> best;  // [devices, devices]: from one to the other
    Swap swap;
  };

  double evaluate(std::size_t layer, const Holders& holders) {
    LayerLoads loads = load_layer(problem_, layer, holders);
    const double latency = loads.waiting();
    evaluations_ += loads.evaluations();
    return latency;
  }
  bool at_limit() const { return evaluations_ >= limit_; }
  void look_at(std::size_t layer);
  bool step();
  void carry_out(const Move& move);
  void refresh(std::size_t layer);
  Move best_copy(std::size_t layer);

  const PlacementProblem& problem_;
  Placement placement_;
  std::vector<std::size_t> free_;  // [devices] slots
  std::vector<double> latency_;    // [layers]
  std::vector<LayerMoves> moves_;  // [layers]
  std::size_t evaluations_ = 0, limit_ = kMostEvaluations;
};

/// Finds what moves and swaps within `layer` would gain, as far as the limit goes.
void Search::look_at(std::size_t layer) {
  const std::size_t devices = free_.size();
  LayerMoves& moves = moves_[layer];
  moves.best.assign(devices * devices, {});
  moves.swap = {};
  Holders trial = placement_[layer];
  for (std::size_t expert = 0; expert < problem_.experts; ++expert) {
    const std::uint16_t from = trial[expert].front();
    for (std::size_t to = 0; to < devices; ++to) {
      Move& best = moves.best[from * devices + to];
      if (to == from) continue;
      if (at_limit()) return;
      trial[expert].front() = static_cast<std::uint16_t>(to);
      // A loss may be worth it: together with a move in another layer that it makes room for.
      const double gain = latency_[layer] - evaluate(layer, trial);
      if (gain > best.gain) best = {gain, layer, expert, to};
    }
    trial[expert].front() = from;
    for (std::size_t other = 0; other < expert; ++other) {
      if (trial[other].front() == from) continue;
      if (at_limit()) return;
      std::swap(trial[other], trial[expert]);
      const double gain = latency_[layer] - evaluate(layer, trial);
      std::swap(trial[other], trial[expert]);
      if (gain > moves.swap.gain) moves.swap = {gain, other, expert};
    }
  }
}

/// Carries out the best single move, swap, or pair of moves of two layers that change places.
bool Search::step() {
  const std::size_t devices = free_.size();
  const Swap* swap = nullptr;
  std::size_t swap_layer = 0;
  double best = kLeastGain * std::accumulate(latency_.begin(), latency_.end(), 0.0);
  std::array<Move, 2> chosen;
  std::size_t count = 0;
  // The two best moves of different layers, for every pair of devices.
  std::vector<std::array<Move, 2>> leaders(devices * devices);
  for (std::size_t layer = 0; layer < problem_.layers; ++layer) {
    for (std::size_t pair = 0; pair < leaders.size(); ++pair) {
      const Move& move = moves_[layer].best[pair];
      auto& [first, second] = leaders[pair];
      if (move.gain > first.gain) {
        second = std::exchange(first, move);
      } else if (move.gain > second.gain) {
        second = move;
      }
    }
    if (moves_[layer].swap.gain <= best) continue;
    swap = &moves_[layer].swap;
    swap_layer = layer;
    best = swap->gain;
  }
  for (std::size_t from = 0; from < devices; ++from) {
    for (std::size_t to = 0; to < devices; ++to) {
      const auto& there = leaders[from * devices + to];
      if (free_[to] > 0 && there[0].gain > best) {
        best = there[0].gain;
        chosen[0] = there[0];
        count = 1;
      }
      for (const Move& one : there) {
        for (const Move& other : leaders[to * devices + from]) {
          if (one.layer == other.layer || !(one.gain + other.gain > best)) continue;
          best = one.gain + other.gain;
          chosen = {one, other};
          count = 2;
        }
      }
    }
  }
  if (count == 0) {
    if (swap == nullptr) return false;
    std::swap(placement_[swap_layer][swap->first], placement_[swap_layer][swap->second]);
    refresh(swap_layer);
    return true;
  }
  for (std::size_t index = 0; index < count; ++index) carry_out(chosen[index]);
  return true;
}

void Search::carry_out(const Move& move) {
  auto& home = placement_[move.layer][move.expert];
  ++free_[home.front()];
  --free_[move.to];  // may wrap until the other half of a pair follows
  home.front() = static_cast<std::uint16_t>(move.to);
  refresh(move.layer);
}

void Search::refresh(std::size_t layer) {
  latency_[layer] = evaluate(layer, placement_[layer]);
  look_at(layer);
}

/// The copy of one of the layer's experts that lowers its latency most, as far as the limit goes.
Search::Move Search::best_copy(std::size_t layer) {
  Move best;
  Holders trial = placement_[layer];
  for (std::size_t expert = 0; expert < problem_.experts; ++expert) {
    const auto before = trial[expert];
    for (std::size_t device = 0; device < free_.size(); ++device) {
      const auto place = std::lower_bound(before.begin(), before.end(), device);
      if (free_[device] == 0 || (place != before.end() && *place == device)) continue;
      if (at_limit()) return best;
      trial[expert] = before;
      trial[expert].insert(trial[expert].begin() + (place - before.begin()),
                           static_cast<std::uint16_t>(device));
      const double gain = latency_[layer] - evaluate(layer, trial);
      if (gain > best.gain) best = {gain, layer, expert, device};
    }
    trial[expert] = before;
  }
  return best;
}

void Search::add_copies() {
  evaluations_ = 0;
  std::vector<Move> copies;
  for (std::size_t layer = 0; layer < problem_.layers; ++layer) {
    limit_ = evaluations_ + kMostCopyEvaluations / 2 / problem_.layers;
    copies.push_back(best_copy(layer));
  }
  limit_ = kMostCopyEvaluations;
  const auto less = [](const Move& a, const Move& b) { return a.gain < b.gain; };
  for (;;) {  // until no copy is known to help
    Move& best = *std::max_element(copies.begin(), copies.end(), less);
    if (!(best.gain > kLeastGain * latency_[best.layer])) return;
    if (free_[best.to] > 0) {
      auto& holders = placement_[best.layer][best.expert];
      const auto device = static_cast<std::uint16_t>(best.to);
      holders.insert(std::lower_bound(holders.begin(), holders.end(), device), device);
      --free_[best.to];
      latency_[best.layer] -= best.gain;
    }
    best = best_copy(best.layer);
  }
}

/// Copies that later ones made useless go again.
void Search::drop_idle_copies() {
  for (std::size_t layer = 0; layer < problem_.layers; ++layer) {
    for (auto& holders : placement_[layer]) {
      for (std::size_t index = holders.size(); index-- > 0 && holders.size() > 1;) {
        const std::uint16_t device = holders[index];
        const auto place = holders.begin() + static_cast<std::ptrdiff_t>(index);
        holders.erase(place);
        const double without = evaluate(layer, placement_[layer]);
        if (without <= latency_[layer] * (1 + kLeastGain)) {
          latency_[layer] = std::min(latency_[layer], without);
        } else {
          holders.insert(holders.begin() + static_cast<std::ptrdiff_t>(index), device);
        }
      }
    }
  }
}

/// Seats one expert after the other, popular ones first, each where its layer then waits least.
Placement seat_by_popularity(const PlacementProblem& problem) {
  struct Seat {
    std::size_t layer, expert;
  };
  std::vector<Seat> order;
  std::vector<LayerLoads> loads;
  for (std::size_t layer = 0; layer < problem.layers; ++layer) {
    loads.emplace_back(problem);
    for (std::size_t expert = 0; expert < problem.experts; ++expert) {
      order.push_back({layer, expert});
    }
  }
  const auto popularity = [&](Seat seat) {
    return problem.popularity.row(seat.layer)[seat.expert];
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const Seat& a, const Seat& b) { return popularity(a) > popularity(b); });
  std::vector<std::size_t> free = slots_of(problem);
  Placement placement(problem.layers, Holders(problem.experts));
  for (const Seat& seat : order) {
    double earliest = kEndless;
    std::size_t best = free.size();
    for (std::size_t device = 0; device < free.size(); ++device) {
      if (free[device] == 0) continue;
      const double latency = loads[seat.layer].waiting_with(device, popularity(seat));
      if (best < free.size() && !(latency < earliest)) continue;
      earliest = latency;
      best = device;
    }
    loads[seat.layer].add(best, popularity(seat));
    placement[seat.layer][seat.expert].push_back(static_cast<std::uint16_t>(best));
    --free[best];
  }
  return placement;
}

}  // namespace

Placement paper_placement(std::size_t layers, std::size_t experts, std::size_t devices) {
  Holders layer(experts);
  for (std::size_t expert = 0; expert < experts; ++expert) {
    layer[expert].push_back(static_cast<std::uint16_t>(expert % devices));
  }
  return Placement(layers, layer);
}

std::vector<std::size_t> count_held(const Placement& placement, std::size_t devices) {
  std::vector<std::size_t> held(devices);
  for (const Holders& layer : placement) {
    for (const auto& of_expert : layer) {
      for (const std::uint16_t device : of_expert) ++held[device];
    }
  }
  return held;
}

bool fits(const PlacementProblem& problem, const Placement& placement) {
  const auto slots = slots_of(problem), held = count_held(placement, slots.size());
  return std::equal(held.begin(), held.end(), slots.begin(), std::less_equal<>());
}

std::vector<ExpectedLoad> expected_loads(const PlacementProblem& problem, std::size_t layer,
                                         const Holders& holders) {
  return load_layer(problem, layer, holders).loads();
}

double predicted_latency(const PlacementProblem& problem, const Placement& placement) {
  double sum = 0;
  for (std::size_t layer = 0; layer < placement.size(); ++layer) {
    sum += load_layer(problem, layer, placement[layer]).waiting();
  }
  return sum;
}

Result<Placement> place_experts(const PlacementProblem& problem, bool replicas) {
  WDMOE_CHECK(problem.popularity.rows == problem.layers);
  WDMOE_CHECK(problem.popularity.cols == problem.experts);
  WDMOE_CHECK(problem.expert_bytes > 0);
  const std::size_t wanted = problem.layers * problem.experts;
  std::size_t seats = 0;
  for (const std::size_t slots : slots_of(problem)) seats += std::min(slots, wanted);
  if (seats < wanted)
    return fail(Code::limit, "the devices hold " + std::to_string(seats) + " experts of " +
                                 std::to_string(problem.expert_bytes) + " bytes, the model has " +
                                 std::to_string(wanted) + ": more memory or more devices");
  Placement start = seat_by_popularity(problem);
  Placement paper = paper_placement(problem.layers, problem.experts, problem.memory_bytes.size());
  if (fits(problem, paper) &&
      predicted_latency(problem, paper) < predicted_latency(problem, start)) {
    start = std::move(paper);
  }
  Search search(problem, std::move(start));
  search.improve();
  if (replicas) {
    search.add_copies();
    search.drop_idle_copies();
  }
  return std::move(search).result();
}

}  // namespace wdmoe::bsd
