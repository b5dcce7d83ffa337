#pragma once
// The composition root of the base station: builds every part from the configuration, connects them
// and runs them on two threads (io: HTTP and signals; engine: model and radio).  Alone in knowing
// all of bsd.

#include <functional>
#include <memory>
#include <string>

#include "bsd/config.h"

namespace wdmoe::bsd {

class Station {
 public:
  /// Loads the model and binds every port.  `inherited_http`: a listening socket that takes the
  /// place of http.listen, or -1.  Throws std::runtime_error naming what is wrong.
  explicit Station(const Config& config, int inherited_http = -1);
  ~Station();

  /// Builds and drops everything but the ports: a running base station on them is not disturbed.
  /// Returns what summary() says of the model; throws like the constructor.
  static std::string check(Config config);

  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  std::string summary() const;  ///< one line for the log and `systemctl status`
  std::string url() const;      ///< http://address:port of the API

  /// Serves until `stop_fd` is readable; lets running requests finish for kDrain.  `alive` is
  /// called by the engine's loop while it turns (watchdog), on the engine thread.  Call once.
  void run(int stop_fd, std::function<void()> alive);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace wdmoe::bsd
