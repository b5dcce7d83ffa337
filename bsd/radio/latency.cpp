#include "bsd/radio/latency.h"

#include <algorithm>
#include <limits>

namespace wdmoe::radio {

Bits payload(std::size_t hidden, double bits_per_element) {
  return Bits(bits_per_element * static_cast<double>(hidden));
}

Flops work(const ExpertShape& shape) {
  const auto m = static_cast<double>(shape.hidden), m_h = static_cast<double>(shape.ffn);
  return Flops(4 * m * m_h + 2 * m_h * m + shape.activation_flops * m_h + m_h);
}

static Seconds transfer_time(Bits amount, BitsPerSecond rate) {
  if (!(amount.value() > 0)) return Seconds(0);
  if (!(rate.value() > 0)) return Seconds(std::numeric_limits<double>::infinity());
  return amount / rate;
}

RowTimes row_times(Bits payload, BitsPerSecond down, BitsPerSecond up, Seconds compute) {
  return {transfer_time(payload, down), compute, transfer_time(payload, up)};
}

Seconds compute_per_row(Span<const ExpertVisits> experts, double rows) {
  Seconds total{0};
  for (const ExpertVisits& expert : experts) total += expert.rows * expert.compute_per_row;
  return total / rows;
}

LinearLatency summed(const RowTimes& row, Seconds round_trip) {
  return {round_trip, row.down + row.compute + row.up};
}

LinearLatency pipelined(const RowTimes& row, Seconds round_trip) {
  const Seconds slowest = std::max({row.down, row.compute, row.up});
  // The two faster stages, added directly: total minus slowest would cancel (and be NaN if
  // endless).
  const Seconds middle =
      std::max(std::min(row.down, row.compute), std::min(std::max(row.down, row.compute), row.up));
  const Seconds fastest = std::min({row.down, row.compute, row.up});
  return {round_trip + middle + fastest, slowest};
}

Seconds airtime(const RowTimes& row_alone) {
  return row_alone.down + row_alone.up;
}

Seconds waiting_latency(Span<const DeviceRows> devices) {
  Seconds busy{0}, slowest{0};
  for (const DeviceRows& device : devices) {
    if (!(device.rows > 0)) continue;
    busy += device.rows * device.airtime;
    slowest = std::max(slowest, device.latency.at(device.rows));
  }
  return std::max(busy, slowest);
}

}  // namespace wdmoe::radio
