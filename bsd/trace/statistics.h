#pragma once
// What a trace says about its model: popularity, co-activation, entropy and temporal locality of
// the experts, layer by layer.  Pure, but for the reader; `wdmoe plan` builds on it.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "bsd/trace/reader.h"
#include "bsd/trace/record.h"
#include "common/result.h"

namespace wdmoe::bsd::trace {

/// Sums over the rows of one layer; the functions below make shares of them.
struct LayerStatistics {
  SelectionTally tally;  ///< rows, kept gate mass, drops and substitutions
  std::uint64_t choices = 0;
  std::vector<std::uint64_t> chosen;    ///< [experts] rows that were sent to each
  std::vector<double> probability;      ///< [experts] gate probability, summed
  std::vector<std::uint64_t> together;  ///< [experts, experts] rows that chose both; symmetric
  double entropy_bits = 0;              ///< of each row's gate probabilities, summed
  std::uint64_t followed = 0;           ///< choices whose sequence's previous token is in the trace
  std::uint64_t repeated = 0;           ///< … and was sent to the same expert

  /// [experts] share of all choices; sums to 1.  Even where nothing was chosen.
  std::vector<double> popularity() const;
  /// Entropy of popularity(), in bits: log2(experts) for a balanced layer.
  double load_entropy_bits() const;
  /// repeated / followed: how often a choice is the previous token's too; 0 where none followed.
  double locality() const;
  /// What locality() would be if tokens of this popularity came in random order:
  /// sum_e r_e^2 / sum_e r_e,  r_e = chosen(e) / tally.rows.
  double locality_by_chance() const;
};

class Statistics {
 public:
  explicit Statistics(const Header& header);

  /// Takes one record in.  Tokens of a sequence are expected in order.
  void add(const Record& record);

  const std::vector<LayerStatistics>& layers() const { return layers_; }
  std::uint64_t steps() const { return steps_; }  ///< forward passes
  std::uint64_t tokens() const { return layers_.empty() ? 0 : layers_.front().tally.rows; }
  std::uint64_t sequences() const { return sequences_seen_; }

 private:
  struct Last {  // of one sequence and layer
    std::uint32_t next = 0;
    std::vector<std::uint16_t> experts;
  };
  void add_row(LayerStatistics& layer, const float* probability, Span<const Choice> choices);
  void follow(LayerStatistics& layer, std::size_t index, const Run& run, std::uint32_t position,
              Span<const Choice> choices);

  const Header header_;
  std::vector<LayerStatistics> layers_;
  std::unordered_map<std::uint64_t, std::vector<Last>> sequences_;  // [layers] of each
  std::uint64_t steps_ = 0, sequences_seen_ = 0, last_step_ = 0;
  std::vector<float> scratch_;
};

/// Of all records that are left in `reader`.  Errors are the reader's.
Result<Statistics> read_statistics(Reader& reader);

}  // namespace wdmoe::bsd::trace
