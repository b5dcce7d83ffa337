#include "kernels/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include "common/check.h"
#include "kernels/scratch.h"

namespace wdmoe::kernels {
namespace {

// Long enough to bridge the gap between two phases of a layer (tens of microseconds), short enough
// that a waiting thread takes less than a scheduler tick from whoever else needs the core.
constexpr std::chrono::microseconds kSpin{50};
constexpr int kPausesPerYield = 32;  // about a microsecond

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // ~10 ns; `yield` is a no-op on the cores we meet
#endif
}

/// Spins until `ready()` or kSpin has passed; returns the last answer.  Offers the core now and
/// then: a socket's I/O thread or a neighbour process may be what we wait for.
template <class Predicate>
bool spin_until(const Predicate& ready) {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerYield; ++i) {
      if (ready()) return true;
      pause();
    }
    ::sched_yield();
  } while (std::chrono::steady_clock::now() < give_up);
  return ready();
}

// A ticket holds the number of items (high half) and the next item nobody has claimed (low half),
// so that one atomic operation claims an item of the run it belongs to, never of another.
constexpr std::uint64_t pack(std::uint64_t items) {
  return items << 32;
}
constexpr std::uint64_t items_of(std::uint64_t ticket) {
  return ticket >> 32;
}
constexpr std::uint64_t next_of(std::uint64_t ticket) {
  return ticket & 0xffffffffu;
}
constexpr bool has_work(std::uint64_t ticket) {
  return next_of(ticket) < items_of(ticket);
}

}  // namespace

struct ThreadPool::State {
  alignas(64) std::atomic<std::uint64_t> ticket{0};
  alignas(64) std::atomic<std::uint64_t> done{0};  ///< items of this run that are finished
  alignas(64) std::atomic<bool> stop{false};
  std::atomic<std::size_t> sleepers{0};  ///< workers in (or on their way into) `wake`
  std::atomic<bool> owner_sleeps{false};
  const Task* task = nullptr;  ///< written before `ticket` opens, read after a valid claim
  std::mutex mutex;
  std::condition_variable wake, finished;
  std::vector<Scratch> scratch;
  std::vector<std::thread> workers;

  explicit State(std::size_t threads) : scratch(threads) {}

  /// Claims and runs items until none is left.  A valid claim keeps run() from returning until
  /// `done` counts it, so `task` stays what it was when the claim was made.
  void work(std::size_t thread) {
    while (has_work(ticket.load(std::memory_order_relaxed))) {
      const std::uint64_t claimed = ticket.fetch_add(1, std::memory_order_acq_rel);
      if (!has_work(claimed)) return;
      (*task)(next_of(claimed), thread);
      const std::uint64_t finished_now = done.fetch_add(1, std::memory_order_seq_cst) + 1;
      if (finished_now == items_of(claimed) && owner_sleeps.load(std::memory_order_seq_cst)) {
        const std::lock_guard lock(mutex);
        finished.notify_one();
      }
    }
  }

  void sleep_until_work() {
    std::unique_lock lock(mutex);
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] { return stop.load() || has_work(ticket.load()); });
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }

  void worker(std::size_t thread) {
    const auto ready = [&] {
      return has_work(ticket.load(std::memory_order_relaxed)) ||
             stop.load(std::memory_order_relaxed);
    };
    while (!stop.load(std::memory_order_relaxed)) {
      if (!spin_until(ready)) sleep_until_work();
      work(thread);
    }
  }

  void wait_until_done(std::uint64_t items) {
    const auto all_done = [&] { return done.load(std::memory_order_seq_cst) == items; };
    if (spin_until(all_done)) return;
    std::unique_lock lock(mutex);
    owner_sleeps.store(true, std::memory_order_seq_cst);
    finished.wait(lock, all_done);
    owner_sleeps.store(false, std::memory_order_relaxed);
  }
};

ThreadPool::ThreadPool(std::size_t threads) {
  WDMOE_CHECK(threads >= 1);
  state_ = std::make_unique<State>(threads);
  for (std::size_t thread = 1; thread < threads; ++thread)
    state_->workers.emplace_back([state = state_.get(), thread] { state->worker(thread); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

std::size_t ThreadPool::threads() const {
  return state_->scratch.size();
}

void ThreadPool::run(std::size_t items, Task task) {
  if (state_->workers.empty() || items <= 1) return run_here(items, task);
  WDMOE_CHECK(items <= 0xffffffffu);
  state_->task = &task;
  state_->done.store(0, std::memory_order_relaxed);
  state_->ticket.store(pack(items), std::memory_order_seq_cst);
  if (state_->sleepers.load(std::memory_order_seq_cst) > 0) {
    { const std::lock_guard lock(state_->mutex); }  // a worker is now either waiting or will see it
    state_->wake.notify_all();
  }
  state_->work(0);
  state_->wait_until_done(items);
}

void ThreadPool::run_here(std::size_t items, Task task) {
  for (std::size_t item = 0; item < items; ++item) task(item, 0);
}

float* ThreadPool::scratch(std::size_t thread) const {
  return state_->scratch[thread].data();
}

void ThreadPool::reserve_scratch(std::size_t floats) {
  for (Scratch& scratch : state_->scratch) scratch.at_least(floats);
}

}  // namespace wdmoe::kernels
