#include "bsd/moe/problem.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

float clean(float probability) {
  return probability > 0 ? std::min(probability, 1.0f) : 0.0f;  // NaN becomes 0
}

double clean(double seconds) {
  return seconds > 0 ? std::min(seconds, kForever) : 0.0;  // NaN becomes 0
}

/// Orders by probability, then by lower expert, with one integer comparison: the bits of a
/// non-negative float grow with its value.
std::uint64_t key_of(float probability, std::uint16_t expert) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &probability, sizeof bits);
  return std::uint64_t{bits} << 32 | (0xffffu - expert);
}

Ranked ranked_from(std::uint64_t key) {
  const auto bits = static_cast<std::uint32_t>(key >> 32);
  Ranked ranked{};
  std::memcpy(&ranked.probability, &bits, sizeof bits);
  ranked.expert = static_cast<std::uint16_t>(0xffffu - (key & 0xffffu));
  return ranked;
}

/// Keeps the `width` greatest of the keys seen so far, greatest first.
void insert_key(std::uint64_t key, std::uint64_t* keys, std::size_t& count, std::size_t width) {
  if (count == width) {
    if (key < keys[count - 1]) return;
    --count;
  }
  std::size_t place = count++;
  for (; place > 0 && keys[place - 1] < key; --place) keys[place] = keys[place - 1];
  keys[place] = key;
}

/// Sorts 8 keys, greatest first, by Batcher's odd-even merge: no branch depends on the data.
void sort_8(std::uint64_t* keys) {
  constexpr std::uint8_t kPairs[19][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}, {0, 2}, {1, 3}, {4, 6},
                                          {5, 7}, {1, 2}, {5, 6}, {0, 4}, {1, 5}, {2, 6}, {3, 7},
                                          {2, 4}, {3, 5}, {1, 2}, {3, 4}, {5, 6}};
  std::array<std::uint64_t, 8> key{};
  std::copy(keys, keys + 8, key.begin());
#pragma GCC unroll 19
  for (const auto& pair : kPairs) {
    const std::uint64_t a = key[pair[0]], b = key[pair[1]];
    key[pair[0]] = a > b ? a : b;
    key[pair[1]] = a > b ? b : a;
  }
  std::copy(key.begin(), key.end(), keys);
}

/// Copies `from` to [devices]; devices beyond it get its greatest value.
void copy_costs(Span<const double> from, std::size_t devices, std::vector<double>& to) {
  to.assign(devices, 0.0);
  double slowest = 0;
  for (std::size_t device = 0; device < from.size() && device < devices; ++device) {
    to[device] = clean(from[device]);
    slowest = std::max(slowest, to[device]);
  }
  for (std::size_t device = from.size(); device < devices; ++device) to[device] = slowest;
}

std::size_t count_devices(const SelectionInput& input) {
  std::size_t devices = std::max(input.latencies.fixed_s.size(), input.latencies.per_row_s.size());
  devices = std::max(devices, input.latencies.airtime_s.size());
  for (const auto& of_expert : *input.holders) {
    for (const std::uint16_t device : of_expert) {
      devices = std::max(devices, std::size_t{device} + 1);
    }
  }
  return devices;
}

}  // namespace

void Ranks::build(const SelectionInput& input) {
  const Matrix<const float>& p = input.probabilities;
  held_.clear();
  held_.reserve(p.cols);
  for (std::size_t expert = 0; expert < p.cols; ++expert) {
    if (!(*input.holders)[expert].empty()) held_.push_back(static_cast<std::uint16_t>(expert));
  }
  all_held_ = held_.size() == p.cols;
  const std::size_t wanted = std::max(2 * input.top_k, input.top_k + kSubstitutes);
  rows_ = p.rows;
  all_experts_ = p.cols;
  width_ = std::min({held_.size(), wanted, kMaxRanks});
  keys_.resize(std::max(width_, input.top_k));
  ranked_.resize(rows_ * width_);
  top_mass_.resize(rows_);
  top_squares_.resize(rows_);
  own_.resize(rows_);
  for (std::size_t row = 0; row < rows_; ++row) rank_row(p.row(row), row, input.top_k);
}

void Ranks::rank_row(const float* probability, std::size_t row, std::size_t top_k) {
  std::size_t count = 0;
  if (held_.size() == 8 && width_ == 8) {
    for (const std::uint16_t expert : held_) {
      keys_[count++] = key_of(clean(probability[expert]), expert);
    }
    sort_8(keys_.data());
  } else {
    for (const std::uint16_t expert : held_) {
      insert_key(key_of(clean(probability[expert]), expert), keys_.data(), count, width_);
    }
  }
  Ranked* const ranked = ranked_.data() + row * width_;
  std::transform(keys_.data(), keys_.data() + count, ranked, ranked_from);

  if (!all_held_) {  // the mass is relative to the gate's own choice, whoever holds it
    count = 0;
    for (std::size_t expert = 0; expert < all_experts_; ++expert) {
      const auto number = static_cast<std::uint16_t>(expert);
      insert_key(key_of(clean(probability[expert]), number), keys_.data(), count, top_k);
    }
  }
  double mass = 0, squares = 0;
  std::size_t own = 0;
  for (std::size_t k = 0; k < std::min(count, top_k); ++k) {
    const Ranked chosen = ranked_from(keys_[k]);
    mass += static_cast<double>(chosen.probability);
    squares += static_cast<double>(chosen.probability) * static_cast<double>(chosen.probability);
    own += own < width_ && ranked[own].expert == chosen.expert ? 1 : 0;
  }
  top_mass_[row] = mass;
  top_squares_[row] = squares;
  own_[row] = static_cast<std::uint16_t>(own);
}

void Loads::reset(const SelectionInput& input) {
  const Latencies& latencies = input.latencies;
  const std::size_t devices = count_devices(input);
  copy_costs(latencies.fixed_s, devices, fixed_);
  copy_costs(latencies.per_row_s, devices, per_row_);
  copy_costs(latencies.airtime_s, devices, airtime_of_);
  copy_costs(latencies.air_per_choice_s, devices, air_per_choice_);
  copy_costs(latencies.air_fixed_s, devices, air_fixed_);
  experts_ = input.holders->size();
  const Matrix<const double>& choice = latencies.per_choice_s;
  per_choice_.assign(choice.rows == 0 ? 0 : devices * experts_, 0.0);
  for (std::size_t device = 0; device < std::min(devices, choice.rows); ++device) {
    for (std::size_t expert = 0; expert < std::min(experts_, choice.cols); ++expert) {
      per_choice_[device * experts_ + expert] = clean(choice.row(device)[expert]);
    }
  }
  priced_ = choice.rows > 0 || !latencies.fixed_s.empty() || !latencies.per_row_s.empty() ||
            !latencies.airtime_s.empty();
  has_medium_ = !latencies.airtime_s.empty();
  busy_.resize(devices);
  rows_.resize(devices);
  clear();
}

void Loads::clear() {
  std::fill(busy_.begin(), busy_.end(), 0.0);
  std::fill(rows_.begin(), rows_.end(), 0u);
  airtime_ = 0;
}

double Loads::latency() const {
  double latest = airtime_;
  for (const double seconds : busy_) latest = std::max(latest, seconds);
  return latest;
}

std::size_t Loads::busiest() const {
  return static_cast<std::size_t>(std::max_element(busy_.begin(), busy_.end()) - busy_.begin());
}

double Loads::seconds_of_one(std::size_t device, const Holders& holders) const {
  double choices = 0;
  std::size_t held = 0;
  if (!per_choice_.empty()) {
    for (std::size_t expert = 0; expert < holders.size(); ++expert) {
      const auto& of_expert = holders[expert];
      if (std::find(of_expert.begin(), of_expert.end(), device) == of_expert.end()) continue;
      choices += per_choice(device, expert);
      ++held;
    }
  }
  return fixed_[device] + per_row_[device] + (held ? choices / static_cast<double>(held) : 0.0);
}

void HolderTable::build(const Holders& holders) {
  start_.clear();
  devices_.clear();
  masks_.clear();
  start_.reserve(holders.size() + 1);
  masks_.reserve(holders.size());
  for (const auto& of_expert : holders) {
    std::uint64_t mask = 0;
    for (const std::uint16_t device : of_expert) mask |= device_bit(device);
    masks_.push_back(mask);
    start_.push_back(static_cast<std::uint32_t>(devices_.size()));
    devices_.insert(devices_.end(), of_expert.begin(), of_expert.end());
  }
  start_.push_back(static_cast<std::uint32_t>(devices_.size()));
}

void Problem::prepare(const SelectionInput& in) {
  WDMOE_CHECK(in.holders != nullptr && in.holders->size() == in.probabilities.cols);
  WDMOE_CHECK(in.top_k >= 1 && in.top_k <= in.probabilities.cols);
  WDMOE_CHECK(in.probabilities.cols <= 0xffff);
  input = &in;
  holders.build(*in.holders);
  ranks.build(in);
  loads.reset(in);
}

double Problem::floor_of(std::size_t row) const {
  if (row >= input->row_quality.size()) return 0;
  const auto floor = static_cast<double>(input->row_quality[row]);
  return floor > 0 ? std::min(floor, 1.0) : 0.0;
}

}  // namespace wdmoe::bsd
