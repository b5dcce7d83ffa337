#include "tests/support/network_namespace.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

namespace wdmoe::test {
namespace {

using std::chrono::steady_clock;
constexpr std::uint16_t kPort = 5001;

void check(bool fine, const char* what) {
  if (!fine) throw std::runtime_error(std::string(what) + " failed");
}

OwnedFd here() {
  return OwnedFd(::open("/proc/thread-self/ns/net", O_RDONLY));
}

sockaddr_in address_of(int number) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(kPort);
  check(inet_pton(AF_INET, Pair::far_address(number).c_str(), &out.sin_addr) == 1, "inet_pton");
  return out;
}

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

/// Takes one connection and measures it until its end.
void sink(OwnedFd listener, Flow& flow) {
  const OwnedFd peer(::accept(listener.get(), nullptr, nullptr));
  static constexpr std::size_t kChunk = 16 * 1024;
  std::array<char, kChunk> buffer;
  const auto start = steady_clock::now();
  steady_clock::time_point from, last;
  double bytes = -1;
  for (ssize_t got; (got = ::read(peer.get(), buffer.data(), buffer.size())) > 0;) {
    last = steady_clock::now();
    if (bytes >= 0) bytes += static_cast<double>(got);
    if (bytes < 0 && seconds_since(start) > flow.seconds / 4) bytes = 0, from = last;
    if (seconds_since(start) > flow.seconds) break;
  }
  const double measured = std::chrono::duration<double>(last - from).count();
  flow.received_bps = bytes > 0 && measured > 0 ? bytes * 8 / measured : 0;
}

void source(const Flow& flow) {
  const OwnedFd socket(::socket(AF_INET, SOCK_STREAM, 0));
  if (flow.priority)
    check(::setsockopt(socket.get(), SOL_SOCKET, SO_PRIORITY, &*flow.priority, sizeof(int)) == 0,
          "SO_PRIORITY");
  const auto to = address_of(flow.number);
  check(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0, "connect");
  const std::array<char, 8192> block{};
  while (::send(socket.get(), block.data(), block.size(), MSG_NOSIGNAL) > 0) {
  }
}

}  // namespace

bool enter_network_namespace() {
  const auto uid = ::getuid();
  if (::unshare(CLONE_NEWNET) == 0) return true;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  std::FILE* map = std::fopen("/proc/self/uid_map", "w");
  if (map == nullptr) return false;
  std::fprintf(map, "0 %u 1", uid);
  return std::fclose(map) == 0;
}

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " failed");
}

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  check(pipe != nullptr, "popen");
  std::string out;
  std::array<char, 4096> buffer;
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) out += buffer.data();
  check(::pclose(pipe) == 0, command.c_str());
  return out;
}

Pair::Pair() : near_(here()) {
  check(::unshare(CLONE_NEWNET) == 0, "unshare");
  far_ = here();
  go_near();
  run("ip link add near0 type veth peer name far0");
  run("ip link set far0 netns /proc/self/fd/" + std::to_string(far_.get()));
  run("ip addr add 10.8.0.1/24 dev near0 && ip link set near0 up && ip link set lo up");
  go_far();
  run("ip link set far0 up && ip addr add 10.8.0.2/24 dev far0");
  for (int number = 0; number < 9; ++number)
    run("ip addr add " + far_address(number) + "/24 dev far0");
  go_near();
}

Pair::~Pair() {
  (void)std::system("ip link del near0 2>/dev/null");
}

void Pair::go_far() const {
  check(::setns(far_.get(), CLONE_NEWNET) == 0, "setns");
}
void Pair::go_near() const {
  check(::setns(near_.get(), CLONE_NEWNET) == 0, "setns");
}

void send_together(const Pair& pair, std::vector<Flow>& flows) {
  std::vector<std::thread> threads;
  pair.go_far();  // sockets stay in the namespace that they were made in
  for (Flow& flow : flows) {
    OwnedFd listener(::socket(AF_INET, SOCK_STREAM, 0));
    const int on = 1;
    (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const auto at = address_of(flow.number);
    check(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0, "bind");
    check(::listen(listener.get(), 1) == 0, "listen");
    threads.emplace_back(
        [&flow, listener = std::move(listener)]() mutable { sink(std::move(listener), flow); });
  }
  pair.go_near();
  for (const Flow& flow : flows) threads.emplace_back([&flow] { source(flow); });
  for (std::thread& each : threads) each.join();
}

}  // namespace wdmoe::test
