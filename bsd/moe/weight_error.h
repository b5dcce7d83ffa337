#pragma once
// How much a row's layer output moves when it visits other experts than the gate chose: what
// `minmax` spends as little of as it can.  Kept gate mass counts what a row lost, and a row that
// loses its best expert like ten rows that lose a tenth of it; the model does not
// (docs/selection.md).

#include <cstddef>

#include "bsd/moe/problem.h"

namespace wdmoe::bsd {

/// Sums over the experts S that a row visits, kept up to date while S changes.
class RowWeights {
 public:
  /// `own`: is one of the gate's own top-k.
  void add(float probability, bool own) { change(static_cast<double>(probability), own, 1); }
  void remove(float probability, bool own) { change(static_cast<double>(probability), own, -1); }
  bool empty() const { return count_ == 0; }
  double mass() const { return mass_; }  ///< sum of P over S

  /// With w_e the weights that the gate gave (over its own top-k, summing to 1), w'_e those over S
  /// and kept as in kept_gate_mass():
  ///     error = 1/2 sum_e (w'_e - w_e)^2 / kept^2
  /// 0 for the gate's own choice.  Of experts with outputs alike in size and otherwise unrelated
  /// the sum is how far the layer's output moves, squared; a dropped second expert of two makes it
  /// (w_2 / w_1)^2.  The last factor is what measuring adds: losing the best expert costs far more.
  double error(const Ranks& ranks, std::size_t row) const {
    const double top = ranks.top_mass(row);
    if (!(top > 0 && mass_ > 0)) return 0;
    const double back = 1 / mass_, own = 1 / top, scale = top * back;
    const double distance =
        own * own * ranks.top_squares(row) - 2 * own * back * own_squares_ + back * back * squares_;
    return 0.5 * distance * scale * scale;
  }

 private:
  void change(double p, bool own, double sign) {
    count_ += sign > 0 ? 1 : -1;
    mass_ += sign * p;
    squares_ += sign * p * p;
    if (own) own_squares_ += sign * p * p;
  }
  int count_ = 0;
  double mass_ = 0;
  double squares_ = 0;      // sum of P^2 over S
  double own_squares_ = 0;  // the same over what S has of the gate's own top-k
};

}  // namespace wdmoe::bsd
