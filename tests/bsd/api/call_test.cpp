#include "bsd/api/call.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/bsd/api/fakes.h"

using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using nlohmann::json;

namespace {

const ChatFormat system_prefix{"System: "};
const CallContext call_context{kTokenizer, kModel, system_prefix, 77};

ApiResult<Call> completion(json body, json more = json::object()) {
  body.update(more);
  return parse_completion(body.dump(), call_context);
}

ApiResult<Call> chat_call(const json& more) {
  json body = {{"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  body.update(more);
  return parse_chat(body.dump(), call_context);
}

}  // namespace

TEST_CASE("call: a completion's defaults are OpenAI's") {
  const auto call = completion({{"prompt", "ab"}});
  REQUIRE(call);
  REQUIRE(call->choices.size() == 1);
  const Request& request = call->choices[0];
  CHECK(request.prompt == std::vector<Token>{ByteTokenizer::kBos, 'a', 'b'});
  CHECK(request.max_tokens == 16);
  CHECK(request.sampling.temperature == 1.0f);
  CHECK(request.sampling.seed == 77);
  CHECK_FALSE(request.top_logprobs);
  CHECK(request.wish.empty());
  CHECK_FALSE(call->stream);
}

TEST_CASE("call: every form of prompt becomes choices in order") {
  CHECK(completion({{"prompt", {"a", "b"}}})->choices.size() == 2);
  const auto ids = completion({{"prompt", {97, 98}}});
  REQUIRE(ids);
  REQUIRE(ids->choices.size() == 1);
  CHECK(ids->choices[0].prompt == std::vector<Token>{97, 98});  // verbatim: no BOS
  const auto lists = completion({{"prompt", json::parse("[[1,2],[3]]")}, {"n", 2}, {"seed", 5}});
  REQUIRE(lists);
  REQUIRE(lists->choices.size() == 4);
  CHECK(lists->choices[2].prompt == std::vector<Token>{3});
  CHECK(lists->choices[0].sampling.seed == 5);
  CHECK(lists->choices[1].sampling.seed == 6);
}

TEST_CASE("call: fields arrive where they belong") {
  const auto call =
      completion({{"prompt", "a"},
                  {"max_tokens", 3},
                  {"temperature", 0},
                  {"top_p", 0.5},
                  {"top_k", 7},
                  {"min_p", 0.25},
                  {"repetition_penalty", 1.5},
                  {"seed", -1},
                  {"stop", "x"},
                  {"stream", true},
                  {"stream_options", {{"include_usage", true}}},
                  {"logprobs", 2},
                  {"echo", true},
                  {"ignore_eos", true},
                  {"user", "somebody"},
                  {"unheard_of", {1, 2}},
                  {"wdmoe", {{"trace", true}, {"policy", "minmax"}, {"quality", 0.75}}}});
  REQUIRE(call);
  const Request& request = call->choices[0];
  CHECK(request.max_tokens == 3);
  CHECK(request.sampling.temperature == 0);
  CHECK(request.sampling.top_p == 0.5f);
  CHECK(request.sampling.top_k == 7);
  CHECK(request.sampling.min_p == 0.25f);
  CHECK(request.sampling.repetition_penalty == 1.5f);
  CHECK(request.sampling.seed == ~std::uint64_t{0});
  CHECK(request.stop == std::vector<std::string>{"x"});
  CHECK(request.top_logprobs == 2u);
  CHECK(request.echo_logprobs);
  CHECK(request.ignore_eos);
  CHECK(request.trace);
  CHECK(request.wish.policy == 1);
  CHECK(request.wish.quality == 0.75);
  CHECK(call->stream);
  CHECK(call->include_usage);
  CHECK(call->echo);
}

TEST_CASE("call: a chat becomes one prompt by the table of prefixes") {
  const auto call = parse_chat(
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"U"}]},
          {"role":"assistant","content":"A"},{"role":"user","content":"V"}],"stop":["!"]})",
      call_context);
  REQUIRE(call);
  CHECK(kTokenizer.decode(call->choices[0].prompt, true) ==
        "System: S\nUser: U\nAssistant: A\nUser: V\nAssistant:");
  CHECK(call->choices[0].stop == std::vector<std::string>{"!", "User:"});
  CHECK(call->choices[0].max_tokens == kModel.max_context - call->choices[0].prompt.size());
  CHECK(chat_call({{"max_completion_tokens", 3}, {"max_tokens", 9}})->choices[0].max_tokens == 3);
  CHECK(chat_call({{"logprobs", true}, {"top_logprobs", 4}})->choices[0].top_logprobs == 4u);
}

TEST_CASE("call: what it does not do, or not so, is refused by the field's name") {
  const struct {
    const char* name;
    json patch;
    const char* param;
  } cases[] = {
      {"prompt is a number", {{"prompt", 3}}, "prompt"},
      {"prompt is missing", {{"prompt", nullptr}}, "prompt"},
      {"prompt is an empty list", {{"prompt", json::array()}}, "prompt"},
      {"prompt is mixed", {{"prompt", json::array({"a", 3})}}, "prompt"},
      {"prompt has no token", {{"prompt", json::array({json::array()})}}, "prompt"},
      {"a token beyond the vocabulary", {{"prompt", json::array({257})}}, "prompt"},
      {"a negative token", {{"prompt", json::array({-1})}}, "prompt"},
      {"temperature below 0", {{"temperature", -0.1}}, "temperature"},
      {"temperature as text", {{"temperature", "1"}}, "temperature"},
      {"top_p of 0", {{"top_p", 0}}, "top_p"},
      {"top_p above 1", {{"top_p", 1.1}}, "top_p"},
      {"min_p above 1", {{"min_p", 2}}, "min_p"},
      {"top_k below -1", {{"top_k", -2}}, "top_k"},
      {"repetition_penalty of 0", {{"repetition_penalty", 0}}, "repetition_penalty"},
      {"max_tokens below 0", {{"max_tokens", -1}}, "max_tokens"},
      {"max_tokens with a fraction", {{"max_tokens", 1.5}}, "max_tokens"},
      {"seed with a fraction", {{"seed", 1.5}}, "seed"},
      {"stop is a number", {{"stop", 1}}, "stop"},
      {"n is 0", {{"n", 0}}, "n"},
      {"n is huge", {{"n", 1000}}, "n"},
      {"best_of", {{"best_of", 3}}, "best_of"},
      {"logprobs above 20", {{"logprobs", 21}}, "logprobs"},
      {"stream as text", {{"stream", "yes"}}, "stream"},
      {"presence_penalty", {{"presence_penalty", 0.5}}, "presence_penalty"},
      {"frequency_penalty", {{"frequency_penalty", 0.5}}, "frequency_penalty"},
      {"logit_bias", {{"logit_bias", {{"5", 3}}}}, "logit_bias"},
      {"suffix", {{"suffix", "end"}}, "suffix"},
      {"tools", {{"tools", json::array({json::object({{"type", "function"}})})}}, "tools"},
      {"response_format", {{"response_format", {{"type", "json_object"}}}}, "response_format"},
      {"an unknown setting of ours", {{"wdmoe", {{"tracing", true}}}}, "wdmoe.tracing"},
      {"an unknown policy", {{"wdmoe", {{"policy", "fastest"}}}}, "wdmoe.policy"},
      {"a policy by number", {{"wdmoe", {{"policy", 1}}}}, "wdmoe.policy"},
      {"a quality above 1", {{"wdmoe", {{"quality", 1.1}}}}, "wdmoe.quality"},
      {"a negative quality", {{"wdmoe", {{"quality", -0.1}}}}, "wdmoe.quality"},
      {"a quality as text", {{"wdmoe", {{"quality", "0.9"}}}}, "wdmoe.quality"},
      {"another model", {{"model", "gpt-4"}}, "model"},
  };
  for (const auto& c : cases) {
    CAPTURE(std::string(c.name));
    const auto call = completion({{"prompt", "a"}}, c.patch);
    REQUIRE_FALSE(call);
    CHECK(call.error().param == c.param);
    CHECK(call.error().message.find(c.param) != std::string::npos);
    CHECK(call.error().status == (std::string(c.param) == "model" ? 404 : 400));
    const json answer = json::parse(call.error().json());
    CHECK(answer["error"]["type"] == "invalid_request_error");
  }
}

TEST_CASE("call: the idle form of an unsupported field is let through") {
  CHECK(completion({{"prompt", "a"},
                    {"presence_penalty", 0},
                    {"frequency_penalty", 0.0},
                    {"logit_bias", json::object()},
                    {"tools", json::array()},
                    {"tool_choice", "none"},
                    {"response_format", {{"type", "text"}}},
                    {"suffix", nullptr},
                    {"top_k", -1},
                    {"stop", json::array({""})},
                    {"model", "demo"}}));
}

TEST_CASE("call: chats refuse what they cannot render") {
  for (const json& messages :
       {json(), json("hi"), json::array(), json::array({3}),
        json::array({json::object({{"role", "tool"}, {"content", "x"}})}),
        json::array(
            {json::object({{"role", "user"},
                           {"content", json::array({json::object({{"type", "image_url"}})})}})})}) {
    CAPTURE(messages.dump());
    CHECK_FALSE(chat_call({{"messages", messages}}));
  }
  CHECK_FALSE(chat_call({{"top_logprobs", 2}}));
  CHECK_FALSE(chat_call({{"logprobs", 1}}));
}

TEST_CASE("call: a prompt beyond the context is refused with the numbers") {
  const auto call = completion({{"prompt", std::string(90, 'x')}, {"max_tokens", 10}});
  REQUIRE_FALSE(call);
  CHECK(call.error().code == "context_length_exceeded");
  CHECK(call.error().message.find("100 tokens") != std::string::npos);
  CHECK(call.error().message.find("(91 in the prompt, 10 in the completion)") != std::string::npos);
  CHECK(completion({{"prompt", std::string(90, 'x')}, {"max_tokens", 9}}));
  CHECK(chat_call({{"max_tokens", 10'000'000}}).error().code == "context_length_exceeded");
  CHECK_FALSE(chat_call({{"messages", {{{"role", "user"}, {"content", std::string(200, 'x')}}}}}));
}

TEST_CASE("call: a text that no context could hold is refused before it is tokenized") {
  const std::string longest(100 * kMaxTextBytesPerToken, 'x');
  const auto tokenized = completion({{"prompt", longest}});
  REQUIRE_FALSE(tokenized);
  CHECK(tokenized.error().message.find("6401 in the prompt") != std::string::npos);
  const json messages = {{{"role", "user"}, {"content", longest}}};
  for (const auto& call :
       {completion({{"prompt", longest + "x"}}), completion({{"prompt", {"fits", longest + "x"}}}),
        chat_call({{"messages", messages}})}) {
    REQUIRE_FALSE(call);
    CHECK(call.error().status == 400);
    CHECK(call.error().code == "context_length_exceeded");
    CHECK(call.error().message.find("6400 bytes of text") != std::string::npos);
  }
}

TEST_CASE("call: hostile bodies are refused, never a crash") {
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"),
        std::string(100'000, '['), std::string(R"({"prompt":"\ud800"})"),
        std::string("{\"prompt\":\"\xff\xfe\"}"), std::string("{\"prompt\":\"a\"} trailing"),
        std::string("\0", 1)}) {
    CHECK_FALSE(parse_completion(body, call_context));
    CHECK_FALSE(parse_chat(body, call_context));
    CHECK_FALSE(parse_logits(body, call_context));
  }
  const std::string good =
      R"({"prompt":[1,2],"stop":["a"],"logprobs":1,"wdmoe":{"trace":true,"policy":"topk","quality":1}})";
  for (std::size_t length = 0; length < good.size(); ++length)
    CHECK_FALSE(parse_completion(good.substr(0, length), call_context));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      std::string broken = good;
      broken[at] = static_cast<char>(broken[at] ^ (1 << bit));
      (void)parse_completion(broken, call_context);
      (void)parse_chat(broken, call_context);
    }
}
