#pragma once
// The system a command talks to: a running one (--bsd, WDMOE_URL), or a whole one in this process
// (--model): the same base station with its experts in-process, over loopback, so that every
// command has one way of asking.

#include <filesystem>
#include <memory>
#include <string>

#include "cli/base_station.h"
#include "cli/http_client.h"

namespace CLI {
class App;
}

namespace wdmoe::cli {

struct SystemOptions {
  BaseStation bsd;
  std::string model;
  unsigned threads = 0;
  std::filesystem::path trace_directory;  ///< of --model, for recordings; not a flag

  void add_to(CLI::App& command);
};

class System {
 public:
  static Result<System> open(const SystemOptions& options);
  System(System&&) noexcept;
  ~System();

  HttpClient& client() { return client_; }
  bool in_process() const { return local_ != nullptr; }

 private:
  struct Local;
  System(HttpClient client, std::unique_ptr<Local> local);
  HttpClient client_;
  std::unique_ptr<Local> local_;
};

}  // namespace wdmoe::cli
