#include "bsd/api/http.h"

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace wdmoe::bsd::api;
using State = RequestReader::State;

namespace {

constexpr std::size_t kHeader = 1024, kBody = 4096;

std::string post(const std::string& body) {
  return "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

unsigned status_of(std::string input) {
  RequestReader reader(kHeader, kBody);
  return reader.feed(input) == State::bad ? reader.status() : 0;
}

}  // namespace

TEST_CASE("http: a request reads the same however it is cut into pieces") {
  const std::string bytes =
      post("hello") + "GET /v1/models?x=1 HTTP/1.0\r\nX-Request-Id: abc-1\r\n\r\n";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    RequestReader reader(kHeader, kBody);
    std::vector<HttpRequest> requests;
    std::string input;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      input += bytes.substr(at, step);
      while (reader.feed(input) == State::ready) requests.push_back(reader.take());
    }
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].method == "POST");
    CHECK(requests[0].path() == "/tokenize");
    CHECK(requests[0].body == "hello");
    CHECK(requests[0].keep_alive);
    CHECK(requests[1].path() == "/v1/models");
    CHECK(requests[1].http_1_0);
    CHECK_FALSE(requests[1].keep_alive);
    CHECK(requests[1].request_id == "abc-1");
  }
}

TEST_CASE("http: a chunked body arrives whole") {
  RequestReader reader(kHeader, kBody);
  std::string input =
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  REQUIRE(reader.feed(input) == State::ready);
  CHECK(reader.take().body == "abcde");
}

TEST_CASE("http: bad and oversized requests are refused with their status") {
  CHECK(status_of("nonsense\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n") == 400);
  CHECK(status_of("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n") == 413);
  CHECK(status_of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n") == 413);
  CHECK(status_of("GET / HTTP/1.1\r\nA: " + std::string(2000, 'x')) == 431);
  CHECK(status_of("GET / HTTP/1.1\r\nA: " + std::string(2000, 'x') + "\r\n\r\n") == 431);
}

TEST_CASE("http: a client that expects 100 Continue is told once") {
  RequestReader reader(kHeader, kBody);
  std::string input = "POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  CHECK(reader.feed(input) == State::more);
  CHECK(reader.wants_continue());
  CHECK_FALSE(reader.wants_continue());
  input = "ok";
  CHECK(reader.feed(input) == State::ready);
}

TEST_CASE("http: the key of a Bearer authorization is read, and no other") {
  const struct {
    const char *header, *key;
  } cases[] = {{"Authorization: Bearer abc", "abc"},
               {"authorization: bEARER abc", "abc"},
               {"Authorization: Basic abc", ""},
               {"Authorization: Bearer", ""},
               {"Authorization:", ""},
               {"X-Api-Key: abc", ""}};
  for (const auto& c : cases) {
    CAPTURE(std::string(c.header));
    RequestReader reader(kHeader, kBody);
    std::string input = "GET / HTTP/1.1\r\n" + std::string(c.header) + "\r\n\r\n";
    REQUIRE(reader.feed(input) == State::ready);
    CHECK(reader.take().api_key == c.key);
  }
}

TEST_CASE("http: noise never crashes the reader") {
  std::mt19937 random(17);
  const std::string good = post("{\"prompt\":\"hi\"}");
  for (int round = 0; round < 5000; ++round) {
    std::string input = good;
    for (std::size_t i = 1 + random() % 4; i > 0; --i)
      input[random() % input.size()] = static_cast<char>(random() % 256);
    RequestReader reader(kHeader, kBody);
    if (reader.feed(input) == State::ready) (void)reader.take();
  }
}

TEST_CASE("http: responses say how long they are and what becomes of the connection") {
  ResponseFraming framing;
  framing.request_id = "r1";
  HttpResponse response;
  response.status = 429;
  response.body = "{}";
  response.headers = {{"Retry-After", "1"}};
  const std::string text = write_response(response, framing);
  CHECK(text.find("HTTP/1.1 429 Too Many Requests\r\n") == 0);
  for (const char* line :
       {"Retry-After: 1\r\n", "Content-Length: 2\r\n", "Connection: keep-alive\r\n",
        "X-Request-Id: r1\r\n", "Access-Control-Allow-Origin: *\r\n", "\r\n\r\n{}"}) {
    CAPTURE(std::string(line));
    CHECK(text.find(line) != std::string::npos);
  }
  framing.head_only = true;
  const std::string head = write_response(response, framing);
  CHECK(head.find("Content-Length: 2\r\n") != std::string::npos);
  CHECK(head.substr(head.size() - 4) == "\r\n\r\n");
  framing.http_1_0 = true;
  CHECK(write_stream_head(framing).find("chunked") == std::string::npos);
  CHECK(write_stream_piece("data: x\n\n", framing) == "data: x\n\n");
}

TEST_CASE("http: an id that could break a header is not echoed") {
  RequestReader reader(kHeader, kBody);
  std::string input = "GET / HTTP/1.1\r\nX-Request-Id: a b;c\r\n\r\n";
  REQUIRE(reader.feed(input) == State::ready);
  CHECK(reader.take().request_id.empty());
}
