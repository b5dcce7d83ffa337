#include "agent/handler.h"

#include <cstring>
#include <map>

#include <doctest/doctest.h>

#include "kernels/thread_pool.h"
#include "tests/support/allocations.h"
#include "tests/support/random_experts.h"
#include "wire/frame.h"

using namespace wdmoe;
using namespace wdmoe::agent;

namespace {

constexpr std::size_t kHidden = 32, kFfn = 48, kMaxRows = 16;

/// Fails on demand, and remembers what it was asked.
class BrokenBackend final : public kernels::ExpertBackend {
 public:
  std::string_view name() const override { return "broken"; }
  Result<kernels::ExpertHandle> load(const ExpertWeights&) override { return next_++; }
  Result<void> run(Span<const kernels::ExpertWork>, Tensor, MutableTensor, bool&) override {
    return fail(Code::unavailable, "the device fell off the bus");
  }
  Result<void> reserve(std::size_t, std::size_t) override { return {}; }

 private:
  kernels::ExpertHandle next_ = 0;
};

/// Time that only moves when told, so that timings are known exactly.
class SteppingClock final : public Clock {
 public:
  Instant now() const override { return Instant(milliseconds(10 * ++calls_)); }

 private:
  mutable int calls_ = 0;
};

Store load(const test::RandomExperts& weights, kernels::ExpertBackend& backend) {
  std::vector<Store::Held> held;
  for (const ExpertId id : {ExpertId{0, 1}, {0, 3}, {2, 3}, {2, 0}})
    held.push_back({id, weights.at(id.layer, id.expert)});
  auto store = Store::load("model", held, backend);
  REQUIRE_MESSAGE(store, store.error().text);
  return std::move(*store);
}

struct Bench {
  explicit Bench(std::unique_ptr<kernels::ExpertBackend> with = kernels::make_reference_backend())
      : backend(std::move(with)),
        store(load(weights, *backend)),
        handler(store, *backend, clock, kMaxRows) {}

  /// The answer to a Dispatch, through bytes both ways.
  wire::ExpertResult ask(std::uint16_t layer, const std::vector<float>& x,
                         const std::vector<fb::Assignment>& wishes, std::size_t hidden = kHidden,
                         DType reply = DType::f32) {
    const MutableTensor rows = encoder.begin_rows(x.size() / hidden, hidden, DType::f32);
    std::memcpy(rows.data, x.data(), rows.size_bytes());
    const Bytes sent = encoder.finish_dispatch(7, layer, reply, wishes);
    in.assign(sent.data(), sent.size());
    const auto message = wire::decode(in.bytes(), {});
    REQUIRE_MESSAGE(message, message.error().text);
    const Bytes answer =
        handler.answer(std::get<wire::Dispatch>(*message), Instant(milliseconds(5)), {{41, 2}, {}});
    out.assign(answer.data(), answer.size());
    const auto reply_message = wire::decode(out.bytes(), {});
    REQUIRE(reply_message);
    return std::get<wire::ExpertResult>(*reply_message);
  }

  test::RandomExperts weights{3, 4, kHidden, kFfn};
  SteppingClock clock;
  std::unique_ptr<kernels::ExpertBackend> backend;
  Store store;
  Handler handler;
  wire::Encoder encoder;
  wire::Frame in, out;
};

float element(const Tensor& rows, std::size_t row, std::size_t col) {
  float value = 0;
  std::memcpy(&value, rows.row(row) + col * 4, 4);
  return value;
}

}  // namespace

TEST_CASE("handler: rows of several experts come back as one weighted sum each") {
  Bench bench;
  const std::size_t rows = 5;
  const auto x = test::random_rows(rows, kHidden, 2);
  // Out of order by expert on purpose; row 3 wants nothing.
  const std::vector<fb::Assignment> wishes = {
      {4, 3, 0, 0.5f}, {0, 1, 0, 0.25f}, {0, 3, 0, 0.75f}, {1, 3, 0, 1.0f}, {2, 1, 0, -2.0f}};
  const wire::ExpertResult result = bench.ask(0, x, wishes);
  REQUIRE(result.status == wire::Status::ok);
  CHECK(result.id == 7);
  CHECK(result.layer == 0);
  REQUIRE(result.rows.rows == rows);
  CHECK(result.telemetry.health.temperature_celsius == 41);
  CHECK(result.timings.queue_us == 5'000);  // received at 5 ms, the clock's first reading is 10
  CHECK(result.timings.compute_us == 10'000);
  CHECK(result.timings.total_us == 15'000);

  auto reference = kernels::make_reference_backend();
  std::vector<double> expected(rows * kHidden);
  for (const auto& wish : wishes) {
    const auto handle = *reference->load(bench.weights.at(0, wish.expert()));
    const std::vector<kernels::RowWeight> one = {{wish.row(), wish.weight()}};
    const std::vector<kernels::ExpertWork> work = {{handle, one}};
    std::vector<float> y(rows * kHidden);
    bool overflowed = false;
    REQUIRE(reference->run(
        work, {reinterpret_cast<const std::byte*>(x.data()), DType::f32, rows, kHidden},
        {reinterpret_cast<std::byte*>(y.data()), DType::f32, rows, kHidden}, overflowed));
    for (std::size_t i = 0; i < y.size(); ++i) expected[i] += static_cast<double>(y[i]);
  }
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t col = 0; col < kHidden; ++col)
      CHECK(static_cast<double>(element(result.rows, row, col)) ==
            doctest::Approx(expected[row * kHidden + col]).epsilon(1e-5).scale(1));
  CHECK(bench.handler.counters().assignments == 5);
}

TEST_CASE("handler: a sum beyond f16 is answered in f32") {
  Bench bench;
  std::vector<float> x(kHidden, 300.0f);
  const wire::ExpertResult result = bench.ask(0, x, {{0, 1, 0, 100.0f}}, kHidden, DType::f16);
  REQUIRE(result.status == wire::Status::ok);
  CHECK(result.rows.dtype == DType::f32);
  CHECK(bench.handler.counters().overflows == 1);
  const auto small = test::random_rows(1, kHidden, 1);
  CHECK(bench.ask(0, small, {{0, 1, 0, 1}}, kHidden, DType::f16).rows.dtype == DType::f16);
}

TEST_CASE("handler: what cannot be answered is refused with its status") {
  struct Case {
    const char* name;
    std::uint16_t layer;
    std::size_t rows, hidden;
    std::vector<fb::Assignment> wishes;
    wire::Status status;
  };
  const fb::Assignment good(0, 1, 0, 1);
  const Case cases[] = {
      {"good", 0, 1, kHidden, {good}, wire::Status::ok},
      {"another width", 0, 1, kHidden + 1, {good}, wire::Status::bad_shape},
      {"too many rows", 0, kMaxRows + 1, kHidden, {good}, wire::Status::too_large},
      {"layer without experts", 1, 1, kHidden, {good}, wire::Status::unknown_expert},
      {"layer beyond", 60'000, 1, kHidden, {good}, wire::Status::unknown_expert},
      {"expert not held", 0, 1, kHidden, {{0, 2, 0, 1}}, wire::Status::unknown_expert},
      {"expert beyond", 0, 1, kHidden, {good, {0, 65'535, 0, 1}}, wire::Status::unknown_expert},
      {"twice to one expert", 0, 2, kHidden, {good, {1, 1, 0, 1}, good}, wire::Status::malformed},
  };
  Bench bench;
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto result =
        bench.ask(c.layer, std::vector<float>(c.rows * c.hidden), c.wishes, c.hidden);
    CHECK(result.status == c.status);
    CHECK(result.id == 7);
    if (c.status != wire::Status::ok) CHECK_FALSE(result.message.empty());
  }
}

TEST_CASE("handler: a failing backend is a refusal with its reason, not the end") {
  Bench bench(std::make_unique<BrokenBackend>());
  const auto result = bench.ask(0, std::vector<float>(kHidden), {{0, 1, 0, 1}});
  CHECK(result.status == wire::Status::backend_failed);
  CHECK(result.message == "the device fell off the bus");
}

TEST_CASE("handler: the request path does not allocate once warm") {
  kernels::ThreadPool pool(1);
  Bench bench(kernels::make_cpu_backend(pool));
  REQUIRE(bench.backend->reserve(kMaxRows, kMaxRows * 2));
  const auto x = test::random_rows(kMaxRows, kHidden, 4);
  std::vector<fb::Assignment> wishes;
  for (std::uint32_t row = 0; row < kMaxRows; ++row)
    for (const std::uint16_t expert : {std::uint16_t{1}, std::uint16_t{3}})
      wishes.emplace_back(row, expert, std::uint16_t{0}, 0.5f);

  wire::Encoder& encoder = bench.encoder;
  const auto round = [&](std::size_t rows) {  // decode, compute, encode; refusals as well
    const MutableTensor out = encoder.begin_rows(rows, kHidden, DType::f32);
    std::memcpy(out.data, x.data(), out.size_bytes());
    const Bytes sent = encoder.finish_dispatch(1, 0, DType::f16, {wishes.data(), rows * 2});
    bench.in.assign(sent.data(), sent.size());
    const auto message = wire::decode(bench.in.bytes(), {});
    const auto& dispatch = std::get<wire::Dispatch>(*message);
    std::size_t bytes = bench.handler.answer(dispatch, Instant(), {{}, wire::Uplink{}}).size();
    bytes += bench.handler.refuse(1, 0, wire::Status::not_ready, "draining").size();
    return bytes;
  };
  for (std::size_t rows = 1; rows <= kMaxRows; ++rows) round(rows);
  round(1);
  const std::size_t before = test::allocations();
  std::size_t bytes = 0;
  for (int repeat = 0; repeat < 20; ++repeat)
    for (std::size_t rows = 1; rows <= kMaxRows; ++rows) bytes += round(rows);
  CHECK(test::allocations() == before);
  CHECK(bytes > 0);
}
