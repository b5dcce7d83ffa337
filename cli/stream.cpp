#include "cli/stream.h"

#include <chrono>

#include <fmt/format.h>

namespace wdmoe::cli {
namespace {

using nlohmann::json;

TokenCosts costs_from(const json& object) {
  return {object.value("bs_ms", 0.0),
          object.value("wait_ms", 0.0),
          object.value("bytes_sent", std::uint64_t{0}),
          object.value("bytes_received", std::uint64_t{0}),
          object.value("round_trips", std::uint64_t{0}),
          object.value("kept_gate_mass", 1.0)};
}

/// The text of a completion chunk or of a chat chunk's delta.
std::string text_of(const json& choice) {
  if (choice.contains("text")) return choice.value("text", "");
  const auto delta = choice.value("delta", json::object());
  const auto content = delta.find("content");
  return content != delta.end() && content->is_string() ? content->get<std::string>() : "";
}

/// Takes one event in; an error event becomes an error.
Result<StreamPiece> absorb(const json& event, double now_s, StreamSummary& summary) {
  if (const auto error = event.find("error"); error != event.end())
    return fail(Code::unavailable, error->value("message", "the server reported an error"));
  StreamPiece piece;
  if (const auto choices = event.find("choices"); choices != event.end() && !choices->empty()) {
    const json& choice = choices->front();
    piece.text = text_of(choice);
    const auto reason = choice.find("finish_reason");
    if (reason != choice.end() && reason->is_string())
      summary.finish_reason = reason->get<std::string>();
  }
  if (const auto usage = event.find("usage"); usage != event.end() && usage->is_object()) {
    summary.prompt_tokens = usage->value("prompt_tokens", 0u);
    summary.completion_tokens = usage->value("completion_tokens", 0u);
  }
  if (const auto costs = event.find("wdmoe"); costs != event.end() && costs->is_object()) {
    if (costs->contains("stages_ms")) {
      summary.totals = *costs;
    } else {
      piece.costs = costs_from(*costs);
      summary.costs.push_back(*piece.costs);
      summary.token_times_s.push_back(now_s);
    }
  }
  summary.text += piece.text;
  return piece;
}

}  // namespace

Result<StreamSummary> stream_text(const HttpClient& client, const std::string& path, json body,
                                  const std::function<void(const StreamPiece&)>& on_piece) {
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body["wdmoe"]["trace"] = true;
  StreamSummary summary;
  std::optional<Error> broken;
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::string request;
  try {
    request = body.dump();
  } catch (const json::type_error&) {
    return fail(Code::bad_input, "the prompt is not valid UTF-8");
  }
  auto response = client.post_events(path, request, [&](std::string_view data) {
    const json event = json::parse(data, nullptr, false);
    if (!event.is_object()) {
      broken = Error{Code::bad_input, "the server sent an event that is not JSON"};
      return false;
    }
    auto piece = absorb(event, seconds(), summary);
    if (!piece) {
      broken = piece.error();
      return false;
    }
    if (!piece->text.empty() || piece->costs) on_piece(*piece);
    return true;
  });
  if (!response) return tl::unexpected<Error>(response.error());
  if (response->status != 200) return tl::unexpected<Error>(error_from(*response));
  if (broken) return tl::unexpected<Error>(*broken);
  if (summary.finish_reason.empty())
    return fail(Code::unavailable, "the stream ended before the answer did");
  summary.total_s = seconds();
  summary.first_token_s =
      summary.token_times_s.empty() ? summary.total_s : summary.token_times_s.front();
  return summary;
}

std::string format_costs(unsigned index, const StreamPiece& piece) {
  return fmt::format(
      "{:>5}  bs {:>7.2f} ms  wait {:>7.2f} ms  sent {:>8.1f} kB  received {:>8.1f} kB  kept "
      "{:.3f}  {}\n",
      index, piece.costs->bs_ms, piece.costs->wait_ms,
      static_cast<double>(piece.costs->bytes_sent) / 1e3,
      static_cast<double>(piece.costs->bytes_received) / 1e3, piece.costs->kept_gate_mass,
      json(piece.text).dump());
}

std::string format_summary(const StreamSummary& summary) {
  const double decode_s = summary.total_s - summary.first_token_s;
  const double rate = summary.completion_tokens > 1 && decode_s > 0
                          ? (summary.completion_tokens - 1) / decode_s
                          : 0.0;
  return fmt::format(
      "{} prompt tokens, {} tokens in {:.2f} s ({:.1f} tokens/s, first after {:.0f} ms): {}\n",
      summary.prompt_tokens, summary.completion_tokens, summary.total_s, rate,
      summary.first_token_s * 1e3, summary.finish_reason);
}

json summary_json(const StreamSummary& summary) {
  return {{"text", summary.text},
          {"finish_reason", summary.finish_reason},
          {"prompt_tokens", summary.prompt_tokens},
          {"completion_tokens", summary.completion_tokens},
          {"first_token_s", summary.first_token_s},
          {"total_s", summary.total_s},
          {"wdmoe", summary.totals}};
}

}  // namespace wdmoe::cli
