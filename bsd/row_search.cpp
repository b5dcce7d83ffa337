#include "bsd/row_search.h"

#include <algorithm>

#include "common/check.h"

namespace wdmoe::bsd {

bool RowSearch::prepare(const SelectionInput& input, std::size_t devices) {
  if (input.probabilities.rows == 0 || input.probabilities.rows > kMostRows) return false;
  problem_.prepare(input);
  if (problem_.trivial()) return false;
  devices_ = devices;
  options_.clear();
  members_.clear();
  building_.clear();
  visits_ = 0;
  row_start_.assign(1, 0);
  building_.reserve(input.top_k);
  options_.reserve(kMostRows * (kMostOptions + 1));
  members_.reserve(options_.capacity() * input.top_k);
  row_start_.reserve(kMostRows + 1);
  now_.reserve(kMostRows);
  for (std::size_t row = 0; row < problem_.ranks.rows(); ++row) {
    if (!list_options(row)) return false;
  }
  return true;
}

/// False: they are too many, or too hard to find.
bool RowSearch::list_options(std::size_t row) {
  visits_before_ = visits_;
  extend(row, 0, 0);
  if (!listing()) return false;
  row_start_.push_back(static_cast<std::uint32_t>(options_.size()));
  return true;
}

/// Whether the row at hand is still within both bounds.
bool RowSearch::listing() const {
  return options_.size() - row_start_.back() <= kMostOptions &&
         visits_ - visits_before_ < kMostVisits;
}

/// The mass of `building_`, which is `mass`, with as many of `rank` and later as it can take.
double RowSearch::most_mass(std::size_t row, std::size_t rank, double mass) const {
  const std::size_t room = problem_.input->top_k - building_.size();
  const std::size_t end = std::min(rank + room, problem_.ranks.width());
  for (; rank < end; ++rank) mass += static_cast<double>(problem_.ranks.row(row)[rank].probability);
  return mass;
}

/// Lists all sets that go on from `building_` with experts of `rank` and later.
void RowSearch::extend(std::size_t row, std::size_t rank, double mass) {
  const double top = problem_.ranks.top_mass(row);
  const double floor = problem_.floor_of(row) - kMassSlack;
  if (!building_.empty()) {
    ++visits_;
    const double kept = top > 0 ? mass / top : 1.0;
    if (kept >= floor) {
      options_.push_back({kept, static_cast<std::uint32_t>(members_.size()),
                          static_cast<std::uint32_t>(building_.size())});
      members_.insert(members_.end(), building_.begin(), building_.end());
    }
  }
  if (building_.size() == problem_.input->top_k) return;
  for (; rank < problem_.ranks.width(); ++rank) {
    if (most_mass(row, rank, mass) < floor * top) return;  // later ranks have less still
    const Ranked& ranked = problem_.ranks.row(row)[rank];
    for (const std::uint16_t device : problem_.holders.of(ranked.expert)) {
      if (!listing()) return;
      if (device >= devices_) continue;
      building_.push_back({ranked.expert, device, ranked.probability});
      extend(row, rank + 1, mass + static_cast<double>(ranked.probability));
      building_.pop_back();
    }
  }
}

/// Adds the option's row to the loads (sign 1) or takes it away (-1).
void RowSearch::place(const Option& option, int sign) {
  const auto by = static_cast<std::uint32_t>(sign);  // wraps: -1 is its own two's complement
  for (std::uint32_t member = option.first; member < option.first + option.count; ++member) {
    DeviceLoad& load = loads_[members_[member].device];
    load.visits += by;
    bool has_row = false;
    for (std::uint32_t other = option.first; other < member; ++other) {
      has_row = has_row || members_[other].device == members_[member].device;
    }
    if (!has_row) load.rows += by;
  }
}

/// The option that `selection` has for `row`; `index` moves past the row's choices.
std::size_t RowSearch::option_of(std::size_t row, const Selection& selection,
                                 std::size_t& index) const {
  const std::size_t first = index;
  while (index < selection.size() && selection[index].row == row) ++index;
  for (std::size_t at = row_start_[row]; at < row_start_[row + 1]; ++at) {
    const Option& option = options_[at];
    if (option.count != index - first) continue;
    const Member* const members = members_.data() + option.first;
    const bool same = std::all_of(members, members + option.count, [&](const Member& member) {
      for (std::size_t choice = first; choice < index; ++choice) {
        if (selection[choice].expert == member.expert) {
          return selection[choice].device == member.device;
        }
      }
      return false;
    });
    if (same) return at;
  }
  return options_.size();
}

double RowSearch::run(double quality, double latency, Selection& selection) {
  const std::size_t rows = row_start_.size() - 1;
  loads_.assign(devices_, {});
  now_.clear();
  kept_ = 0;
  std::size_t index = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t option = option_of(row, selection, index);
    if (option == options_.size()) return latency;  // below its floor, or beyond the ranks
    now_.push_back(option);
    place(options_[option], 1);
    kept_ += options_[option].kept;
  }
  const double least = std::min(quality * static_cast<double>(rows), kept_) - kMassSlack;
  bool changed = false;
  for (int pass = 0; pass < kPasses; ++pass) {
    bool again = false;
    for (std::size_t row = 0; row < rows; ++row) again |= improve_row(row, least, latency);
    changed |= again;
    if (!again || rows == 1) break;
  }
  if (changed) write(selection);
  return latency;
}

/// Gives `row` its best option while the others stay.
bool RowSearch::improve_row(std::size_t row, double least_kept, double& latency) {
  const std::size_t before = now_[row];
  place(options_[before], -1);
  const double others = kept_ - options_[before].kept;
  std::size_t best = before;
  for (std::size_t at = row_start_[row]; at < row_start_[row + 1]; ++at) {
    if (at == before || others + options_[at].kept < least_kept) continue;
    place(options_[at], 1);
    const double now = judge_(loads_);
    place(options_[at], -1);
    const bool keeps_more = now == latency && options_[at].kept > options_[best].kept;
    if (!(now < latency) && !keeps_more) continue;
    latency = now;
    best = at;
  }
  place(options_[best], 1);
  kept_ = others + options_[best].kept;
  now_[row] = best;
  return best != before;
}

void RowSearch::write(Selection& selection) const {
  selection.clear();
  for (std::size_t row = 0; row < now_.size(); ++row) {
    const Option& option = options_[now_[row]];
    const Member* const members = members_.data() + option.first;
    float sum = 0;
    for (std::uint32_t k = 0; k < option.count; ++k) sum += members[k].probability;
    const float even = 1.0f / static_cast<float>(option.count);
    for (std::uint32_t k = 0; k < option.count; ++k) {
      selection.push_back({static_cast<std::uint32_t>(row), members[k].expert, members[k].device,
                           sum > 0 ? members[k].probability / sum : even});
    }
  }
}

}  // namespace wdmoe::bsd
