#include "bsd/radio/allocate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

#include "bsd/radio/latency.h"
#include "bsd/radio/link.h"

namespace wdmoe::radio {
namespace {

constexpr Medium kMedia[] = {Medium::fdma_separate, Medium::fdma_common, Medium::airtime};

// Bounds that keep every intermediate of the solver finite; far outside of any radio.
constexpr double kLargest = 1e15;        // tokens, seconds, hertz, bits
constexpr double kSmallestLoad = 1e-12;  // tokens, unless 0
constexpr double kSmallestBand = 1e-3;   // hertz
constexpr double kWeakest = 1e-30;       // SNR over the whole band
constexpr double kStrongest = 1e30;

/// SNR of one direction if the device had the whole band.
double whole_band_snr(const AllocationProblem& problem, Watts power, double gain) {
  return make_link(power, gain, problem.noise).strength / problem.bandwidth;
}

/// Rate over the whole band, for the device whose turn it is.
BitsPerSecond whole_band_rate(const AllocationProblem& problem, Watts power, double gain) {
  return rate_of(make_link(power, gain, problem.noise), problem.bandwidth);
}

std::string device_name(std::size_t device) {
  return "device " + std::to_string(device);
}

Result<void> check_range(std::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return {};  // false for NaN
  char text[96];
  std::snprintf(text, sizeof text, " is %g, expected a number from %g to %g", value, low, high);
  return fail(Code::bad_input, std::string(name) + text);
}

Result<void> check_direction(const AllocationProblem& problem, std::size_t device, bool down) {
  const DeviceDemand& demand = problem.devices[device];
  const Watts power = down ? demand.power_dl : demand.power_ul;
  const double gain = down ? demand.gain_dl : demand.gain_ul;
  const double snr = whole_band_snr(problem, power, gain);
  if (snr >= kWeakest && snr <= kStrongest) return {};
  const std::string suffix = down ? "dl" : "ul";
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%g", snr);
  const std::string found = "power_" + suffix + "_w x gain_" + suffix + " gives SNR " + ratio;
  if (snr > kStrongest)
    return fail(Code::bad_input, device_name(device) + ": " + found + ", expected at most 1e30");
  return fail(Code::unavailable, device_name(device) + " has tokens but no " +
                                     (down ? "downlink" : "uplink") + " (" + found +
                                     "): send its tokens elsewhere or give it a link");
}

Result<void> check_values(const DeviceDemand& demand, std::size_t device) {
  struct Field {
    const char* name;
    double value;
  };
  const Field fields[] = {{"tokens", demand.tokens},
                          {"power_dl_w", demand.power_dl.value()},
                          {"power_ul_w", demand.power_ul.value()},
                          {"gain_dl", demand.gain_dl},
                          {"gain_ul", demand.gain_ul},
                          {"compute_s_per_token", demand.compute_per_token.count()},
                          {"fixed_s", demand.fixed.count()}};
  for (const Field& field : fields)
    if (!(field.value >= 0 && field.value <= kLargest))
      return check_range(device_name(device) + ": " + field.name, field.value, 0, kLargest);
  if (demand.tokens > 0 && demand.tokens < kSmallestLoad)
    return fail(Code::bad_input, device_name(device) + ": tokens is neither 0 nor at least 1e-12");
  return {};
}

}  // namespace

std::string_view name_of(Medium medium) {
  switch (medium) {
    case Medium::fdma_separate:
      return "fdma_separate";
    case Medium::fdma_common:
      return "fdma_common";
    case Medium::airtime:
      return "airtime";
  }
  return "unknown";
}

Result<Medium> medium_from(std::string_view name) {
  for (const Medium medium : kMedia)
    if (name == name_of(medium)) return medium;
  std::string text("'");
  text.append(name).append("' is no model: expected fdma_separate, fdma_common or airtime");
  return fail(Code::bad_input, std::move(text));
}

Result<void> validate(const AllocationProblem& problem) {
  if (problem.devices.size() > kMaxDevices)
    return fail(Code::limit, std::to_string(problem.devices.size()) + " devices, at most " +
                                 std::to_string(kMaxDevices) + " are supported");
  WDMOE_TRY(check_range("bandwidth_hz", problem.bandwidth.value(), kSmallestBand, kLargest));
  WDMOE_TRY(check_range("noise_w_per_hz", problem.noise.value(), 1e-40, kLargest));
  WDMOE_TRY(check_range("bits_per_token", problem.bits_per_token.value(), 1e-3, kLargest));
  for (std::size_t device = 0; device < problem.devices.size(); ++device)
    WDMOE_TRY(check_values(problem.devices[device], device));
  for (std::size_t device = 0; device < problem.devices.size(); ++device) {
    if (!(problem.devices[device].tokens > 0)) continue;
    WDMOE_TRY(check_direction(problem, device, true));
    WDMOE_TRY(check_direction(problem, device, false));
  }
  return {};
}

Rates rates_of(const AllocationProblem& problem, const DeviceDemand& device, Hertz bandwidth_dl,
               Hertz bandwidth_ul) {
  if (problem.medium == Medium::airtime)
    return {whole_band_rate(problem, device.power_dl, device.gain_dl) *
                (bandwidth_dl / problem.bandwidth),
            whole_band_rate(problem, device.power_ul, device.gain_ul) *
                (bandwidth_ul / problem.bandwidth)};
  return {rate_of(make_link(device.power_dl, device.gain_dl, problem.noise), bandwidth_dl),
          rate_of(make_link(device.power_ul, device.gain_ul, problem.noise), bandwidth_ul)};
}

Seconds finish_time(const AllocationProblem& problem, const DeviceDemand& device,
                    Hertz bandwidth_dl, Hertz bandwidth_ul) {
  if (!(device.tokens > 0)) return Seconds(0);
  const Rates rates = rates_of(problem, device, bandwidth_dl, bandwidth_ul);
  if (!(rates.down.value() > 0 && rates.up.value() > 0))
    return Seconds(std::numeric_limits<double>::infinity());
  // t_k = L_comm/R^dl + L_comm/R^ul + L_comp/C_k
  const Seconds token = problem.bits_per_token / rates.down + problem.bits_per_token / rates.up +
                        device.compute_per_token;
  return device.fixed + device.tokens * token;
}

Seconds pipelined_finish_time(const AllocationProblem& problem, const DeviceDemand& device,
                              Hertz bandwidth_dl, Hertz bandwidth_ul) {
  const Rates rates = rates_of(problem, device, bandwidth_dl, bandwidth_ul);
  const RowTimes row =
      row_times(problem.bits_per_token, rates.down, rates.up, device.compute_per_token);
  return pipelined(row, device.fixed).at(device.tokens);
}

void Allocator::normalise(const AllocationProblem& problem) {
  loaded_.clear();
  loaded_.reserve(problem.devices.size());  // another time more of them may be loaded
  double slowest_floor = 0;
  for (const DeviceDemand& demand : problem.devices) {
    if (!(demand.tokens > 0)) continue;
    LoadedDevice k{};
    const double bits = demand.tokens * problem.bits_per_token.value();
    double floor = (demand.fixed + demand.tokens * demand.compute_per_token).count();
    if (problem.medium == Medium::airtime) {
      // floors hold the time alone on the air; the best split between directions is by square root
      k.dl_floor = bits / whole_band_rate(problem, demand.power_dl, demand.gain_dl).value();
      k.ul_floor = bits / whole_band_rate(problem, demand.power_ul, demand.gain_ul).value();
      const double root = std::sqrt(k.dl_floor) + std::sqrt(k.ul_floor);
      k.cost = root * root;
    } else {
      k.dl_snr = whole_band_snr(problem, demand.power_dl, demand.gain_dl);
      k.ul_snr = whole_band_snr(problem, demand.power_ul, demand.gain_ul);
      const double unit = bits * std::numbers::ln2 / problem.bandwidth.value();
      k.dl_floor = unit / k.dl_snr;
      k.ul_floor = unit / k.ul_snr;
      floor += k.dl_floor + k.ul_floor;
    }
    k.gap = floor;
    slowest_floor = std::max(slowest_floor, floor);
    loaded_.push_back(k);
  }
  for (LoadedDevice& k : loaded_) k.gap = slowest_floor - k.gap;
}

/// Shares the airtime: device k needs (√a + √b)² / (T - floor_k) of it, a and b its times alone.
static Equalised equalise_airtime(Span<LoadedDevice> devices) {
  Equalised at;
  at.excess = balance(devices);
  for (LoadedDevice& k : devices) {
    const double down = std::sqrt(k.dl_floor), up = std::sqrt(k.ul_floor);
    const double all = k.cost / (at.excess + k.gap);
    k.dl_share = all * (down / (down + up));
    k.ul_share = all * (up / (down + up));
  }
  at.iterations = 1;
  at.converged = true;
  return at;
}

Allocation Allocator::conclude(const AllocationProblem& problem) {
  // Scaling by the sums removes the last rounding errors: the budget holds to an ulp or so.
  double down = 0, up = 0;
  for (const LoadedDevice& k : loaded_) {
    down += k.dl_share;
    up += k.ul_share;
  }
  if (problem.medium == Medium::airtime) down = up = down + up;
  shares_.clear();
  Allocation out;
  std::size_t next = 0;
  for (const DeviceDemand& demand : problem.devices) {
    DeviceShare share;
    if (demand.tokens > 0) {
      const LoadedDevice& k = loaded_[next++];
      share.bandwidth_dl = problem.bandwidth * (k.dl_share / down);
      share.bandwidth_ul = problem.bandwidth * (k.ul_share / up);
      share.latency = finish_time(problem, demand, share.bandwidth_dl, share.bandwidth_ul);
      out.waiting_latency = std::max(out.waiting_latency, share.latency);
    }
    shares_.push_back(share);
  }
  out.devices = shares_;
  return out;
}

Result<Allocation> Allocator::solve(const AllocationProblem& problem) {
  WDMOE_TRY(validate(problem));
  normalise(problem);
  Equalised at;
  bool nested = false;
  if (!loaded_.empty()) {
    const bool separate = problem.medium == Medium::fdma_separate;
    if (problem.medium == Medium::airtime) {
      at = equalise_airtime(loaded_);
    } else {
      at = separate ? equalise_separate(loaded_) : equalise_common(loaded_);
      nested = !at.converged;
      if (nested)
        at = separate ? equalise_separate_nested(loaded_) : equalise_common_nested(loaded_);
    }
  }
  Allocation out = conclude(problem);
  out.iterations = at.iterations;
  out.nested = nested;
  return out;
}

Result<Allocation> Allocator::split_equally(const AllocationProblem& problem) {
  WDMOE_TRY(validate(problem));
  double parts = static_cast<double>(problem.devices.size());
  if (problem.medium == Medium::airtime) parts *= 2;
  shares_.clear();
  Allocation out;
  for (const DeviceDemand& demand : problem.devices) {
    const Hertz each = problem.bandwidth / parts;
    shares_.push_back({each, each, finish_time(problem, demand, each, each)});
    out.waiting_latency = std::max(out.waiting_latency, shares_.back().latency);
  }
  out.devices = shares_;
  return out;
}

}  // namespace wdmoe::radio
