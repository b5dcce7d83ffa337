// `wdmoe trace info`: what a recording says about its model.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bsd/trace/reader.h"
#include "bsd/trace/statistics.h"
#include "cli/trace_commands.h"

namespace wdmoe::cli {
namespace {

using bsd::trace::Header;
using bsd::trace::LayerStatistics;
using bsd::trace::Statistics;
using nlohmann::json;

struct TraceInfoOptions {
  std::string file, output = "table";
};

/// Per row; 0 without rows.
double mean(double sum, const LayerStatistics& layer) {
  return layer.tally.rows == 0 ? 0.0 : sum / static_cast<double>(layer.tally.rows);
}

json layer_json(std::size_t index, const LayerStatistics& layer, std::size_t experts) {
  json probability = json::array(), together = json::array();
  for (std::size_t expert = 0; expert < experts; ++expert) {
    probability.push_back(mean(layer.probability[expert], layer));
    const auto row = layer.together.begin() + static_cast<std::ptrdiff_t>(expert * experts);
    together.push_back(std::vector<std::uint64_t>(row, row + static_cast<std::ptrdiff_t>(experts)));
  }
  return {{"layer", index},
          {"rows", layer.tally.rows},
          {"choices", layer.choices},
          {"popularity", layer.popularity()},
          {"mean_probability", std::move(probability)},
          {"co_activation", std::move(together)},
          {"gate_entropy_bits", mean(layer.entropy_bits, layer)},
          {"load_entropy_bits", layer.load_entropy_bits()},
          {"locality", layer.locality()},
          {"locality_by_chance", layer.locality_by_chance()},
          {"kept_gate_mass", mean(layer.tally.kept, layer)},
          {"experts_dropped", layer.tally.drops},
          {"experts_substituted", layer.tally.substitutions}};
}

/// "3+7 (12 %)": the pair that most rows chose together.
std::string closest_pair(const LayerStatistics& layer, std::size_t experts) {
  const auto most = std::max_element(layer.together.begin(), layer.together.end());
  if (most == layer.together.end() || *most == 0) return "-";
  const auto at = static_cast<std::size_t>(most - layer.together.begin());
  return fmt::format("{}+{} ({:.0f} %)", at / experts, at % experts,
                     100 * mean(static_cast<double>(*most), layer));
}

json trace_json(const Header& header, const Statistics& statistics, bool truncated) {
  json layers = json::array();
  for (std::size_t index = 0; index < statistics.layers().size(); ++index)
    layers.push_back(layer_json(index, statistics.layers()[index], header.experts));
  return {
      {"model_id", header.model_id},
      {"shape", {{"layers", header.layers}, {"experts", header.experts}, {"top_k", header.top_k}}},
      {"steps", statistics.steps()},
      {"tokens", statistics.tokens()},
      {"sequences", statistics.sequences()},
      {"truncated", truncated},
      {"layers", std::move(layers)}};
}

std::string trace_table(const Header& header, const Statistics& statistics, bool truncated) {
  std::string text = fmt::format(
      "model {}: {} layers of {} experts, top {}\n{} tokens of {} sequences in {} passes{}\n\n",
      header.model_id.substr(0, 12), header.layers, header.experts, header.top_k,
      statistics.tokens(), statistics.sequences(), statistics.steps(),
      truncated ? "; the file stops in the middle of a recording" : "");
  text +=
      fmt::format("{:>5} {:>12} {:>12} {:>16} {:>14} {:>9} {:>10} {:>6}\n", "layer", "gate entropy",
                  "load entropy", "most popular", "closest pair", "locality", "by chance", "kept");
  for (std::size_t index = 0; index < statistics.layers().size(); ++index) {
    const LayerStatistics& layer = statistics.layers()[index];
    const std::vector<double> popularity = layer.popularity();
    const auto most = std::max_element(popularity.begin(), popularity.end());
    text += fmt::format("{:>5} {:>12.2f} {:>12.2f} {:>16} {:>14} {:>9.2f} {:>10.2f} {:>6.3f}\n",
                        index, mean(layer.entropy_bits, layer), layer.load_entropy_bits(),
                        fmt::format("{} ({:.1f} %)", most - popularity.begin(), 100 * *most),
                        closest_pair(layer, header.experts), layer.locality(),
                        layer.locality_by_chance(), mean(layer.tally.kept, layer));
  }
  return text + fmt::format(
                    "\nentropy in bits, at most {:.2f}; locality: how often a token's expert is "
                    "the previous token's too\n",
                    std::log2(static_cast<double>(header.experts)));
}

Result<int> run_trace_info(const TraceInfoOptions& options) {
  auto reader = bsd::trace::Reader::open(options.file);
  if (!reader) return tl::unexpected<Error>(reader.error());
  const auto statistics = bsd::trace::read_statistics(**reader);
  if (!statistics) return tl::unexpected<Error>(statistics.error());
  const bool truncated = (*reader)->truncated();
  const std::string text =
      options.output == "json"
          ? trace_json((*reader)->header(), *statistics, truncated).dump(2) + "\n"
          : trace_table((*reader)->header(), *statistics, truncated);
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

void add_trace_info(CommandGroup& commands) {
  auto options = std::make_shared<TraceInfoOptions>();
  CLI::App& command = commands.add("info", "Popularity, co-activation, entropy and locality",
                                   [options] { return run_trace_info(*options); });
  command.add_option("file", options->file, "recording of wdmoe trace record")->required();
  command.add_option("-o,--output", options->output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
}

}  // namespace wdmoe::cli
