#include "cli/field_record.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/field_run.h"
#include "cli/http_client.h"
#include "common/fd.h"
#include "weights/file.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr std::size_t kMostNote = 500;
constexpr std::uint64_t kMostConfig = std::uint64_t{1} << 20;
constexpr std::chrono::seconds kPatience{5};  // a trial goes on when the base station does not

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

/// SIGINT and SIGTERM as something to wait for, while it lives.  Made before other threads are
/// (asking for an address starts one), which must not take the signals.
class StopSignal {
 public:
  StopSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    fd_ = OwnedFd(::signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~StopSignal() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  int fd() const { return fd_.get(); }
  /// Takes the signal, which would end the program as soon as it is let through again.
  void take() const {
    signalfd_siginfo info;
    (void)!::read(fd_.get(), &info, sizeof info);
  }

 private:
  sigset_t signals_{}, before_{};
  OwnedFd fd_;
};

/// Lines of standard input, as they come.
class TypedLines {
 public:
  bool open() const { return open_; }
  /// After poll() said that there is something.
  std::vector<std::string> read() {
    std::array<char, 4096> text;
    const ssize_t count = ::read(STDIN_FILENO, text.data(), text.size());
    if (count <= 0) open_ = false;
    if (count > 0) pending_.append(text.data(), static_cast<std::size_t>(count));
    std::vector<std::string> lines;
    for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      if (end > 0) lines.push_back(pending_.substr(0, std::min(end, kMostNote)));
      pending_.erase(0, end + 1);
    }
    if (pending_.size() > kMostNote) pending_.resize(kMostNote);
    return lines;
  }

 private:
  bool open_ = true;
  std::string pending_;
};

class FieldRecorder {
 public:
  FieldRecorder(const FieldRecordOptions& options, HttpClient client)
      : options_(options), client_(std::move(client)), started_(steady_clock::now()) {
    client_.set_patience(kPatience);
  }

  Result<void> begin() {
    if (!options_.force && std::filesystem::exists(options_.out))
      return fail(Code::bad_input, options_.out + " exists: give another --out, or --force");
    json header{{"record", "header"},
                {"format", kFieldFormat},
                {"software", "wdmoe " WDMOE_VERSION},
                {"started", utc_now()},
                {"labels", options_.labels}};
    if (!options_.config.empty()) {
      const auto config = weights::read_text(options_.config, kMostConfig);
      if (!config) return tl::unexpected<Error>(config.error());
      header["config"] = *config;
    }
    const auto metrics = client_.get("/metrics");
    if (!metrics) return tl::unexpected<Error>(metrics.error());
    for (const auto& [name, value] : metrics_of(metrics->body))
      if (name.rfind("wdmoe_build_info", 0) == 0) header["station"] = name;
    for (const char* what : {"policy", "agents"}) {
      const auto answer = json_of(client_.get(std::string("/wdmoe/v1/") + what));
      if (!answer) return tl::unexpected<Error>(answer.error());
      header[what] = *answer;
    }
    file_.open(options_.out, std::ios::trunc);
    return write(header);
  }

  /// Until there is a reason to end, which it tells.
  Result<std::string> run(const StopSignal& stop) {
    for (auto due = started_;; due += options_.every) {
      due = std::max(due, steady_clock::now() - options_.every);  // skip what was missed
      WDMOE_TRY(sample());
      if (bytes_ >= options_.most_mib << 20) return std::string("size");
      const auto end = options_.seconds ? started_ + std::chrono::seconds(*options_.seconds)
                                        : steady_clock::time_point::max();
      const auto next = std::min(end, due + options_.every);
      const auto stopped = listen(stop, next);
      if (!stopped) return tl::unexpected<Error>(stopped.error());
      if (*stopped) return std::string("signal");
      if (steady_clock::now() >= end) return std::string("time");
    }
  }

  Result<void> end(const std::string& reason) {
    return write({{"record", "end"}, {"t", now()}, {"reason", reason}});
  }
  std::size_t samples() const { return samples_; }

 private:
  double now() const {
    return std::chrono::duration<double>(steady_clock::now() - started_).count();
  }

  Result<void> write(const json& record) {
    const std::string line = json_text(record) + "\n";
    file_ << line << std::flush;  // whatever happens next, this is kept
    bytes_ += line.size();
    if (!file_) return fail(Code::io, options_.out + ": cannot be written; is the disk full?");
    return {};
  }

  Result<void> note(const std::string& text) {
    return write({{"record", "note"}, {"t", now()}, {"text", text}});
  }

  Result<void> sample() {
    const double t = now();
    const auto status = json_of(client_.get("/wdmoe/v1/status"));
    const auto metrics = client_.get("/metrics");
    if (!status || !metrics) {
      if (silent_) return {};
      silent_ = true;
      return note("no answer: " + (status ? metrics.error() : status.error()).text);
    }
    silent_ = false;
    ++samples_;
    return write({{"record", "sample"},
                  {"t", t},
                  {"status", *status},
                  {"metrics", metrics_of(metrics->body)}});
  }

  /// Takes notes until `until`; true: to stop.
  Result<bool> listen(const StopSignal& stop, steady_clock::time_point until) {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now());
      std::array<pollfd, 2> items{
          {{stop.fd(), POLLIN, 0}, {typed_.open() ? STDIN_FILENO : -1, POLLIN, 0}}};
      const int ready = ::poll(items.data(), items.size(),
                               static_cast<int>(std::max<std::int64_t>(0, left.count())));
      if (items[0].revents != 0) {
        stop.take();
        return true;
      }
      if (ready <= 0) return false;
      for (const std::string& line : typed_.read()) WDMOE_TRY(note(line));
    }
  }

  const FieldRecordOptions& options_;
  HttpClient client_;
  const steady_clock::time_point started_;
  std::ofstream file_;
  TypedLines typed_;
  std::uint64_t bytes_ = 0;
  std::size_t samples_ = 0;
  bool silent_ = false;
};

}  // namespace

Result<int> record_field(const FieldRecordOptions& options) {
  const StopSignal stop;
  auto client = options.bsd.client();
  if (!client) return tl::unexpected<Error>(client.error());
  FieldRecorder recorder(options, std::move(*client));
  WDMOE_TRY(recorder.begin());
  std::fputs("recording; a line typed here becomes a note, Ctrl-C ends\n", stderr);
  const auto reason = recorder.run(stop);
  if (!reason) return tl::unexpected<Error>(reason.error());
  WDMOE_TRY(recorder.end(*reason));
  std::fputs(fmt::format("{}: {} samples, ended by {}\n", options.out, recorder.samples(), *reason)
                 .c_str(),
             stdout);
  return 0;
}

}  // namespace wdmoe::cli
