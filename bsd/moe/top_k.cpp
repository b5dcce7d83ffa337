#include <algorithm>

#include "bsd/moe/selection.h"
#include "common/check.h"

namespace wdmoe::bsd {
namespace {

/// Plain top-k: quality exactly as the model was trained, blind to what the devices cost.
class TopKPolicy final : public SelectionPolicy {
 public:
  std::string_view name() const override { return "topk"; }

  void select(const SelectionInput& input, Selection& selection) override {
    const Matrix<const float>& p = input.probabilities;
    WDMOE_CHECK(input.top_k >= 1 && input.top_k <= p.cols);
    WDMOE_CHECK(input.holders != nullptr && input.holders->size() == p.cols);
    selection.clear();
    selection.reserve(p.rows * input.top_k);
    for (std::size_t row = 0; row < p.rows; ++row) {
      select_row(p.row(row), row, input, selection);
    }
  }

 private:
  static void select_row(const float* probability, std::size_t row, const SelectionInput& input,
                         Selection& selection) {
    const std::size_t first = selection.size();
    const Holders& holders = *input.holders;
    for (std::size_t expert = 0; expert < holders.size(); ++expert) {
      const bool full = selection.size() - first == input.top_k;
      // Strictly greater: of equals the earlier expert stays, and a NaN never displaces anyone.
      if (full && !(probability[expert] > selection.back().weight)) continue;
      if (full) selection.pop_back();
      const auto place =
          std::find_if(selection.begin() + static_cast<std::ptrdiff_t>(first), selection.end(),
                       [&](const Choice& c) { return probability[expert] > c.weight; });
      const std::uint16_t device = holders[expert].empty() ? kNobody : holders[expert].front();
      selection.insert(
          place, Choice{static_cast<std::uint32_t>(row), static_cast<std::uint16_t>(expert), device,
                        probability[expert]});
    }
    float sum = 0;
    for (std::size_t k = first; k < selection.size(); ++k) sum += selection[k].weight;
    for (std::size_t k = first; k < selection.size(); ++k) selection[k].weight /= sum;
  }
};

}  // namespace

std::unique_ptr<SelectionPolicy> make_top_k_policy() {
  return std::make_unique<TopKPolicy>();
}

}  // namespace wdmoe::bsd
