#pragma once
// One layer's selection problem, prepared once and shared by every rule: the experts of each row in
// the gate's order (Ranks), what devices cost and carry (Loads), and both together (Problem).
// Buffers are kept between calls, so that a policy does not allocate on the token's path.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

/// Rules work on rows of at most this many choices (no known model has more than 22); beyond it
/// every policy is plain top-k.
constexpr std::size_t kMaxTopK = 32;
/// How many experts beyond the top k may stand in for one of them, and the most ranks in all (the
/// width of the bit sets of descent.cpp and exhaustive.cpp).
constexpr std::size_t kSubstitutes = 8;
constexpr std::size_t kMaxRanks = 64;

struct Ranked {
  float probability;
  std::uint16_t expert;
};

/// The selectable experts (somebody holds them) of every row, most probable first; of equals the
/// lower number, as plain top-k has it.  NaN and negative probabilities count as 0.
class Ranks {
 public:
  void build(const SelectionInput& input);

  std::size_t rows() const { return rows_; }
  std::size_t width() const { return width_; }  ///< per row: min(held, max(2 k, k + 8), 64)
  const Ranked* row(std::size_t row) const { return ranked_.data() + row * width_; }
  /// Sum of the top-k probabilities over all experts, held or not: what kept mass is relative to.
  double top_mass(std::size_t row) const { return top_mass_[row]; }

 private:
  void rank_row(const float* probability, std::size_t row, std::size_t top_k);

  std::size_t rows_ = 0, width_ = 0, all_experts_ = 0;
  bool all_held_ = false;
  std::vector<std::uint16_t> held_;  // experts with a holder
  std::vector<std::uint64_t> keys_;  // scratch of one row
  std::vector<Ranked> ranked_;       // [rows, width]
  std::vector<double> top_mass_;     // [rows]
};

/// Cleaned costs of the devices and what they carry; see Latencies for the equations.
class Loads {
 public:
  /// Takes the costs from `input`; every device idle.
  void reset(const SelectionInput& input);
  void clear();  ///< every device idle again

  std::size_t devices() const { return busy_.size(); }
  bool priced() const { return priced_; }  ///< false: nothing is known, every latency is 0
  double busy(std::size_t device) const { return busy_[device]; }
  double airtime() const { return airtime_; }
  /// T: the busiest device or the shared medium, whichever is later.
  double latency() const;
  std::size_t busiest() const;  ///< the first of equals

  /// How much later `device` is done with one more choice; `has_row`: the row goes there anyway.
  double to_add(std::size_t device, std::size_t expert, bool has_row) const {
    double seconds = per_choice(device, expert);
    if (!has_row) seconds += per_row_[device] + (rows_[device] == 0 ? fixed_[device] : 0.0);
    return seconds;
  }
  double per_choice(std::size_t device, std::size_t expert) const {
    return per_choice_.empty() ? 0.0 : per_choice_[device * experts_ + expert];
  }
  /// What the device saves when one row stays away, apart from its choices.
  double to_lose_row(std::size_t device) const {
    return per_row_[device] + (rows_[device] == 1 ? fixed_[device] : 0.0);
  }
  bool has_medium() const { return has_medium_; }
  double airtime_of(std::size_t device) const { return airtime_of_[device]; }
  /// fixed + per_row + mean of per_choice over the experts held: t_k of [wdmoe] for one row.
  double seconds_of_one(std::size_t device, const Holders& holders) const;

  void add(std::size_t device, std::size_t expert, bool has_row);
  void remove(std::size_t device, std::size_t expert, bool keeps_row);

  /// What add() to `device` changes; undo() puts it back to the last bit.
  struct Mark {
    double busy, airtime;
    std::uint32_t rows;
  };
  Mark mark(std::size_t device) const { return {busy_[device], airtime_, rows_[device]}; }
  void undo(std::size_t device, const Mark& mark) {
    busy_[device] = mark.busy;
    airtime_ = mark.airtime;
    rows_[device] = mark.rows;
  }

 private:
  std::size_t experts_ = 0;
  bool priced_ = false, has_medium_ = false;
  std::vector<double> fixed_, per_row_, airtime_of_, per_choice_;  // clean copies
  std::vector<double> busy_;                                       // [devices]
  std::vector<std::uint32_t> rows_;                                // [devices] distinct rows
  double airtime_ = 0;
};

struct Problem {
  const SelectionInput* input = nullptr;
  Ranks ranks;
  Loads loads;

  void prepare(const SelectionInput& in);
  /// Nobody holds anything, or top_k is beyond kMaxTopK: only plain top-k can answer.
  bool trivial() const { return ranks.width() == 0 || input->top_k > kMaxTopK; }
  /// Least share of gate mass that `row` must keep; 0: no demand of its own.
  double floor_of(std::size_t row) const;
};

/// Slack of every comparison of kept mass: sums of rounded shares differ by about 1e-15 a row.
constexpr double kMassSlack = 1e-9;

}  // namespace wdmoe::bsd
