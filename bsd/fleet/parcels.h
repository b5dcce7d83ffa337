#pragma once
// One layer's Selection, cut by device: which rows travel to whom (each once) and what each row
// asks there.  Pure.

#include <cstdint>
#include <vector>

#include "bsd/moe/selection.h"
#include "common/result.h"
#include "wire/messages.h"

namespace wdmoe::bsd {

/// What one device gets.
struct Parcel {
  std::vector<std::uint32_t> rows;          ///< rows of the batch, ascending
  std::vector<fb::Assignment> assignments;  ///< their `row` counts within `rows`
};

struct Parcels {
  std::vector<Parcel> of_device;      ///< [devices]; those not in `active` are stale
  std::vector<std::uint16_t> active;  ///< devices that get something, ascending
};

/// Cuts `selection` (ordered by row) for `devices` devices.  Reuses the memory of `parcels`.
/// unavailable: a choice names kNobody or a device that does not exist.
Result<void> cut_by_device(const Selection& selection, std::size_t devices, Parcels& parcels);

}  // namespace wdmoe::bsd
