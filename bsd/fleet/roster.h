#pragma once
// Who is up and holds what.  Pure state: Hellos and departures go in, verdicts and Holders come
// out; no sockets, no clock.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bsd/moe/selection.h"
#include "common/tensor.h"
#include "wire/messages.h"

namespace wdmoe::bsd {

/// What every agent must fit.
struct ModelFacts {
  std::string model_id;
  std::size_t layers = 0, experts = 0, hidden = 0;
  std::size_t rows = 0;   ///< most in one step: an agent must take so many in one message
  std::size_t top_k = 0;  ///< experts of a token
};

/// One agent that has ever joined.  Its number in the roster stays when it leaves and returns.
struct Device {
  wire::Hello hello;
  std::string peer;  ///< routing id of its connection; empty: down
  bool up() const { return !peer.empty(); }
  /// Obeys shares of the uplink.
  bool paces() const { return (hello.features & wire::bit(fb::Feature::pacing)) != 0; }
};

class Roster {
 public:
  using Index = std::uint16_t;
  static constexpr std::size_t kMostDevices = 1024;  // as many as keys in the allow-list

  /// `wire`: the row type that every agent must read and write, besides f32.
  Roster(ModelFacts model, DType wire);

  struct Verdict {
    wire::Status status = wire::Status::ok;
    std::string message;          ///< why not, and what to do
    std::uint16_t protocol = 0;   ///< to speak, if ok
    std::optional<Index> device;  ///< who it is, if ok; the present holder, if duplicate_identity
    bool returned = false;        ///< the same process on a new connection
  };

  /// Judges a Hello that came over connection `peer`, authenticated as `user` (empty: no
  /// authentication), and lets the agent in if it fits.
  Verdict greet(const wire::Hello& hello, const std::string& peer, std::string_view user);

  void leave(Index device);

  std::optional<Index> find(const std::string& peer) const;  ///< of those that are up
  const std::vector<Device>& devices() const { return devices_; }
  const Holders& holders(std::size_t layer) const { return holders_.at(layer); }

  bool complete() const { return homeless_ == 0; }
  /// "every expert has a home", or which are missing: "12 of 64 experts have no agent: layer 0: 3,
  /// 7; layer 1: …" (the first few).
  std::string missing() const;

 private:
  Verdict judge(const wire::Hello& hello, std::string_view user) const;
  std::optional<Index> find_name(const std::string& name) const;
  void rebuild_holders();

  ModelFacts model_;
  DType wire_;
  std::vector<Device> devices_;
  std::unordered_map<std::string, Index> by_peer_;
  std::vector<Holders> holders_;  // [layers][experts]
  std::size_t homeless_ = 0;      // (layer, expert) pairs that nobody holds
};

}  // namespace wdmoe::bsd
