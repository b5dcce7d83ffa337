#include "agent/handler.h"

#include <algorithm>
#include <limits>

namespace wdmoe::agent {
namespace {

std::uint32_t micros(Nanoseconds duration) {
  const auto count = std::chrono::duration_cast<microseconds>(duration).count();
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(count, 0, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

Handler::Handler(const Store& store, kernels::ExpertBackend& backend, const Clock& clock,
                 std::size_t max_rows)
    : store_(store), backend_(backend), clock_(clock), max_rows_(max_rows) {
  const std::size_t assignments =
      std::min(wire::Limits{}.assignments, max_rows * store.widest_layer());
  slot_of_.reserve(assignments);
  by_slot_.reserve(assignments);
  first_.reserve(store.widest_layer() + 1);
  work_.reserve(store.widest_layer());
  last_slot_.reserve(max_rows);
}

const Handler::Problem* Handler::check(const wire::Dispatch& dispatch) const {
  static constexpr Problem kWidth{wire::Status::bad_shape, "hidden_dim is not this model's"};
  static constexpr Problem kRows{wire::Status::too_large, "more rows than this agent's max_rows"};
  static constexpr Problem kLayer{wire::Status::unknown_expert, "no expert of that layer here"};
  if (dispatch.rows.cols != store_.hidden()) return &kWidth;
  if (dispatch.rows.rows > max_rows_) return &kRows;
  if (store_.layer(dispatch.layer).empty()) return &kLayer;
  return nullptr;
}

/// Counting sort of the assignments by expert, so that each expert's weights are read once.
const Handler::Problem* Handler::group(const wire::Dispatch& dispatch) {
  static constexpr Problem kExpert{wire::Status::unknown_expert,
                                   "an expert this agent does not hold"};
  static constexpr Problem kTwice{wire::Status::malformed, "a row assigned twice to one expert"};
  const auto slots = store_.layer(dispatch.layer);
  first_.assign(slots.size() + 1, 0);
  slot_of_.clear();
  for (const fb::Assignment& assignment : dispatch.assignments) {
    const auto slot = find_slot(slots, assignment.expert());
    if (!slot) return &kExpert;
    slot_of_.push_back(static_cast<std::uint32_t>(*slot));
    ++first_[*slot + 1];
  }
  for (std::size_t slot = 0; slot < slots.size(); ++slot) first_[slot + 1] += first_[slot];

  by_slot_.resize(slot_of_.size());
  for (std::size_t i = 0; i < slot_of_.size(); ++i) {
    const fb::Assignment& assignment = dispatch.assignments[i];
    by_slot_[first_[slot_of_[i]]++] = {assignment.row(), assignment.weight()};
  }
  // first_[slot] is now where the next slot's rows begin.
  work_.clear();
  last_slot_.assign(dispatch.rows.rows, 0);
  std::uint32_t begin = 0;
  for (std::uint32_t slot = 0; slot < slots.size(); ++slot) {
    const std::uint32_t end = first_[slot];
    if (end == begin) continue;
    for (std::uint32_t i = begin; i < end; ++i) {
      if (last_slot_[by_slot_[i].row] == slot + 1) return &kTwice;
      last_slot_[by_slot_[i].row] = slot + 1;
    }
    work_.push_back({slots[slot].handle, {by_slot_.data() + begin, end - begin}});
    begin = end;
  }
  return nullptr;
}

Bytes Handler::answer(const wire::Dispatch& dispatch, Instant received,
                      const wire::Telemetry& telemetry) {
  const Problem* problem = check(dispatch);
  if (problem == nullptr) problem = group(dispatch);
  if (problem != nullptr) return refuse(dispatch.id, dispatch.layer, problem->status, problem->why);

  const Instant started = clock_.now();
  const std::size_t rows = dispatch.rows.rows, hidden = dispatch.rows.cols;
  bool overflowed = false;
  auto ran = backend_.run(work_, dispatch.rows,
                          encoder_.begin_rows(rows, hidden, dispatch.reply_dtype), overflowed);
  if (ran && overflowed) {  // rare: a sum beyond 65504; the station takes f32 at any time
    ++counters_.overflows;
    ran = backend_.run(work_, dispatch.rows, encoder_.begin_rows(rows, hidden, DType::f32),
                       overflowed);
  }
  const Instant finished = clock_.now();
  if (!ran)
    return refuse(dispatch.id, dispatch.layer, wire::Status::backend_failed, ran.error().text);

  ++counters_.dispatches;
  counters_.rows += rows;
  counters_.assignments += dispatch.assignments.size();
  counters_.compute += finished - started;
  const wire::Timings timings{micros(started - received), micros(finished - started),
                              micros(finished - received)};
  return encoder_.finish_result(dispatch.id, dispatch.layer, timings, telemetry);
}

Bytes Handler::refuse(std::uint64_t id, std::uint16_t layer, wire::Status status,
                      std::string_view why) {
  ++counters_.refusals;
  return encoder_.refusal(id, layer, status, why);
}

}  // namespace wdmoe::agent
