#include "bsd/http_settings.h"

#include <chrono>
#include <filesystem>

#include "bsd/moe/catalogue.h"

namespace wdmoe::bsd {

std::string served_name(const Config& config) {
  if (!config.served_name.empty()) return config.served_name;
  return std::filesystem::weakly_canonical(config.model).filename().string();
}

api::Settings http_settings(const Config& config, int inherited_http, const ModelConfig& model,
                            const Tokenizer& tokenizer, std::size_t max_context) {
  api::Settings settings;
  settings.listen = config.http_listen;
  settings.inherited_fd = inherited_http;
  settings.max_connections = config.http_connections;
  settings.max_body_bytes = std::size_t{config.http_body_kib} << 10;
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
  settings.chat = {config.chat_system_prefix, config.chat_user_prefix, config.chat_assistant_prefix,
                   config.chat_separator};
  return settings;
}

}  // namespace wdmoe::bsd
