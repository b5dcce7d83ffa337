#include "agent/server.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <sched.h>

#include "common/fd.h"

namespace wdmoe::agent {
namespace {

constexpr milliseconds kLook{50};  // stop and watchdog are looked at so often, whatever arrives

}  // namespace

Server::Server(const wire::Context& context, ServerOptions options, wire::Hello hello,
               Handler& handler, HealthSensors& sensors, const Clock& clock)
    : context_(context),
      options_(std::move(options)),
      hello_(std::move(hello)),
      handler_(handler),
      sensors_(sensors),
      clock_(clock),
      session_(clock.now()),
      backend_(handler.backend_name()) {}

Result<void> Server::open() {
  dealer_.reset();  // before the new one, so that at most one connection stands
  auto dealer = wire::Dealer::connect(context_, options_.endpoint, options_.keys, options_.socket);
  if (!dealer) return tl::unexpected<Error>(std::move(dealer).error());
  dealer_ = std::move(*dealer);
  return {};
}

void Server::run(int stop_fd, const ServerHooks& hooks) {
  hooks_ = hooks;
  next_alive_ = clock_.now();
  bool stop = false;
  while (!stop) {
    serve_frames();
    watch_link();
    act();
    report_state();
    sensors_.refresh(clock_.now());
    uplink_.keep(clock_.now());
    if (!spin() || clock_.now() >= next_look_) stop = sleep(stop_fd);
  }
  serve_frames();  // what had arrived before the stop is answered
  leave();
}

void Server::serve_frames() {
  // Bounded, so that a flood cannot keep the loop from its watchdog and its stop.
  for (int count = 0; count < options_.socket.high_water && dealer_->receive(frame_); ++count)
    take(frame_.bytes(), clock_.now());
}

void Server::take(Bytes frame, Instant received) {
  const auto message = wire::decode(frame, options_.socket.limits);
  session_.heard(received);
  uplink_.heard(dealer_->source());
  if (!message) {
    log::write_limited(bad_frames_, log::Level::warn, "frame_refused",
                       {{"bytes", frame.size()}, {"reason", message.error().text}});
    send(handler_.refuse(0, 0, wire::status_of(message.error().code), message.error().text),
         "refusal");
  } else if (const auto* dispatch = std::get_if<wire::Dispatch>(&*message)) {
    if (session_.state() == Session::State::ready) {
      send(handler_.answer(*dispatch, received, {sensors_.latest(), uplink_.report(received)}),
           "result");
      announce_backend();
    } else {
      send(handler_.refuse(dispatch->id, dispatch->layer, wire::Status::not_ready,
                           "Dispatch before Welcome"),
           "refusal");
    }
  } else if (const auto* ping = std::get_if<wire::Ping>(&*message)) {
    send(encoder_.pong(ping->sequence), "pong");
  } else if (const auto* welcome = std::get_if<wire::Welcome>(&*message)) {
    session_.welcomed(*welcome, received);
    if (welcome->status != wire::Status::ok && session_.state() == Session::State::refused)
      log::warn("refused", {{"status", wire::name_of(welcome->status)},
                            {"reason", welcome->message},
                            {"retry_ms", session_.retry_delay().count()}});
  } else if (const auto* share = std::get_if<wire::Share>(&*message)) {
    if ((hello_.features & wire::bit(fb::Feature::pacing)) != 0) uplink_.told(*share, received);
  } else if (const auto* goodbye = std::get_if<wire::Goodbye>(&*message)) {
    log::info("station_leaves", {{"reason", goodbye->reason}});
    session_.link_lost(received);
  }
  // Pong: heard() was all.  Hello and ExpertResult make no sense here and change nothing.
}

/// Once another backend computes, after a failure, the base station is told by a new Hello.
void Server::announce_backend() {
  if (handler_.backend_name() == backend_) return;
  backend_ = handler_.backend_name();
  hello_.backend = backend_;
  log::warn("backend_changed", {{"backend", backend_}});
  send(encoder_.hello(hello_), "hello");
}

void Server::watch_link() {
  const Instant now = clock_.now();
  while (const auto event = dealer_->next_event()) {
    switch (event->kind) {
      case wire::LinkEvent::Kind::ready:
        session_.link_ready(now);
        break;
      case wire::LinkEvent::Kind::disconnected:
        session_.link_lost(now);
        say_no_connection();
        break;
      case wire::LinkEvent::Kind::refused_key:
        session_.key_refused(now);
        break;
      case wire::LinkEvent::Kind::bad_handshake:
      case wire::LinkEvent::Kind::retrying:
        say_no_connection();
        break;
      case wire::LinkEvent::Kind::connected:
        break;
    }
  }
}

/// A wrong server_key shows only as handshakes that end, and nobody listening only as retries.
void Server::say_no_connection() {
  if (session_.state() != Session::State::connecting || reported_ != Session::State::connecting)
    return;  // greeted before: report_state() tells of the loss
  log::write_limited(no_connection_, log::Level::warn, "no_connection",
                     {{"station", options_.endpoint},
                      {"hint", "is wdmoe-bsd running there, and is server_key its bsd.pub?"}});
}

void Server::act() {
  for (;;) {
    const Session::Action action = session_.due(clock_.now());
    if (action == Session::Action::none) return;
    if (action == Session::Action::send_hello) send(encoder_.hello(hello_), "hello");
    if (action == Session::Action::send_ping) send(encoder_.ping(++pings_), "ping");
    if (action == Session::Action::reopen) {
      if (const auto opened = open(); !opened) {
        // Worked at start with the same values: the process is out of sockets or memory.
        throw std::runtime_error("cannot reconnect: " + opened.error().text);
      }
    }
  }
}

void Server::send(Bytes frame, const char* what) {
  if (dealer_->send(frame) != wire::Sent::ok)
    log::write_limited(lost_answers_, log::Level::warn, "not_sent",
                       {{"what", what}, {"reason", "no connection; the base station asks again"}});
}

/// True if a frame is (probably) there: polls for a while, as the next layer's message often comes
/// within the time a sleep and a wake-up would cost.  Yields the core between looks.
bool Server::spin() {
  if (options_.spin.count() == 0 || session_.state() != Session::State::ready) return false;
  const Instant until = clock_.now() + options_.spin;
  do {
    if (dealer_->receive(frame_)) {
      take(frame_.bytes(), clock_.now());
      return true;
    }
    ::sched_yield();
  } while (clock_.now() < until);
  return false;
}

/// Until something arrives (at once, if it has) or is due; true: to stop.
bool Server::sleep(int stop_fd) {
  const Instant now = clock_.now();
  next_look_ = now + kLook;
  const Instant until = std::min({session_.next_due(), uplink_.next_due(), beat(now)});
  std::array<wire::WaitItem, 3> items{{{dealer_->handle(), -1, false},
                                       {dealer_->monitor_handle(), -1, false},
                                       {nullptr, stop_fd, false}}};
  wire::wait(items, std::max(Nanoseconds(0), until - now));
  return items[2].ready;
}

/// Tells the watchdog when due; returns when it is due next.
Instant Server::beat(Instant now) {
  if (!hooks_.watchdog) return Instant::max();
  if (now >= next_alive_) {
    hooks_.alive();
    next_alive_ = now + *hooks_.watchdog;
  }
  return next_alive_;
}

void Server::report_state() {
  const Session::State state = session_.state();
  if (state == reported_) return;
  reported_ = state;
  switch (state) {
    case Session::State::ready:
      log::info("ready", {{"station", options_.endpoint}, {"name", hello_.name}});
      break;
    case Session::State::connecting:
      log::warn("station_lost", {{"station", options_.endpoint}, {"doing", "reconnecting"}});
      break;
    case Session::State::locked_out:
      log::error("key_refused",
                 {{"station", options_.endpoint},
                  {"hint", "add this agent's .pub to the base station's authorised agents"},
                  {"retry_ms", session_.retry_delay().count()}});
      break;
    case Session::State::greeting:
    case Session::State::refused:
      break;
  }
  hooks_.status(name_of(state));
}

void Server::leave() {
  if (session_.state() != Session::State::connecting)
    static_cast<void>(dealer_->send(encoder_.goodbye("stopping")));
  dealer_->close(milliseconds(500));  // long enough for the Goodbye to go out
  const Counters& counters = handler_.counters();
  log::info("stopped", {{"dispatches", counters.dispatches},
                        {"rows", counters.rows},
                        {"refusals", counters.refusals},
                        {"compute_ms", counters.compute.count() / 1'000'000}});
}

}  // namespace wdmoe::agent
