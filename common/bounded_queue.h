#pragma once
// The door between two threads: values in at one end, out at the other, never more than `capacity`.
// fd() is readable exactly while the queue holds something, so that a poll can wait for it.
// Every method is callable from any thread.

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "common/event_fd.h"

namespace wdmoe {

template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  /// False when full (the caller refuses, e.g. with 429) or closed; `value` is untouched then.
  [[nodiscard]] bool try_push(T&& value) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    if (items_.size() == 1) ready_.signal();
    return true;
  }
  [[nodiscard]] bool try_push(const T& value) { return try_push(T(value)); }

  /// The oldest value, or nothing when empty.
  std::optional<T> try_pop() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    if (items_.empty()) ready_.clear();
    return value;
  }

  /// Refuses further pushes; what is inside can still be taken out.
  void close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }

  std::size_t size() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return items_.size();
  }
  std::size_t capacity() const { return capacity_; }
  int fd() const { return ready_.fd(); }

 private:
  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<T> items_;
  bool closed_ = false;
  EventFd ready_;
};

}  // namespace wdmoe
