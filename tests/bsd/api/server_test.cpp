#include "bsd/api/server.h"

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "tests/bsd/api/fakes.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using nlohmann::json;
namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

namespace {

// No wait of a working server comes near this; it only keeps a broken one from hanging the test.
constexpr auto kPatience = 30s;

/// A server on a free loopback port, its io thread, and a fake engine.
class Fixture {
 public:
  explicit Fixture(bool answers_at_once = true, std::function<void(Settings&)> change = {})
      : engine(answers_at_once) {
    Settings settings;
    settings.listen = "127.0.0.1:0";
    settings.model = test_model();
    if (change) change(settings);
    server = std::make_unique<Server>(io_, settings, engine.hooks(), tokenizer_);
    url = server->url();
    port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Fixture() {
    on_io([this] { server.reset(); });
    work_.reset();
    thread_.join();
  }
  void on_io(const std::function<void()>& action) {
    std::promise<void> done;
    asio::post(io_, [&] {
      action();
      done.set_value();
    });
    done.get_future().wait();
  }

  FakeEngine engine;
  std::unique_ptr<Server> server;
  std::string url;
  std::uint16_t port = 0;

 private:
  ByteTokenizer tokenizer_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  std::thread thread_;
};

struct Reply {
  unsigned status = 0;
  std::string head, body;
  json parsed() const { return json::parse(body, nullptr, false); }
};

/// A blocking client.
class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(io_) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    const timeval patience{std::chrono::seconds(kPatience).count(), 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  void send(const std::string& bytes) {
    boost::system::error_code ignored;  // the server may have closed already
    asio::write(socket_, asio::buffer(bytes), ignored);
  }
  /// Until `mark` is in what came, or the connection ends.
  bool read_until(const std::string& mark) {
    while (data.find(mark) == std::string::npos)
      if (!read_some()) return false;
    return true;
  }
  void read_to_end() {
    while (read_some()) {
    }
  }
  /// One response with a Content-Length; what follows stays.
  Reply reply(bool has_body = true) {
    Reply reply;
    if (!read_until("\r\n\r\n")) return reply;
    const std::size_t end = data.find("\r\n\r\n") + 4;
    reply.head = data.substr(0, end);
    reply.status = static_cast<unsigned>(std::stoul(reply.head.substr(9, 3)));
    const std::size_t length = reply.head.find("Content-Length: ");
    std::size_t size = 0;
    if (has_body && length != std::string::npos) size = std::stoul(reply.head.substr(length + 16));
    while (data.size() < end + size)
      if (!read_some()) break;
    reply.body = data.substr(end, size);
    data.erase(0, end + size);
    return reply;
  }
  void close() { socket_.close(); }
  std::string data;

 private:
  bool read_some() {
    char chunk[4096];
    boost::system::error_code error;
    const std::size_t size = socket_.read_some(asio::buffer(chunk), error);
    data.append(chunk, size);
    return !error;
  }
  asio::io_context io_;
  tcp::socket socket_;
};

std::string get(const std::string& path, const std::string& method = "GET") {
  return method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

std::string post(const std::string& path, const std::string& body, const std::string& more = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

Reply ask(const Fixture& fixture, const std::string& bytes) {
  Client client(fixture.port);
  client.send(bytes);
  return client.reply();
}

/// Waits for another thread's work without a fixed sleep; false only when something is broken.
bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

constexpr const char* kCompletions = "/v1/completions";

}  // namespace

TEST_CASE("server: answers completions, chats and logits") {
  Fixture fixture;
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
  Fixture fixture;
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
  CHECK(ask(fixture, post("/detokenize", R"({"tokens":[97,98]})")).parsed()["prompt"] == "ab");
  CHECK(ask(fixture, post("/detokenize", R"({"tokens":[9999]})")).status == 400);
  CHECK(ask(fixture, get("/no/such/route")).status == 404);
  const Reply wrong = ask(fixture, get(kCompletions));
  CHECK(wrong.status == 405);
  CHECK(wrong.head.find("Allow: POST, OPTIONS") != std::string::npos);
  const Reply preflight = ask(fixture, get(kCompletions, "OPTIONS"));
  CHECK(preflight.status == 204);
  CHECK(preflight.head.find("Access-Control-Allow-Methods") != std::string::npos);
}

TEST_CASE("server: HEAD answers without a body and keeps the connection in step") {
  Fixture fixture;
  Client client(fixture.port);
  client.send(get("/v1/models", "HEAD"));
  CHECK(client.reply(false).status == 200);
  client.send(get("/metrics"));
  CHECK(client.reply().body == "wdmoe_device_up 1\n");
}

TEST_CASE("server: health says what is missing") {
  Fixture fixture;
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
  Fixture fixture;
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
  Fixture fixture;
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

TEST_CASE("server: HTTP/1.0 gets a plain stream that ends with the connection") {
  Fixture fixture;
  Client client(fixture.port);
  const std::string body = R"({"prompt":"x","max_tokens":1,"stream":true})";
  client.send("POST /v1/completions HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  client.read_to_end();
  const std::string end = "data: [DONE]\n\n";
  REQUIRE(client.data.size() > end.size());
  CHECK(client.data.substr(client.data.size() - end.size()) == end);
  CHECK(client.data.find("chunked") == std::string::npos);
}

TEST_CASE("server: pipelined requests are answered in order") {
  Fixture fixture;
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","max_tokens":2})") + get("/metrics") +
              post("/tokenize", R"({"prompt":"a"})"));
  CHECK(client.reply().parsed()["choices"][0]["text"] == "ab");
  CHECK(client.reply().body == "wdmoe_device_up 1\n");
  CHECK(client.reply().parsed()["count"] == 2);
}

TEST_CASE("server: a client that goes away cancels its requests at once") {
  for (const bool stream : {true, false}) {
    CAPTURE(stream);
    Fixture fixture(false);
    Client client(fixture.port);
    client.send(post(kCompletions,
                     stream ? R"({"prompt":["x","y"],"stream":true})" : R"({"prompt":["x","y"]})"));
    REQUIRE(eventually([&] { return fixture.engine.open().size() == 2; }));
    client.close();
    CHECK(eventually([&] { return fixture.engine.cancelled().size() == 2; }));
    CHECK(eventually([&] { return fixture.engine.statuses() == std::vector<unsigned>{499}; }));
  }
}

TEST_CASE("server: an error after the head is the stream's last event") {
  Fixture fixture(false);
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
  Fixture fixture(false);
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
  Fixture fixture(false);
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

TEST_CASE("server: silence is filled with comments") {
  Fixture fixture(false, [](Settings& settings) { settings.ping_interval = 1ms; });
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","stream":true})"));
  CHECK(client.read_until(": ping\n\n"));
}

TEST_CASE("server: a reader that does not read is given up, not buffered without bound") {
  Fixture fixture(false, [](Settings& settings) { settings.max_unsent_bytes = 64 * 1024; });
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","stream":true})"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  const RequestId id = fixture.engine.open()[0];
  TokenEvent event;
  event.token = 'a';
  event.text = std::string(32 * 1024, 'a');
  CHECK(eventually([&] {
    fixture.engine.emit(id, event);
    return fixture.engine.cancelled().size() == 1;
  }));
}

TEST_CASE("server: silent and slow clients are closed after their time") {
  Fixture fixture(true, [](Settings& settings) {
    settings.idle_timeout = 20ms;
    settings.body_timeout = 20ms;
  });
  for (const char* bytes :
       {"", "POST /v1/comp", "POST /tokenize HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"}) {
    CAPTURE(std::string(bytes));
    Client client(fixture.port);
    client.send(bytes);
    client.read_to_end();
    CHECK(client.data.empty());
  }
}

TEST_CASE("server: bad requests get an error body") {
  Fixture fixture(true, [](Settings& settings) { settings.max_body_bytes = 100'000; });
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

TEST_CASE("server: 100 Continue is sent to those who wait for it") {
  Fixture fixture;
  Client client(fixture.port);
  client.send("POST /tokenize HTTP/1.1\r\nContent-Length: 14\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(client.read_until("100 Continue\r\n\r\n"));
  client.data.clear();
  client.send(R"({"prompt":"a"})");
  CHECK(client.reply().status == 200);
}

TEST_CASE("server: connections beyond the limit are refused") {
  Fixture fixture(true, [](Settings& settings) { settings.max_connections = 1; });
  Client first(fixture.port);
  first.send(get("/metrics"));
  CHECK(first.reply().status == 200);
  Client second(fixture.port);
  CHECK(second.reply().status == 503);
}

TEST_CASE("server: draining lets running answers end and closes the rest") {
  Fixture fixture(false);
  Client busy(fixture.port), idle(fixture.port);
  idle.send(get("/metrics"));
  CHECK(idle.reply().status == 200);
  busy.send(post(kCompletions, R"({"prompt":"x","max_tokens":2})"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  fixture.on_io([&] { fixture.server->stop_accepting(); });
  idle.read_to_end();
  fixture.engine.answer(fixture.engine.open()[0]);
  CHECK(busy.reply().parsed()["choices"][0]["text"] == "ab");
}

TEST_CASE("server: an address that cannot be had stops the start by name") {
  asio::io_context io;
  ByteTokenizer tokenizer;
  FakeEngine engine(true);
  for (const char* listen :
       {"nonsense", "1.2.3.4:x", "1.2.3.4:70000", "host.invalid:80", "203.0.113.1:0"}) {
    CAPTURE(std::string(listen));
    Settings settings;
    settings.listen = listen;
    CHECK_THROWS_WITH(Server(io, settings, engine.hooks(), tokenizer),
                      doctest::Contains("http.listen"));
  }
}
