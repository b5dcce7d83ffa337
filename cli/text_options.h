#pragma once
// Flags that shape a completion, shared by `generate`, `chat` and `bench`, as a request body.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace CLI {
class App;
}

namespace wdmoe::cli {

struct TextOptions {
  unsigned max_tokens = 128;
  double temperature = 0.0;
  std::optional<double> top_p, min_p, repetition_penalty;
  std::optional<unsigned> top_k;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;

  void add_to(CLI::App& command);
  /// The fields that were given, for /v1/completions and /v1/chat/completions.
  nlohmann::json body() const;
};

}  // namespace wdmoe::cli
