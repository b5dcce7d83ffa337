#pragma once
// Bytes <-> values.  decode() verifies a frame completely (FlatBuffers verifier, then every size,
// enum and index against the limits) and yields plain structs; whoever holds a decoded message need
// not check its shape again.  Encoders write into one reused buffer and do not allocate once warm.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/expert.h"
#include "common/result.h"
#include "common/span.h"
#include "common/tensor.h"
#include "schemas/wire_generated.h"
#include "wire/limits.h"

namespace wdmoe::wire {

using fb::Status;

struct Hello {
  std::uint16_t protocol_min = kProtocol, protocol_max = kProtocol;
  std::string name, software, model_id, backend;
  std::uint32_t hidden_dim = 0, max_rows = 0;
  std::vector<ExpertId> experts;
  std::vector<DType> dtypes;
  std::uint64_t memory_bytes = 0, weights_bytes = 0;
  std::uint64_t instance =
      0;  ///< random per process: a reconnect keeps it, a second agent does not
  std::uint32_t features = 0;  ///< bits of fb::Feature
};

struct Welcome {
  Status status = Status::ok;
  std::string message;
  std::uint16_t protocol = kProtocol;
  std::uint32_t heartbeat_ms = 1000;
  std::uint32_t features = 0;
};

/// Views into the received frame: valid while its bytes are.
struct Dispatch {
  std::uint64_t id = 0;
  std::uint16_t layer = 0;
  DType reply_dtype = DType::f16;
  Tensor rows;                             ///< [rows, hidden], unaligned
  Span<const fb::Assignment> assignments;  ///< row < rows.rows, weight finite
};

struct Timings {
  std::uint32_t queue_us = 0, compute_us = 0, total_us = 0;
};

struct Health {
  float temperature_celsius = 0, power_watts = 0;
};

/// An agent's connection as its kernel sees it; the schema has the units.
struct Uplink {
  std::uint64_t acked_bytes = 0, busy_us = 0;
  std::uint32_t delivery_kbps = 0, pacing_kbps = 0;
  std::uint32_t rtt_us = 0, min_rtt_us = 0;
  std::uint32_t outstanding_bytes = 0, segments = 0, retransmitted = 0;
  bool app_limited = false;
};

/// What an agent tells of itself along with an answer.
struct Telemetry {
  Health health;
  std::optional<Uplink> uplink;
};

/// Views into the received frame: valid while its bytes are.
struct ExpertResult {
  std::uint64_t id = 0;
  std::uint16_t layer = 0;
  Status status = Status::ok;
  std::string_view message;
  Tensor rows;  ///< [rows, hidden], unaligned; empty unless status is ok
  Timings timings;
  Telemetry telemetry;
};

struct Ping {
  std::uint64_t sequence = 0;
};
struct Pong {
  std::uint64_t sequence = 0;
};
struct Goodbye {
  std::string_view reason;
};

struct Share {
  std::uint32_t uplink_kbps = 0;  ///< 0: as fast as the path carries
  std::uint32_t lifetime_ms = 0;
};

using Message = std::variant<Hello, Welcome, Dispatch, ExpertResult, Ping, Pong, Goodbye, Share>;

/// `frame` must be aligned to 16 bytes (wire/frame.h sees to that).  Errors: bad_input (does not
/// verify, or its parts contradict each other), limit (larger than the limits allow).
Result<Message> decode(Bytes frame, const Limits& limits);

constexpr std::uint32_t bit(fb::Feature feature) {
  return static_cast<std::uint32_t>(feature);
}

/// The Status that answers a frame which decode() refused.
Status status_of(Code code);
const char* name_of(
    Status status);  ///< "ok", "malformed" …; "unknown" for values not in the schema

/// Agent names: 1 to 64 of A-Z a-z 0-9 . _ - (they name key files and metrics).
bool is_agent_name(std::string_view name);

/// The highest version both ranges hold; 0 when there is none.
std::uint16_t common_protocol(const Hello& hello);

/// Builds one message at a time; the span returned stays valid until the next call.
class Encoder {
 public:
  Encoder();
  Bytes hello(const Hello& hello);
  Bytes welcome(const Welcome& welcome);
  Bytes ping(std::uint64_t sequence);
  Bytes pong(std::uint64_t sequence);
  Bytes goodbye(std::string_view reason);
  Bytes share(const Share& share);
  Bytes refusal(std::uint64_t id, std::uint16_t layer, Status status, std::string_view message);

  /// Two steps, so that rows are gathered straight into the outgoing buffer:
  /// begin_… returns where [rows, hidden] elements go, finish_… completes the frame.
  MutableTensor begin_rows(std::size_t rows, std::size_t hidden, DType dtype);
  Bytes finish_dispatch(std::uint64_t id, std::uint16_t layer, DType reply_dtype,
                        Span<const fb::Assignment> assignments);
  Bytes finish_result(std::uint64_t id, std::uint16_t layer, const Timings& timings,
                      const Telemetry& telemetry);

 private:
  flatbuffers::FlatBufferBuilder builder_;
  flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> rows_offset_;
  MutableTensor rows_;
  Bytes finish(flatbuffers::Offset<fb::Message> message);
};

}  // namespace wdmoe::wire
