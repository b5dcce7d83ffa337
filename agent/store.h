#pragma once
// The experts that this agent holds, loaded into a backend and found by (layer, expert).

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/expert.h"
#include "common/result.h"
#include "kernels/expert_backend.h"
#include "weights/shard.h"
#include "wire/messages.h"

namespace wdmoe::agent {

class Store {
 public:
  struct Held {
    ExpertId id;
    ExpertWeights weights;
  };

  /// Loads `experts` into `backend`; the memory behind them outlives it.  Errors: no experts, one
  /// twice, more than the protocol announces, or what the backend refuses; each names the expert.
  /// `copied`: told of every tensor that the backend has copied.
  static Result<Store> load(std::string model_id, const std::vector<Held>& experts,
                            kernels::ExpertBackend& backend,
                            const std::function<void(Tensor)>& copied = {});
  /// The same for a shard, which outlives the backend.  Where the backend keeps copies, the shard's
  /// pages are given back one expert after the other.
  static Result<Store> load(const weights::Shard& shard, kernels::ExpertBackend& backend);

  const std::string& model_id() const { return model_id_; }
  std::size_t hidden() const { return hidden_; }
  std::uint64_t weights_bytes() const { return weights_bytes_; }
  std::vector<ExpertId> experts() const;

  /// One expert of one layer, by its number in the model.
  struct Slot {
    std::uint16_t expert;
    kernels::ExpertHandle handle;
  };
  /// Those of one layer, sorted by expert; empty if none is held.
  Span<const Slot> layer(std::uint16_t layer) const;
  /// Most experts in one layer.
  std::size_t widest_layer() const;

 private:
  std::string model_id_;
  std::size_t hidden_ = 0;
  std::uint64_t weights_bytes_ = 0;
  std::vector<std::vector<Slot>> layers_;
};

/// Position of `expert` in `slots`; absent if not held.
std::optional<std::size_t> find_slot(Span<const Store::Slot> slots, std::uint16_t expert);

}  // namespace wdmoe::agent
