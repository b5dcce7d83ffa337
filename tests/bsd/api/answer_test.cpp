#include "bsd/api/answer.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/bsd/api/fakes.h"

using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using nlohmann::json;

namespace {

const ChatFormat no_prefixes;
const CallContext answer_context{kTokenizer, kModel, no_prefixes, 1};
const AnswerHead head{"id-1", 1'700'000'000, "demo", "test-build"};

Answer answer_to(const std::string& body, CallKind kind = CallKind::completion) {
  auto call = kind == CallKind::chat     ? parse_chat(body, answer_context)
              : kind == CallKind::logits ? parse_logits(body, answer_context)
                                         : parse_completion(body, answer_context);
  if (!call) FAIL(call.error().message);
  return Answer(std::move(*call), head, kTokenizer);
}

/// Lets the fake engine answer every choice; returns all that was streamed.
std::string play(Answer& answer) {
  std::string out = answer.call().stream ? answer.begin() : std::string();
  for (std::size_t i = 0; i < answer.call().choices.size(); ++i)
    for (const TokenEvent& event : events_for(answer.call().choices[i]))
      out += answer.accept(i, event);
  REQUIRE(answer.finished());
  return out;
}

json body_of(const std::string& request, CallKind kind = CallKind::completion) {
  Answer answer = answer_to(request, kind);
  CHECK(play(answer).empty());
  return json::parse(answer.body());
}

std::vector<json> chunks_of(const std::string& request, CallKind kind = CallKind::completion) {
  Answer answer = answer_to(request, kind);
  std::string out = play(answer);
  out += answer.end();
  std::vector<json> chunks;
  while (!out.empty()) {
    const std::size_t end = out.find("\n\n");
    REQUIRE(out.substr(0, 6) == "data: ");
    REQUIRE(end != std::string::npos);
    const std::string data = out.substr(6, end - 6);
    out.erase(0, end + 2);
    if (data == "[DONE]") {
      CHECK(out.empty());
    } else {
      chunks.push_back(json::parse(data));
    }
  }
  return chunks;
}

}  // namespace

TEST_CASE("answer: a completion has OpenAI's shape") {
  const json body = body_of(R"({"prompt":"xy","max_tokens":3})");
  CHECK(body["object"] == "text_completion");
  CHECK(body["id"] == "id-1");
  CHECK(body["model"] == "demo");
  CHECK(body["system_fingerprint"] == "test-build");
  CHECK(body["choices"] ==
        json::parse(R"([{"index":0,"text":"abc","logprobs":null,"finish_reason":"length"}])"));
  CHECK(body["usage"] ==
        json::parse(R"({"prompt_tokens":3,"completion_tokens":3,"total_tokens":6})"));
  CHECK_FALSE(body.contains("wdmoe"));
}

TEST_CASE("answer: a chat has OpenAI's shape") {
  const json body =
      body_of(R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2})", CallKind::chat);
  CHECK(body["object"] == "chat.completion");
  CHECK(body["choices"][0]["message"] == json::parse(R"({"role":"assistant","content":"ab"})"));
}

TEST_CASE("answer: prompts and n become choices by index, usage counts a prompt once") {
  const json body = body_of(R"({"prompt":[[1],[2,3]],"n":2,"max_tokens":1})");
  REQUIRE(body["choices"].size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(body["choices"][static_cast<std::size_t>(i)]["index"] == i);
  CHECK(body["usage"]["prompt_tokens"] == 3);
  CHECK(body["usage"]["completion_tokens"] == 4);
}

TEST_CASE("answer: what lm-eval reads for a loglikelihood is there") {
  // Payload of lm_eval's local-completions: token ids, one generated token, echo.
  const json body = body_of(
      R"({"prompt":[[104,105,106]],"temperature":0,"max_tokens":1,"logprobs":1,"echo":true})");
  const json& logprobs = body["choices"][0]["logprobs"];
  for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    CAPTURE(std::string(list));
    CHECK(logprobs[list].size() == 4);  // the prompt and one more
  }
  CHECK(logprobs["token_logprobs"][0].is_null());
  CHECK(logprobs["top_logprobs"][0].is_null());
  CHECK(logprobs["text_offset"] == json::parse("[0,1,2,3]"));
  for (std::size_t i = 1; i < 4; ++i) {
    const std::string token = logprobs["tokens"][i];
    // The very same number, and the token itself beside the best one.
    CHECK(logprobs["top_logprobs"][i][token] == logprobs["token_logprobs"][i]);
    CHECK(logprobs["top_logprobs"][i].size() == 2);
  }
  CHECK(body["choices"][0]["text"] == "hija");
}

TEST_CASE("answer: echo without new tokens gives the prompt alone") {
  const json body = body_of(R"({"prompt":[104,105],"max_tokens":0,"logprobs":0,"echo":true})");
  CHECK(body["choices"][0]["text"] == "hi");
  CHECK(body["choices"][0]["logprobs"]["tokens"].size() == 2);
  CHECK(body["choices"][0]["logprobs"]["top_logprobs"][1].size() == 1);
  CHECK(body["choices"][0]["finish_reason"] == "length");
  const json plain = body_of(R"({"prompt":"hi","max_tokens":2,"echo":true})");
  CHECK(plain["choices"][0]["text"] == "hiab");
}

TEST_CASE(
    "answer: parts of a character keep their bytes, and offsets count the text's characters") {
  const json body =
      body_of(R"({"prompt":[256,195,169,104],"max_tokens":1,"logprobs":1,"echo":true})");
  CHECK(body["choices"][0]["text"] == "\u00e9ha");
  const json& logprobs = body["choices"][0]["logprobs"];
  CHECK(logprobs["tokens"] == json::array({"<s>", R"(bytes:\xc3)", R"(bytes:\xa9)", "h", "a"}));
  CHECK(logprobs["text_offset"] == json::array({0, 0, 1, 1, 2}));
  const json chat = chat_logprobs(ByteTokenizer(), {logprob(0xC3, -1)}, 0)["content"][0];
  CHECK(chat["bytes"] == json::array({0xC3}));
}

TEST_CASE("answer: chat logprobs carry bytes and alternatives") {
  const json body = body_of(
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"logprobs":true,"top_logprobs":1})",
      CallKind::chat);
  const json& entry = body["choices"][0]["logprobs"]["content"][0];
  CHECK(entry["token"] == "a");
  CHECK(entry["bytes"] == json::array({97}));
  CHECK(entry["logprob"] == -0.25);
  REQUIRE(entry["top_logprobs"].size() == 1);
  CHECK(entry["top_logprobs"][0]["token"] == "z");
}

TEST_CASE("answer: a chat stream begins with the role and ends with an empty delta") {
  const auto chunks = chunks_of(
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"stream":true,"stream_options":{"include_usage":true}})",
      CallKind::chat);
  REQUIRE(chunks.size() == 5);
  CHECK(chunks[0]["choices"][0]["delta"] == json::parse(R"({"role":"assistant","content":""})"));
  CHECK(chunks[1]["choices"][0]["delta"] == json::parse(R"({"content":"a"})"));
  CHECK(chunks[3]["choices"][0]["delta"] == json::object());
  CHECK(chunks[3]["choices"][0]["finish_reason"] == "length");
  CHECK(chunks[4]["choices"] == json::array());
  CHECK(chunks[4]["usage"]["completion_tokens"] == 2);
  for (std::size_t i = 0; i < 4; ++i) CHECK(chunks[i].at("usage").is_null());
  for (const json& chunk : chunks) {
    CHECK(chunk["id"] == "id-1");
    CHECK(chunk["created"] == 1'700'000'000);
    CHECK(chunk["object"] == "chat.completion.chunk");
  }
}

TEST_CASE("answer: a completion stream gives the same text, logprobs and offsets as the body") {
  const std::string rest = R"("prompt":[104,105],"max_tokens":3,"logprobs":1,"echo":true)";
  const json whole = body_of("{" + rest + "}")["choices"][0];
  std::string text;
  json tokens = json::array(), offsets = json::array();
  for (const json& chunk : chunks_of("{\"stream\":true," + rest + "}")) {
    const json& choice = chunk["choices"][0];
    text += choice["text"].get<std::string>();
    if (choice["logprobs"].is_null()) continue;
    for (const json& token : choice["logprobs"]["tokens"]) tokens.push_back(token);
    for (const json& offset : choice["logprobs"]["text_offset"]) offsets.push_back(offset);
  }
  CHECK(text == whole["text"]);
  CHECK(tokens == whole["logprobs"]["tokens"]);
  CHECK(offsets == whole["logprobs"]["text_offset"]);
}

TEST_CASE("answer: a trace gives the costs of each token and the totals with their stages") {
  const auto chunks =
      chunks_of(R"({"prompt":"x","max_tokens":3,"stream":true,"wdmoe":{"trace":true}})");
  REQUIRE(chunks.size() == 4);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(chunks[i]["wdmoe"]["bs_ms"] == 3.0);
    CHECK(chunks[i]["wdmoe"]["wait_ms"] == 2.0);
    CHECK(chunks[i]["wdmoe"]["bytes_sent"] == 100);
    CHECK(chunks[i]["wdmoe"]["policy"] == "minmax");
    CHECK(chunks[i]["wdmoe"]["kept_gate_mass"] == 0.75);
    CHECK(chunks[i]["wdmoe"]["experts_dropped"] == 2);
    CHECK(chunks[i]["wdmoe"]["experts_substituted"] == 1);
    CHECK_FALSE(chunks[i]["wdmoe"].contains("stages_ms"));
  }
  CHECK(chunks[3]["wdmoe"]["stages_ms"]["total"] == 5.0);
  CHECK(body_of(R"({"prompt":"x","wdmoe":{"trace":true}})")["wdmoe"]["stages_ms"]["wire_wait"] ==
        2.0);
}

TEST_CASE("answer: logits come as a matrix") {
  const json body = body_of(R"({"tokens":[1,2]})", CallKind::logits);
  CHECK(body["logits"] == json::parse("[[0.5,-1.0],[0.5,-1.0]]"));
}

TEST_CASE("answer: a failed choice ends the call with one error") {
  Answer answer = answer_to(R"({"prompt":["x","y"]})");
  TokenEvent event;
  event.finish = FinishReason::error;
  event.error = "device jetson-2 did not answer";
  CHECK(answer.accept(1, event).empty());
  CHECK(answer.finished());
  REQUIRE(answer.error());
  CHECK(answer.error()->status == 500);
  CHECK(answer.error()->message == event.error);
}

TEST_CASE("answer: a chat's leading blanks are dropped, whole or in a stream") {
  const auto event = [](const char* text, FinishReason finish) {
    TokenEvent made;
    made.token = 1;
    made.text = text;
    made.finish = finish;
    return made;
  };
  for (const bool stream : {false, true}) {
    CAPTURE(stream);
    Answer answer =
        answer_to(std::string(R"({"messages":[{"role":"user","content":"x"}],"stream":)") +
                      (stream ? "true}" : "false}"),
                  CallKind::chat);
    std::string out;
    for (const char* text : {" ", " Once", " upon"})
      out += answer.accept(0, event(text, FinishReason::none));
    out += answer.accept(0, event(" a", FinishReason::stop));
    if (stream) {
      CHECK(out.find(R"("content":"Once")") != std::string::npos);
      CHECK(out.find(R"("content":" upon")") != std::string::npos);
    } else {
      CHECK(json::parse(answer.body())["choices"][0]["message"]["content"] == "Once upon a");
    }
  }
}
