#include "bsd/shaping/watchdog.h"

#include <utility>

namespace wdmoe::shaping {

Watchdog::Watchdog(milliseconds limit, std::function<void()> on_silence)
    : limit_(limit), on_silence_(std::move(on_silence)), thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::feed() {
  bool woken = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    due_ = std::chrono::steady_clock::now() + limit_;
    woken = !std::exchange(watching_, true);
  }
  if (woken) changed_.notify_one();  // else its wait ends by itself, and it looks at due_ again
}

void Watchdog::sleep() {
  const std::lock_guard<std::mutex> lock(mutex_);
  watching_ = false;
}

void Watchdog::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    if (!watching_) {
      changed_.wait(lock);
    } else if (std::chrono::steady_clock::now() < due_) {
      changed_.wait_until(lock, due_);
    } else {
      watching_ = false;
      lock.unlock();
      on_silence_();
      lock.lock();
    }
  }
}

}  // namespace wdmoe::shaping
