#include "wire/messages.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include "wire/frame.h"

using namespace wdmoe;
using namespace wdmoe::wire;

namespace {

Hello sample_hello() {
  Hello hello;
  hello.name = "jetson-1";
  hello.software = "wdmoe-agent 0.1.0";
  hello.model_id = std::string(64, 'a');
  hello.backend = "cpu";
  hello.hidden_dim = 64;
  hello.max_rows = 128;
  hello.experts = {{0, 1}, {0, 5}, {3, 1}};
  hello.dtypes = {DType::f32, DType::f16, DType::bf16};
  hello.memory_bytes = std::uint64_t{8} << 30;
  hello.weights_bytes = 12345;
  hello.instance = 77;
  hello.features = bit(fb::Feature::pacing);
  return hello;
}

void fill(const MutableTensor& rows) {
  for (std::size_t i = 0; i < rows.size_bytes(); ++i) rows.data[i] = static_cast<std::byte>(i * 7);
}

const std::vector<fb::Assignment> kAssignments = {
    {0, 4, 0, 0.75f}, {0, 2, 0, 0.25f}, {2, 4, 0, 1.0f}};

Bytes sample_dispatch(Encoder& encoder) {
  fill(encoder.begin_rows(3, 5, DType::f16));
  return encoder.finish_dispatch(99, 7, DType::f32, kAssignments);
}

const Uplink kUplink{1ull << 40, 123456, 20000, 15000, 900, 300, 4000, 70, 2, true};

Bytes sample_result(Encoder& encoder) {
  fill(encoder.begin_rows(3, 5, DType::f32));
  return encoder.finish_result(99, 7, {1, 2, 3}, {{45.5f, 6.25f}, kUplink});
}

/// As a socket would: through aligned memory.
Result<Message> decode_copy(Frame& frame, Bytes bytes, const Limits& limits = {}) {
  frame.assign(bytes.data(), bytes.size());
  return decode(frame.bytes(), limits);
}

struct Sample {
  const char* name;
  std::function<Bytes(Encoder&)> encode;
};
const Sample kSamples[] = {
    {"hello", [](Encoder& e) { return e.hello(sample_hello()); }},
    {"welcome",
     [](Encoder& e) {
       return e.welcome({Status::wrong_model, "no", 1, 500});
     }},
    {"dispatch", sample_dispatch},
    {"result", sample_result},
    {"refusal", [](Encoder& e) { return e.refusal(1, 2, Status::too_large, "too many"); }},
    {"ping", [](Encoder& e) { return e.ping(5); }},
    {"pong", [](Encoder& e) { return e.pong(6); }},
    {"goodbye", [](Encoder& e) { return e.goodbye("bye"); }},
    {"share",
     [](Encoder& e) {
       return e.share({15'000, 2'000});
     }},
};

/// Touches everything a decoded message refers to; ASan and UBSan watch.
std::uint64_t walk(const Message& message, const Limits& limits) {
  std::uint64_t sum = 0;
  const auto rows = [&](const Tensor& tensor) {
    REQUIRE(tensor.rows <= limits.rows);
    REQUIRE(tensor.cols <= limits.hidden_dim);
    for (std::size_t i = 0; i < tensor.size_bytes(); ++i)
      sum += std::to_integer<unsigned>(tensor.data[i]);
  };
  if (const auto* dispatch = std::get_if<Dispatch>(&message)) {
    rows(dispatch->rows);
    for (const fb::Assignment& a : dispatch->assignments) {
      REQUIRE(a.row() < dispatch->rows.rows);
      REQUIRE(std::isfinite(a.weight()));
      sum += a.expert();
    }
  } else if (const auto* result = std::get_if<ExpertResult>(&message)) {
    rows(result->rows);
    sum += result->message.size();
    for (const char c : result->message) sum += static_cast<unsigned char>(c);
    REQUIRE((result->status != Status::ok || result->rows.rows > 0));
  } else if (const auto* hello = std::get_if<Hello>(&message)) {
    REQUIRE(is_agent_name(hello->name));
    sum += hello->experts.size();
  } else if (const auto* goodbye = std::get_if<Goodbye>(&message)) {
    for (const char c : goodbye->reason) sum += static_cast<unsigned char>(c);
  }
  return sum;
}

}  // namespace

TEST_CASE("messages: every kind comes back as it was") {
  Encoder encoder;
  Frame frame;
  {
    const auto message = decode_copy(frame, encoder.hello(sample_hello()));
    REQUIRE(message);
    const auto& hello = std::get<Hello>(*message);
    const Hello expected = sample_hello();
    CHECK(hello.name == expected.name);
    CHECK(hello.software == expected.software);
    CHECK(hello.model_id == expected.model_id);
    CHECK(hello.backend == expected.backend);
    CHECK(hello.hidden_dim == expected.hidden_dim);
    CHECK(hello.max_rows == expected.max_rows);
    CHECK(hello.experts == expected.experts);
    CHECK(hello.dtypes == expected.dtypes);
    CHECK(hello.memory_bytes == expected.memory_bytes);
    CHECK(hello.weights_bytes == expected.weights_bytes);
    CHECK(hello.instance == expected.instance);
    CHECK(hello.features == expected.features);
  }
  {
    const auto message = decode_copy(frame, sample_dispatch(encoder));
    REQUIRE(message);
    const auto& dispatch = std::get<Dispatch>(*message);
    CHECK(dispatch.id == 99);
    CHECK(dispatch.layer == 7);
    CHECK(dispatch.reply_dtype == DType::f32);
    CHECK(dispatch.rows.dtype == DType::f16);
    REQUIRE(dispatch.rows.size_bytes() == 30);
    for (std::size_t i = 0; i < 30; ++i)
      CHECK(dispatch.rows.data[i] == static_cast<std::byte>(i * 7));
    REQUIRE(dispatch.assignments.size() == 3);
    CHECK(dispatch.assignments[2].row() == 2);
    CHECK(dispatch.assignments[1].expert() == 2);
    CHECK(dispatch.assignments[0].weight() == 0.75f);
  }
  {
    const auto message = decode_copy(frame, sample_result(encoder));
    REQUIRE(message);
    const auto& result = std::get<ExpertResult>(*message);
    CHECK(result.status == Status::ok);
    CHECK(result.rows.rows == 3);
    CHECK(result.rows.cols == 5);
    CHECK(result.timings.total_us == 3);
    CHECK(result.telemetry.health.temperature_celsius == 45.5f);
    REQUIRE(result.telemetry.uplink);
    const Uplink& uplink = *result.telemetry.uplink;
    CHECK(uplink.acked_bytes == kUplink.acked_bytes);
    CHECK(uplink.busy_us == kUplink.busy_us);
    CHECK(uplink.delivery_kbps == kUplink.delivery_kbps);
    CHECK(uplink.pacing_kbps == kUplink.pacing_kbps);
    CHECK(uplink.rtt_us == kUplink.rtt_us);
    CHECK(uplink.min_rtt_us == kUplink.min_rtt_us);
    CHECK(uplink.outstanding_bytes == kUplink.outstanding_bytes);
    CHECK(uplink.segments == kUplink.segments);
    CHECK(uplink.retransmitted == kUplink.retransmitted);
    CHECK(uplink.app_limited);
  }
  {
    const auto message = decode_copy(frame, encoder.refusal(1, 2, Status::too_large, "too many"));
    REQUIRE(message);
    const auto& result = std::get<ExpertResult>(*message);
    CHECK(result.status == Status::too_large);
    CHECK(result.message == "too many");
    CHECK(result.rows.rows == 0);
    CHECK_FALSE(result.telemetry.uplink);
  }
  const auto welcome = decode_copy(frame, encoder.welcome({Status::ok, "hi", 1, 250, 1}));
  CHECK(std::get<Welcome>(*welcome).heartbeat_ms == 250);
  CHECK(std::get<Welcome>(*welcome).features == 1);
  const auto share = decode_copy(frame, encoder.share({15'000, 2'000}));
  CHECK(std::get<Share>(*share).uplink_kbps == 15'000);
  CHECK(std::get<Share>(*share).lifetime_ms == 2'000);
  CHECK(std::get<Ping>(*decode_copy(frame, encoder.ping(5))).sequence == 5);
  CHECK(std::get<Pong>(*decode_copy(frame, encoder.pong(6))).sequence == 6);
  const auto goodbye = decode_copy(frame, encoder.goodbye("bye"));
  CHECK(std::get<Goodbye>(*goodbye).reason == "bye");
}

TEST_CASE("messages: a frame cut at any byte is an error") {
  for (const Sample& sample : kSamples) {
    CAPTURE(sample.name);
    Encoder encoder;
    const Bytes whole = sample.encode(encoder);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      Frame frame;  // fresh, so that ASan sees the end
      const auto message = decode_copy(frame, whole.first(size));
      // FlatBuffers puts padding last in places: a frame may be whole without its last bytes.
      if (message) walk(*message, {});
      if (size + 8 < whole.size()) CHECK_FALSE(message.has_value());
    }
  }
}

TEST_CASE("messages: flipped bits give an error or a message within all limits") {
  for (const Sample& sample : kSamples) {
    CAPTURE(sample.name);
    Encoder encoder;
    const Bytes whole = sample.encode(encoder);
    std::vector<std::byte> copy(whole.begin(), whole.end());
    Frame frame;
    for (std::size_t bit = 0; bit < copy.size() * 8; ++bit) {
      copy[bit / 8] ^= std::byte{1} << (bit % 8);
      if (const auto message = decode_copy(frame, copy)) walk(*message, {});
      copy[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
      auto noisy = copy;
      for (int flips = 0; flips < 4; ++flips)
        noisy[random() % noisy.size()] = static_cast<std::byte>(random());
      if (const auto message = decode_copy(frame, noisy)) walk(*message, {});
    }
  }
}

TEST_CASE("messages: well-formed frames that contradict themselves or the limits are refused") {
  Limits tight;
  tight.rows = 4;
  tight.hidden_dim = 8;
  tight.assignments = 4;
  tight.experts = 3;
  tight.text_bytes = 80;
  tight.frame_bytes = 2000;
  const auto dispatch = [](std::size_t rows, std::size_t hidden,
                           std::vector<fb::Assignment> wishes) {
    return [=](Encoder& e) {
      fill(e.begin_rows(rows, hidden, DType::f16));
      return e.finish_dispatch(1, 0, DType::f16, wishes);
    };
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  struct Case {
    const char* name;
    std::function<Bytes(Encoder&)> encode;
    Code code;
  };
  const fb::Assignment one(0, 0, 0, 1);
  const Case cases[] = {
      {"row beyond the last", dispatch(2, 4, {{2, 0, 0, 1}}), Code::bad_input},
      {"weight no number", dispatch(2, 4, {{0, 0, 0, nan}}), Code::bad_input},
      {"weight infinite", dispatch(2, 4, {{0, 0, 0, inf}}), Code::bad_input},
      {"no assignments", dispatch(2, 4, {}), Code::bad_input},
      {"no rows", dispatch(0, 4, {one}), Code::bad_input},
      {"too many rows", dispatch(5, 4, {one}), Code::limit},
      {"too wide", dispatch(1, 9, {one}), Code::limit},
      {"too many assignments", dispatch(1, 4, {one, one, one, one, one}), Code::limit},
      {"frame too large",
       [](Encoder& e) {
         fill(e.begin_rows(4, 500, DType::f32));
         return e.finish_result(1, 0, {}, {});
       },
       Code::limit},
      {"a share for an hour",
       [](Encoder& e) {
         return e.share({1'000, 3'600'000});
       },
       Code::limit},
      {"long reason", [](Encoder& e) { return e.goodbye(std::string(100, 'x')); }, Code::limit},
      {"too many experts",
       [](Encoder& e) {
         auto hello = sample_hello();
         hello.experts.push_back({9, 9});
         return e.hello(hello);
       },
       Code::limit},
      {"an expert twice",
       [](Encoder& e) {
         auto hello = sample_hello();
         hello.hidden_dim = 8;
         hello.experts = {{1, 1}, {2, 2}, {1, 1}};
         return e.hello(hello);
       },
       Code::bad_input},
      {"a name with a slash",
       [](Encoder& e) {
         auto hello = sample_hello();
         hello.name = "../x";
         return e.hello(hello);
       },
       Code::bad_input},
      {"words that are no text",
       [](Encoder& e) {
         auto hello = sample_hello();
         hello.software = "\xff";
         return e.hello(hello);
       },
       Code::bad_input},
      {"versions upside down",
       [](Encoder& e) {
         auto hello = sample_hello();
         hello.protocol_min = 2;
         return e.hello(hello);
       },
       Code::bad_input},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Encoder encoder;
    Frame frame;
    const auto message = decode_copy(frame, c.encode(encoder), tight);
    REQUIRE_FALSE(message.has_value());
    CHECK(message.error().code == c.code);
    CHECK(message.error().text.find('\n') == std::string::npos);
  }
}

TEST_CASE("messages: lying sizes inside a valid frame are refused") {
  flatbuffers::FlatBufferBuilder builder;
  const auto lie = [&](std::uint32_t rows, std::uint32_t hidden, std::uint8_t dtype,
                       std::size_t bytes) {
    builder.Clear();
    const std::vector<std::uint8_t> data(bytes);
    const std::vector<fb::Assignment> wishes{{0, 0, 0, 1}};
    const auto body = fb::CreateDispatchDirect(builder, 1, 0, static_cast<fb::Dtype>(dtype),
                                               fb::Dtype::f32, rows, hidden, &data, &wishes);
    fb::FinishMessageBuffer(builder, fb::CreateMessage(builder, fb::Body::Dispatch, body.Union()));
    Frame frame;
    return decode_copy(
        frame, {reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()});
  };
  CHECK(lie(2, 4, 1, 16));
  CHECK_FALSE(lie(2, 4, 1, 15));
  CHECK_FALSE(lie(2, 4, 0, 16));
  CHECK_FALSE(lie(2, 4, 3, 16));  // no such dtype
  CHECK_FALSE(lie(2, 4, 200, 16));
  CHECK_FALSE(lie(0x10000, 0x8000, 1, 0));  // the product is 0 in 32 bits
  CHECK_FALSE(lie(0xffffffff, 0xffffffff, 0, 4));
}

TEST_CASE("messages: versions agree on the highest both know") {
  Hello hello;
  CHECK(common_protocol(hello) == kProtocol);
  hello.protocol_max = 9;
  CHECK(common_protocol(hello) == kProtocol);
  hello.protocol_min = kProtocol + 1;
  CHECK(common_protocol(hello) == 0);
  hello.protocol_min = hello.protocol_max = 0;
  CHECK(common_protocol(hello) == 0);
}

TEST_CASE("messages: names are safe as file names and metrics") {
  for (const char* good : {"a", "jetson-1", "A.b_c-9"}) CHECK(is_agent_name(good));
  for (const char* bad : {"", ".hidden", "-flag", "a/b", "a b", "ü", "a\n"})
    CHECK_FALSE(is_agent_name(bad));
  CHECK(is_agent_name(std::string(64, 'x')));
  CHECK_FALSE(is_agent_name(std::string(65, 'x')));
}
