#include "agent/store.h"

#include <algorithm>

namespace wdmoe::agent {

Result<Store> Store::load(std::string model_id, const std::vector<Held>& experts,
                          kernels::ExpertBackend& backend,
                          const std::function<void(Tensor)>& copied) {
  if (experts.empty())
    return fail(Code::bad_input, "no experts: an agent without any has nothing to do");
  if (experts.size() > wire::Limits{}.experts)
    return fail(Code::limit, std::to_string(experts.size()) +
                                 " experts: an agent announces at most " +
                                 std::to_string(wire::Limits{}.experts));
  Store store;
  store.model_id_ = std::move(model_id);
  for (const Held& held : experts) {
    const std::string which =
        "layer " + std::to_string(held.id.layer) + " expert " + std::to_string(held.id.expert);
    const auto handle = backend.load(held.weights);
    if (!handle) return fail(which, handle.error());
    if (held.id.layer >= store.layers_.size()) store.layers_.resize(held.id.layer + std::size_t{1});
    store.layers_[held.id.layer].push_back({held.id.expert, *handle});
    store.hidden_ = held.weights.gate.cols;
    for (const Tensor& tensor : {held.weights.gate, held.weights.up, held.weights.down}) {
      store.weights_bytes_ += tensor.size_bytes();
      if (copied && backend.facts().copies_weights) copied(tensor);
    }
  }
  for (auto& slots : store.layers_) {
    std::sort(slots.begin(), slots.end(), [](Slot a, Slot b) { return a.expert < b.expert; });
    const auto twice = std::adjacent_find(slots.begin(), slots.end(),
                                          [](Slot a, Slot b) { return a.expert == b.expert; });
    if (twice != slots.end())
      return fail(Code::bad_input,
                  "expert " + std::to_string(twice->expert) + " of one layer is held twice");
  }
  return store;
}

Result<Store> Store::load(const weights::Shard& shard, kernels::ExpertBackend& backend) {
  std::vector<Held> experts;
  experts.reserve(shard.experts.size());
  for (const weights::HeldExpert& held : shard.experts) {
    experts.push_back({held.id, held.weights});
  }
  return load(shard.manifest.model_id, experts, backend, [&](Tensor tensor) {
    shard.checkpoint.forget({tensor.data, tensor.size_bytes()});
  });
}

std::vector<ExpertId> Store::experts() const {
  std::vector<ExpertId> ids;
  for (std::size_t layer = 0; layer < layers_.size(); ++layer)
    for (const Slot& slot : layers_[layer]) ids.push_back(expert_id(layer, slot.expert));
  return ids;
}

Span<const Store::Slot> Store::layer(std::uint16_t layer) const {
  if (layer >= layers_.size()) return {};
  return layers_[layer];
}

std::size_t Store::widest_layer() const {
  std::size_t widest = 0;
  for (const auto& slots : layers_) widest = std::max(widest, slots.size());
  return widest;
}

std::optional<std::size_t> find_slot(Span<const Store::Slot> slots, std::uint16_t expert) {
  const auto found = std::lower_bound(
      slots.begin(), slots.end(), expert,
      [](const Store::Slot& slot, std::uint16_t wanted) { return slot.expert < wanted; });
  if (found == slots.end() || found->expert != expert) return std::nullopt;
  return static_cast<std::size_t>(found - slots.begin());
}

}  // namespace wdmoe::agent
