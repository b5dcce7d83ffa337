#pragma once
// Answers Dispatches: a decoded message in, the frame of its answer out, no socket in sight.
// Whatever the peer sent, the answer is a result or a refusal with a status.  Does not allocate
// once warm.

#include <cstdint>
#include <vector>

#include "agent/store.h"
#include "common/clock.h"
#include "kernels/expert_backend.h"
#include "wire/limits.h"
#include "wire/messages.h"

namespace wdmoe::agent {

/// What has been done since start.
struct Counters {
  std::uint64_t dispatches = 0, refusals = 0, rows = 0, assignments = 0, overflows = 0;
  Nanoseconds compute{0};
};

class Handler {
 public:
  /// All outlive the handler.  `max_rows`: more in one Dispatch are refused (too_large).
  Handler(const Store& store, kernels::ExpertBackend& backend, const Clock& clock,
          std::size_t max_rows);

  /// `received`: when the frame left the socket.  The answer is valid until the next call.
  Bytes answer(const wire::Dispatch& dispatch, Instant received, const wire::Telemetry& telemetry);

  /// For frames that are no Dispatch that could be answered.
  Bytes refuse(std::uint64_t id, std::uint16_t layer, wire::Status status, std::string_view why);

  const Counters& counters() const { return counters_; }
  std::string_view backend_name() const { return backend_.name(); }

 private:
  struct Problem {
    wire::Status status;
    const char* why;
  };
  const Problem* check(const wire::Dispatch& dispatch) const;
  const Problem* group(const wire::Dispatch& dispatch);

  const Store& store_;
  kernels::ExpertBackend& backend_;
  const Clock& clock_;
  std::size_t max_rows_;
  wire::Encoder encoder_;
  Counters counters_;

  // Scratch of group(), sized for the limits at construction.
  std::vector<std::uint32_t> slot_of_;       // [assignments] position in the layer's slots
  std::vector<std::uint32_t> first_;         // [slots + 1] where a slot's rows begin
  std::vector<std::uint32_t> last_slot_;     // [rows] 1 + the slot that took the row last
  std::vector<kernels::RowWeight> by_slot_;  // [assignments] sorted by slot
  std::vector<kernels::ExpertWork> work_;    // one per slot that has rows
};

}  // namespace wdmoe::agent
