#pragma once
// Every bound of the protocol, with its reason.  Checked before a received size is used.

#include <cstddef>
#include <cstdint>

namespace wdmoe::wire {

constexpr std::uint16_t kProtocol = 1;  ///< the only version so far

struct Limits {
  /// Largest frame either side takes: 1024 rows of 8192 f32 elements and their assignments, rounded
  /// up.
  std::size_t frame_bytes = std::size_t{40} << 20;
  /// Elements of one row: four times the widest open MoE model of today.
  std::size_t hidden_dim = 32768;
  /// Rows of one Dispatch: the largest prefill chunk.
  std::size_t rows = 1024;
  /// (row, expert) pairs of one Dispatch: every row may visit 16 experts of one agent.
  std::size_t assignments = std::size_t{16} * 1024;
  /// Experts one agent may announce: 64 layers of 256.
  std::size_t experts = std::size_t{64} * 256;
  /// Lifetime of a Share: a base station that died must not slow an agent for longer.
  std::uint32_t share_ms = 60'000;
  /// Names, reasons and messages.
  std::size_t text_bytes = 512;
};

}  // namespace wdmoe::wire
