#pragma once
// Compute threads with a barrier that spins briefly and then sleeps, so that a stolen core costs
// microseconds, not milliseconds.  One owner thread calls run(); it works as thread 0 itself.

#include <cstddef>
#include <memory>

namespace wdmoe::kernels {

/// A borrowed callable: no allocation, valid only during the call it is passed to.
class Task {
 public:
  template <class F>
  Task(const F& function)  // NOLINT: a parameter type, implicit on purpose
      : object_(&function), call_([](const void* object, std::size_t item) {
          (*static_cast<const F*>(object))(item);
        }) {}
  void operator()(std::size_t item) const { call_(object_, item); }

 private:
  const void* object_;
  void (*call_)(const void*, std::size_t);
};

class ThreadPool {
 public:
  /// `threads` counts the caller: 1 starts none.  Must be >= 1.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t threads() const;

  /// Calls task(0) … task(items - 1), each once, over all threads; returns when all are done.
  /// Items are handed out dynamically, so uneven items balance.  Does not allocate.
  void run(std::size_t items, Task task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdmoe::kernels
