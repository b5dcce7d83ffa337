// The control API's routes, over HTTP as an operator uses them.

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/bsd/api/server_fixture.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using nlohmann::json;

namespace {

constexpr const char* kPolicy = "/wdmoe/v1/policy";
constexpr const char* kTrace = "/wdmoe/v1/trace";

std::string put(const std::string& path, const std::string& body) {
  std::string bytes = post(path, body);
  return "PUT" + bytes.substr(bytes.find(' '));
}

}  // namespace

TEST_CASE("control: the policy is shown and changed") {
  ServerFixture fixture;
  const json before = ask(fixture, get(kPolicy)).parsed();
  CHECK(before["policy"] == "topk");
  CHECK(before["quality"].is_null());
  CHECK(before["layer_budgets"] == false);
  CHECK(before["policies"][1]["name"] == "minmax");
  CHECK(before["policies"][1]["help"] == "ours");

  const Reply changed = ask(fixture, put(kPolicy, R"({"policy":"minmax","quality":0.9})"));
  CHECK(changed.status == 200);
  CHECK(changed.parsed()["policy"] == "minmax");
  CHECK(changed.parsed()["quality"] == 0.9);
  CHECK(ask(fixture, get(kPolicy)).parsed() == changed.parsed());

  CHECK(ask(fixture, put(kPolicy, R"({"policy":"topk"})")).parsed()["quality"].is_null());
}

TEST_CASE("control: what is no policy is refused by the field's name and changes nothing") {
  ServerFixture fixture;
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {R"({"policy":"fastest"})", "policy"},
      {R"({"policy":3})", "policy"},
      {R"({"quality":0.5})", "policy"},
      {R"({"policy":"minmax","quality":"high"})", "quality"},
      {R"({"policy":"minmax","quality":1.01})", "quality"},
      {R"({"policy":"minmax","beta":-1})", "beta"},
      {R"({"policy":"minmax","speed":9})", "speed"},
      {R"([])", ""},
      {"", ""},
  };
  for (const auto& c : cases) {
    CAPTURE(c.body);
    const Reply reply = ask(fixture, put(kPolicy, c.body));
    CHECK(reply.status == 400);
    const json error = reply.parsed()["error"];
    CHECK(error["type"] == "invalid_request_error");
    CHECK((error["param"].is_null() ? "" : error["param"].get<std::string>()) == c.param);
  }
  CHECK(ask(fixture, put(kPolicy, R"({"policy":"fastest"})")).body.find("topk, minmax") !=
        std::string::npos);
  CHECK(ask(fixture, get(kPolicy)).parsed()["policy"] == "topk");
}

TEST_CASE("control: a recording is started, watched and stopped") {
  ServerFixture fixture;
  const json before = ask(fixture, get(kTrace)).parsed();
  CHECK(before["recording"] == false);
  CHECK(before["name"].is_null());
  CHECK(ask(fixture, get(kTrace, "DELETE")).status == 409);
  const Reply started = ask(fixture, put(kTrace, R"({"name":"a.trace","tokens":50})"));
  CHECK(started.status == 200);
  CHECK(started.parsed()["recording"] == true);
  CHECK(started.parsed()["tokens"] == 50);
  CHECK(ask(fixture, put(kTrace, R"({"name":"b.trace"})")).status == 409);
  const Reply stopped = ask(fixture, get(kTrace, "DELETE"));
  CHECK(stopped.status == 200);
  CHECK(stopped.parsed()["recording"] == false);
  CHECK(stopped.parsed()["name"] == "a.trace");
  CHECK(ask(fixture, put(kTrace, R"({"name":"denied"})")).status == 403);
  const Reply large = ask(fixture, put(kTrace, R"({"name":"large"})"));
  CHECK(large.status == 422);
  CHECK(large.parsed()["error"]["type"] == "invalid_request_error");
  CHECK(ask(fixture, put(kTrace, R"({"name":"full"})")).status == 500);
}

TEST_CASE("control: a recording's bad fields are refused by name") {
  ServerFixture fixture;
  const struct {
    const char* body;
    const char* param;
  } cases[] = {
      {R"({"name":7})", "name"},
      {R"({"name":"x","tokens":0})", "tokens"},
      {R"({"name":"x","tokens":-3})", "tokens"},
      {R"({"name":"x","seconds":0})", "seconds"},
      {R"({"name":"x","seconds":1e12})", "seconds"},
      {R"({"name":"x","directory":"/"})", "directory"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.body);
    const Reply reply = ask(fixture, put(kTrace, c.body));
    CHECK(reply.status == 400);
    CHECK(reply.parsed()["error"]["param"] == c.param);
  }
  CHECK(ask(fixture, get(kTrace)).parsed()["recording"] == false);
}

TEST_CASE("control: other methods are refused, and no other site's page may change anything") {
  ServerFixture fixture;
  const Reply wrong = ask(fixture, post(kPolicy, R"({"policy":"minmax"})"));
  CHECK(wrong.status == 405);
  CHECK(wrong.head.find("Allow: GET, PUT, OPTIONS") != std::string::npos);
  const Reply preflight = ask(fixture, get(kPolicy, "OPTIONS"));
  CHECK(preflight.status == 204);
  CHECK(preflight.head.find("PUT") == std::string::npos);
}

TEST_CASE("control: an answer's fingerprint follows the policy its request asked for") {
  ServerFixture fixture;
  const auto fingerprint = [&](const char* own) {
    return ask(fixture, post("/v1/completions",
                             std::string(R"({"prompt":"x","max_tokens":1,"wdmoe":)") + own + "}"))
        .parsed()["system_fingerprint"];
  };
  CHECK(fingerprint("{}") == "test-build");
  CHECK(fingerprint(R"({"policy":"minmax"})") == "test-build-wish");
}

TEST_CASE("control: the radio is frozen and resumed, and what is no wish is refused") {
  ServerFixture fixture;
  constexpr const char* kRadio = "/wdmoe/v1/radio";
  CHECK(ask(fixture, get(kRadio)).parsed()["state"] == "running");
  CHECK(ask(fixture, put(kRadio, R"({"frozen":true})")).parsed()["state"] == "frozen");
  for (const char* body : {R"({})", R"({"frozen":1})", R"({"frozen":true,"x":1})", "[]"}) {
    CAPTURE(body);
    CHECK(ask(fixture, put(kRadio, body)).status == 400);
  }
  CHECK(ask(fixture, get(kRadio)).parsed()["state"] == "frozen");
  CHECK(ask(fixture, put(kRadio, R"({"frozen":false})")).parsed()["state"] == "running");
  fixture.engine.set_radio_controlled(false);
  const Reply refused = ask(fixture, put(kRadio, R"({"frozen":true})"));
  CHECK(refused.status == 409);
  CHECK(refused.parsed()["error"]["message"] == "radio.actuators is empty");
}

TEST_CASE("control: status is there") {
  ServerFixture fixture;
  CHECK(ask(fixture, get("/wdmoe/v1/status")).parsed()["ready"] == true);
}
