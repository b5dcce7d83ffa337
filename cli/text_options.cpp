#include "cli/text_options.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace wdmoe::cli {

void TextOptions::add_to(CLI::App& command) {
  command.add_option("-n,--max-tokens", max_tokens, "most tokens to generate")
      ->capture_default_str();
  command.add_option("-t,--temperature", temperature, "0: greedy; higher: more varied")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command.add_option("--top-p", top_p, "sample from the smallest set with this probability");
  command.add_option("--top-k", top_k, "sample from this many best tokens");
  command.add_option("--min-p", min_p,
                     "drop tokens below this share of the best one's probability");
  command.add_option("--repetition-penalty", repetition_penalty, "above 1: repeat less");
  command.add_option("--seed", seed, "same seed, same text");
  command.add_option("--stop", stop, "end before this text (may be given several times)");
}

nlohmann::json TextOptions::body() const {
  nlohmann::json body{{"max_tokens", max_tokens}, {"temperature", temperature}};
  const auto put = [&body](const char* name, const auto& value) {
    if (value) body[name] = *value;
  };
  put("top_p", top_p);
  put("top_k", top_k);
  put("min_p", min_p);
  put("repetition_penalty", repetition_penalty);
  put("seed", seed);
  if (!stop.empty()) body["stop"] = stop;
  return body;
}

}  // namespace wdmoe::cli
