#include "kernels/failover_backend.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace wdmoe::kernels {
namespace {

constexpr const char* kOnCpu = "continuing on the CPU";

class FailoverBackend final : public ExpertBackend {
 public:
  FailoverBackend(std::unique_ptr<ExpertBackend> first, FailoverOptions options)
      : options_(std::move(options)), current_(std::move(first)) {}

  std::string_view name() const override { return current_ ? current_->name() : "none"; }
  BackendFacts facts() const override { return current_ ? current_->facts() : BackendFacts{}; }

  Result<ExpertHandle> load(const ExpertWeights& weights) override {
    auto loaded = current_->load(weights);
    if (!loaded && start_on_cpu(loaded.error())) {
      if (auto moved = replace(options_.make_cpu()); !moved) return tl::unexpected(moved.error());
      loaded = current_->load(weights);
    }
    if (loaded) experts_.push_back(weights);
    return loaded;
  }

  Result<void> reserve(std::size_t rows, std::size_t assignments) override {
    rows_ = std::max(rows_, rows);
    assignments_ = std::max(assignments_, assignments);
    auto reserved = current_->reserve(rows, assignments);
    if (!reserved && start_on_cpu(reserved.error())) reserved = replace(options_.make_cpu());
    return reserved;
  }

  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override {
    if (failed_) WDMOE_TRY(recover());
    auto ran = current_->run(work, in, out, overflowed);
    if (ran || ran.error().code != Code::unavailable || on_cpu_) return ran;
    failed_ = true;
    const std::string next = restarts() ? "restarting the backend" : kOnCpu;
    options_.report(ran.error(), next);
    return fail(Code::unavailable, ran.error().text + "; " + next);
  }

 private:
  bool restarts() const {
    return options_.recovery == Recovery::restart && restarts_ < kMostRestarts;
  }

  /// A failure before any answer: whether the CPU shall take over at once.
  bool start_on_cpu(const Error& failure) {
    if (!options_.cpu_at_start || on_cpu_ || failure.code == Code::bad_input) return false;
    options_.report(failure, kOnCpu);
    on_cpu_ = true;
    return true;
  }

  Result<void> recover() {
    if (restarts()) {
      ++restarts_;
      current_.reset();  // its context goes first, and with it what broke it
      auto again = options_.make_first();
      const auto loaded = again ? replace(std::move(*again)) : tl::unexpected(again.error());
      if (loaded) {
        failed_ = false;
        return {};
      }
      options_.report(loaded.error(), kOnCpu);
    }
    restarts_ = kMostRestarts;
    current_.reset();
    on_cpu_ = true;
    WDMOE_TRY(replace(options_.make_cpu()));
    failed_ = false;
    return {};
  }

  /// `next` with everything that was loaded and reserved; handles stay what they were.
  Result<void> replace(std::unique_ptr<ExpertBackend> next) {
    current_ = std::move(next);
    for (const ExpertWeights& weights : experts_)
      if (auto loaded = current_->load(weights); !loaded) return tl::unexpected(loaded.error());
    if (rows_ == 0) return {};
    return current_->reserve(rows_, assignments_);
  }

  FailoverOptions options_;
  std::unique_ptr<ExpertBackend> current_;  ///< null only after a recovery that failed
  std::vector<ExpertWeights> experts_;
  std::size_t rows_ = 0, assignments_ = 0;
  int restarts_ = 0;
  bool failed_ = false, on_cpu_ = false;
};

}  // namespace

std::unique_ptr<ExpertBackend> make_failover_backend(std::unique_ptr<ExpertBackend> first,
                                                     FailoverOptions options) {
  return std::make_unique<FailoverBackend>(std::move(first), std::move(options));
}

}  // namespace wdmoe::kernels
