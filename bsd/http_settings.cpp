#include "bsd/http_settings.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "bsd/api_keys.h"
#include "bsd/moe/catalogue.h"

namespace wdmoe::bsd {
namespace {

/// What the configuration alone decides.
api::Settings configured(const Config& config) {
  if (config.http_tls_certificate.empty() != config.http_tls_key.empty())
    throw std::runtime_error("http.tls_certificate and http.tls_key: expected both, or neither");
  api::Settings settings;
  settings.listen = config.http_listen;
  settings.tls_certificate = config.http_tls_certificate.string();
  settings.tls_key = config.http_tls_key.string();
  settings.insecure = config.http_insecure;
  settings.max_connections = config.http_connections;
  settings.max_body_bytes = std::size_t{config.http_body_kib} << 10;
  settings.chat = {config.chat_system_prefix, config.chat_user_prefix, config.chat_assistant_prefix,
                   config.chat_separator};
  return settings;
}

}  // namespace

std::string served_name(const Config& config) {
  if (!config.served_name.empty()) return config.served_name;
  return std::filesystem::weakly_canonical(config.model).filename().string();
}

api::Settings http_settings(const Config& config, int inherited_http, const ModelConfig& model,
                            const Tokenizer& tokenizer, std::size_t max_context) {
  api::Settings settings = configured(config);
  settings.inherited_fd = inherited_http;
  settings.model.name = served_name(config);
  settings.model.max_context = max_context;
  settings.model.layers = model.layers;
  settings.model.experts = model.experts;
  settings.model.hidden = model.hidden;
  settings.model.vocabulary = model.vocabulary;
  settings.model.created = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  for (const PolicyEntry& entry : policies())
    settings.model.policies.push_back({std::string(entry.name), std::string(entry.help)});
  if (const auto begin = tokenizer.encode("", true); begin && !begin->empty())
    settings.model.bos_token = tokenizer.decode(*begin, false);
  if (!model.eos_tokens.empty()) {
    const Token end = model.eos_tokens.front();
    settings.model.eos_token = tokenizer.decode(Span<const Token>(&end, 1), false);
  }
  return settings;
}

std::function<bool(std::string_view key)> api_key_check(const Config& config) {
  if (config.http_api_keys.empty()) return {};
  // std::function wants to be copied; the io thread alone asks.
  const auto keys = std::make_shared<ApiKeyFile>(require(ApiKeyFile::open(config.http_api_keys)));
  return [keys](std::string_view key) { return keys->allow(key); };
}

void check_http(const Config& config) {
  api::Hooks hooks;
  hooks.authorised = api_key_check(config);
  api::check_listen(configured(config), hooks);
}

}  // namespace wdmoe::bsd
