#include "sim/exchange.h"

#include <algorithm>
#include <limits>

#include "bsd/radio/link.h"
#include "common/check.h"

namespace wdmoe::sim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

double transfer_s(Bits bits, BitsPerSecond rate) {
  return rate.value() > 0 ? (bits / rate).count() : kNever;
}

}  // namespace

void ExchangePlayer::load_rows(std::size_t devices, const bsd::Selection& selection) {
  visits_.resize(devices);
  computed_.resize(devices);
  for (auto& rows : visits_) rows.clear();
  for (std::size_t index = 0; index < selection.size(); ++index) {
    const bsd::Choice& choice = selection[index];
    WDMOE_CHECK(choice.device < devices);
    const auto same = [&](const bsd::Choice& other) { return other.device == choice.device; };
    std::size_t first = index;
    while (first > 0 && selection[first - 1].row == choice.row) --first;
    const auto begin = selection.begin() + static_cast<std::ptrdiff_t>(first);
    const auto here = selection.begin() + static_cast<std::ptrdiff_t>(index);
    if (std::any_of(begin, here, same))
      ++visits_[choice.device].back();  // the row is there already
    else
      visits_[choice.device].push_back(1);
  }
}

/// Stages of one row: down, compute, up.  A stage takes a row when it has let the last one go.
double ExchangePlayer::play_own_band(const radio::AllocationProblem& problem, std::size_t device,
                                     const radio::DeviceShare& share) {
  const radio::DeviceDemand& demand = problem.devices[device];
  const radio::Rates rates =
      radio::rates_of(problem, demand, share.bandwidth_dl, share.bandwidth_ul);
  const double down = transfer_s(problem.bits_per_token, rates.down);
  const double up = transfer_s(problem.bits_per_token, rates.up);
  double delivered = 0, computed = 0, returned = 0;
  for (const std::uint16_t experts : visits_[device]) {
    delivered += down;
    computed = std::max(computed, delivered) + experts * demand.compute_per_token.count();
    returned = std::max(returned, computed) + up;
  }
  return demand.fixed.count() + returned;
}

/// When the flow's next row may go on the air; never if there is none, or none yet.
double ExchangePlayer::ready_at(const Flow& flow) const {
  if (!flow.up) return flow.next < visits_[flow.device].size() ? 0 : kNever;
  const auto& computed = computed_[flow.device];
  if (flow.next == computed.size()) return kNever;
  return computed[flow.next];
}

double ExchangePlayer::play_turns(const radio::AllocationProblem& problem,
                                  Span<const radio::DeviceShare> shares) {
  flows_.clear();
  std::size_t turns = 0;
  for (std::size_t device = 0; device < visits_.size(); ++device) {
    computed_[device].clear();
    if (visits_[device].empty()) continue;
    const radio::DeviceDemand& demand = problem.devices[device];
    const radio::Rates rates =
        radio::rates_of(problem, demand, problem.bandwidth, problem.bandwidth);
    flows_.push_back({device, false, transfer_s(problem.bits_per_token, rates.down),
                      shares[device].bandwidth_dl / problem.bandwidth});
    flows_.push_back({device, true, transfer_s(problem.bits_per_token, rates.up),
                      shares[device].bandwidth_ul / problem.bandwidth});
    turns += 2 * visits_[device].size();
  }

  double now = 0, pass = 0, last = 0;
  for (; turns > 0; --turns) {
    Flow* turn = nullptr;
    double earliest = kNever;
    for (Flow& flow : flows_) {
      const double ready = ready_at(flow);
      earliest = std::min(earliest, ready);
      if (ready <= now && (turn == nullptr || flow.pass < turn->pass)) turn = &flow;
    }
    if (turn == nullptr) {
      now = earliest;  // the air is silent until somebody has computed
      ++turns;
      continue;
    }
    pass = std::max(pass, turn->pass);  // who was silent does not make up for it
    now += turn->airtime;
    turn->pass = pass + turn->airtime / turn->share;
    if (turn->up) {
      ++turn->next;
      last = std::max(last, now + problem.devices[turn->device].fixed.count());
      continue;
    }
    auto& computed = computed_[turn->device];
    const double free = computed.empty() ? 0 : computed.back();
    computed.push_back(std::max(now, free) +
                       visits_[turn->device][turn->next++] *
                           problem.devices[turn->device].compute_per_token.count());
  }
  return last;
}

Seconds ExchangePlayer::play(const bsd::Cell& cell, Span<const radio::DeviceShare> shares,
                             const bsd::Selection& selection) {
  load_rows(cell.devices.size(), selection);
  const radio::AllocationProblem problem{cell.medium, cell.bandwidth, cell.noise, cell.bits_per_row,
                                         cell.devices};
  if (cell.medium == radio::Medium::airtime) return Seconds(play_turns(problem, shares));
  double last = 0;
  for (std::size_t device = 0; device < visits_.size(); ++device)
    if (!visits_[device].empty())
      last = std::max(last, play_own_band(problem, device, shares[device]));
  return Seconds(last);
}

}  // namespace wdmoe::sim
