// Selection policies: time per layer, random gates over a cell of unequal devices.
// Run by hand: build/release/tests/bench/policy_bench  (items: rows per second)
#include <random>
#include <string>

#include <benchmark/benchmark.h>

#include "bsd/moe/catalogue.h"
#include "tests/bsd/moe/certificates.h"
#include "tests/bsd/moe/random_cell.h"

using namespace wdmoe::bsd;

namespace {

constexpr std::size_t kBatches = 16;  // different inputs, so that no branch is learnt by heart

void select_layers(benchmark::State& state, const std::string& name, const CellShape& shape,
                   double quality) {
  std::mt19937 random(1);
  std::vector<RandomCell> cells;
  for (std::size_t i = 0; i < kBatches; ++i) cells.emplace_back(shape, random);
  std::vector<SelectionInput> inputs;
  for (const RandomCell& cell : cells) inputs.push_back(cell.input());
  const auto policy = make_policy(name, {quality}).value();
  Selection selection;
  for (const SelectionInput& input : inputs) {  // the answer first, which also warms up
    policy->select(input, selection);
    if (!is_valid(input, selection)) return state.SkipWithError("invalid selection");
  }
  std::size_t batch = 0;
  double kept = 0, latency = 0;
  for (auto _ : state) {
    policy->select(inputs[batch++ % kBatches], selection);
    benchmark::DoNotOptimize(selection.data());
  }
  const auto top_k = make_top_k_policy();
  for (const SelectionInput& input : inputs) {
    policy->select(input, selection);
    kept += kept_gate_mass(input, selection) / kBatches;
    const double ours = predicted_latency(input, selection);
    top_k->select(input, selection);
    latency += ours / predicted_latency(input, selection) / kBatches;
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(shape.rows));
  state.counters["kept"] = kept;
  state.counters["latency_vs_topk"] = latency;
}

struct Setting {
  const char* name;
  CellShape shape;
};

constexpr Setting kSettings[] = {
    {"1x8_8dev", {1, 8, 8, 2}},
    {"8x8_8dev", {8, 8, 8, 2}},
    {"512x8_8dev", {512, 8, 8, 2}},
    {"512x8_4dev_all", {512, 8, 4, 2, true, false, true, true, true}},
    {"512x128_32dev", {512, 128, 32, 8}},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Setting& setting : kSettings) {
    for (const PolicyEntry& entry : policies()) {
      const std::string name(entry.name);
      const bool knob = name == "minmax";
      for (const double quality : {-1.0, 0.95, 0.8, 0.0}) {
        if (quality >= 0 && !knob) continue;
        std::string title = setting.name;
        title += '/';
        title += name;
        if (knob && quality >= 0) title.append(1, '/').append(std::to_string(quality), 0, 4);
        benchmark::RegisterBenchmark(title.c_str(), [=, &setting](benchmark::State& state) {
          select_layers(state, name, setting.shape, quality);
        });
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
