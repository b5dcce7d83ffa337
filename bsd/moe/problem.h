#pragma once
// One layer's selection problem, prepared once and shared by every rule: the experts of each row in
// the gate's order (Ranks), what devices cost and carry (Loads), and both together (Problem).
// Buffers are kept between calls, so that a policy does not allocate on the token's path.

#include <algorithm>
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

constexpr std::uint64_t bit(std::size_t index) {
  return std::uint64_t{1} << (index & 63);
}
/// The bit of a device in a HolderTable mask.  Devices beyond 63 share one set of all ones: the
/// masks then promise more than there is, and only the exact check behind them decides.
constexpr std::uint64_t device_bit(std::size_t device) {
  return device < 64 ? bit(device) : ~std::uint64_t{0};
}

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
  /// Sum of their squares.
  double top_squares(std::size_t row) const { return top_squares_[row]; }
  /// How many of the row's ranks belong to the gate's own top-k: its first ones.
  std::size_t own(std::size_t row) const { return own_[row]; }

 private:
  void rank_row(const float* probability, std::size_t row, std::size_t top_k);

  std::size_t rows_ = 0, width_ = 0, all_experts_ = 0;
  bool all_held_ = false;
  std::vector<std::uint16_t> held_;  // experts with a holder
  std::vector<std::uint64_t> keys_;  // scratch of one row
  std::vector<Ranked> ranked_;       // [rows, width]
  std::vector<double> top_mass_;     // [rows]
  std::vector<double> top_squares_;  // [rows]
  std::vector<std::uint16_t> own_;   // [rows]
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
  /// Devices that could take one more row, cost of the choice aside, and be done before `latency`
  /// (or at it, with `inclusive`); as bits of a HolderTable mask.
  std::uint64_t with_room(double latency, bool inclusive) const {
    std::uint64_t room = 0;
    for (std::size_t device = 0; device < busy_.size(); ++device) {
      const double done =
          busy_[device] + per_row_[device] + (rows_[device] == 0 ? fixed_[device] : 0);
      if (done < latency || (inclusive && done == latency)) room |= device_bit(device);
    }
    return room;
  }
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
  /// What the device saves when one of its rows (at least one) stays away, apart from its choices:
  /// of the fixed part a row's share, so that all rows together save the whole of it.  A device
  /// that costs little more than its round trip is left by all rows or by none, and no first one
  /// would go.
  double to_lose_row(std::size_t device) const {
    return per_row_[device] + fixed_[device] / rows_[device];
  }
  bool has_medium() const { return has_medium_; }
  /// How much longer the medium is busy with one more choice; `has_row`: the row goes there anyway.
  double air_to_add(std::size_t device, bool has_row) const {
    double seconds = air_per_choice_[device];
    if (!has_row) seconds += airtime_of_[device] + (rows_[device] == 0 ? air_fixed_[device] : 0.0);
    return seconds;
  }
  /// What the medium saves when so many choices of one row leave `device`.
  double air_to_lose(std::size_t device, double choices, bool keeps_row) const {
    double seconds = air_per_choice_[device] * choices;
    if (!keeps_row) {
      seconds += airtime_of_[device] + (rows_[device] == 1 ? air_fixed_[device] : 0.0);
    }
    return seconds;
  }
  /// fixed + per_row + mean of per_choice over the experts held: t_k of [wdmoe] for one row.
  double seconds_of_one(std::size_t device, const Holders& holders) const;

  void add(std::size_t device, std::size_t expert, bool has_row) {
    busy_[device] += to_add(device, expert, has_row);
    airtime_ += air_to_add(device, has_row);
    rows_[device] += has_row ? 0 : 1;
  }
  void remove(std::size_t device, std::size_t expert, bool keeps_row) {
    busy_[device] -= per_choice(device, expert);
    airtime_ = std::max(0.0, airtime_ - air_to_lose(device, 1, keeps_row));
    if (keeps_row) return;
    busy_[device] -= per_row_[device];
    if (--rows_[device] == 0) busy_[device] = 0;  // exactly: no rounding is left behind
  }

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
  std::vector<double> fixed_, per_row_, per_choice_;             // clean copies
  std::vector<double> airtime_of_, air_per_choice_, air_fixed_;  // likewise
  std::vector<double> busy_;                                     // [devices]
  std::vector<std::uint32_t> rows_;                              // [devices] distinct rows
  double airtime_ = 0;
};

/// Holders of a layer in one piece of memory: what the searches read most.
class HolderTable {
 public:
  struct Range {
    const std::uint16_t* first;
    const std::uint16_t* last;
    const std::uint16_t* begin() const { return first; }
    const std::uint16_t* end() const { return last; }
  };
  void build(const Holders& holders);
  /// The holders as a bit set, for a quick "can any of these"; all ones for a device beyond 63.
  std::uint64_t mask(std::size_t expert) const { return masks_[expert]; }
  Range of(std::size_t expert) const {
    return {devices_.data() + start_[expert], devices_.data() + start_[expert + 1]};
  }

 private:
  std::vector<std::uint32_t> start_;    // [experts + 1]
  std::vector<std::uint64_t> masks_;    // [experts]
  std::vector<std::uint16_t> devices_;  // of all experts, one after the other
};

struct Problem {
  const SelectionInput* input = nullptr;
  HolderTable holders;
  Ranks ranks;
  Loads loads;

  void prepare(const SelectionInput& in);
  /// The ranks of `row` with a holder among the devices of `reach` (bits as in HolderTable::mask).
  std::uint64_t ranks_within(std::size_t row, std::uint64_t reach) const {
    const Ranked* const ranked = ranks.row(row);
    std::uint64_t within = 0;
    for (std::size_t rank = 0; rank < ranks.width(); ++rank) {
      within |= std::uint64_t{(holders.mask(ranked[rank].expert) & reach) != 0} << rank;
    }
    return within;
  }
  /// Nobody holds anything, or top_k is beyond kMaxTopK: only plain top-k can answer.
  bool trivial() const { return ranks.width() == 0 || input->top_k > kMaxTopK; }
  /// Least share of gate mass that `row` must keep; 0: no demand of its own.
  double floor_of(std::size_t row) const;
};

/// Slack of every comparison of kept mass: sums of rounded shares differ by about 1e-15 a row.
constexpr double kMassSlack = 1e-9;

}  // namespace wdmoe::bsd
