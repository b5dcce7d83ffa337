#pragma once
// In which pieces and in what order the rows of a layer leave, and how many may be on their way to
// one device.  Pure.  On a medium that all devices share, sending in the right order does more than
// dividing rates: the whole takes until the last answer is back, so whoever needs longest after its
// rows have arrived comes first.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bsd/fleet/parcels.h"
#include "bsd/radio/link_state.h"
#include "common/span.h"

namespace wdmoe::bsd {

/// A run of one parcel's rows that travels in one message.
struct Piece {
  std::uint16_t device = 0;
  std::uint32_t first = 0, rows = 0;  ///< within the parcel
};

/// Bytes of one message, about: at 2 Mbit/s, others wait 65 ms for it.
constexpr std::size_t kPieceBytes = 16 * 1024;
/// Fewer rows would make a device read its weights too often for too little work.
constexpr std::size_t kLeastPieceRows = 8;
/// Under way to one device: fewer than its queue holds (wire::SocketOptions::high_water).
constexpr std::size_t kMostPieces = 8;

/// Rows of a piece, at most.  Depends on nothing that is measured, so that the same batch is cut,
/// and summed, in the same way each time.
std::size_t most_piece_rows(std::size_t row_bytes);

/// Every active parcel in pieces of nearly equal size, none of more than `most_rows` (> 0) rows; by
/// device, then by row.  Reuses the memory of `pieces`.
void cut_parcels(const Parcels& parcels, std::size_t most_rows, std::vector<Piece>& pieces);

/// What a device takes from the arrival of rows until its answer is back:
/// seconds(rows) = fixed_s + rows * per_row_s.
struct Tail {
  double fixed_s = 0, per_row_s = 1;
};

/// Compute, the agent's queue, and the uplink.
Tail tail_of(const radio::LinkState& link, std::size_t row_bytes);

/// Indices of `pieces` (as cut) in the order of sending: the longest tail of what is left of its
/// parcel first (Jackson's rule, which minimises the time until the last answer when parcels are
/// whole); equal ones by device.  A device's pieces stay in the order of its rows.  `tails`
/// [devices].
void order_pieces(Span<const Piece> pieces, Span<const Tail> tails,
                  std::vector<std::uint32_t>& order);

/// Bytes that may be under way to a device, sent and not answered: what keeps its link and its
/// kernels busy, and no more, so that no queue stands in the access point.  Two pieces at least;
/// without a bound (but kMostPieces) until its downlink has been measured.
double window_bytes(const radio::LinkState& link, std::size_t piece_rows, std::size_t row_bytes);

}  // namespace wdmoe::bsd
