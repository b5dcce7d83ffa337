#include "bsd/blend.h"

#include <cmath>
#include <numeric>

#include "bsd/moe/problem.h"

namespace wdmoe::bsd {
namespace {

/// Copies the choices of `row` from `source`; `at` moves past them.
void copy_row(std::size_t row, const Selection& source, std::size_t& at, Selection* out) {
  for (; at < source.size() && source[at].row == row; ++at) {
    if (out != nullptr) out->push_back(source[at]);
  }
}

std::size_t part_of(double part, std::size_t rows) {
  return static_cast<std::size_t>(std::ceil(part * static_cast<double>(rows)));
}

}  // namespace

void Blend::between(const SelectionMetrics& metrics, const Selection& from, const Selection& to,
                    double least_kept) {
  from_ = &from;
  to_ = &to;
  metrics.kept_by_row(from, from_kept_);
  metrics.kept_by_row(to, to_kept_);
  kept_ = std::accumulate(from_kept_.begin(), from_kept_.end(), 0.0);
  least_ = least_kept * static_cast<double>(from_kept_.size()) - kMassSlack;
  losing_ = 0;
  for (std::size_t row = 0; row < from_kept_.size(); ++row) {
    losing_ += to_kept_[row] < from_kept_[row] ? 1 : 0;
  }
  gaining_ = from_kept_.size() - losing_;
}

void Blend::write(double part, Selection& out) const {
  std::size_t may_gain = part_of(part, gaining_), may_lose = part_of(part, losing_);
  double kept = kept_;
  std::size_t gains = may_gain;
  for (std::size_t row = 0; row < from_kept_.size() && gains > 0; ++row) {
    if (to_kept_[row] < from_kept_[row]) continue;
    kept += to_kept_[row] - from_kept_[row];
    --gains;
  }
  out.clear();
  std::size_t from_at = 0, to_at = 0;
  for (std::size_t row = 0; row < from_kept_.size(); ++row) {
    const double change = to_kept_[row] - from_kept_[row];
    bool follow = false;
    if (change >= 0) {
      follow = may_gain > 0;
      may_gain -= follow ? 1 : 0;
    } else if (may_lose > 0 && kept + change >= least_) {
      follow = true;
      --may_lose;
      kept += change;
    }
    copy_row(row, *from_, from_at, follow ? nullptr : &out);
    copy_row(row, *to_, to_at, follow ? &out : nullptr);
  }
}

}  // namespace wdmoe::bsd
