#pragma once
// A streamed completion, event by event, and what it cost.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/http_client.h"

namespace wdmoe::cli {

/// What one token cost, as the server's `wdmoe` object tells.
struct TokenCosts {
  double bs_ms = 0, wait_ms = 0;
  std::uint64_t bytes_sent = 0, bytes_received = 0, round_trips = 0;
  double kept_gate_mass = 1;
};

struct StreamPiece {
  std::string text;
  std::optional<TokenCosts> costs;
};

struct StreamSummary {
  std::string text, finish_reason;
  unsigned prompt_tokens = 0, completion_tokens = 0;
  double first_token_s = 0;  ///< from sending the request
  double total_s = 0;
  std::vector<double> token_times_s;  ///< arrival of each token's event, from sending the request
  std::vector<TokenCosts> costs;      ///< per event
  nlohmann::json totals;              ///< the server's own sums (`wdmoe` of the last event)
};

/// Posts `body` (made streaming, with usage and per-token costs) and follows it to its end.
Result<StreamSummary> stream_text(const HttpClient& client, const std::string& path,
                                  nlohmann::json body,
                                  const std::function<void(const StreamPiece&)>& on_piece);

std::string format_costs(unsigned index, const StreamPiece& piece);  ///< one line, for --trace
std::string format_summary(const StreamSummary& summary);            ///< one line
nlohmann::json summary_json(const StreamSummary& summary);

}  // namespace wdmoe::cli
