#include "bsd/api/call.h"

#include <algorithm>

#include "bsd/api/fields.h"
#include "bsd/api/sampling_fields.h"

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

ApiResult<void> check_bytes(std::size_t bytes, std::string_view name, const ModelInfo& model) {
  const std::size_t most = model.max_context * kMaxTextBytesPerToken;
  if (bytes <= most) return {};
  ApiError error;
  error.message = std::string(name) + " of " + std::to_string(bytes) +
                  " bytes: too long for this model's maximum context length of " +
                  std::to_string(model.max_context) + " tokens (at most " + std::to_string(most) +
                  " bytes of text are tokenized). Please shorten it.";
  error.param = std::string(name);
  error.code = "context_length_exceeded";
  return tl::unexpected(std::move(error));
}

ApiResult<std::vector<Token>> encode(const std::string& text, std::string_view name,
                                     const CallContext& context) {
  if (auto done = check_bytes(text.size(), name, context.model); !done)
    return tl::unexpected(done.error());
  auto tokens = context.tokenizer.encode(text, true);
  if (!tokens) return bad_field(name, "cannot be tokenized: " + tokens.error().text);
  return std::move(*tokens);
}

ApiResult<void> check_length(std::size_t prompt, std::uint32_t completion, const ModelInfo& model) {
  if (prompt > 0 && prompt + completion <= model.max_context) return {};
  ApiError error;
  if (prompt == 0) {
    error.message = "the prompt is empty; send at least one token";
    error.param = "prompt";
    return tl::unexpected(std::move(error));
  }
  error.message = "This model's maximum context length is " + std::to_string(model.max_context) +
                  " tokens. However, you requested " + std::to_string(prompt + completion) +
                  " tokens (" + std::to_string(prompt) + " in the prompt, " +
                  std::to_string(completion) + " in the completion). Please shorten either.";
  error.code = "context_length_exceeded";
  return tl::unexpected(std::move(error));
}

/// One prompt: a string (special tokens added) or token ids (taken as they are).
ApiResult<std::vector<Token>> prompt_from(const json& value, std::uint32_t completion,
                                          const CallContext& context) {
  auto tokens = value.is_string()
                    ? encode(value.get<std::string>(), "prompt", context)
                    : token_list(value, "prompt", context.tokenizer.vocabulary_size());
  if (!tokens) return tokens;
  if (auto done = check_length(tokens->size(), completion, context.model); !done)
    return tl::unexpected(done.error());
  return tokens;
}

/// string, [string, …], [id, …] or [[id, …], …].
/// Each is checked before the next is tokenized.
ApiResult<std::vector<std::vector<Token>>> prompts_from(const json& body, std::uint32_t completion,
                                                        const CallContext& context) {
  std::vector<std::vector<Token>> prompts;
  const json* prompt = find_field(body, "prompt");
  if (prompt == nullptr || !(prompt->is_string() || (prompt->is_array() && !prompt->empty())))
    return bad_field("prompt",
                     "should be a string, a list of strings, a list of token ids or a "
                     "list of lists of token ids");
  const bool is_list = prompt->is_array() && !prompt->front().is_number();
  if (!is_list) {
    WDMOE_API_ASSIGN(tokens, prompt_from(*prompt, completion, context));
    prompts.push_back(std::move(tokens));
    return prompts;
  }
  if (prompt->size() > kMaxChoices)
    return bad_field("prompt", "should hold at most " + std::to_string(kMaxChoices) + " prompts");
  for (const json& one : *prompt) {
    WDMOE_API_ASSIGN(tokens, prompt_from(one, completion, context));
    prompts.push_back(std::move(tokens));
  }
  return prompts;
}

ApiResult<void> check_model(const json& body, const ModelInfo& model) {
  WDMOE_API_ASSIGN(name, string_field(body, "model", ""));
  if (name.empty() || name == model.name) return {};
  ApiError error;
  error.status = 404;
  error.message = "The model '" + name + "' does not exist; this server has '" + model.name + "'";
  error.param = "model";
  error.code = "model_not_found";
  return tl::unexpected(std::move(error));
}

/// Everything but prompt, max_tokens and logprobs, which the two APIs spell differently.
ApiResult<Request> read_shared(const json& body, const CallContext& context, Call& call) {
  if (auto done = check_model(body, context.model); !done) return tl::unexpected(done.error());
  if (auto done = refuse_unsupported(body); !done) return tl::unexpected(done.error());
  if (auto done = read_delivery(body, call); !done) return tl::unexpected(done.error());
  Request request;
  WDMOE_API_ASSIGN(sampling, sampling_from(body, context.fresh_seed));
  WDMOE_API_ASSIGN(stops, stops_from(body));
  WDMOE_API_ASSIGN(ignore_eos, bool_field(body, "ignore_eos", false));
  WDMOE_API_ASSIGN(per_prompt, choices_from(body));
  WDMOE_API_ASSIGN(wish, wish_from(body, context.model));
  request.sampling = sampling;
  request.stop = std::move(stops);
  request.ignore_eos = ignore_eos;
  request.trace = call.trace;
  request.wish = wish;
  call.per_prompt = per_prompt;
  return request;
}

/// A choice for every prompt, n times; each with a seed of its own.
ApiResult<void> add_choices(Call& call, const Request& shared,
                            std::vector<std::vector<Token>> prompts) {
  if (prompts.size() * call.per_prompt > kMaxChoices)
    return bad_field(
        "n", "times the number of prompts should be at most " + std::to_string(kMaxChoices));
  for (const auto& prompt : prompts)
    for (std::size_t i = 0; i < call.per_prompt; ++i) {
      call.choices.push_back(shared);
      call.choices.back().prompt = prompt;
      call.choices.back().sampling.seed += i;
    }
  return {};
}

ApiResult<void> read_completion_logprobs(const json& body, Request& request, Call& call) {
  WDMOE_API_ASSIGN(echo, bool_field(body, "echo", false));
  call.echo = echo;
  const json* field = find_field(body, "logprobs");
  if (field == nullptr || (field->is_boolean() && !field->get<bool>())) return {};
  WDMOE_API_ASSIGN(count, count_field(body, "logprobs", kMaxTopLogprobs));
  call.logprobs = true;
  call.top_logprobs = count.value_or(0);
  request.top_logprobs = call.top_logprobs;
  request.echo_logprobs = echo;
  return {};
}

ApiResult<void> read_chat_logprobs(const json& body, Request& request, Call& call) {
  WDMOE_API_ASSIGN(logprobs, bool_field(body, "logprobs", false));
  WDMOE_API_ASSIGN(top, count_field(body, "top_logprobs", kMaxTopLogprobs));
  if (top && !logprobs) return bad_field("top_logprobs", "needs logprobs to be true");
  call.logprobs = logprobs;
  call.top_logprobs = top.value_or(0);
  if (logprobs) request.top_logprobs = call.top_logprobs;
  return {};
}

/// Tokenizers put a blank before a word into the word's token, so a prompt or a stop string that
/// ends with one would not match what the model writes.
std::string without_trailing_blanks(const std::string& text) {
  return text.substr(0, text.find_last_not_of(" \t\n") + 1);
}

/// content: a string, null, or a list of {"type": "text", "text": …}.
ApiResult<std::string> content_from(const json& message, const std::string& name) {
  const json* content = find_field(message, "content");
  if (content == nullptr) return std::string();
  if (content->is_string()) return content->get<std::string>();
  std::string text;
  if (!content->is_array()) return bad_field(name, "should be a string or a list of text parts");
  for (const json& part : *content) {
    if (!part.is_object() || part.value("type", json()) != "text")
      return unsupported_field(name, "a part that is not {\"type\": \"text\"}");
    WDMOE_API_ASSIGN(piece, string_field(part, "text", ""));
    text += piece;
  }
  return text;
}

ApiResult<std::string> chat_text(const json& body, const ChatFormat& format) {
  const json* messages = find_field(body, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    return bad_field("messages", "should be a list of at least one message");
  std::string text;
  for (std::size_t i = 0; i < messages->size(); ++i) {
    const json& message = (*messages)[i];
    const std::string name = "messages[" + std::to_string(i) + "]";
    if (!message.is_object()) return bad_field(name, "should be an object");
    WDMOE_API_ASSIGN(role, string_field(message, "role", ""));
    WDMOE_API_ASSIGN(content, content_from(message, name + ".content"));
    if (role == "system" || role == "developer") {
      text += format.system_prefix;
    } else if (role == "user") {
      text += format.user_prefix;
    } else if (role == "assistant") {
      text += format.assistant_prefix;
    } else {
      return bad_field(name + ".role", "should be system, developer, user or assistant");
    }
    text += content + format.separator;
  }
  return text + without_trailing_blanks(format.assistant_prefix);
}

/// The next turn of the user ends the answer.
void add_user_stop(const ChatFormat& format, std::vector<std::string>& stops) {
  const std::string stop = without_trailing_blanks(format.user_prefix);
  if (!stop.empty()) stops.push_back(stop);
}

}  // namespace

ApiResult<Call> parse_completion(std::string_view body, const CallContext& context) {
  Call call;
  WDMOE_API_ASSIGN(document, parse_object(body));
  WDMOE_API_ASSIGN(request, read_shared(document, context, call));
  if (auto done = read_completion_logprobs(document, request, call); !done)
    return tl::unexpected(done.error());
  WDMOE_API_ASSIGN(max_tokens, max_tokens_from(document));
  request.max_tokens = max_tokens.value_or(16);  // OpenAI's default
  WDMOE_API_ASSIGN(prompts, prompts_from(document, request.max_tokens, context));
  if (auto done = add_choices(call, request, std::move(prompts)); !done)
    return tl::unexpected(done.error());
  return call;
}

ApiResult<Call> parse_chat(std::string_view body, const CallContext& context) {
  Call call;
  call.kind = CallKind::chat;
  WDMOE_API_ASSIGN(document, parse_object(body));
  WDMOE_API_ASSIGN(request, read_shared(document, context, call));
  if (auto done = read_chat_logprobs(document, request, call); !done)
    return tl::unexpected(done.error());
  add_user_stop(context.chat, request.stop);
  WDMOE_API_ASSIGN(text, chat_text(document, context.chat));
  WDMOE_API_ASSIGN(prompt, encode(text, "messages", context));
  WDMOE_API_ASSIGN(max_tokens, max_tokens_from(document));
  const std::size_t room =
      context.model.max_context - std::min(prompt.size(), context.model.max_context);
  request.max_tokens = max_tokens.value_or(
      static_cast<std::uint32_t>(std::clamp<std::size_t>(room, 1, kDefaultChatTokens)));
  if (auto done = check_length(prompt.size(), request.max_tokens, context.model); !done)
    return tl::unexpected(done.error());
  if (auto done = add_choices(call, request, {std::move(prompt)}); !done)
    return tl::unexpected(done.error());
  return call;
}

ApiResult<Call> parse_logits(std::string_view body, const CallContext& context) {
  Call call;
  call.kind = CallKind::logits;
  WDMOE_API_ASSIGN(document, parse_object(body));
  const json* tokens = find_field(document, "tokens");
  WDMOE_API_ASSIGN(prompt, token_list(tokens == nullptr ? json() : *tokens, "tokens",
                                      context.tokenizer.vocabulary_size()));
  if (auto done = check_length(prompt.size(), 0, context.model); !done)
    return tl::unexpected(done.error());
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = 0;
  request.all_logits = true;
  call.choices.push_back(std::move(request));
  return call;
}

}  // namespace wdmoe::bsd::api
