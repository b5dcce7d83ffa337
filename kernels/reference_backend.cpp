// The definition of correct for experts: plain loops in double, one rounding at the end.

#include <vector>

#include "kernels/expert_backend.h"
#include "kernels/expert_checks.h"
#include "kernels/reference.h"

namespace wdmoe::kernels {
namespace {

double dot(Tensor weight, std::size_t out, const std::vector<double>& x) {
  double sum = 0;
  for (std::size_t in = 0; in < x.size(); ++in)
    sum += static_cast<double>(reference::element(weight, out, in)) * x[in];
  return sum;
}

/// expert(x) for one row.
std::vector<double> forward_row(const ExpertWeights& expert, const std::vector<double>& x) {
  std::vector<double> inner(expert.gate.rows), y(x.size());
  for (std::size_t unit = 0; unit < inner.size(); ++unit)
    inner[unit] = reference::silu(dot(expert.gate, unit, x)) * dot(expert.up, unit, x);
  for (std::size_t col = 0; col < y.size(); ++col) y[col] = dot(expert.down, col, inner);
  return y;
}

class ReferenceBackend final : public ExpertBackend {
 public:
  std::string_view name() const override { return "reference"; }

  Result<ExpertHandle> load(const ExpertWeights& weights) override {
    WDMOE_TRY(check_expert(weights, hidden_));
    hidden_ = weights.gate.cols;
    experts_.push_back(weights);
    return static_cast<ExpertHandle>(experts_.size() - 1);
  }

  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override {
    WDMOE_TRY(check_work(work, in, out, experts_.size(), hidden_));
    std::vector<double> sums(out.rows * out.cols);
    for (const ExpertWork& item : work)
      for (const RowWeight& row : item.rows) {
        std::vector<double> x(in.cols);
        for (std::size_t col = 0; col < in.cols; ++col)
          x[col] = static_cast<double>(reference::element(in, row.row, col));
        const std::vector<double> y = forward_row(experts_[item.expert], x);
        for (std::size_t col = 0; col < in.cols; ++col)
          sums[row.row * out.cols + col] += static_cast<double>(row.weight) * y[col];
      }
    const std::vector<float> rounded(sums.begin(), sums.end());
    overflowed = !reference::to_wire({rounded.data(), out.rows, out.cols}, out);
    return {};
  }

  Result<void> reserve(std::size_t, std::size_t) override { return {}; }

 private:
  std::vector<ExpertWeights> experts_;
  std::size_t hidden_ = 0;
};

}  // namespace

std::unique_ptr<ExpertBackend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace wdmoe::kernels
