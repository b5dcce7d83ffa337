#include "bsd/trace/statistics.h"

#include <algorithm>
#include <cmath>

#include "bsd/moe/tally.h"

namespace wdmoe::bsd::trace {
namespace {

// Layers of sequences whose last token is remembered; beyond it all are forgotten, so a hostile or
// very long trace costs bounded memory.
constexpr std::size_t kMostRemembered = std::size_t{1} << 20;

double entropy_term(double p) {
  return p > 0 ? -p * std::log2(p) : 0.0;
}

}  // namespace

std::vector<double> LayerStatistics::popularity() const {
  std::vector<double> share(chosen.size(), 1.0 / static_cast<double>(chosen.size()));
  if (choices == 0) return share;
  for (std::size_t expert = 0; expert < share.size(); ++expert)
    share[expert] = static_cast<double>(chosen[expert]) / static_cast<double>(choices);
  return share;
}

double LayerStatistics::load_entropy_bits() const {
  double bits = 0;
  for (const double share : popularity()) bits += entropy_term(share);
  return bits;
}

double LayerStatistics::locality() const {
  return followed == 0 ? 0.0 : static_cast<double>(repeated) / static_cast<double>(followed);
}

double LayerStatistics::locality_by_chance() const {
  if (choices == 0) return 0;
  double sum = 0;
  for (const std::uint64_t count : chosen)
    sum += static_cast<double>(count) * static_cast<double>(count);
  return sum / (static_cast<double>(tally.rows) * static_cast<double>(choices));
}

Statistics::Statistics(const Header& header) : header_(header), layers_(header.layers) {
  for (LayerStatistics& layer : layers_) {
    layer.chosen.resize(header.experts);
    layer.probability.resize(header.experts);
    layer.together.resize(header.experts * header.experts);
  }
}

void Statistics::add(const Record& record) {
  if (steps_ == 0 || record.step != last_step_) ++steps_;
  last_step_ = record.step;
  LayerStatistics& layer = layers_[record.layer];
  std::size_t row = 0, next = 0;
  for (const Run& run : record.runs) {
    for (std::uint32_t i = 0; i < run.rows; ++i, ++row) {
      const std::size_t first = next;
      while (next < record.choices.size() && record.choices[next].row == row) ++next;
      const Span<const Choice> own = record.choices.subspan(first, next - first);
      add_row(layer, record.probabilities.row(row), own);
      follow(layer, record.layer, run, run.position + i, own);
    }
  }
}

void Statistics::add_row(LayerStatistics& layer, const float* probability,
                         Span<const Choice> choices) {
  for (std::size_t expert = 0; expert < header_.experts; ++expert) {
    layer.probability[expert] += static_cast<double>(probability[expert]);
    layer.entropy_bits += entropy_term(static_cast<double>(probability[expert]));
  }
  for (const Choice& choice : choices) {
    ++layer.choices;
    ++layer.chosen[choice.expert];
    for (const Choice& other : choices)
      if (other.expert != choice.expert)
        ++layer.together[choice.expert * header_.experts + other.expert];
  }
  layer.tally += tally_row({probability, header_.experts}, header_.top_k, choices, scratch_);
}

void Statistics::follow(LayerStatistics& layer, std::size_t index, const Run& run,
                        std::uint32_t position, Span<const Choice> choices) {
  if (sequences_.count(run.sequence) == 0) {
    if ((sequences_.size() + 1) * header_.layers > kMostRemembered) sequences_.clear();
    ++sequences_seen_;
  }
  auto& of_layers = sequences_[run.sequence];
  of_layers.resize(header_.layers);
  Last& last = of_layers[index];
  if (position == last.next && position > 0) {
    layer.followed += choices.size();
    for (const Choice& choice : choices)
      layer.repeated += static_cast<std::uint64_t>(
          std::find(last.experts.begin(), last.experts.end(), choice.expert) != last.experts.end());
  }
  last.next = position + 1;
  last.experts.clear();
  for (const Choice& choice : choices) last.experts.push_back(choice.expert);
}

Result<Statistics> read_statistics(Reader& reader) {
  Statistics statistics(reader.header());
  Record record;
  for (;;) {
    const auto more = reader.next(record);
    if (!more) return tl::unexpected<Error>(more.error());
    if (!*more) return statistics;
    statistics.add(record);
  }
}

}  // namespace wdmoe::bsd::trace
