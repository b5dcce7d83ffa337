#include "bsd/api/control.h"

#include <algorithm>
#include <initializer_list>
#include <optional>

#include <nlohmann/json.hpp>

#include "bsd/api/fields.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

constexpr std::uint32_t kMostTraceTokens = 1'000'000'000, kMostTraceSeconds = 24 * 3600;

/// 400 for the first field that is none of `known`.
ApiResult<void> refuse_others(const json& body, std::initializer_list<const char*> known) {
  for (const auto& [key, value] : body.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return unsupported_field(key.substr(0, 64), "the setting");
  return {};
}

json or_null(const std::optional<double>& value) {
  return value ? json(*value) : json();
}

ApiResult<std::optional<double>> optional_share(const json& body, const char* key) {
  const json* field = find_field(body, key);
  if (field == nullptr) return std::optional<double>();
  WDMOE_API_ASSIGN(value, share_from(*field, key));
  return std::optional<double>(value);
}

HttpResponse trace_response(const TraceState& state) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? json() : json(text);
  };
  return json_response({{"recording", state.recording},
                        {"name", text_or_null(state.name)},
                        {"path", text_or_null(state.path)},
                        {"tokens", state.tokens},
                        {"records", state.records},
                        {"bytes", state.bytes},
                        {"error", text_or_null(state.error)}});
}

HttpResponse trace_refused(const Error& error) {
  ApiError refusal;
  refusal.message = error.text;
  refusal.param = "name";
  switch (error.code) {
    case Code::denied:
      refusal.status = 403;
      break;
    case Code::busy:
    case Code::not_found:
      refusal.status = 409;
      break;
    case Code::limit:  // of the format, or the disk's room
      refusal.status = 422;
      break;
    case Code::bad_input:
      break;
    default:  // the disk
      refusal.status = 500;
      refusal.type = "server_error";
  }
  return error_response(refusal);
}

ApiResult<TraceWish> trace_wish(const HttpRequest& request) {
  WDMOE_API_ASSIGN(body, parse_object(request.body));
  if (auto done = refuse_others(body, {"name", "tokens", "seconds"}); !done)
    return tl::unexpected(done.error());
  TraceWish wish;
  WDMOE_API_ASSIGN(name, string_field(body, "name", ""));
  WDMOE_API_ASSIGN(tokens, count_field(body, "tokens", kMostTraceTokens));
  WDMOE_API_ASSIGN(seconds, count_field(body, "seconds", kMostTraceSeconds));
  wish.name = name;
  wish.tokens = tokens;
  wish.seconds = seconds;
  if (tokens == 0u) return bad_field("tokens", "should be at least 1");
  if (seconds == 0u) return bad_field("seconds", "should be at least 1");
  return wish;
}

ApiResult<void> change_policy(const HttpRequest& request, const RouteContext& context) {
  WDMOE_API_ASSIGN(body, parse_object(request.body));
  if (auto done = refuse_others(body, {"policy", "quality", "beta"}); !done)
    return tl::unexpected(done.error());
  const json* name = find_field(body, "policy");
  WDMOE_API_ASSIGN(index, policy_from(name == nullptr ? json() : *name, "policy", context.model));
  WDMOE_API_ASSIGN(quality, optional_share(body, "quality"));
  WDMOE_API_ASSIGN(beta, optional_share(body, "beta"));
  const auto done =
      context.hooks.set_policy({context.model.policies[index].name, quality, beta, false});
  if (!done) return bad_field("policy", done.error().text);
  return {};
}

ApiResult<void> change_radio(const HttpRequest& request, const RouteContext& context) {
  WDMOE_API_ASSIGN(body, parse_object(request.body));
  if (auto done = refuse_others(body, {"frozen"}); !done) return tl::unexpected(done.error());
  if (find_field(body, "frozen") == nullptr) return bad_field("frozen", "should be true or false");
  WDMOE_API_ASSIGN(frozen, bool_field(body, "frozen", false));
  if (const auto done = context.hooks.freeze_radio(frozen); !done) {
    ApiError refusal;
    refusal.status = 409;
    refusal.message = done.error().text;
    refusal.param = "frozen";
    return tl::unexpected(std::move(refusal));
  }
  return {};
}

}  // namespace

HttpResponse radio(const HttpRequest&, const RouteContext& context) {
  HttpResponse response;
  response.body = context.hooks.radio();
  return response;
}

HttpResponse put_radio(const HttpRequest& request, const RouteContext& context) {
  if (const auto changed = change_radio(request, context); !changed)
    return error_response(changed.error());
  return radio(request, context);
}

HttpResponse policy(const HttpRequest&, const RouteContext& context) {
  const PolicyState state = context.hooks.policy();
  json known = json::array();
  for (const PolicyName& one : context.model.policies)
    known.push_back({{"name", one.name}, {"help", one.help}});
  return json_response({{"policy", state.policy},
                        {"quality", or_null(state.quality)},
                        {"beta", or_null(state.beta)},
                        {"layer_budgets", state.layer_budgets},
                        {"policies", std::move(known)}});
}

HttpResponse put_policy(const HttpRequest& request, const RouteContext& context) {
  if (const auto changed = change_policy(request, context); !changed)
    return error_response(changed.error());
  return policy(request, context);
}

HttpResponse trace(const HttpRequest&, const RouteContext& context) {
  return trace_response(context.hooks.trace());
}

HttpResponse put_trace(const HttpRequest& request, const RouteContext& context) {
  const auto wish = trace_wish(request);
  if (!wish) return error_response(wish.error());
  const auto started = context.hooks.start_trace(*wish);
  return started ? trace_response(*started) : trace_refused(started.error());
}

HttpResponse delete_trace(const HttpRequest&, const RouteContext& context) {
  const auto stopped = context.hooks.stop_trace();
  return stopped ? trace_response(*stopped) : trace_refused(stopped.error());
}

}  // namespace wdmoe::bsd::api
