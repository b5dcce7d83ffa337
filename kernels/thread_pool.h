#pragma once
// Compute threads with a barrier that spins briefly and then sleeps, so that a stolen core costs
// microseconds, not milliseconds.  One owner thread calls run(); it works as thread 0 itself.

#include <cstddef>
#include <memory>
#include <type_traits>

namespace wdmoe::kernels {

/// A borrowed callable, function(item) or function(item, thread): no allocation, valid only during
/// the call it is passed to.
class Task {
 public:
  template <class F>
  Task(const F& function)  // NOLINT: a parameter type, implicit on purpose
      : object_(&function), call_(&call<F>) {}
  void operator()(std::size_t item, std::size_t thread) const { call_(object_, item, thread); }

 private:
  template <class F>
  static void call(const void* object, std::size_t item, std::size_t thread) {
    const F& function = *static_cast<const F*>(object);
    if constexpr (std::is_invocable_v<const F&, std::size_t, std::size_t>) {
      function(item, thread);
    } else {
      function(item);
    }
  }

  const void* object_;
  void (*call_)(const void*, std::size_t, std::size_t);
};

/// Multiply-adds below which a barrier would cost more than the second thread saves.
constexpr std::size_t kWorthSharing = 1u << 15;

class ThreadPool {
 public:
  /// `threads` counts the caller: 1 starts none.  Must be >= 1.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const;

  /// Calls task(0) … task(items - 1), each once, over all threads; returns when all are done.
  /// Items are handed out dynamically, so uneven items balance.  Does not allocate.  Not to be
  /// called from inside a task; tasks must not throw.  items < 2^32.
  void run(std::size_t items, Task task);

  /// As run(), but on the calling thread alone: for work smaller than the cost of a barrier.
  void run_here(std::size_t items, Task task);

  /// Memory of one thread for the length of one task, 64-byte aligned, holding at least what
  /// reserve_scratch() asked for; what it contains is nobody's promise.
  float* scratch(std::size_t thread) const;

  /// Grows every thread's scratch to `floats`; allocates only when that is more than before.
  /// Owner thread, outside run().
  void reserve_scratch(std::size_t floats);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdmoe::kernels
