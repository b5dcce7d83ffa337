// Bytes -> values.  Nothing of a frame is used before the FlatBuffers verifier has passed it, and
// no size, index or number of it before it has been compared with the limits.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "wire/messages.h"

namespace wdmoe::wire {
namespace {

// Our deepest message is Message -> body table -> vector; each is one table deep.
constexpr flatbuffers::uoffset_t kMaxDepth = 4, kMaxTables = 4;

tl::unexpected<Error> malformed(const char* what) {
  return fail(Code::bad_input, std::string("malformed message: ") + what);
}

tl::unexpected<Error> too_large(const char* what, std::size_t value, std::size_t limit) {
  return fail(Code::limit, std::string(what) + " " + std::to_string(value) +
                               ": this side takes at most " + std::to_string(limit));
}

std::string_view text_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

bool known(fb::Dtype dtype) {
  return dtype <= fb::Dtype::MAX;
}
bool known(Status status) {
  return status <= Status::MAX;
}
DType dtype_of(fb::Dtype dtype) {
  return static_cast<DType>(dtype);
}

Result<void> check_text(const char* what, std::string_view text, const Limits& limits) {
  if (text.size() > limits.text_bytes) return too_large(what, text.size(), limits.text_bytes);
  return {};
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

/// [rows, hidden] out of a byte vector whose length must be exactly theirs.
Result<Tensor> rows_of(const flatbuffers::Vector<std::uint8_t>* activations, fb::Dtype dtype,
                       std::uint32_t rows, std::uint32_t hidden_dim, const Limits& limits) {
  if (!known(dtype)) return malformed("unknown dtype of rows");
  if (rows == 0 || hidden_dim == 0 || activations == nullptr) return malformed("no rows");
  if (rows > limits.rows) return too_large("rows", rows, limits.rows);
  if (hidden_dim > limits.hidden_dim) return too_large("hidden_dim", hidden_dim, limits.hidden_dim);
  const Tensor tensor{reinterpret_cast<const std::byte*>(activations->data()), dtype_of(dtype),
                      rows, hidden_dim};
  if (activations->size() != tensor.size_bytes())
    return malformed("rows x hidden_dim x dtype is not the size of the activations");
  return tensor;
}

Result<Message> decode_hello(const fb::Hello& in, const Limits& limits) {
  Hello hello;
  hello.protocol_min = in.protocol_min();
  hello.protocol_max = in.protocol_max();
  if (hello.protocol_min > hello.protocol_max) return malformed("protocol range upside down");
  for (const auto* text : {in.name(), in.software(), in.model_id(), in.backend()})
    WDMOE_TRY(check_text("text of", text_of(text), limits));
  for (const auto* text : {in.software(), in.model_id(), in.backend()})
    if (!is_printable(text_of(text)))
      return malformed("software, model_id or backend of Hello: expected printable ASCII");
  hello.name = text_of(in.name());
  hello.software = text_of(in.software());
  hello.model_id = text_of(in.model_id());
  hello.backend = text_of(in.backend());
  if (!is_agent_name(hello.name)) return malformed("agent name: 1 to 64 of A-Z a-z 0-9 . _ -");
  hello.hidden_dim = in.hidden_dim();
  hello.max_rows = in.max_rows();
  hello.memory_bytes = in.memory_bytes();
  hello.weights_bytes = in.weights_bytes();
  hello.instance = in.instance();
  hello.features = in.features();
  if (hello.hidden_dim > limits.hidden_dim)
    return too_large("hidden_dim", hello.hidden_dim, limits.hidden_dim);
  if (const auto* experts = in.experts()) {
    if (experts->size() > limits.experts)
      return too_large("experts", experts->size(), limits.experts);
    hello.experts.reserve(experts->size());
    for (const fb::ExpertId* id : *experts) hello.experts.push_back({id->layer(), id->expert()});
  }
  auto sorted = hello.experts;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return malformed("an expert announced twice");
  if (const auto* dtypes = in.dtypes()) {
    if (dtypes->size() > 16) return too_large("dtypes", dtypes->size(), 16);
    for (const auto raw : *dtypes)  // a newer agent may know types that we do not
      if (const auto dtype = static_cast<fb::Dtype>(raw); known(dtype))
        hello.dtypes.push_back(dtype_of(dtype));
  }
  return hello;
}

Result<Message> decode_welcome(const fb::Welcome& in, const Limits& limits) {
  if (!known(in.status())) return malformed("unknown status");
  WDMOE_TRY(check_text("message of", text_of(in.message()), limits));
  return Welcome{in.status(), std::string(text_of(in.message())), in.protocol(), in.heartbeat_ms(),
                 in.features()};
}

Result<Message> decode_dispatch(const fb::Dispatch& in, const Limits& limits) {
  Dispatch dispatch;
  dispatch.id = in.id();
  dispatch.layer = in.layer();
  if (!known(in.reply_dtype())) return malformed("unknown reply_dtype");
  dispatch.reply_dtype = dtype_of(in.reply_dtype());
  const auto rows = rows_of(in.activations(), in.dtype(), in.rows(), in.hidden_dim(), limits);
  if (!rows) return tl::unexpected<Error>(rows.error());
  dispatch.rows = *rows;
  const auto* assignments = in.assignments();
  if (assignments == nullptr || assignments->size() == 0) return malformed("no assignments");
  if (assignments->size() > limits.assignments)
    return too_large("assignments", assignments->size(), limits.assignments);
  dispatch.assignments = {reinterpret_cast<const fb::Assignment*>(assignments->Data()),
                          assignments->size()};
  for (const fb::Assignment& assignment : dispatch.assignments) {
    if (assignment.row() >= dispatch.rows.rows)
      return malformed("assignment to a row beyond the last");
    if (!std::isfinite(assignment.weight())) return malformed("weight of an assignment not finite");
  }
  return dispatch;
}

Telemetry telemetry_of(const fb::ExpertResult& in) {
  Telemetry telemetry;
  const auto sensible = [](float value) { return std::isfinite(value) ? value : 0.0f; };
  if (const fb::Health* health = in.health())
    telemetry.health = {sensible(health->temperature_celsius()), sensible(health->power_watts())};
  if (const fb::Uplink* link = in.uplink())
    telemetry.uplink = Uplink{link->acked_bytes(),       link->busy_us(),  link->delivery_kbps(),
                              link->pacing_kbps(),       link->rtt_us(),   link->min_rtt_us(),
                              link->outstanding_bytes(), link->segments(), link->retransmitted(),
                              link->app_limited() != 0};
  return telemetry;
}

Result<Message> decode_result(const fb::ExpertResult& in, const Limits& limits) {
  ExpertResult result;
  result.id = in.id();
  result.layer = in.layer();
  if (!known(in.status())) return malformed("unknown status");
  result.status = in.status();
  result.message = text_of(in.message());
  WDMOE_TRY(check_text("message of", result.message, limits));
  if (result.status == Status::ok) {
    const auto rows = rows_of(in.activations(), in.dtype(), in.rows(), in.hidden_dim(), limits);
    if (!rows) return tl::unexpected<Error>(rows.error());
    result.rows = *rows;
  }
  if (const fb::Timings* timings = in.timings())
    result.timings = {timings->queue_us(), timings->compute_us(), timings->total_us()};
  result.telemetry = telemetry_of(in);
  return result;
}

Result<Message> decode_share(const fb::Share& in, const Limits& limits) {
  if (in.lifetime_ms() > limits.share_ms)
    return too_large("lifetime_ms of a Share", in.lifetime_ms(), limits.share_ms);
  return Share{in.uplink_kbps(), in.lifetime_ms()};
}

}  // namespace

Result<Message> decode(Bytes frame, const Limits& limits) {
  if (frame.size() > limits.frame_bytes)
    return too_large("frame bytes", frame.size(), limits.frame_bytes);
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(frame.data()), frame.size(),
                                 kMaxDepth, kMaxTables);
  if (!fb::VerifyMessageBuffer(verifier))
    return malformed("not a wdmoe frame, or damaged (FlatBuffers verifier)");
  const fb::Message& message = *fb::GetMessage(frame.data());
  if (message.body() == nullptr) return malformed("no body");
  switch (message.body_type()) {
    case fb::Body::Hello:
      return decode_hello(*message.body_as_Hello(), limits);
    case fb::Body::Welcome:
      return decode_welcome(*message.body_as_Welcome(), limits);
    case fb::Body::Dispatch:
      return decode_dispatch(*message.body_as_Dispatch(), limits);
    case fb::Body::ExpertResult:
      return decode_result(*message.body_as_ExpertResult(), limits);
    case fb::Body::Ping:
      return Ping{message.body_as_Ping()->sequence()};
    case fb::Body::Pong:
      return Pong{message.body_as_Pong()->sequence()};
    case fb::Body::Goodbye: {
      const std::string_view reason = text_of(message.body_as_Goodbye()->reason());
      WDMOE_TRY(check_text("reason of", reason, limits));
      return Goodbye{reason};
    }
    case fb::Body::Share:
      return decode_share(*message.body_as_Share(), limits);
    case fb::Body::NONE:
      break;
  }
  return malformed("unknown kind of message");
}

Status status_of(Code code) {
  switch (code) {
    case Code::limit:
      return Status::too_large;
    case Code::not_found:
      return Status::unknown_expert;
    default:
      return Status::malformed;
  }
}

const char* name_of(Status status) {
  return known(status) ? fb::EnumNameStatus(status) : "unknown";
}

bool is_agent_name(std::string_view name) {
  if (name.empty() || name.size() > 64 || name.front() == '.' || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::uint16_t common_protocol(const Hello& hello) {
  constexpr std::uint16_t kOldest = kProtocol;  // the only version so far
  const std::uint16_t highest = std::min(hello.protocol_max, kProtocol);
  return highest >= std::max(hello.protocol_min, kOldest) ? highest : std::uint16_t{0};
}

}  // namespace wdmoe::wire
