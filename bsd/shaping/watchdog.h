#pragma once
// A thread that does one thing: calls back when nobody has fed it for too long, because the loop
// that should have is stuck or gone.  Fed again, it watches again.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/clock.h"

namespace wdmoe::shaping {

class Watchdog {
 public:
  /// Watches from the first feed() on.  `on_silence` is called on the watchdog's thread, once for
  /// every silence longer than `limit`; it must not call back into the watchdog.
  Watchdog(milliseconds limit, std::function<void()> on_silence);
  ~Watchdog();  ///< waits for a call of on_silence under way
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void feed();   ///< callable from any thread
  void sleep();  ///< stops watching until the next feed(); callable from any thread

 private:
  void run();

  const milliseconds limit_;
  const std::function<void()> on_silence_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool watching_ = false, stopping_ = false;  // guarded by mutex_, as is due_
  Instant due_{};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace wdmoe::shaping
