#include "bsd/api/session.h"

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

#include "bsd/api/admission.h"
#include "bsd/api/routes.h"

namespace wdmoe::bsd::api {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// A pipelining client may send this much ahead; beyond, its next requests wait in the kernel.
constexpr std::size_t kMaxAhead = 64 * 1024;
// After our last byte the client gets this long to read it: closing with unread input would reset
// the connection and take the answer away.
constexpr std::chrono::milliseconds kLinger{2'000};
// A call that waits for a place in the engine's queue asks again; Exchange bounds how often.
constexpr std::chrono::milliseconds kRetryPause{100};

ApiError input_error(const RequestReader& reader) {
  ApiError error;
  error.status = reader.status();
  error.message = reader.problem();
  error.code = error.status == 413 ? "body_too_large" : "bad_http";
  return error;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Session::Session(tcp::socket socket, std::shared_ptr<SessionHost> host)
    : stream_(std::move(socket), host->tls()),
      host_(std::move(host)),
      reader_(host_->settings().max_header_bytes, host_->settings().max_body_bytes),
      idle_since_(std::chrono::steady_clock::now()),
      read_timer_(stream_.executor()),
      write_timer_(stream_.executor()),
      ping_timer_(stream_.executor()),
      retry_timer_(stream_.executor()) {}

void Session::start() {
  stream_.set_no_delay();  // tokens are small and should not wait
  if (!stream_.needs_handshake()) return begin();
  arm(read_timer_, host_->settings().header_timeout, &Session::close);
  stream_.handshake([self = shared_from_this()](const ErrorCode& error) {
    if (self->closed_) return;
    if (error) return self->close();
    self->begin();
  });
}

void Session::begin() {
  wait_for_request();
  read();
}

void Session::arm(Timer& timer, std::chrono::milliseconds after, void (Session::*on_time)()) {
  timer.expires_after(after);
  timer.async_wait([self = shared_from_this(), &timer, on_time](const ErrorCode& error) {
    // A timer that was set anew while its old expiry was already queued is not due yet.
    if (error || self->closed_ || timer.expiry() > std::chrono::steady_clock::now()) return;
    (self.get()->*on_time)();
  });
}

/// Timer::cancel() would leave an expiry that is already queued.
void Session::disarm(Timer& timer) {
  timer.expires_at(std::chrono::steady_clock::time_point::max());
}

void Session::wait_for_request() {
  idle_since_ = std::chrono::steady_clock::now();
  arm(read_timer_, host_->settings().idle_timeout, &Session::close);
}

void Session::read() {
  if (reading_ || closed_ || input_.size() >= kMaxAhead) return;
  reading_ = true;
  stream_.read_some(asio::buffer(chunk_),
                    [self = shared_from_this()](const ErrorCode& error, std::size_t size) {
                      self->on_read(error, size);
                    });
}

void Session::on_read(const ErrorCode& error, std::size_t size) {
  reading_ = false;
  if (closed_) return;
  if (error) return client_gone();
  if (!lingering_) {
    input_.append(chunk_.data(), size);
    take_input();
  }
  read();
}

/// Handles the requests that have come in whole, one after the other, as long as the client also
/// reads.
void Session::take_input() {
  while (!busy_ && !closed_ && !lingering_ && unsent_.size() < kMaxAhead) {
    switch (reader_.feed(input_)) {
      case RequestReader::State::more:
        return wait_for_more();
      case RequestReader::State::bad:
        return refuse_input(input_error(reader_));
      case RequestReader::State::ready:
        handle(reader_.take());
    }
  }
}

/// A request has come in part.  However its bytes trickle, head and body each have one deadline;
/// a stranger's body is not waited for.
void Session::wait_for_more() {
  if (!reader_.header_done()) {
    if ((reader_.begun() || !input_.empty()) && !std::exchange(head_timed_, true))
      arm(read_timer_, host_->settings().header_timeout, &Session::close);
    return;
  }
  if (!std::exchange(body_timed_, true)) {
    if (const auto refused = refuse_stranger(reader_.head(), host_->hooks()))
      return refuse_input(*refused);
    arm(read_timer_, host_->settings().body_timeout, &Session::close);
  }
  if (reader_.wants_continue()) send("HTTP/1.1 100 Continue\r\n\r\n");
}

/// What comes after this cannot be understood, or is not wanted.
void Session::refuse_input(const ApiError& error) {
  framing_ = {};
  framing_.keep_alive = false;
  framing_.request_id = host_->fresh_name();
  busy_ = true;
  respond(error_response(error));
}

void Session::handle(HttpRequest request) {
  busy_ = true;
  head_timed_ = body_timed_ = false;
  disarm(read_timer_);
  framing_.keep_alive = request.keep_alive && !host_->draining();
  framing_.head_only = request.method == "HEAD";
  framing_.http_1_0 = request.http_1_0;
  framing_.request_id = request.request_id.empty() ? host_->fresh_name() : request.request_id;
  if (const auto refused = refuse_stranger(request, host_->hooks()))
    return respond(error_response(*refused));
  if (const auto kind = call_of(request)) return begin_call(*kind, request);
  respond(answer_directly(request, {host_->settings().model, host_->hooks(), host_->tokenizer()}));
}

void Session::begin_call(CallKind kind, const HttpRequest& request) {
  const Settings& settings = host_->settings();
  const CallContext context{host_->tokenizer(), settings.model, settings.chat, host_->fresh_seed()};
  auto call = kind == CallKind::chat         ? parse_chat(request.body, context)
              : kind == CallKind::completion ? parse_completion(request.body, context)
                                             : parse_logits(request.body, context);
  if (!call) return fail_call(call.error());

  AnswerHead head;
  head.id = (kind == CallKind::chat ? "chatcmpl-" : "cmpl-") + host_->fresh_name();
  head.created = std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
  head.model = settings.model.name;
  head.fingerprint = host_->hooks().fingerprint(call->choices.front().wish);
  const RequestId first_id = host_->reserve_ids(call->choices.size());
  const std::uint64_t serial = ++serial_;
  const auto make_sink = [this, serial](std::size_t choice) -> EventSink {
    return
        [executor = stream_.executor(), weak = weak_from_this(), serial, choice](TokenEvent event) {
          asio::post(executor, [weak, serial, choice, event = std::move(event)]() mutable {
            if (const auto self = weak.lock()) self->on_event(serial, choice, std::move(event));
          });
        };
  };
  exchange_.emplace(Answer(std::move(*call), std::move(head), host_->tokenizer()), host_->hooks(),
                    first_id, make_sink);
  began_ = last_token_ = std::chrono::steady_clock::now();
  token_seen_ = false;
  if (const auto refused = exchange_->start()) return fail_call(*refused);
  if (!exchange_->call().stream) return;
  stream_begun_ = true;
  send(write_stream_head(framing_) + write_stream_piece(exchange_->answer().begin(), framing_));
  arm(ping_timer_, settings.ping_interval, &Session::ping);
}

void Session::on_event(std::uint64_t serial, std::size_t choice, TokenEvent event) {
  if (closed_ || !exchange_ || serial != serial_) return;
  observe(event);
  deliver(exchange_->accept(choice, std::move(event)));
}

void Session::deliver(std::string streamed) {
  const bool stream = exchange_->call().stream;
  if (stream && !streamed.empty()) {
    send(write_stream_piece(streamed, framing_));
    if (closed_) return;
    arm(ping_timer_, host_->settings().ping_interval, &Session::ping);
  }
  if (!exchange_->finished()) {
    if (exchange_->stalled()) arm(retry_timer_, kRetryPause, &Session::retry);
    return;
  }
  if (exchange_->error()) return fail_call(ApiError(*exchange_->error()));
  if (stream) {
    send(write_stream_piece(exchange_->answer().end(), framing_) + write_stream_end(framing_));
    if (closed_) return;
    if (framing_.http_1_0) framing_.keep_alive = false;
    stream_begun_ = false;
    finish_call(200);
    return end_response();
  }
  HttpResponse response;
  response.body = exchange_->answer().body();
  finish_call(200);
  respond(response);
}

void Session::finish_call(unsigned status) {
  disarm(ping_timer_);
  disarm(retry_timer_);
  exchange_.reset();
  if (host_->hooks().count_request) host_->hooks().count_request(status);
}

/// Before the head went out an error is a response, afterwards the stream's last event.
void Session::fail_call(const ApiError& error) {
  const bool streaming = std::exchange(stream_begun_, false);
  finish_call(error.status);
  if (!streaming) return respond(error_response(error));
  framing_.keep_alive = false;
  send(write_stream_piece(sse_event(error.json()), framing_) + write_stream_end(framing_));
  if (!closed_) end_response();
}

void Session::respond(const HttpResponse& response) {
  send(write_response(response, framing_));
  if (!closed_) end_response();
}

/// The response is in the queue; on to the next request, or to the end.
void Session::end_response() {
  busy_ = false;
  if (!framing_.keep_alive) {
    lingering_ = true;
    disarm(read_timer_);  // the write timer ends this, or the last byte's on_written()
    if (!writing_) on_written({}, 0);
    return;
  }
  wait_for_request();
  asio::post(stream_.executor(), [self = shared_from_this()] {
    self->take_input();
    self->read();
  });
}

void Session::client_gone() {
  if (exchange_) {
    exchange_->cancel();
    finish_call(499);  // nginx's word for it
  }
  close();
}

void Session::close() {
  if (closed_) return;
  if (exchange_) return client_gone();
  closed_ = true;
  disarm(read_timer_);
  disarm(write_timer_);
  disarm(ping_timer_);
  disarm(retry_timer_);
  stream_.close();
}

void Session::close_if_idle() {
  if (!busy_ && unsent_.empty() && sending_.empty()) close();
}

std::optional<std::chrono::steady_clock::time_point> Session::waiting_since() const {
  if (busy_ || closed_ || !unsent_.empty() || !sending_.empty()) return std::nullopt;
  return idle_since_;
}

void Session::observe(const TokenEvent& event) {
  if (!event.token) return;
  const Hooks& hooks = host_->hooks();
  const double seconds = seconds_since(last_token_);
  if (token_seen_) {
    if (hooks.observe_inter_token && exchange_->call().choices.size() == 1)
      hooks.observe_inter_token(seconds);
  } else if (hooks.observe_first_token) {
    hooks.observe_first_token(seconds);
  }
  token_seen_ = true;
  last_token_ = std::chrono::steady_clock::now();
}

void Session::send(std::string bytes) {
  if (closed_) return;
  unsent_ += bytes;
  if (unsent_.size() > host_->settings().max_unsent_bytes && exchange_ && exchange_->call().stream)
    return client_gone();  // reads too slowly, or not at all
  if (!writing_) write();
}

void Session::write() {
  if (sent_ == sending_.size()) {
    sending_ = std::exchange(unsent_, {});
    sent_ = 0;
  }
  if (sending_.empty()) return;
  writing_ = true;
  arm(write_timer_, host_->settings().write_timeout, &Session::client_gone);
  stream_.write_some(asio::buffer(sending_.data() + sent_, sending_.size() - sent_),
                     [self = shared_from_this()](const ErrorCode& error, std::size_t size) {
                       self->on_written(error, size);
                     });
}

void Session::on_written(const ErrorCode& error, std::size_t size) {
  writing_ = false;
  if (closed_) return;
  if (error) return client_gone();
  sent_ += size;
  disarm(write_timer_);
  if (sent_ < sending_.size() || !unsent_.empty()) return write();
  sending_.clear();
  sent_ = 0;
  if (!lingering_) {
    take_input();
    return read();
  }
  stream_.end_writing(shared_from_this());
  arm(read_timer_, kLinger, &Session::close);
}

void Session::retry() {
  if (!exchange_) return;
  exchange_->retry();
  deliver({});
}

/// A comment keeps proxies from giving up during a long prefill.
void Session::ping() {
  if (!exchange_) return;
  send(write_stream_piece(": ping\n\n", framing_));
  if (!closed_) arm(ping_timer_, host_->settings().ping_interval, &Session::ping);
}

}  // namespace wdmoe::bsd::api
