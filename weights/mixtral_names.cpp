#include "weights/mixtral_names.h"

#include <algorithm>

#include "weights/manifest.h"
#include "weights/model_shape.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kWholeBelow = std::size_t{1} << 20;  // tensors hashed whole up to here …
constexpr std::size_t kPrefix = 4096;                      // … and by their first bytes beyond

std::string layer_prefix(std::size_t layer) {
  return "model.layers." + std::to_string(layer) + ".";
}

/// Rows of expert `expert` in a v5 tensor [experts, rows, cols].
Result<Tensor> fused_rows(const Checkpoint& checkpoint, const NamedTensor& tensor,
                          std::size_t expert, std::size_t rows, std::size_t cols) {
  const std::string where = checkpoint.path().string() + ": tensor '" + tensor.name + "'";
  const auto dtype = weight_dtype(tensor.dtype);
  if (!dtype)
    return fail(Code::unsupported, where + " is " + tensor.dtype + ", expected F32, F16 or BF16");
  const auto& shape = tensor.shape;
  if (shape.size() != 3 || shape[1] != rows || shape[2] != cols)
    return fail(Code::bad_input, where + " is " + shape_text(shape) + ", expected [experts, " +
                                     std::to_string(rows) + ", " + std::to_string(cols) + "]");
  if (expert >= shape[0])
    return fail(Code::not_found, where + " holds " + std::to_string(shape[0]) +
                                     " experts, expert " + std::to_string(expert) +
                                     " is not among them");
  const Tensor all{tensor.data.data(), *dtype, static_cast<std::size_t>(shape[0]) * rows, cols};
  return all.slice_rows(expert * rows, rows);
}

Result<ExpertWeights> fused_expert(const Checkpoint& checkpoint, const NamedTensor& gate_up,
                                   const std::string& down_name, std::size_t expert,
                                   ExpertShape shape) {
  const NamedTensor* down_tensor = checkpoint.find(down_name);
  if (down_tensor == nullptr)
    return fail(Code::not_found,
                checkpoint.path().string() + ": tensor '" + down_name + "' is missing");
  const auto both = fused_rows(checkpoint, gate_up, expert, 2 * shape.ffn, shape.hidden);
  if (!both) return tl::unexpected(both.error());
  const auto down = fused_rows(checkpoint, *down_tensor, expert, shape.hidden, shape.ffn);
  if (!down) return tl::unexpected(down.error());
  return ExpertWeights{both->slice_rows(0, shape.ffn), both->slice_rows(shape.ffn, shape.ffn),
                       *down};
}

/// Length first, so that no two lists of texts hash alike.
void add_framed(Sha256& digest, std::string_view text) {
  digest.add(std::to_string(text.size()) + ":");
  digest.add(text);
}

void add_tensor(Sha256& digest, const NamedTensor& tensor) {
  add_framed(digest, tensor.name);
  add_framed(digest, tensor.dtype);
  add_framed(digest, shape_text(tensor.shape));
  const std::size_t size = tensor.data.size();
  digest.add(tensor.data.first(size <= kWholeBelow ? size : std::min(size, kPrefix)));
}

}  // namespace

ExpertNames expert_names(std::size_t layer, std::size_t expert) {
  const std::string prefix =
      layer_prefix(layer) + "block_sparse_moe.experts." + std::to_string(expert) + ".";
  return {prefix + "w1.weight", prefix + "w3.weight", prefix + "w2.weight"};
}

Layout layout_of(const Checkpoint& checkpoint) {
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (name.find(".block_sparse_moe.experts.") != std::string::npos) return Layout::v4;
    if (name.find(".mlp.experts.gate_up_proj") != std::string::npos) return Layout::v5;
  }
  return Layout::none;
}

Result<ExpertWeights> find_expert(const Checkpoint& checkpoint, std::size_t layer,
                                  std::size_t expert, ExpertShape shape) {
  const std::string fused = layer_prefix(layer) + "mlp.experts.";
  if (const NamedTensor* gate_up = checkpoint.find(fused + "gate_up_proj"))
    return fused_expert(checkpoint, *gate_up, fused + "down_proj", expert, shape);

  const ExpertNames names = expert_names(layer, expert);
  if (checkpoint.find(names.gate) == nullptr && checkpoint.find(names.down) == nullptr)
    return fail(Code::not_found, checkpoint.path().string() + ": holds no expert " +
                                     std::to_string(expert) + " of layer " + std::to_string(layer));
  const auto gate = checkpoint.matrix(names.gate, shape.ffn, shape.hidden);
  if (!gate) return tl::unexpected(gate.error());
  const auto up = checkpoint.matrix(names.up, shape.ffn, shape.hidden);
  if (!up) return tl::unexpected(up.error());
  const auto down = checkpoint.matrix(names.down, shape.hidden, shape.ffn);
  if (!down) return tl::unexpected(down.error());
  return ExpertWeights{*gate, *up, *down};
}

std::string gate_name(const Checkpoint& checkpoint, std::size_t layer) {
  std::string fused = layer_prefix(layer) + "mlp.gate.weight";
  if (checkpoint.find(fused) != nullptr) return fused;
  return layer_prefix(layer) + "block_sparse_moe.gate.weight";
}

Result<std::string> model_id(const Checkpoint& checkpoint) {
  if (is_shard(checkpoint.directory())) {
    auto manifest = read_shard_manifest(checkpoint.directory());
    if (!manifest) return tl::unexpected(std::move(manifest).error());
    return manifest->model_id;
  }
  const auto config = canonical_config(checkpoint.directory());
  if (!config) return tl::unexpected(config.error());
  Sha256 digest;
  add_framed(digest, "wdmoe model id 1");
  add_framed(digest, *config);
  for (const auto& [name, tensor] : checkpoint.tensors()) add_tensor(digest, tensor);
  return digest.hex();
}

}  // namespace wdmoe::weights
