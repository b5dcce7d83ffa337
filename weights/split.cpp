#include "weights/split.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "weights/json.h"
#include "weights/mixtral_names.h"
#include "weights/safetensors_writer.h"
#include "weights/sha256.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;  // elements converted and written at a time

/// One tensor of a shard: where it comes from and what it is called there.
struct Piece {
  std::string name;
  Tensor source;
};

/// What one agent's file will hold, found and checked before anything is written.
struct ShardSource {
  const AgentPlan* plan;
  std::vector<Piece> pieces;
  DType dtype;
};

struct Job {
  const Checkpoint& checkpoint;
  const SplitOptions& options;
  ModelShape shape;
  std::string model_id;
  std::string config_json;
  std::uint64_t done = 0, total = 0;
  ConversionCounts counts;
};

Result<ShardSource> find_shard(const Job& job, const AgentPlan& plan) {
  ShardSource shard{&plan, {}, job.options.dtype.value_or(DType::f32)};
  for (const ExpertId id : plan.experts) {
    const auto weights =
        find_expert(job.checkpoint, id.layer, id.expert, {job.shape.hidden, job.shape.ffn});
    if (!weights) return tl::unexpected(weights.error());
    const ExpertNames names = expert_names(id.layer, id.expert);
    for (Piece piece : {Piece{names.gate, weights->gate}, Piece{names.down, weights->down},
                        Piece{names.up, weights->up}}) {
      if (!job.options.dtype && shard.pieces.empty()) shard.dtype = piece.source.dtype;
      if (!job.options.dtype && piece.source.dtype != shard.dtype)
        return fail(Code::unsupported,
                    job.checkpoint.path().string() + ": tensor '" + piece.name + "' is " +
                        std::string(name_of(piece.source.dtype)) + " while others are " +
                        std::string(name_of(shard.dtype)) + "; choose one with --dtype");
      shard.pieces.push_back(std::move(piece));
    }
  }
  return shard;
}

std::uint64_t bytes_of_shard(const ShardSource& shard) {
  std::uint64_t bytes = 0;
  for (const Piece& piece : shard.pieces)
    bytes += std::uint64_t{piece.source.rows} * piece.source.cols * bytes_of(shard.dtype);
  return bytes;
}

/// Streams one tensor, a piece at a time.
Result<void> write_tensor(Job& job, const Piece& piece, DType dtype, SafetensorsWriter& writer) {
  const Tensor& source = piece.source;
  const std::size_t count = source.rows * source.cols;
  std::vector<std::byte> buffer(std::min(kPiece, count) * bytes_of(dtype));
  for (std::size_t first = 0; first < count; first += kPiece) {
    const std::size_t step = std::min(kPiece, count - first);
    convert(source.data + first * bytes_of(source.dtype), source.dtype, buffer.data(), dtype, step,
            job.counts);
    WDMOE_TRY(writer.append({buffer.data(), step * bytes_of(dtype)}));
    job.done += step * bytes_of(dtype);
    if (job.options.progress) job.options.progress(job.done, job.total);
  }
  return {};
}

Result<FileDigest> write_weights(Job& job, const ShardSource& shard,
                                 const std::filesystem::path& path) {
  std::vector<TensorEntry> entries;
  for (const Piece& piece : shard.pieces)
    entries.push_back({piece.name,
                       std::string(safetensors_name(shard.dtype)),
                       {piece.source.rows, piece.source.cols},
                       0,
                       0});
  auto writer = SafetensorsWriter::create(
      path, entries,
      {{"format", "pt"}, {"wdmoe_shard", shard.plan->name}, {"wdmoe_model_id", job.model_id}});
  if (!writer) return tl::unexpected(std::move(writer).error());
  for (const Piece& piece : shard.pieces) WDMOE_TRY(write_tensor(job, piece, shard.dtype, *writer));
  return writer->finish();
}

Result<FileDigest> write_small(const std::filesystem::path& path, const std::string& text) {
  WDMOE_TRY(write_text(path, text));
  Sha256 digest;
  digest.add(text);
  return FileDigest{path.filename().string(), text.size(), digest.hex()};
}

/// Writes one agent's folder; its entry for the split's manifest comes back.
Result<ShardManifest> write_shard(Job& job, const ShardSource& shard,
                                  const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directory(folder, error);
  if (error) return fail(Code::io, folder.string() + ": " + error.message());
  std::filesystem::remove(folder / kManifestFile, error);  // a whole one appears at the end

  ShardManifest manifest{shard.plan->name, job.model_id,        job.shape.hidden,
                         job.shape.ffn,    job.shape.layers,    job.shape.experts,
                         shard.dtype,      shard.plan->experts, {}};
  const auto config = write_small(folder / "config.json", job.config_json);
  if (!config) return tl::unexpected(config.error());
  const auto weights = write_weights(job, shard, folder / "model.safetensors");
  if (!weights) return tl::unexpected(weights.error());
  manifest.files = {*config, *weights};
  const auto own = write_small(folder / kManifestFile, to_json(manifest));
  if (!own) return tl::unexpected(own.error());
  manifest.files.push_back(*own);
  for (FileDigest& file : manifest.files) file.name = manifest.name + "/" + file.name;
  return manifest;
}

Result<Job> prepare(const Checkpoint& checkpoint, const SplitOptions& options) {
  const auto directory = checkpoint.directory();
  if (is_shard(directory))
    return fail(Code::bad_input,
                directory.string() + ": is a shard already; split the whole model instead");
  const auto shape = read_model_shape(directory);
  if (!shape) return tl::unexpected(shape.error());
  auto id = model_id(checkpoint);
  if (!id) return tl::unexpected(std::move(id).error());
  auto config = read_text(directory / "config.json", kMostJsonBytes);
  if (!config) return tl::unexpected(std::move(config).error());
  return Job{checkpoint, options, *shape, std::move(*id), std::move(*config), 0, 0, {}};
}

}  // namespace

Result<SplitReport> write_split(const Checkpoint& checkpoint, const SplitPlan& plan,
                                const std::filesystem::path& out, const SplitOptions& options) {
  auto job = prepare(checkpoint, options);
  if (!job) return tl::unexpected(std::move(job).error());
  std::vector<ShardSource> shards;
  for (const AgentPlan& agent : plan.agents) {
    auto shard = find_shard(*job, agent);
    if (!shard) return tl::unexpected(std::move(shard).error());
    job->total += bytes_of_shard(*shard);
    shards.push_back(std::move(*shard));
  }
  std::error_code ignored;
  if (std::filesystem::equivalent(out, checkpoint.directory(), ignored))
    return fail(Code::bad_input, out.string() + ": is the model itself; choose another folder");
  WDMOE_TRY(check_space(out, job->total));
  WDMOE_TRY(prepare_output(out, options.force));
  std::filesystem::remove(out / kManifestFile, ignored);

  SplitReport report;
  report.manifest.model_id = job->model_id;
  report.manifest.on_bs = plan.on_bs;
  for (const ShardSource& shard : shards) {
    auto written = write_shard(*job, shard, out / shard.plan->name);
    if (!written) return tl::unexpected(std::move(written).error());
    report.manifest.shards.push_back(std::move(*written));
  }
  WDMOE_TRY(write_text(out / kManifestFile, to_json(report.manifest)));
  report.counts = job->counts;
  return report;
}

}  // namespace wdmoe::weights
