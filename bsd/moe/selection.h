#pragma once
// Who does the work: from gate probabilities to (row, expert, device, weight).  Pure values and one
// interface; the daemon, the simulator and the tests use the same policies.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/span.h"
#include "common/tensor.h"

namespace wdmoe::bsd {

/// The device of a Choice whose expert nobody holds now: the step fails (unavailable), never the
/// maths.
constexpr std::uint16_t kNobody = 0xffff;

/// What one row asks of one expert, and where that is computed.  w[j,k] of the paper after top-k.
struct Choice {
  std::uint32_t row;
  std::uint16_t expert;
  std::uint16_t device;  ///< index into the roster's devices, or kNobody
  float weight;
};

/// One layer's decision, ordered by row.  A row's weights sum to 1.
using Selection = std::vector<Choice>;

/// Which devices hold an expert of this layer; holders[expert] may be empty (nobody: not
/// selectable).
using Holders = std::vector<std::vector<std::uint16_t>>;

struct SelectionInput {
  std::size_t layer = 0;
  std::size_t top_k = 2;
  Matrix<const float> probabilities;  ///< [rows, experts], softmax over all experts, f32
  const Holders* holders = nullptr;   ///< of this layer, [experts]
};

class SelectionPolicy {
 public:
  virtual ~SelectionPolicy() = default;
  virtual std::string_view name() const = 0;
  /// Overwrites `selection`; does not allocate once it has seen a batch at least as large.
  virtual void select(const SelectionInput& input, Selection& selection) = 0;
};

/// The gate's own choice, as transformers makes it: the top_k probabilities, renormalised to sum 1;
/// of equal probabilities the lower expert wins.  Among an expert's holders the
/// first; kNobody where it has none (it substitutes nothing: that would change the text silently).
std::unique_ptr<SelectionPolicy> make_top_k_policy();

}  // namespace wdmoe::bsd
