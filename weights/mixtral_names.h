#pragma once
// Where Mixtral's experts lie in a checkpoint: the one place that knows both layouts on disk.
//   v4: model.layers.L.block_sparse_moe.experts.E.{w1=gate, w2=down, w3=up}.weight
//   v5: model.layers.L.mlp.experts.gate_up_proj [E, 2·ffn, hidden], .down_proj [E, hidden, ffn]

#include <cstddef>
#include <string>
#include <vector>

#include "common/expert.h"
#include "weights/checkpoint.h"

namespace wdmoe::weights {

struct ExpertShape {
  std::size_t hidden = 0, ffn = 0;
};

/// How a checkpoint names its experts; `none`: it holds no experts.
enum class Layout { none, v4, v5 };
Layout layout_of(const Checkpoint& checkpoint);

/// The names of one expert's tensors in the v4 layout, which our shards are written in.
struct ExpertNames {
  std::string gate, up, down;
};
ExpertNames expert_names(std::size_t layer, std::size_t expert);

/// The weights of expert `expert` of `layer`, from either layout; not_found if the file lacks it.
Result<ExpertWeights> find_expert(const Checkpoint& checkpoint, std::size_t layer,
                                  std::size_t expert, ExpertShape shape);

/// Name of the gate's weight [experts, hidden] of `layer`, in whichever layout the checkpoint has.
std::string gate_name(const Checkpoint& checkpoint, std::size_t layer);

/// 64 hex digits that tell models apart: SHA-256 over config.json's model keys, every tensor's
/// name, dtype and shape, all tensors up to 1 MiB whole and the first 4 KiB of larger ones, in name
/// order. Equal for a checkpoint however it is cut into files.  Cheap: reads a few MiB of a large
/// model. A shard answers with its manifest's id: that of the checkpoint it was cut from.
Result<std::string> model_id(const Checkpoint& checkpoint);

}  // namespace wdmoe::weights
