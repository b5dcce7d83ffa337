#include "bsd/api/server.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sys/socket.h>

#include "bsd/api/session.h"
#include "bsd/api/stream.h"

namespace wdmoe::bsd::api {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptPause{100};  // after running out of descriptors, say

tcp::endpoint endpoint_from(const std::string& listen) {
  const auto bad = [&listen](const char* why) {
    return std::runtime_error("http.listen = " + listen + ": " + why +
                              "; expected address:port or [address]:port");
  };
  const std::size_t colon = listen.rfind(':');
  if (colon == std::string::npos) throw bad("has no port");
  std::string host = listen.substr(0, colon);
  const std::string port_text = listen.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  ErrorCode error;
  const auto address = asio::ip::make_address(host, error);
  if (error) throw bad("is not an IP address");
  if (port_text.empty() || port_text.size() > 5 ||
      port_text.find_first_not_of("0123456789") != std::string::npos ||
      std::stoul(port_text) > std::numeric_limits<std::uint16_t>::max())
    throw bad("has no port from 0 to 65535");
  return {address, static_cast<std::uint16_t>(std::stoul(port_text))};
}

tcp::acceptor open_acceptor(asio::io_context& io, const Settings& settings) {
  tcp::acceptor acceptor(io);
  ErrorCode error;
  if (settings.inherited_fd >= 0) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const bool known =
        ::getsockname(settings.inherited_fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    acceptor.assign(known && address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(),
                    settings.inherited_fd, error);
    if (error) throw std::runtime_error("the inherited HTTP socket: " + error.message());
    return acceptor;
  }
  const tcp::endpoint endpoint = endpoint_from(settings.listen);
  const auto step = [&](const char* what) {
    if (error)
      throw std::runtime_error("http.listen = " + settings.listen + ": cannot " + what + ": " +
                               error.message());
  };
  acceptor.open(endpoint.protocol(), error);
  step("open a socket");
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  acceptor.bind(endpoint, error);
  step("bind");
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  step("listen");
  return acceptor;
}

void check_exposure(const tcp::endpoint& endpoint, const Settings& settings, const Hooks& hooks) {
  const bool guarded = hooks.authorised && !settings.tls_certificate.empty();
  if (endpoint.address().is_loopback() || guarded || settings.insecure) return;
  throw std::runtime_error(
      "http.listen = " + settings.listen +
      ": others than this machine could ask there; set http.api_keys, http.tls_certificate and "
      "http.tls_key, or listen on 127.0.0.1 behind a proxy, or set http.insecure = true");
}

}  // namespace

void check_listen(const Settings& settings, const Hooks& hooks) {
  check_exposure(endpoint_from(settings.listen), settings, hooks);
}

class Server::State final : public SessionHost, public std::enable_shared_from_this<Server::State> {
 public:
  State(asio::io_context& io, Settings settings, Hooks hooks, const Tokenizer& tokenizer)
      : settings_(std::move(settings)),
        hooks_(std::move(hooks)),
        tokenizer_(tokenizer),
        tls_(settings_.tls_certificate.empty()
                 ? nullptr
                 : load_tls(settings_.tls_certificate, settings_.tls_key)),
        acceptor_(open_acceptor(io, settings_)),
        pause_(io) {
    // A socket that was passed may be bound elsewhere than `listen` says, or not at all.
    if (const auto bound = endpoint(); bound.port() != 0) check_exposure(bound, settings_, hooks_);
    std::random_device device;
    random_.seed((std::uint64_t{device()} << 32) | device());
    prefix_ = random_();
  }

  const Settings& settings() const override { return settings_; }
  const Hooks& hooks() const override { return hooks_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  bool draining() const override { return draining_; }
  asio::ssl::context* tls() override { return tls_.get(); }
  std::uint64_t fresh_seed() override { return random_(); }
  std::string fresh_name() override {
    char name[40];
    std::snprintf(name, sizeof name, "%08llx%08llx",
                  static_cast<unsigned long long>(prefix_ & 0xFFFFFFFFu),
                  static_cast<unsigned long long>(++names_));
    return name;
  }
  RequestId reserve_ids(std::size_t count) override {
    return std::exchange(next_id_, next_id_ + count);
  }

  void accept() {
    acceptor_.async_accept([self = shared_from_this()](const ErrorCode& error, tcp::socket socket) {
      self->on_accept(error, std::move(socket));
    });
  }

  std::vector<std::shared_ptr<Session>> sessions() {
    std::vector<std::shared_ptr<Session>> alive;
    std::vector<std::weak_ptr<Session>> kept;
    for (auto& weak : sessions_)
      if (auto session = weak.lock()) {
        kept.push_back(weak);
        alive.push_back(std::move(session));
      }
    sessions_ = std::move(kept);
    return alive;
  }

  void stop_accepting() {
    draining_ = true;
    ErrorCode ignored;
    acceptor_.close(ignored);
    pause_.cancel();
  }

  tcp::endpoint endpoint() const {
    ErrorCode ignored;
    return acceptor_.local_endpoint(ignored);
  }

 private:
  void on_accept(const ErrorCode& error, tcp::socket socket) {
    if (draining_) return;
    if (error) {
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([self = shared_from_this()](const ErrorCode& stopped) {
        if (!stopped && !self->draining_) self->accept();
      });
      return;
    }
    if (!make_room()) {
      refuse(socket);
    } else {
      const auto session = std::make_shared<Session>(std::move(socket), shared_from_this());
      sessions_.push_back(session);
      session->start();
    }
    accept();
  }

  /// Clients that only hold connections must not keep others out: the one that has waited longest
  /// for a request goes.  False: all are being answered.
  bool make_room() {
    const auto alive = sessions();
    if (alive.size() < settings_.max_connections) return true;
    const auto never = std::chrono::steady_clock::time_point::max();
    const auto longest =
        std::min_element(alive.begin(), alive.end(), [&](const auto& a, const auto& b) {
          return a->waiting_since().value_or(never) < b->waiting_since().value_or(never);
        });
    if (longest == alive.end() || !(*longest)->waiting_since()) return false;
    (*longest)->close();
    return true;
  }

  /// Best effort, without waiting: a fresh socket's send buffer holds this.
  void refuse(tcp::socket& socket) {
    if (tls_) return;  // it would not understand
    ApiError error;
    error.status = 503;
    error.message =
        "too many connections (http.connections = " + std::to_string(settings_.max_connections) +
        "); try again later";
    error.type = "server_error";
    error.code = "too_many_connections";
    HttpResponse response;
    response.status = 503;
    response.body = error.json();
    response.headers.emplace_back("Retry-After", std::to_string(retry_after(503)));
    ResponseFraming framing;
    framing.keep_alive = false;
    framing.request_id = fresh_name();
    ErrorCode ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(write_response(response, framing)), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  const Settings settings_;
  const Hooks hooks_;
  const Tokenizer& tokenizer_;
  const std::shared_ptr<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::vector<std::weak_ptr<Session>> sessions_;
  std::mt19937_64 random_;
  std::uint64_t prefix_ = 0, names_ = 0;
  RequestId next_id_ = 1;
  bool draining_ = false;
};

Server::Server(asio::io_context& io, Settings settings, Hooks hooks, const Tokenizer& tokenizer)
    : state_(std::make_shared<State>(io, std::move(settings), std::move(hooks), tokenizer)) {
  state_->accept();
}

Server::~Server() {
  close();
}

std::string Server::url() const {
  const tcp::endpoint endpoint = state_->endpoint();
  const std::string host = endpoint.address().to_string();
  return (state_->tls() ? "https://" : "http://") +
         (endpoint.address().is_v6() ? "[" + host + "]" : host) + ":" +
         std::to_string(endpoint.port());
}

std::size_t Server::connections() const {
  return state_->sessions().size();
}

void Server::stop_accepting() {
  state_->stop_accepting();
  for (const auto& session : state_->sessions()) session->close_if_idle();
}

void Server::close() {
  state_->stop_accepting();
  for (const auto& session : state_->sessions()) session->close();
}

}  // namespace wdmoe::bsd::api
