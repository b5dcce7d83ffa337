#include "bsd/api/routes.h"

#include <nlohmann/json.hpp>

#include "bsd/api/control.h"
#include "bsd/api/fields.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;
using Handler = HttpResponse (*)(const HttpRequest&, const RouteContext&);

// /tokenize is answered on the io thread: this bounds how long it keeps it.
constexpr std::size_t kMostTokenizeBytes = std::size_t{1} << 20;

struct Route {
  std::string_view method, path;
  Handler handler;  // null: a call of the engine
};

json model_json(const ModelInfo& model) {
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "wdmoe"},
          {"max_model_len", model.max_context},
          {"wdmoe",
           {{"layers", model.layers},
            {"experts", model.experts},
            {"hidden", model.hidden},
            {"vocabulary", model.vocabulary},
            {"max_context", model.max_context}}}};
}

HttpResponse models(const HttpRequest&, const RouteContext& context) {
  return json_response({{"object", "list"}, {"data", json::array({model_json(context.model)})}});
}

HttpResponse health(const HttpRequest&, const RouteContext& context) {
  const Health state = context.hooks.health();
  json body = {{"status", state.ready ? "ok" : "starting"}};
  if (!state.ready) body["missing"] = state.missing;
  HttpResponse response = json_response(body, state.ready ? 200 : 503);
  if (!state.ready) response.headers.emplace_back("Retry-After", std::to_string(retry_after(503)));
  return response;
}

HttpResponse metrics(const HttpRequest&, const RouteContext& context) {
  HttpResponse response;
  response.type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = context.hooks.metrics();
  return response;
}

HttpResponse agents(const HttpRequest&, const RouteContext& context) {
  HttpResponse response;
  response.body = context.hooks.agents();
  return response;
}

HttpResponse status(const HttpRequest&, const RouteContext& context) {
  HttpResponse response;
  response.body = context.hooks.status();
  return response;
}

HttpResponse tokenizer_info(const HttpRequest&, const RouteContext& context) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? json() : json(text);
  };
  return json_response({{"bos_token", text_or_null(context.model.bos_token)},
                        {"eos_token", text_or_null(context.model.eos_token)},
                        {"pad_token", nullptr},
                        {"chat_template", nullptr},
                        {"vocab_size", context.tokenizer.vocabulary_size()},
                        {"max_model_len", context.model.max_context}});
}

ApiResult<json> tokenized(const HttpRequest& request, const RouteContext& context) {
  WDMOE_API_ASSIGN(body, parse_object(request.body));
  const json* prompt = find_field(body, "prompt");
  if (prompt == nullptr || !prompt->is_string()) return bad_field("prompt", "should be a string");
  WDMOE_API_ASSIGN(add_special, bool_field(body, "add_special_tokens", true));
  const auto& text = prompt->get_ref<const std::string&>();
  if (text.size() > kMostTokenizeBytes)
    return bad_field("prompt", "of " + std::to_string(text.size()) +
                                   " bytes: should have at most " +
                                   std::to_string(kMostTokenizeBytes) + "; send it in parts");
  const auto tokens = context.tokenizer.encode(text, add_special);
  if (!tokens) return bad_field("prompt", "cannot be tokenized: " + tokens.error().text);
  return json({{"count", tokens->size()},
               {"max_model_len", context.model.max_context},
               {"tokens", *tokens}});
}

ApiResult<json> detokenized(const HttpRequest& request, const RouteContext& context) {
  WDMOE_API_ASSIGN(body, parse_object(request.body));
  const json* list = find_field(body, "tokens");
  WDMOE_API_ASSIGN(tokens, token_list(list == nullptr ? json() : *list, "tokens",
                                      context.tokenizer.vocabulary_size()));
  WDMOE_API_ASSIGN(skip_special, bool_field(body, "skip_special_tokens", false));
  return json({{"prompt", context.tokenizer.decode(tokens, skip_special)}});
}

HttpResponse tokenize(const HttpRequest& request, const RouteContext& context) {
  const auto body = tokenized(request, context);
  return body ? json_response(*body) : error_response(body.error());
}

HttpResponse detokenize(const HttpRequest& request, const RouteContext& context) {
  const auto body = detokenized(request, context);
  return body ? json_response(*body) : error_response(body.error());
}

constexpr Route kRoutes[] = {
    {"POST", "/v1/completions", nullptr},
    {"POST", "/v1/chat/completions", nullptr},
    {"POST", "/wdmoe/v1/logits", nullptr},
    {"GET", "/v1/models", models},
    {"GET", "/healthz", health},
    {"GET", "/health", health},
    {"GET", "/metrics", metrics},
    {"GET", "/wdmoe/v1/agents", agents},
    {"GET", "/wdmoe/v1/status", status},
    {"GET", "/wdmoe/v1/radio", radio},
    {"PUT", "/wdmoe/v1/radio", put_radio},
    {"GET", "/wdmoe/v1/policy", policy},
    {"PUT", "/wdmoe/v1/policy", put_policy},
    {"GET", "/wdmoe/v1/trace", trace},
    {"PUT", "/wdmoe/v1/trace", put_trace},
    {"DELETE", "/wdmoe/v1/trace", delete_trace},
    {"GET", "/tokenizer_info", tokenizer_info},
    {"POST", "/tokenize", tokenize},
    {"POST", "/detokenize", detokenize},
};

bool takes(const Route& route, std::string_view method) {
  return route.method == method || (method == "HEAD" && route.method == "GET");
}

/// "GET, PUT": what `path` takes; empty if there is nothing.
std::string methods_of(std::string_view path) {
  std::string methods;
  for (const Route& route : kRoutes)
    if (route.path == path) methods += (methods.empty() ? "" : ", ") + std::string(route.method);
  return methods;
}

HttpResponse one_model(std::string_view id, const RouteContext& context) {
  if (id == context.model.name) return json_response(model_json(context.model));
  ApiError error;
  error.status = 404;
  error.message = "The model '" + std::string(id) + "' does not exist; this server has '" +
                  context.model.name + "'";
  error.param = "model";
  error.code = "model_not_found";
  return error_response(error);
}

HttpResponse no_route(std::string_view path) {
  ApiError error;
  error.status = 404;
  error.message = "there is nothing at " + std::string(path.substr(0, 200)) +
                  "; the API is at /v1/completions, /v1/chat/completions and /v1/models";
  error.code = "not_found";
  return error_response(error);
}

HttpResponse wrong_method(const HttpRequest& request, std::string_view allowed) {
  ApiError error;
  error.status = 405;
  error.message = std::string(request.path()) + " takes " + std::string(allowed) + ", not " +
                  request.method.substr(0, 20);
  error.code = "method_not_allowed";
  HttpResponse response = error_response(error);
  response.headers.emplace_back("Allow", std::string(allowed) + ", OPTIONS");
  return response;
}

/// Without PUT: a web page on another site may ask for text, but not change how this system works.
HttpResponse preflight() {
  HttpResponse response;
  response.status = 204;
  response.type.clear();
  response.headers = {{"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"},
                      {"Access-Control-Allow-Headers", "Authorization, *"},
                      {"Access-Control-Max-Age", "86400"}};
  return response;
}

}  // namespace

HttpResponse json_response(const json& body, unsigned status) {
  HttpResponse response;
  response.status = status;
  response.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return response;
}

HttpResponse error_response(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = error.json();
  if (const unsigned seconds = retry_after(error.status); seconds > 0)
    response.headers.emplace_back("Retry-After", std::to_string(seconds));
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::optional<CallKind> call_of(const HttpRequest& request) {
  if (request.method != "POST") return std::nullopt;
  if (request.path() == "/v1/completions") return CallKind::completion;
  if (request.path() == "/v1/chat/completions") return CallKind::chat;
  if (request.path() == "/wdmoe/v1/logits") return CallKind::logits;
  return std::nullopt;
}

HttpResponse answer_directly(const HttpRequest& request, const RouteContext& context) {
  if (request.method == "OPTIONS") return preflight();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  constexpr std::string_view kModels = "/v1/models/";
  if (request.path().substr(0, kModels.size()) == kModels)
    return reads ? one_model(request.path().substr(kModels.size()), context)
                 : wrong_method(request, "GET");
  for (const Route& route : kRoutes)
    if (route.path == request.path() && takes(route, request.method) && route.handler != nullptr)
      return route.handler(request, context);
  const std::string methods = methods_of(request.path());
  return methods.empty() ? no_route(request.path()) : wrong_method(request, methods);
}

}  // namespace wdmoe::bsd::api
