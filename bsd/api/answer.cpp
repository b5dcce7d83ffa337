#include "bsd/api/answer.h"

#include <cmath>
#include <utility>

namespace wdmoe::bsd::api {
namespace {

using nlohmann::json;

/// Text is whole UTF-8 by contract; should it not be, a client still gets valid JSON.
std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

const char* reason_of(FinishReason finish) {
  return finish == FinishReason::length ? "length" : "stop";
}

ApiError failure(const TokenEvent& event) {
  ApiError error;
  error.status = 500;
  error.type = "server_error";
  error.code = event.finish == FinishReason::cancelled ? "cancelled" : "engine_error";
  error.message = event.error.empty() ? "the request was cancelled" : event.error;
  return error;
}

}  // namespace

std::string sse_event(const std::string& data) {
  return "data: " + data + "\n\n";
}

Answer::Answer(Call call, AnswerHead head, const Tokenizer& tokenizer)
    : call_(std::move(call)),
      head_(std::move(head)),
      tokenizer_(tokenizer),
      choices_(call_.choices.size()),
      open_(call_.choices.size()) {}

json Answer::chunk(json choices) const {
  json out = {{"id", head_.id},
              {"object", is_chat() ? "chat.completion.chunk" : "text_completion"},
              {"created", head_.created},
              {"model", head_.model},
              {"system_fingerprint", head_.fingerprint},
              {"choices", std::move(choices)}};
  if (call_.include_usage) out["usage"] = nullptr;
  return out;
}

std::string Answer::begin() {
  std::string out;
  if (!is_chat()) return out;
  for (std::size_t i = 0; i < choices_.size(); ++i)
    out += sse_event(dump(chunk({{{"index", i},
                                  {"delta", {{"role", "assistant"}, {"content", ""}}},
                                  {"logprobs", nullptr},
                                  {"finish_reason", nullptr}}})));
  return out;
}

/// The logprobs gathered since the last chunk, taken out; null when there are none.
json Answer::logprobs_of(Choice& choice, const std::string& text) const {
  const auto tokens = std::exchange(choice.logprobs, {});
  if (!call_.logprobs || tokens.empty()) return nullptr;
  if (is_chat()) return chat_logprobs(tokenizer_, tokens, call_.top_logprobs);
  const std::size_t offset =
      std::exchange(choice.text_offset, choice.text_offset + characters(text));
  return completion_logprobs(tokenizer_, tokens, false, call_.top_logprobs, offset);
}

std::string Answer::text_chunk(std::size_t index, const std::string& text, const StepCosts* costs) {
  json logprobs = logprobs_of(choices_[index], text);
  if (text.empty() && logprobs.is_null() && costs == nullptr) return {};
  json one = {{"index", index}, {"logprobs", std::move(logprobs)}, {"finish_reason", nullptr}};
  if (is_chat()) {
    one["delta"] = {{"content", text}};
  } else {
    one["text"] = text;
  }
  json out = chunk(json::array({std::move(one)}));
  if (costs != nullptr) out["wdmoe"] = costs_json(*costs);
  return sse_event(dump(out));
}

std::string Answer::finish_chunk(std::size_t index) {
  json one = {
      {"index", index}, {"logprobs", nullptr}, {"finish_reason", choices_[index].finish_reason}};
  if (is_chat()) {
    one["delta"] = json::object();
  } else {
    one["text"] = "";
  }
  json out = chunk(json::array({std::move(one)}));
  if (call_.trace) out["wdmoe"] = totals_json(choices_[index].totals);
  return sse_event(dump(out));
}

/// completions' echo: the prompt's text and logprobs, once, before anything generated.
std::string Answer::echo(std::size_t index) {
  Choice& choice = choices_[index];
  if (!call_.echo || std::exchange(choice.echoed, true)) return {};
  const std::string text = tokenizer_.decode(call_.choices[index].prompt, true);
  choice.text = text;
  choice.text_offset = characters(text);
  if (!call_.stream) return {};
  json one = {{"index", index}, {"text", text}, {"logprobs", nullptr}, {"finish_reason", nullptr}};
  if (call_.logprobs)
    one["logprobs"] = completion_logprobs(tokenizer_, choice.prompt, true, call_.top_logprobs, 0);
  return sse_event(dump(chunk(json::array({std::move(one)}))));
}

/// What of an event's text the client sees.
std::string Answer::shown(Choice& choice, const std::string& text) const {
  if (!is_chat() || choice.begun) return text;
  const std::size_t begin = text.find_first_not_of(" \t\n");
  choice.begun = begin != std::string::npos;
  return choice.begun ? text.substr(begin) : std::string();
}

std::string Answer::accept(std::size_t index, TokenEvent event) {
  Choice& choice = choices_[index];
  if (!choice.finish_reason.empty() || error_) return {};
  if (event.finish == FinishReason::error || event.finish == FinishReason::cancelled) {
    error_ = failure(event);
    open_ = 0;
    return {};
  }
  if (!event.prompt_logprobs.empty()) choice.prompt = std::move(event.prompt_logprobs);
  if (!event.logits.empty()) choice.logits = std::move(event.logits);
  std::string out = echo(index);
  if (event.logprob) choice.logprobs.push_back(*std::move(event.logprob));
  choice.prompt_tokens = event.prompt_tokens;
  choice.completion_tokens = event.completion_tokens;
  const bool last = event.finish != FinishReason::none;
  const std::string text = shown(choice, event.text);
  if (call_.stream) {
    const bool traced = call_.trace && event.token;
    out += text_chunk(index, text, traced ? &event.costs : nullptr);
  } else {
    choice.text += text;
  }
  if (!last) return out;
  choice.finish_reason = reason_of(event.finish);
  choice.totals = event.totals;
  --open_;
  if (call_.stream) out += finish_chunk(index);
  return out;
}

json Answer::usage() const {
  std::uint64_t prompt = 0, completion = 0;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    if (i % call_.per_prompt == 0) prompt += choices_[i].prompt_tokens;
    completion += choices_[i].completion_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion}};
}

std::string Answer::end() {
  std::string out;
  if (call_.include_usage) {
    json last = chunk(json::array());
    last["usage"] = usage();
    out += sse_event(dump(last));
  }
  return out + sse_event("[DONE]");
}

json Answer::whole_choice(std::size_t index) const {
  const Choice& choice = choices_[index];
  json one = {{"index", index}, {"finish_reason", choice.finish_reason}, {"logprobs", nullptr}};
  if (is_chat()) {
    one["message"] = {{"role", "assistant"}, {"content", choice.text}};
    if (call_.logprobs)
      one["logprobs"] = chat_logprobs(tokenizer_, choice.logprobs, call_.top_logprobs);
    return one;
  }
  one["text"] = choice.text;
  if (call_.logprobs) {
    std::vector<TokenLogprob> all = choice.prompt;
    all.insert(all.end(), choice.logprobs.begin(), choice.logprobs.end());
    one["logprobs"] =
        completion_logprobs(tokenizer_, all, !choice.prompt.empty(), call_.top_logprobs, 0);
  }
  return one;
}

std::string Answer::body() const {
  if (call_.kind == CallKind::logits) return logits_body();
  json choices = json::array();
  StepCosts totals;
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    choices.push_back(whole_choice(i));
    totals += choices_[i].totals;
  }
  json out = {{"id", head_.id},
              {"object", is_chat() ? "chat.completion" : "text_completion"},
              {"created", head_.created},
              {"model", head_.model},
              {"system_fingerprint", head_.fingerprint},
              {"choices", std::move(choices)},
              {"usage", usage()}};
  if (call_.trace) out["wdmoe"] = totals_json(totals);
  return dump(out);
}

std::string Answer::logits_body() const {
  return dump({{"model", head_.model}, {"logits", choices_.front().logits}});
}

}  // namespace wdmoe::bsd::api
