#include <doctest/doctest.h>

#include "bsd/api/session.h"
#include "tests/bsd/api/server_fixture.h"

using namespace wdmoe;
using namespace wdmoe::bsd;
using namespace wdmoe::bsd::api;
using namespace std::chrono_literals;

TEST_CASE("connection: HEAD answers without a body and keeps the connection in step") {
  ServerFixture fixture;
  Client client(fixture.port);
  client.send(get("/v1/models", "HEAD"));
  CHECK(client.reply(false).status == 200);
  client.send(get("/metrics"));
  CHECK(client.reply().body == "wdmoe_device_up 1\n");
}

TEST_CASE("connection: HTTP/1.0 gets a plain stream that ends with the connection") {
  ServerFixture fixture;
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

TEST_CASE("connection: pipelined requests are answered in order") {
  ServerFixture fixture;
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","max_tokens":2})") + get("/metrics") +
              post("/tokenize", R"({"prompt":"a"})"));
  CHECK(client.reply().parsed()["choices"][0]["text"] == "ab");
  CHECK(client.reply().body == "wdmoe_device_up 1\n");
  CHECK(client.reply().parsed()["count"] == 2);
}

TEST_CASE("connection: a client that goes away cancels its requests at once") {
  for (const bool stream : {true, false}) {
    CAPTURE(stream);
    ServerFixture fixture(false);
    Client client(fixture.port);
    client.send(post(kCompletions,
                     stream ? R"({"prompt":["x","y"],"stream":true})" : R"({"prompt":["x","y"]})"));
    REQUIRE(eventually([&] { return fixture.engine.open().size() == 2; }));
    client.close();
    CHECK(eventually([&] { return fixture.engine.cancelled().size() == 2; }));
    CHECK(eventually([&] { return fixture.engine.statuses() == std::vector<unsigned>{499}; }));
  }
}

TEST_CASE("connection: silence is filled with comments") {
  ServerFixture fixture(false, [](Settings& settings) { settings.ping_interval = 1ms; });
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x","stream":true})"));
  CHECK(client.read_until(": ping\n\n"));
}

TEST_CASE("connection: a reader that does not read is given up, not buffered without bound") {
  ServerFixture fixture(false, [](Settings& settings) { settings.max_unsent_bytes = 64 * 1024; });
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

TEST_CASE("connection: silent and slow clients are closed after their time") {
  ServerFixture fixture(true, [](Settings& settings) {
    settings.idle_timeout = 20ms;
    settings.header_timeout = 20ms;
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

TEST_CASE("connection: a header that trickles has one deadline for all of it") {
  ServerFixture fixture(true, [](Settings& settings) { settings.header_timeout = 50ms; });
  Client client(fixture.port);
  client.send("GET / HTTP/1.1\r\n");
  auto trickle = std::async(std::launch::async, [&] {
    for (int line = 0; client.data.empty() && line < 10'000; ++line) {
      if (!client.send("A: b\r\n")) return true;  // the connection is closed
      std::this_thread::sleep_for(5ms);           // the client's pace
    }
    return false;
  });
  CHECK(trickle.get());
}

TEST_CASE("connection: strangers are refused before their body is waited for") {
  ServerFixture fixture(true, {}, [](std::string_view key) { return key == "good"; });
  const std::string body = R"({"prompt":"x","max_tokens":3})";
  CHECK(ask(fixture, post(kCompletions, body, "Authorization: Bearer good\r\n")).status == 200);
  const Reply none = ask(fixture, post(kCompletions, body));
  CHECK(none.status == 401);
  CHECK(none.head.find("WWW-Authenticate: Bearer\r\n") != std::string::npos);
  CHECK(none.parsed()["error"]["type"] == "invalid_request_error");
  const Reply wrong = ask(fixture, post(kCompletions, body, "Authorization: Bearer goof\r\n"));
  CHECK(wrong.status == 401);
  CHECK(wrong.parsed()["error"]["code"] == "invalid_api_key");
  CHECK(wrong.body.find("goof") == std::string::npos);

  Client client(fixture.port);
  client.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  CHECK(client.reply().status == 401);
  client.read_to_end();  // and the connection closes
}

TEST_CASE("connection: 100 Continue is sent to those who wait for it") {
  ServerFixture fixture;
  Client client(fixture.port);
  client.send("POST /tokenize HTTP/1.1\r\nContent-Length: 14\r\nExpect: 100-continue\r\n\r\n");
  REQUIRE(client.read_until("100 Continue\r\n\r\n"));
  client.data.clear();
  client.send(R"({"prompt":"a"})");
  CHECK(client.reply().status == 200);
}

TEST_CASE("connection: beyond the limit a new client is refused while all are being answered") {
  ServerFixture fixture(false, [](Settings& settings) { settings.max_connections = 1; });
  Client first(fixture.port);
  first.send(post(kCompletions, R"({"prompt":"x"})"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  Client second(fixture.port);
  CHECK(second.reply().status == 503);
}

TEST_CASE("connection: those that only hold connections make room, the longest first") {
  ServerFixture fixture(true, [](Settings& settings) { settings.max_connections = 3; });
  Client silent(fixture.port), slow(fixture.port), served(fixture.port);
  slow.send("POST /tokenize HTTP/1.1\r\nContent-Length: 9\r\n\r\nab");
  served.send(get("/metrics"));
  CHECK(served.reply().status == 200);
  std::vector<std::unique_ptr<Client>> newcomers;
  for (Client* const gone : {&silent, &slow}) {
    newcomers.push_back(std::make_unique<Client>(fixture.port));
    newcomers.back()->send(get("/metrics"));
    CHECK(newcomers.back()->reply().status == 200);
    gone->read_to_end();
    CHECK(gone->data.empty());
  }
}

TEST_CASE("connection: draining lets running answers end and closes the rest") {
  ServerFixture fixture(false);
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

TEST_CASE("connection: an address that cannot be had stops the start by name") {
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

TEST_CASE("connection: beyond this machine it listens only with keys and TLS, or by decree") {
  asio::io_context io;
  ByteTokenizer tokenizer;
  FakeEngine engine(true);
  Settings settings;
  settings.listen = "0.0.0.0:0";
  Hooks hooks = engine.hooks();
  CHECK_THROWS_WITH(Server(io, settings, hooks, tokenizer), doctest::Contains("http.insecure"));
  CHECK_THROWS_WITH(check_listen(settings, hooks), doctest::Contains("http.insecure"));
  hooks.authorised = [](std::string_view) { return true; };
  CHECK_THROWS_WITH(check_listen(settings, hooks), doctest::Contains("http.tls_certificate"));
  settings.tls_certificate = settings.tls_key = "/nonexistent.pem";
  check_listen(settings, hooks);
  CHECK_THROWS_WITH(Server(io, settings, hooks, tokenizer),
                    doctest::Contains("http.tls_certificate = /nonexistent.pem"));
  settings.tls_certificate.clear();
  settings.insecure = true;
  Server(io, settings, hooks, tokenizer);
}

TEST_CASE("connection: a request that comes as the idle time ends is served") {
  ServerFixture fixture(false, [](Settings& settings) { settings.idle_timeout = 500ms; });
  Client client(fixture.port);
  client.send(get("/metrics"));
  CHECK(client.reply().status == 200);
  fixture.on_io([&] {  // the io thread finds the request and the expiry in the same turn
    client.send(post(kCompletions, R"({"prompt":"x","max_tokens":2})"));
    const auto late = std::chrono::steady_clock::now() + 600ms;
    while (std::chrono::steady_clock::now() < late) std::this_thread::yield();
  });
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  fixture.on_io([] {});
  fixture.engine.answer(1);
  CHECK(client.reply().status == 200);
}

TEST_CASE("connection: a slow reader of a last answer gets all of it") {
  constexpr auto kWriteTimeout = 1000ms;
  ServerFixture fixture(false, [&](Settings& settings) { settings.write_timeout = kWriteTimeout; });
  Client client(fixture.port);
  client.send(post(kCompletions, R"({"prompt":"x"})", "Connection: close\r\n"));
  REQUIRE(eventually([&] { return fixture.engine.open().size() == 1; }));
  TokenEvent event;
  event.token = 'a';
  event.text = std::string(48u << 20, 'a');  // far more than sockets buffer
  event.finish = FinishReason::length;
  fixture.engine.emit(1, event);
  REQUIRE(client.read_until("\r\n\r\n"));  // all of the answer is being written
  const auto late = std::chrono::steady_clock::now() + kWriteTimeout * 3 / 2;
  while (std::chrono::steady_clock::now() < late && client.read_some())
    std::this_thread::sleep_for(5ms);  // the reader's pace
  client.read_to_end();
  CHECK(client.data.size() > event.text.size());
}
