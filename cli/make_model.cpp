// `wdmoe make-model`: a random-weight model of any size, for speed work.

#include <cstdio>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "weights/random_model.h"

namespace wdmoe::cli {
namespace {

struct MakeModelOptions {
  weights::RandomModel model;
  std::string dtype = "f16", out;
  bool force = false;
};

Result<int> run_make_model(MakeModelOptions& options) {
  options.model.dtype = *dtype_from(options.dtype);  // CLI11 has checked it
  {
    ProgressBar bar("writing");
    WDMOE_TRY(weights::write_random_model(
        options.model, options.out, options.force,
        [&bar](std::uint64_t done, std::uint64_t total) { bar.update(done, total); }));
  }
  std::fputs(fmt::format("wrote {} ({} of {} weights)\n", options.out,
                         human_bytes(weights::weights_bytes(options.model)), options.dtype)
                 .c_str(),
             stdout);
  return 0;
}

}  // namespace

void add_make_model(Commands& commands) {
  auto options = std::make_shared<MakeModelOptions>();
  CLI::App& command =
      commands.add("make-model", "Write a Mixtral checkpoint with random weights, for speed work",
                   [options] { return run_make_model(*options); });
  weights::RandomModel& model = options->model;
  const auto size = [&command](const char* flag, std::size_t& value, const char* help) {
    command.add_option(flag, value, help)->check(CLI::Range(0u, 1u << 30))->capture_default_str();
  };
  size("--hidden", model.hidden, "width of a token's row");
  size("--ffn", model.ffn, "inner width of an expert");
  size("--layers", model.layers, "blocks");
  size("--experts", model.experts, "experts per layer");
  size("--top-k", model.experts_per_token, "experts per token");
  size("--heads", model.heads, "query heads");
  size("--kv-heads", model.kv_heads, "key and value heads");
  size("--head-dim", model.head_dim, "width of a head; hidden / heads when 0");
  size("--vocab", model.vocabulary, "tokens, at least 259");
  size("--max-positions", model.max_positions, "longest sequence");
  size("--sliding-window", model.sliding_window, "attention window; 0: none");
  command.add_option("--rope-theta", model.rope_theta, "base of the rotary angles")
      ->capture_default_str();
  command.add_flag("--tied", model.tied_embeddings, "the LM head is the embedding table");
  command.add_option("--dtype", options->dtype, "f16, bf16 or f32")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}))
      ->capture_default_str();
  command.add_option("--seed", model.seed, "same seed, same bytes, on every machine")
      ->capture_default_str();
  command.add_flag("--force", options->force, "write into a folder that is not empty");
  command.add_option("OUT", options->out, "folder to write, made if missing")->required();
  command.footer("example: wdmoe make-model --hidden 512 --ffn 1792 --layers 8 big");
}

}  // namespace wdmoe::cli
