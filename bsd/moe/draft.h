#pragma once
// A selection under construction: what every rule edits before it becomes a Selection, and the two
// numbers by which selections are judged, predicted waiting latency and kept gate mass.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bsd/moe/problem.h"
#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

/// One choice of a row.  `rank`: position among the row's selectable experts, best 0.
struct Pick {
  std::uint16_t rank, expert, device;
  float probability;  ///< of the full softmax, not renormalised
};

/// The picks of one row, best first.  Unchecked, unlike gsl::span: these loops are the hot ones.
class Picks {
 public:
  Picks(const Pick* first, std::size_t count) : first_(first), count_(count) {}
  const Pick* begin() const { return first_; }
  const Pick* end() const { return first_ + count_; }
  std::size_t size() const { return count_; }
  const Pick& operator[](std::size_t slot) const { return first_[slot]; }

 private:
  const Pick* first_;
  std::size_t count_;
};

class Draft {
 public:
  /// The gate's own top-k of every row, each expert at its first holder.
  void start(const Problem& problem);
  /// An earlier decision for the same rows.  False, with the draft unusable, if it does not fit
  /// this problem: other rows, an expert not among a row's ranks, a device that is no holder.
  bool start_from(const Problem& problem, const Selection& selection);

  std::size_t rows() const { return count_.size(); }
  std::size_t top_k() const { return top_k_; }
  Picks row(std::size_t row) const { return {picks_.data() + row * top_k_, count_[row]}; }
  bool visits(std::size_t row_index, std::size_t device) const {
    for (const Pick& pick : row(row_index)) {
      if (pick.device == device) return true;
    }
    return false;
  }

  void remove(std::size_t row, std::size_t slot);
  void insert(std::size_t row, Pick pick);  ///< keeps the row in the order of its ranks
  void clear_row(std::size_t row) { count_[row] = 0; }

  /// Adds every choice to `loads`, row by row.
  void load(Loads& loads) const;
  /// sum of P(row, e) over the row's choices / the same over the gate's top-k; 1 if that is 0.
  double kept(const Problem& problem, std::size_t row) const;
  double total_kept(const Problem& problem) const;  ///< summed over the rows
  /// The draft as a Selection; weights are P / sum of P, as plain top-k computes them.
  void write(Selection& selection) const;

 private:
  std::size_t top_k_ = 0;
  std::vector<Pick> picks_;           // [rows, top_k]
  std::vector<std::uint16_t> count_;  // [rows] used of each row's slots, >= 1
};

/// As predicted_latency(), for callers on the token's path: keeps its buffers.
class LatencyPredictor {
 public:
  double operator()(const SelectionInput& input, const Selection& selection);

 private:
  Loads loads_;
};

/// T of `selection` (see Latencies), infinite where a choice has nobody to compute it.
/// For reports and tests; policies keep count as they go.
double predicted_latency(const SelectionInput& input, const Selection& selection);

/// The kept gate mass of `selection`, mean over the rows (1 without rows):
///     kept(j) = sum_{e in S_j} P[j,e] / sum_{e in top-k of P[j,.]} P[j,e],   kept = mean_j kept(j)
/// P is the gate's softmax over all experts, before any renormalisation.  Plain top-k keeps 1,
/// nothing keeps more, and a substitute counts with its own, lower probability.
double kept_gate_mass(const SelectionInput& input, const Selection& selection);

/// A policy whose Rule edits the gate's own choice: `rule.apply(problem, draft)`.
template <class Rule>
class RulePolicy final : public SelectionPolicy {
 public:
  RulePolicy(std::string_view name, Rule rule) : name_(name), rule_(std::move(rule)) {}

  std::string_view name() const override { return name_; }

  void select(const SelectionInput& input, Selection& selection) override {
    problem_.prepare(input);
    if (problem_.trivial()) return plain_->select(input, selection);
    draft_.start(problem_);
    rule_.apply(problem_, draft_);
    draft_.write(selection);
  }

 private:
  std::string_view name_;
  Rule rule_;
  Problem problem_;
  Draft draft_;
  std::unique_ptr<SelectionPolicy> plain_ = make_top_k_policy();
};

}  // namespace wdmoe::bsd
