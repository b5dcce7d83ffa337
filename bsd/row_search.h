#pragma once
// The last step of a joint decision for small layers, where a row more or less is no small change
// and linear prices mislead: tries every choice of one row after the other at its true latency.

#include <cstdint>
#include <functional>
#include <vector>

#include "bsd/moe/metrics.h"
#include "bsd/moe/problem.h"
#include "bsd/moe/selection.h"

namespace wdmoe::bsd {

class RowSearch {
 public:
  /// What the layer waits for under these loads (one per device) once the band is shared out for
  /// them; infinite if that is impossible.
  using Judge = std::function<double(Span<const DeviceLoad>)>;
  explicit RowSearch(Judge judge) : judge_(std::move(judge)) {}

  static constexpr std::size_t kMostRows = 8;
  /// Most sets of experts (each at any of its holders) of a row; 8 experts, top-2 have 36.
  static constexpr std::size_t kMostOptions = 128;
  /// Most sets looked at for one row on the way; a few times what kMostOptions can need.
  static constexpr std::size_t kMostVisits = 8192;
  static constexpr int kPasses = 4;  ///< over the rows; random cells need 1 to 3

  /// Lists the options of every row.  False: the layer is too large, run() must not be called.
  bool prepare(const SelectionInput& input, std::size_t devices);

  /// Changes rows of `selection` (ordered by row, valid for the input; `latency` is its judgement)
  /// while that lowers the latency, or keeps more mass at the same.  The mean kept gate mass stays
  /// at or above `quality`, or where it is if that is less, and rows at their floors.  Returns the
  /// latency of the result.  Exact for one row.
  double run(double quality, double latency, Selection& selection);

  /// Sets looked at by the last prepare(): at most kMostVisits for each row.
  std::size_t visits() const { return visits_; }

 private:
  struct Option {
    double kept;  // share of its row's top-k mass
    std::uint32_t first, count;
  };
  struct Member {
    std::uint16_t expert, device;
    float probability;
  };
  bool list_options(std::size_t row);
  void extend(std::size_t row, std::size_t rank, double mass);
  double most_mass(std::size_t row, std::size_t rank, double mass) const;
  bool listing() const;
  void place(const Option& option, int sign);
  std::size_t option_of(std::size_t row, const Selection& selection, std::size_t& index) const;
  bool improve_row(std::size_t row, double least_kept, double& latency);
  void write(Selection& selection) const;

  Judge judge_;
  Problem problem_;
  std::vector<std::uint32_t> row_start_;  // [rows + 1] into options_
  std::vector<Option> options_;
  std::vector<Member> members_;    // of all options, one after the other
  std::vector<Member> building_;   // of the option being listed
  std::vector<std::size_t> now_;   // [rows] option in use
  std::vector<DeviceLoad> loads_;  // [devices] of the options in use
  double kept_ = 0;                // summed over the rows
  std::size_t devices_ = 0;
  std::size_t visits_ = 0, visits_before_ = 0;  // before: in earlier rows
};

}  // namespace wdmoe::bsd
