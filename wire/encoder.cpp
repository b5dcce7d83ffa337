// Values -> bytes, in one reused builder.

#include <algorithm>

#include "common/check.h"
#include "wire/messages.h"

namespace wdmoe::wire {
namespace {

constexpr std::size_t kFirstBytes = 16 * 1024;  // a decode step's messages fit without growing

/// Texts of ours that may carry foreign parts (an error naming a file) are cut to what peers take.
std::string_view bounded(std::string_view text) {
  return text.substr(0, Limits{}.text_bytes);
}

flatbuffers::Offset<flatbuffers::String> string_of(flatbuffers::FlatBufferBuilder& builder,
                                                   std::string_view text) {
  const std::string_view cut = bounded(text);
  return builder.CreateString(cut.data(), cut.size());
}

fb::Dtype wire_dtype(DType dtype) {
  return static_cast<fb::Dtype>(dtype);
}

}  // namespace

Encoder::Encoder() : builder_(kFirstBytes) {}

Bytes Encoder::finish(flatbuffers::Offset<fb::Message> message) {
  fb::FinishMessageBuffer(builder_, message);
  return {reinterpret_cast<const std::byte*>(builder_.GetBufferPointer()), builder_.GetSize()};
}

Bytes Encoder::hello(const Hello& hello) {
  builder_.Clear();
  std::vector<fb::ExpertId> experts;
  experts.reserve(hello.experts.size());
  for (const ExpertId id : hello.experts) experts.emplace_back(id.layer, id.expert);
  std::vector<std::uint8_t> dtypes;
  for (const DType dtype : hello.dtypes) dtypes.push_back(static_cast<std::uint8_t>(dtype));

  const auto name = string_of(builder_, hello.name);
  const auto software = string_of(builder_, hello.software);
  const auto model_id = string_of(builder_, hello.model_id);
  const auto backend = string_of(builder_, hello.backend);
  const auto experts_at = builder_.CreateVectorOfStructs(experts);
  // A vector of enums and one of their bytes are the same on the wire.
  const flatbuffers::Offset<flatbuffers::Vector<fb::Dtype>> dtypes_at(
      builder_.CreateVector(dtypes).o);

  fb::HelloBuilder body(builder_);
  body.add_protocol_min(hello.protocol_min);
  body.add_protocol_max(hello.protocol_max);
  body.add_name(name);
  body.add_software(software);
  body.add_model_id(model_id);
  body.add_hidden_dim(hello.hidden_dim);
  body.add_experts(experts_at);
  body.add_dtypes(dtypes_at);
  body.add_backend(backend);
  body.add_memory_bytes(hello.memory_bytes);
  body.add_weights_bytes(hello.weights_bytes);
  body.add_max_rows(hello.max_rows);
  body.add_instance(hello.instance);
  body.add_features(hello.features);
  return finish(fb::CreateMessage(builder_, fb::Body::Hello, body.Finish().Union()));
}

Bytes Encoder::welcome(const Welcome& welcome) {
  builder_.Clear();
  const auto message = string_of(builder_, welcome.message);
  const auto body = fb::CreateWelcome(builder_, welcome.status, message, welcome.protocol,
                                      welcome.heartbeat_ms, welcome.features);
  return finish(fb::CreateMessage(builder_, fb::Body::Welcome, body.Union()));
}

Bytes Encoder::ping(std::uint64_t sequence) {
  builder_.Clear();
  const auto body = fb::CreatePing(builder_, sequence);
  return finish(fb::CreateMessage(builder_, fb::Body::Ping, body.Union()));
}

Bytes Encoder::pong(std::uint64_t sequence) {
  builder_.Clear();
  const auto body = fb::CreatePong(builder_, sequence);
  return finish(fb::CreateMessage(builder_, fb::Body::Pong, body.Union()));
}

Bytes Encoder::goodbye(std::string_view reason) {
  builder_.Clear();
  const auto body = fb::CreateGoodbye(builder_, string_of(builder_, reason));
  return finish(fb::CreateMessage(builder_, fb::Body::Goodbye, body.Union()));
}

Bytes Encoder::share(const Share& share) {
  builder_.Clear();
  const auto body = fb::CreateShare(builder_, share.uplink_kbps, share.lifetime_ms);
  return finish(fb::CreateMessage(builder_, fb::Body::Share, body.Union()));
}

Bytes Encoder::refusal(std::uint64_t id, std::uint16_t layer, Status status,
                       std::string_view message) {
  WDMOE_CHECK(status != Status::ok);
  builder_.Clear();
  const auto text = string_of(builder_, message);
  fb::ExpertResultBuilder body(builder_);
  body.add_id(id);
  body.add_layer(layer);
  body.add_status(status);
  body.add_message(text);
  return finish(fb::CreateMessage(builder_, fb::Body::ExpertResult, body.Finish().Union()));
}

MutableTensor Encoder::begin_rows(std::size_t rows, std::size_t hidden, DType dtype) {
  builder_.Clear();
  std::uint8_t* data = nullptr;
  rows_ = {nullptr, dtype, rows, hidden};
  rows_offset_ = builder_.CreateUninitializedVector<std::uint8_t>(rows_.size_bytes(), &data);
  rows_.data = reinterpret_cast<std::byte*>(data);
  return rows_;
}

Bytes Encoder::finish_dispatch(std::uint64_t id, std::uint16_t layer, DType reply_dtype,
                               Span<const fb::Assignment> assignments) {
  WDMOE_CHECK(rows_.data != nullptr);
  const auto assignments_at =
      builder_.CreateVectorOfStructs(assignments.data(), assignments.size());
  fb::DispatchBuilder body(builder_);
  body.add_id(id);
  body.add_layer(layer);
  body.add_dtype(wire_dtype(rows_.dtype));
  body.add_reply_dtype(wire_dtype(reply_dtype));
  body.add_rows(static_cast<std::uint32_t>(rows_.rows));
  body.add_hidden_dim(static_cast<std::uint32_t>(rows_.cols));
  body.add_activations(rows_offset_);
  body.add_assignments(assignments_at);
  rows_.data = nullptr;
  return finish(fb::CreateMessage(builder_, fb::Body::Dispatch, body.Finish().Union()));
}

Bytes Encoder::finish_result(std::uint64_t id, std::uint16_t layer, const Timings& timings,
                             const Telemetry& telemetry) {
  WDMOE_CHECK(rows_.data != nullptr);
  const fb::Timings times(timings.queue_us, timings.compute_us, timings.total_us, 0);
  const fb::Health health(telemetry.health.temperature_celsius, telemetry.health.power_watts);
  const Uplink& link = telemetry.uplink ? *telemetry.uplink : Uplink{};
  const fb::Uplink uplink(link.acked_bytes, link.busy_us, link.delivery_kbps, link.pacing_kbps,
                          link.rtt_us, link.min_rtt_us, link.outstanding_bytes, link.segments,
                          link.retransmitted, link.app_limited ? 1 : 0);
  fb::ExpertResultBuilder body(builder_);
  body.add_id(id);
  body.add_layer(layer);
  body.add_status(Status::ok);
  body.add_dtype(wire_dtype(rows_.dtype));
  body.add_rows(static_cast<std::uint32_t>(rows_.rows));
  body.add_hidden_dim(static_cast<std::uint32_t>(rows_.cols));
  body.add_activations(rows_offset_);
  body.add_timings(&times);
  body.add_health(&health);
  if (telemetry.uplink) body.add_uplink(&uplink);
  rows_.data = nullptr;
  return finish(fb::CreateMessage(builder_, fb::Body::ExpertResult, body.Finish().Union()));
}

}  // namespace wdmoe::wire
