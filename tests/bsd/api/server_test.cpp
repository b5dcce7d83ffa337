#include "bsd/api/server.h"

#include <doctest/doctest.h>

#include "tests/bsd/api/server_fixture.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using namespace std::chrono_literals;

TEST_CASE("server: answers completions, chats and logits") {
  ServerFixture fixture;
  const Reply completion = ask(fixture, post(kCompletions, R"({"prompt":"x","max_tokens":3})"));
  CHECK(completion.status == 200);
  CHECK(completion.parsed()["choices"][0]["text"] == "abc");
  const Reply chat =
      ask(fixture, post("/v1/chat/completions",
                        R"({"messages":[{"role":"user","content":"x"}],"max_tokens":2})"));
  CHECK(chat.parsed()["choices"][0]["message"]["content"] == "ab");
  const Reply logits = ask(fixture, post("/wdmoe/v1/logits", R"({"tokens":[1,2,3]})"));
  CHECK(logits.parsed()["logits"].size() == 3);
  CHECK(eventually([&] { return fixture.engine.statuses().size() == 3; }));
}

TEST_CASE("server: documents and tokenization") {
  ServerFixture fixture;
  CHECK(ask(fixture, get("/v1/models")).parsed()["data"][0]["id"] == "demo");
  CHECK(ask(fixture, get("/v1/models/demo")).parsed()["object"] == "model");
  CHECK(ask(fixture, get("/v1/models/other")).status == 404);
  CHECK(ask(fixture, get("/healthz")).parsed()["status"] == "ok");
  CHECK(ask(fixture, get("/metrics")).body == "wdmoe_device_up 1\n");
  CHECK(ask(fixture, get("/wdmoe/v1/agents")).parsed()["agents"] == json::array());
  CHECK(ask(fixture, get("/tokenizer_info")).parsed()["bos_token"] == "<s>");
  CHECK(ask(fixture, post("/tokenize", R"({"prompt":"ab","add_special_tokens":false})"))
            .parsed()["tokens"] == json::array({97, 98}));
  CHECK(ask(fixture, post("/tokenize", R"({"prompt":"ab"})")).parsed()["count"] == 3);
  const std::string mebibyte(1u << 20, 'x');
  CHECK(ask(fixture, post("/tokenize", R"({"prompt":")" + mebibyte + R"("})")).status == 200);
  const Reply huge = ask(fixture, post("/tokenize", R"({"prompt":"x)" + mebibyte + R"("})"));
  CHECK(huge.status == 400);
  CHECK(huge.body.find("at most 1048576") != std::string::npos);
  CHECK(ask(fixture, post("/detokenize", R"({"tokens":[97,98]})")).parsed()["prompt"] == "ab");
  CHECK(ask(fixture, post("/detokenize", R"({"tokens":[9999]})")).status == 400);
  CHECK(ask(fixture, get("/no/such/route")).status == 404);
  const Reply wrong = ask(fixture, get(kCompletions));
  CHECK(wrong.status == 405);
  CHECK(wrong.head.find("Allow: POST, OPTIONS") != std::string::npos);
  const Reply preflight = ask(fixture, get(kCompletions, "OPTIONS"));
  CHECK(preflight.status == 204);
  CHECK(preflight.head.find("Access-Control-Allow-Methods") != std::string::npos);
  CHECK(preflight.head.find("Allow-Headers: Authorization, *\r\n") != std::string::npos);
}

TEST_CASE("server: health says what is missing") {
  ServerFixture fixture;
  fixture.engine.set_health({false, {"layer 3 expert 1"}});
  const Reply reply = ask(fixture, get("/health"));
  CHECK(reply.status == 503);
  CHECK(reply.parsed()["missing"] == json::array({"layer 3 expert 1"}));
}

TEST_CASE("server: the engine's refusals become statuses with Retry-After") {
  const struct {
    Code code;
    unsigned status;
    bool retry;
  } cases[] = {{Code::busy, 429, true},
               {Code::unavailable, 503, true},
               {Code::limit, 400, false},
               {Code::bad_input, 400, false},
               {Code::io, 500, false}};
  ServerFixture fixture;
  for (const auto& c : cases) {
    CAPTURE(c.status);
    fixture.engine.refuse_with({c.code, "because"});
    const Reply reply = ask(fixture, post(kCompletions, R"({"prompt":"x","stream":true})"));
    CHECK(reply.status == c.status);
    CHECK(reply.parsed()["error"]["message"] == "because");
    CHECK((reply.head.find("Retry-After") != std::string::npos) == c.retry);
  }
}

TEST_CASE("server: streams server-sent events and goes on with the connection") {
  ServerFixture fixture;
  Client client(fixture.port);
  const std::string body = R"({"prompt":"x","max_tokens":3,"stream":true})";
  client.send(post(kCompletions, body, "X-Request-Id: mine-7\r\n"));
  REQUIRE(client.read_until("0\r\n\r\n"));
  CHECK(client.data.find("text/event-stream") != std::string::npos);
  CHECK(client.data.find("X-Request-Id: mine-7\r\n") != std::string::npos);
  CHECK(client.data.find("data: [DONE]\n\n") != std::string::npos);
  client.data.clear();
  client.send(get("/metrics"));
  CHECK(client.reply().status == 200);
}

TEST_CASE("server: an error after the head is the stream's last event") {
  ServerFixture fixture(false);
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","stream":true})"));
  REQUIRE(client.read_until("text/event-stream"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  TokenEvent event;
  event.finish = FinishReason::error;
  event.error = "device gone";
  fixture.engine.emit(fixture.engine.open()[0], event);
  client.read_to_end();
  CHECK(client.data.find("data: {\"error\":") != std::string::npos);
  CHECK(client.data.find("device gone") != std::string::npos);
  CHECK(client.data.find("[DONE]") == std::string::npos);
}

TEST_CASE("server: an error before anything was sent is a plain response") {
  ServerFixture fixture(false);
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":["x","y"]})"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 2; }));
  TokenEvent event;
  event.finish = FinishReason::error;
  event.error = "device gone";
  fixture.engine.emit(fixture.engine.open()[0], event);
  CHECK(client.reply().status == 500);
  CHECK(eventually([&] { return fixture.engine.cancelled().size() == 1; }));  // the other choice
}

TEST_CASE("server: more prompts than the queue holds follow as places become free") {
  ServerFixture fixture(false);
  fixture.engine.set_capacity(2);
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":["a","b","c","d","e"],"max_tokens":1})"));
  for (RequestId id = 1; id <= 5; ++id) {
    REQUIRE(eventually([&] {
      const auto open = fixture.engine.open();
      return std::find(open.begin(), open.end(), id) != open.end();
    }));
    fixture.engine.answer(id);
  }
  const Reply reply = client.reply();
  CHECK(reply.status == 200);
  CHECK(reply.parsed()["choices"].size() == 5);
}

TEST_CASE("server: bad requests get an error body") {
  ServerFixture fixture(true, [](Settings& settings) { settings.max_body_bytes = 100'000; });
  const struct {
    const char* name;
    std::string bytes;
    unsigned status;
  } cases[] = {
      {"not HTTP", "hello\r\n\r\n", 400},
      {"a bad length", "POST /tokenize HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
      {"a huge body", post(kCompletions, std::string(200'000, 'x')), 413},
      {"a huge header", "GET / HTTP/1.1\r\nA: " + std::string(40'000, 'x') + "\r\n\r\n", 431},
      {"deep nesting", post(kCompletions, std::string(50'000, '[')), 400},
      {"a lone surrogate", post(kCompletions, R"({"prompt":"\ud800"})"), 400},
      {"invalid UTF-8", post(kCompletions, "{\"prompt\":\"\xff\"}"), 400},
  };
  for (const auto& c : cases) {
    CAPTURE(std::string(c.name));
    const Reply reply = ask(fixture, c.bytes);
    CHECK(reply.status == c.status);
    CHECK(reply.parsed()["error"]["message"].is_string());
  }
}
