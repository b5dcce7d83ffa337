#include "bsd/fleet/send_order.h"

#include <algorithm>
#include <limits>

#include "common/check.h"

namespace wdmoe::bsd {
namespace {

constexpr double kNoWindow = std::numeric_limits<double>::max();

/// Rows of the parcel from this piece on.
std::uint32_t rows_left(Span<const Piece> pieces, std::size_t index) {
  std::size_t last = index;
  while (last + 1 < pieces.size() && pieces[last + 1].device == pieces[index].device) ++last;
  return pieces[last].first + pieces[last].rows - pieces[index].first;
}

}  // namespace

std::size_t most_piece_rows(std::size_t row_bytes) {
  return std::max(kLeastPieceRows, kPieceBytes / row_bytes);
}

void cut_parcels(const Parcels& parcels, std::size_t most_rows, std::vector<Piece>& pieces) {
  WDMOE_CHECK(most_rows > 0);
  pieces.clear();
  for (const std::uint16_t device : parcels.active) {
    const std::size_t rows = parcels.of_device[device].rows.size();
    const std::size_t count = (rows + most_rows - 1) / most_rows;
    for (std::size_t piece = 0; piece < count; ++piece) {
      const std::size_t first = rows * piece / count, end = rows * (piece + 1) / count;
      pieces.push_back(
          {device, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)});
    }
  }
}

Tail tail_of(const radio::LinkState& link, std::size_t row_bytes) {
  if (!link.known) return {};  // first, so that it is known soon
  const double uplink_s = link.up.rate_bps > 0
                              ? 8.0 * static_cast<double>(row_bytes) / link.up.rate_bps
                              : link.link.per_row_s / 2;
  return {link.agent_queue_s + link.compute.fixed_s + link.base_rtt_s / 2,
          link.compute.per_row_s + uplink_s};
}

void order_pieces(Span<const Piece> pieces, Span<const Tail> tails,
                  std::vector<std::uint32_t>& order) {
  order.clear();
  for (std::uint32_t index = 0; index < pieces.size(); ++index) order.push_back(index);
  const auto tail = [&](std::uint32_t index) {
    const Tail& of = tails[pieces[index].device];
    return of.fixed_s + of.per_row_s * rows_left(pieces, index);
  };
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const double tail_a = tail(a), tail_b = tail(b);
    return tail_a != tail_b ? tail_a > tail_b : a < b;  // cut order: by device, then by row
  });
}

double window_bytes(const radio::LinkState& link, std::size_t piece_rows, std::size_t row_bytes) {
  const double rows = static_cast<double>(piece_rows);
  const double piece = rows * static_cast<double>(row_bytes);
  if (!link.known || !link.down.measured) return kNoWindow;
  const double busy_s = link.base_rtt_s + link.compute.fixed_s + rows * link.compute.per_row_s;
  return 2 * piece + link.down.rate_bps / 8 * busy_s;
}

}  // namespace wdmoe::bsd
