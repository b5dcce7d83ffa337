// `wdmoe trace record`: gate probabilities and selections of a running system, or of a model in
// this process, into a file.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <signal.h>

#include "cli/system.h"
#include "cli/trace_commands.h"
#include "weights/file.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr const char* kPath = "/wdmoe/v1/trace";
constexpr std::chrono::milliseconds kLook{200};          // between two looks at a recording
constexpr std::size_t kMostText = std::size_t{1} << 20;  // what /tokenize takes
constexpr std::size_t kWindow = 512;                     // tokens of one request of --file

struct TraceRecordOptions {
  SystemOptions system;
  std::string out, prompt, file;
  std::optional<unsigned> tokens, seconds;
  unsigned max_tokens = 128;
};

/// Ends what it is told of, before SIGINT or SIGTERM end the program.  Made before other threads
/// are, which must not take the signals.
class EndOnSignal {
 public:
  EndOnSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    watcher_ = std::thread([this] { watch(); });
  }
  EndOnSignal(const EndOnSignal&) = delete;
  EndOnSignal& operator=(const EndOnSignal&) = delete;
  ~EndOnSignal() {
    over_ = true;
    watcher_.join();
    pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  }
  /// Starts a recording; a signal in between waits for the answer.
  Result<json> start(const HttpClient& client, const json& wish) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto started = json_of(client.put(kPath, json_text(wish)));
    if (started) recording_ = &client;
    return started;
  }
  /// Its recording is no longer this object's matter.
  void forget() {
    const std::lock_guard<std::mutex> lock(mutex_);
    recording_ = nullptr;
  }

 private:
  void watch() {
    const timespec look{0, 50'000'000};
    while (!over_) {
      const int signal = sigtimedwait(&signals_, nullptr, &look);
      if (signal <= 0) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      if (recording_ != nullptr) (void)recording_->remove(kPath);
      pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
      (void)raise(signal);  // as if it had never been caught
    }
  }

  sigset_t signals_{};
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  const HttpClient* recording_ = nullptr;  // the server of the one under way
  std::thread watcher_;
};

/// A recording that was started; ended by finish(), or whatever becomes of the program.
class Recording {
 public:
  Recording(EndOnSignal& signals, const HttpClient& client) : signals_(signals), client_(client) {}
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    signals_.forget();
    if (!finished_) (void)client_.remove(kPath);
  }
  /// What the server says of it.
  Result<json> finish() {
    finished_ = true;
    auto state = json_of(client_.remove(kPath));
    return state ? std::move(state) : json_of(client_.get(kPath));  // it had ended by itself
  }

 private:
  EndOnSignal& signals_;
  const HttpClient& client_;
  bool finished_ = false;
};

Result<void> check(const TraceRecordOptions& options) {
  const std::filesystem::path out(options.out);
  if (options.system.model.empty() && out.has_parent_path())
    return fail(Code::bad_input,
                "--out " + options.out +
                    ": a running base station writes into its own [trace] directory: give a bare "
                    "file name");
  const bool has_text = !options.prompt.empty() || !options.file.empty();
  if (!options.system.model.empty() && !has_text)
    return fail(Code::bad_input, "--model needs something to read: give --prompt or --file");
  if (has_text || options.tokens || options.seconds) return {};
  return fail(Code::bad_input, "when does it end? give --tokens, --seconds, --prompt or --file");
}

/// Reads the file through the model, in windows; nothing is generated.
Result<void> read_file(const TraceRecordOptions& options, const HttpClient& client) {
  const auto text = weights::read_text(options.file, kMostText);
  if (!text) return tl::unexpected<Error>(text.error());
  const json asked{{"prompt", *text}, {"add_special_tokens", false}};
  const auto body = json_of(client.post("/tokenize", json_text(asked)));
  if (!body) return tl::unexpected<Error>(body.error());
  const auto tokens = body->at("tokens").get<std::vector<unsigned>>();
  const std::size_t window = std::min(kWindow, body->at("max_model_len").get<std::size_t>());
  if (window == 0) return fail(Code::bad_input, "the server's max_model_len is 0, expected more");
  for (std::size_t first = 0; first < tokens.size(); first += window) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(first);
    const auto count = std::min(window, tokens.size() - first);
    const json request{
        {"prompt", std::vector<unsigned>(begin, begin + static_cast<std::ptrdiff_t>(count))},
        {"max_tokens", 0}};
    const auto done = json_of(client.post("/v1/completions", request.dump()));
    if (!done) return tl::unexpected<Error>(done.error());
  }
  return {};
}

Result<void> read_prompt(const TraceRecordOptions& options, const HttpClient& client) {
  const json request{
      {"prompt", options.prompt}, {"max_tokens", options.max_tokens}, {"temperature", 0}};
  const auto done = json_of(client.post("/v1/completions", json_text(request)));
  if (!done) return tl::unexpected<Error>(done.error());
  return {};
}

/// Until the recording has ended by itself, or its time is over (an idle station does not notice).
Result<void> wait_for_end(const TraceRecordOptions& options, const HttpClient& client) {
  const auto end = options.seconds ? steady_clock::now() + std::chrono::seconds(*options.seconds)
                                   : steady_clock::time_point::max();
  while (steady_clock::now() < end) {
    const auto state = json_of(client.get(kPath));
    if (!state) return tl::unexpected<Error>(state.error());
    if (!state->value("recording", false)) return {};
    std::this_thread::sleep_for(kLook);
  }
  return {};
}

Result<void> feed(const TraceRecordOptions& options, const HttpClient& client) {
  if (!options.prompt.empty()) WDMOE_TRY(read_prompt(options, client));
  if (!options.file.empty()) WDMOE_TRY(read_file(options, client));
  if (!options.prompt.empty() || !options.file.empty()) return {};
  return wait_for_end(options, client);
}

/// 0: it ended as asked; 1: early, which stderr explains.
int report(const json& state) {
  const auto error = state.find("error");
  const bool early = error != state.end() && error->is_string();
  if (early)
    std::fputs(fmt::format("ended early: {}\n", error->get<std::string>()).c_str(), stderr);
  std::fputs(fmt::format("{}: {} tokens, {} records, {} bytes\n", state.value("path", ""),
                         state.value("tokens", 0ull), state.value("records", 0ull),
                         state.value("bytes", 0ull))
                 .c_str(),
             stdout);
  return early ? 1 : 0;
}

Result<int> record(TraceRecordOptions options) {
  WDMOE_TRY(check(options));
  const std::filesystem::path out(options.out);
  if (!options.system.model.empty())
    options.system.trace_directory = out.has_parent_path() ? out.parent_path() : ".";
  EndOnSignal signals;
  auto system = System::open(options.system);
  if (!system) return tl::unexpected<Error>(system.error());
  const HttpClient& client = system->client();
  json wish{{"name", out.filename().string()}};
  if (options.tokens) wish["tokens"] = *options.tokens;
  if (options.seconds) wish["seconds"] = *options.seconds;
  const auto started = signals.start(client, wish);
  if (!started) return tl::unexpected<Error>(started.error());

  Recording recording(signals, client);
  try {
    WDMOE_TRY(feed(options, client));
    const auto state = recording.finish();
    if (!state) return tl::unexpected<Error>(state.error());
    return report(*state);
  } catch (const json::exception& wrong) {
    return fail(Code::bad_input,
                fmt::format("the server's answer lacks what was asked for: {}", wrong.what()));
  }
}

}  // namespace

void add_trace_record(CommandGroup& commands) {
  auto options = std::make_shared<TraceRecordOptions>();
  CLI::App& command = commands.add("record", "Record gate probabilities and selections",
                                   [options] { return record(*options); });
  options->system.add_to(command);
  command
      .add_option("--out", options->out,
                  "file to make; of a running system: a bare name in its [trace] directory")
      ->required();
  command.add_option("--tokens", options->tokens, "end after so many tokens")
      ->check(CLI::Range(1u, 1'000'000'000u));
  command.add_option("--seconds", options->seconds, "end after so many seconds")
      ->check(CLI::Range(1u, 86'400u));
  command.add_option("--prompt", options->prompt, "complete this text, and end with it");
  command.add_option("-n,--max-tokens", options->max_tokens, "most tokens that --prompt makes")
      ->capture_default_str();
  command.add_option("--file", options->file, "read this text through the model, and end with it");
  command.footer(
      "example: wdmoe trace record --model models/demo --file models/demo/eval/heldout.txt --out "
      "demo.trace");
}

void add_trace(Commands& commands) {
  CommandGroup own(commands, "trace", "Record what the gate says, and look at recordings");
  add_trace_record(own);
  add_trace_info(own);
}

}  // namespace wdmoe::cli
