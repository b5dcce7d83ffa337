#include "bsd/fleet/roster.h"

#include <algorithm>

namespace wdmoe::bsd {
namespace {

using wire::Status;

Roster::Verdict refuse(Status status, std::string message) {
  Roster::Verdict verdict;
  verdict.status = status;
  verdict.message = std::move(message);
  return verdict;
}

std::string short_id(const std::string& id) {
  return id.empty() ? "none" : id.substr(0, 12);
}

bool speaks(const wire::Hello& hello, DType dtype) {
  return std::count(hello.dtypes.begin(), hello.dtypes.end(), dtype) != 0;
}

}  // namespace

Roster::Roster(ModelFacts model, DType wire)
    : model_(std::move(model)), wire_(wire), homeless_(model_.layers * model_.experts) {
  holders_.assign(model_.layers, Holders(model_.experts));
}

Roster::Verdict Roster::judge(const wire::Hello& hello, std::string_view user) const {
  const std::uint16_t protocol = wire::common_protocol(hello);
  if (protocol == 0)
    return refuse(Status::bad_version,
                  "this base station speaks protocol " + std::to_string(wire::kProtocol) +
                      ", agent " + hello.name + " speaks " + std::to_string(hello.protocol_min) +
                      " to " + std::to_string(hello.protocol_max) + ": update the older side");
  if (!user.empty() && user != hello.name)
    return refuse(Status::denied, "the key belongs to " + std::string(user) + ", not to " +
                                      hello.name + ": use its own name or key");
  if (hello.model_id != model_.model_id)
    return refuse(Status::wrong_model, "the shard of " + hello.name + " is of model " +
                                           short_id(hello.model_id) + ", this base station runs " +
                                           short_id(model_.model_id) + ": split that model again");
  if (hello.hidden_dim != model_.hidden)
    return refuse(Status::bad_shape, "rows of " + std::to_string(hello.hidden_dim) +
                                         " elements; this model has " +
                                         std::to_string(model_.hidden));
  if (!speaks(hello, wire_) || !speaks(hello, DType::f32))
    return refuse(Status::bad_shape, hello.name + " cannot read and write " +
                                         std::string(name_of(wire_)) + " and f32 rows");
  if (hello.max_rows < model_.rows)
    return refuse(Status::too_large,
                  hello.name + " takes " + std::to_string(hello.max_rows) +
                      " rows a message, a step has up to " + std::to_string(model_.rows) +
                      ": raise max_rows there or lower engine.prefill_chunk here");
  for (const ExpertId id : hello.experts)
    if (id.layer >= model_.layers || id.expert >= model_.experts)
      return refuse(Status::unknown_expert, "layer " + std::to_string(id.layer) + " expert " +
                                                std::to_string(id.expert) +
                                                " is not part of this model");
  Verdict verdict;
  verdict.protocol = protocol;
  return verdict;
}

Roster::Verdict Roster::greet(const wire::Hello& hello, const std::string& peer,
                              std::string_view user) {
  Verdict verdict = judge(hello, user);
  if (verdict.status != Status::ok) return verdict;
  verdict.device = find_name(hello.name);
  if (!verdict.device) {
    if (devices_.size() >= kMostDevices)
      return refuse(Status::too_large,
                    "more than 1024 agents: restart the base station to forget "
                    "those that are gone");
    verdict.device = static_cast<Index>(devices_.size());
    devices_.emplace_back();
  }
  Device& device = devices_[*verdict.device];
  if (device.up() && device.peer != peer) {
    const bool same_process = device.hello.instance != 0 && device.hello.instance == hello.instance;
    if (!same_process) {
      Verdict duplicate =
          refuse(Status::duplicate_identity, "another live connection is " + hello.name +
                                                 ": give every agent its own name and key");
      duplicate.device = verdict.device;
      return duplicate;
    }
    verdict.returned = true;
    by_peer_.erase(device.peer);
  }
  // A connection is one agent: whoever it was before has left.
  if (const auto before = find(peer); before && *before != *verdict.device) leave(*before);
  device.hello = hello;
  device.peer = peer;
  by_peer_[peer] = *verdict.device;
  rebuild_holders();
  return verdict;
}

void Roster::leave(Index index) {
  Device& device = devices_.at(index);
  by_peer_.erase(device.peer);
  device.peer.clear();
  rebuild_holders();
}

std::optional<Roster::Index> Roster::find(const std::string& peer) const {
  const auto found = by_peer_.find(peer);
  if (found == by_peer_.end()) return std::nullopt;
  return found->second;
}

std::optional<Roster::Index> Roster::find_name(const std::string& name) const {
  for (std::size_t index = 0; index < devices_.size(); ++index)
    if (devices_[index].hello.name == name) return static_cast<Index>(index);
  return std::nullopt;
}

void Roster::rebuild_holders() {
  for (Holders& layer : holders_)
    for (auto& devices : layer) devices.clear();
  for (std::size_t index = 0; index < devices_.size(); ++index) {
    if (!devices_[index].up()) continue;
    for (const ExpertId id : devices_[index].hello.experts)
      holders_[id.layer][id.expert].push_back(static_cast<Index>(index));
  }
  homeless_ = 0;
  for (const Holders& layer : holders_)
    homeless_ += static_cast<std::size_t>(
        std::count_if(layer.begin(), layer.end(), [](const auto& held) { return held.empty(); }));
}

std::string Roster::missing() const {
  if (complete()) return "every expert has a home";
  constexpr int kNamed = 16;  // enough to see the pattern; the line stays short
  std::string text = std::to_string(homeless_) + " of " +
                     std::to_string(model_.layers * model_.experts) + " experts have no agent:";
  int named = 0;
  for (std::size_t layer = 0; layer < holders_.size(); ++layer) {
    bool first = true;
    for (std::size_t expert = 0; expert < holders_[layer].size(); ++expert) {
      if (!holders_[layer][expert].empty()) continue;
      if (++named > kNamed) return text + " …";
      text += first ? (named > 1 ? "; layer " : " layer ") + std::to_string(layer) + ": " : ", ";
      text += std::to_string(expert);
      first = false;
    }
  }
  return text;
}

}  // namespace wdmoe::bsd
