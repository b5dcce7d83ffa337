#pragma once
// A server with a fake engine behind it, and a blocking client, for the tests over real sockets.

#include <array>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "bsd/api/server.h"
#include "tests/bsd/api/fakes.h"

namespace wdmoe::bsd::api {

using nlohmann::json;
namespace asio = boost::asio;
using asio::ip::tcp;

// No wait of a working server comes near this; it only keeps a broken one from hanging the test.
constexpr auto kPatience = std::chrono::seconds(30);

/// A server on a free loopback port, its io thread, and a fake engine.
class ServerFixture {
 public:
  explicit ServerFixture(bool answers_at_once = true, std::function<void(Settings&)> change = {},
                         std::function<bool(std::string_view)> authorised = {})
      : engine(answers_at_once) {
    Settings settings;
    settings.listen = "127.0.0.1:0";
    settings.model = test_model();
    if (change) change(settings);
    Hooks hooks = engine.hooks();
    hooks.authorised = std::move(authorised);
    server = std::make_unique<Server>(io_, settings, std::move(hooks), tokenizer_);
    url = server->url();
    port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
    thread_ = std::thread([this] { io_.run(); });
  }
  ~ServerFixture() {
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
  /// False: the server has closed the connection already.
  bool send(const std::string& bytes) {
    boost::system::error_code error;
    asio::write(socket_, asio::buffer(bytes), error);
    return !error;
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
  /// What is there or comes next; false at the end.
  bool read_some() {
    std::array<char, 65536> chunk;
    boost::system::error_code error;
    const std::size_t size = socket_.read_some(asio::buffer(chunk), error);
    data.append(chunk.data(), size);
    return !error;
  }
  void close() { socket_.close(); }
  std::string data;

 private:
  asio::io_context io_;
  tcp::socket socket_;
};

inline std::string get(const std::string& path, const std::string& method = "GET") {
  return method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

inline std::string post(const std::string& path, const std::string& body,
                        const std::string& more = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline Reply ask(const ServerFixture& fixture, const std::string& bytes) {
  Client client(fixture.port);
  client.send(bytes);
  return client.reply();
}

/// Waits for another thread's work without a fixed sleep; false only when something is broken.
inline bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

constexpr const char* kCompletions = "/v1/completions";

}  // namespace wdmoe::bsd::api
