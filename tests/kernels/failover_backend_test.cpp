#include "kernels/failover_backend.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/backend_choice.h"
#include "kernels/reference.h"
#include "tests/kernels/expert_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

/// What goes wrong with the backends that are made, by number (from 0).
struct Script {
  int made = 0;
  int never_opens_from = 1'000;   ///< make_first fails from this one on
  int load_fails = -1;            ///< this one refuses its second expert
  std::vector<int> breaks;        ///< these fail at their second run
  std::vector<std::string> told;  ///< "failure -> next"
};

/// The reference, until its script says otherwise.
class Fragile final : public ExpertBackend {
 public:
  Fragile(const Script& script, int number) : script_(script), number_(number) {}
  std::string_view name() const override { return "fragile"; }
  Result<ExpertHandle> load(const ExpertWeights& weights) override {
    if (number_ == script_.load_fails && loads_++ == 1)
      return fail(Code::limit, "the device is full");
    return plain_->load(weights);
  }
  Result<void> reserve(std::size_t rows, std::size_t assignments) override {
    return plain_->reserve(rows, assignments);
  }
  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override {
    for (const int number : script_.breaks)
      if (number == number_ && runs_++ == 1) return fail(Code::unavailable, "the device is gone");
    return plain_->run(work, in, out, overflowed);
  }

 private:
  const Script& script_;
  int number_;
  int loads_ = 0, runs_ = 0;
  std::unique_ptr<ExpertBackend> plain_ = make_reference_backend();
};

/// A fragile backend with two experts, and how its answers compare with the reference.
class Rig {
 public:
  Rig(Script& script, Recovery recovery, bool cpu_at_start = false)
      : experts_(2, 16, 24, DType::f32), in_(3, 16, DType::f32, 0, experts_.random()) {
    FailoverOptions options;
    options.make_first = [&script]() -> Result<std::unique_ptr<ExpertBackend>> {
      const int number = script.made++;
      if (number >= script.never_opens_from) return fail(Code::unavailable, "no device");
      return std::make_unique<Fragile>(script, number);
    };
    options.make_cpu = [this] { return make_cpu_backend(pool_); };
    options.recovery = recovery;
    options.cpu_at_start = cpu_at_start;
    options.report = [&script](const Error& failure, const std::string& next) {
      script.told.push_back(failure.text + " -> " + next);
    };
    auto first = options.make_first();
    backend = make_failover_backend(std::move(*first), std::move(options));
  }

  Result<void> load() {
    for (std::size_t expert = 0; expert < 2; ++expert) {
      const auto handle = backend->load(experts_[expert]);
      if (!handle) return tl::unexpected(handle.error());
      CHECK(*handle == expert);
    }
    return backend->reserve(3, 6);
  }

  /// "ok" if the answer is right, "wrong" if not, else the error.
  std::string run() {
    const Routing routing(2, 3, 2);
    OwnedTensor actual(3, 16, DType::f32, 0, experts_.random());
    OwnedTensor expected(3, 16, DType::f32, 0, experts_.random());
    bool overflowed = false;
    const auto ran = backend->run(routing.span(), in_.view(), actual.writable(), overflowed);
    if (!ran) return ran.error().text;
    const auto plain = make_reference_backend();
    experts_.load_into(*plain);
    CHECK(plain->run(routing.span(), in_.view(), expected.writable(), overflowed));
    for (std::size_t row = 0; row < 3; ++row)
      for (std::size_t col = 0; col < 16; ++col)
        if (reference::element(actual.view(), row, col) !=
            doctest::Approx(reference::element(expected.view(), row, col)).epsilon(1e-4))
          return "wrong";
    return "ok";
  }

  std::unique_ptr<ExpertBackend> backend;

 private:
  ThreadPool pool_{1};
  Experts experts_;
  OwnedTensor in_;
};

}  // namespace

TEST_CASE("failover: the message that meets a failure gets its name, the next one the CPU") {
  Script script;
  script.breaks = {0};
  Rig rig(script, Recovery::cpu);
  CHECK(rig.load());
  CHECK(rig.run() == "ok");
  CHECK(rig.backend->name() == "fragile");
  CHECK(rig.run() == "the device is gone; continuing on the CPU");
  CHECK(rig.run() == "ok");
  CHECK(rig.backend->name() == "cpu");
  CHECK(script.told == std::vector<std::string>{"the device is gone -> continuing on the CPU"});
  CHECK(script.made == 1);
}

TEST_CASE("failover: restarts a backend three times, then takes the CPU") {
  Script script;
  script.breaks = {0, 1, 2, 3};
  Rig rig(script, Recovery::restart);
  CHECK(rig.load());
  for (int life = 0; life < 4; ++life) {
    CHECK(rig.run() == "ok");
    CHECK(rig.backend->name() == "fragile");
    CHECK(rig.run() == (life < 3 ? "the device is gone; restarting the backend"
                                 : "the device is gone; continuing on the CPU"));
  }
  CHECK(rig.run() == "ok");
  CHECK(rig.backend->name() == "cpu");
  CHECK(script.made == 4);
  CHECK(script.told.size() == 4);
}

TEST_CASE("failover: a backend that does not come back is replaced by the CPU at once") {
  for (const bool opens : {false, true}) {
    Script script;
    script.breaks = {0};
    script.never_opens_from = opens ? 1'000 : 1;
    script.load_fails = 1;
    Rig rig(script, Recovery::restart);
    CHECK(rig.load());
    CHECK(rig.run() == "ok");
    CHECK(rig.run() == "the device is gone; restarting the backend");
    CHECK(rig.run() == "ok");
    CHECK(rig.backend->name() == "cpu");
    REQUIRE(script.told.size() == 2);
    CHECK(script.told[1] ==
          std::string(opens ? "the device is full" : "no device") + " -> continuing on the CPU");
  }
}

TEST_CASE("failover: experts that do not fit at start are an error, or the CPU's if so wished") {
  for (const bool cpu_at_start : {false, true}) {
    Script script;
    script.load_fails = 0;
    Rig rig(script, Recovery::cpu, cpu_at_start);
    const auto loaded = rig.load();
    CHECK(loaded.has_value() == cpu_at_start);
    if (cpu_at_start) {
      CHECK(rig.backend->name() == "cpu");
      CHECK(rig.run() == "ok");
      CHECK(script.told == std::vector<std::string>{"the device is full -> continuing on the CPU"});
    } else {
      CHECK(loaded.error().text == "the device is full");
    }
  }
}

TEST_CASE("backend choice: cuda without its plug-in is an error, auto says why it is the CPU") {
  ThreadPool pool(1);
  const auto report = [](const Error&, const std::string&) {};
  const auto forced = choose_backend({"cuda", "cpu", "/nowhere"}, pool, report);
  REQUIRE_FALSE(forced);
  CHECK(forced.error().text.rfind("backend = \"cuda\": /nowhere/libwdmoe_cuda.so is not there",
                                  0) == 0);
  const auto chosen = choose_backend({"auto", "cpu", "/nowhere"}, pool, report);
  REQUIRE(chosen);
  CHECK(chosen->backend->name() == "cpu");
  CHECK(chosen->why_not_cuda.rfind("/nowhere/libwdmoe_cuda.so is not there", 0) == 0);
  CHECK(choose_backend({"cpu", "cpu", "/nowhere"}, pool, report)->why_not_cuda.empty());
}
