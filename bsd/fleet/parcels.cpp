#include "bsd/fleet/parcels.h"

#include <algorithm>

#include "common/check.h"

namespace wdmoe::bsd {

Result<void> cut_by_device(const Selection& selection, std::size_t devices, Parcels& parcels) {
  if (parcels.of_device.size() < devices) parcels.of_device.resize(devices);
  parcels.active.clear();
  for (Parcel& parcel : parcels.of_device) {
    parcel.rows.clear();
    parcel.assignments.clear();
  }
  for (const Choice& choice : selection) {
    if (choice.device >= devices)
      return fail(Code::unavailable, "expert " + std::to_string(choice.expert) +
                                         " has no agent: start one that holds it");
    Parcel& parcel = parcels.of_device[choice.device];
    if (parcel.rows.empty()) parcels.active.push_back(choice.device);
    if (parcel.rows.empty() || parcel.rows.back() != choice.row) {
      WDMOE_CHECK(parcel.rows.empty() || parcel.rows.back() < choice.row);
      parcel.rows.push_back(choice.row);
    }
    parcel.assignments.emplace_back(static_cast<std::uint32_t>(parcel.rows.size() - 1),
                                    choice.expert, std::uint16_t{0}, choice.weight);
  }
  std::sort(parcels.active.begin(), parcels.active.end());
  return {};
}

}  // namespace wdmoe::bsd
