#pragma once
// Bandwidth allocation: split a band among devices so that the slowest is done as early as
// possible,
//     min over shares  max_k  fixed_k + q_k·t_k       (the paper's bandwidth problem, solved
//     exactly)
// for loads q_k that selection has fixed.  Pure; solved when loads or links change, in
// microseconds. docs/allocation.md explains method and certificate.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bsd/radio/equalise.h"
#include "common/result.h"
#include "common/span.h"
#include "common/units.h"

namespace wdmoe::radio {

/// How directions and devices share the air.
enum class Medium : std::uint8_t {
  fdma_separate,  ///< downlink and uplink each have a band of `bandwidth`, split independently
  fdma_common,    ///< one split: B_k serves device k in both directions (the paper's)
  airtime,        ///< one band of `bandwidth` used in turns: time shares of all devices and both
                  ///< directions sum to 1; whoever has the turn has the whole band
};
std::string_view name_of(Medium medium);
Result<Medium> medium_from(std::string_view name);  ///< else bad_input listing the three names

/// One device's load and links.  Names in errors are those of `wdmoe allocate`'s JSON.
struct DeviceDemand {
  double tokens = 0;  ///< q_k: rows it must serve; 0 is idle; fractions are expected loads
  Watts power_dl, power_ul;
  double gain_dl = 0, gain_ul = 0;  ///< power gains g
  Seconds compute_per_token{0};     ///< L_comp / C_k
  Seconds fixed{0};                 ///< added once if it has tokens (a round trip); the paper: 0
};

struct AllocationProblem {
  Medium medium = Medium::fdma_common;
  Hertz bandwidth;
  WattsPerHertz noise;
  Bits bits_per_token;  ///< L_comm, each way
  Span<const DeviceDemand> devices;
};

/// In the airtime model the bandwidths are time share × band: what the device gets on average.
struct DeviceShare {
  Hertz bandwidth_dl, bandwidth_ul;
  Seconds latency{0};  ///< fixed + q·t(shares); 0 for an idle device, infinite without a share
};

struct Allocation {
  Seconds waiting_latency{0};  ///< max over devices; 0 if all are idle
  Span<const DeviceShare> devices;
  int iterations = 0;   ///< steps of the solver's outer loop
  bool nested = false;  ///< the fast solver gave way to the slow one (never seen)
};

constexpr std::size_t kMaxDevices = 65536;  // beyond any cell; bounds memory and time of a solve

/// Solves allocation problems; keeps its memory, so that a solve no larger than an earlier one does
/// not allocate.  Not for two threads at once.
class Allocator {
 public:
  /// The optimum; its spans live until the next call.  Every loaded device finishes at the same
  /// time and the band is used up (more bandwidth always helps, so nothing is ever left over, even
  /// when compute is what everybody waits for); idle devices get nothing.
  /// Errors: bad_input (a value that is not finite or out of range: names device and field), limit
  /// (too many devices), unavailable (tokens for a device without a link: names it).
  Result<Allocation> solve(const AllocationProblem& problem);

  /// The vanilla baseline: every device, idle or not, gets the same share; in the airtime model so
  /// does each direction.
  Result<Allocation> split_equally(const AllocationProblem& problem);

 private:
  void normalise(const AllocationProblem& problem);
  Allocation conclude(const AllocationProblem& problem);

  std::vector<DeviceShare> shares_;
  std::vector<LoadedDevice> loaded_;
};

/// Checks every value of the problem and that loaded devices have links; the solver's errors.
Result<void> validate(const AllocationProblem& problem);

/// fixed + q·t for any shares: 0 for an idle device, infinite if it has tokens but no share.
Seconds finish_time(const AllocationProblem& problem, const DeviceDemand& device,
                    Hertz bandwidth_dl, Hertz bandwidth_ul);

/// The same where a device's rows overlap (pipelined() of latency.h).
Seconds pipelined_finish_time(const AllocationProblem& problem, const DeviceDemand& device,
                              Hertz bandwidth_dl, Hertz bandwidth_ul);

/// Transmission rates that shares give (bits per second, averaged over turns for airtime).
struct Rates {
  BitsPerSecond down, up;
};
Rates rates_of(const AllocationProblem& problem, const DeviceDemand& device, Hertz bandwidth_dl,
               Hertz bandwidth_ul);

}  // namespace wdmoe::radio
