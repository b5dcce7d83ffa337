#pragma once
// The newest value of something that one thread writes and others read (counters, link statistics).
// A mutex and a copy: keep T small.  Every method is callable from any thread.

#include <mutex>
#include <utility>

namespace wdmoe {

template <class T>
class Latest {
 public:
  Latest() = default;
  explicit Latest(T value) : value_(std::move(value)) {}

  void set(T value) {
    const std::lock_guard<std::mutex> lock(mutex_);
    value_ = std::move(value);
  }
  T get() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  T value_{};
};

}  // namespace wdmoe
