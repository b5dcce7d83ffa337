#include "sim/airlink/relay.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sim/airlink/namespaces.h"
#include "sim/airlink/tun.h"

namespace wdmoe::airlink {
namespace {

constexpr std::size_t kLargestPacket = 9000;  // network.mtu's bound
constexpr int kPacketsAtOnce = 64;            // of one end, before the others get their turn

// What epoll reports, beside the number of an end.
constexpr std::uint32_t kTimer = ~0u, kSignal = ~0u - 1, kStop = ~0u - 2;

Nanoseconds steady_now() {
  return SteadyClock().now().time_since_epoch();
}

std::vector<Flow> copy_of(Span<const Flow> flows) {
  return {flows.begin(), flows.end()};
}

timespec timespec_of(Nanoseconds time) {
  return {time.count() / 1'000'000'000, time.count() % 1'000'000'000};
}

}  // namespace

Result<Ends> open_ends(const Scenario& scenario) {
  Ends ends;
  auto base_station = open_tun({scenario.bs_namespace(), scenario.address, scenario.mtu});
  if (!base_station) return tl::unexpected<Error>(base_station.error());
  ends.base_station = std::move(*base_station);
  for (std::size_t device = 0; device < scenario.devices.size(); ++device) {
    auto end = open_tun({scenario.namespace_of(device), scenario.address_of(device), scenario.mtu});
    if (!end) return tl::unexpected<Error>(end.error());
    ends.devices.push_back(std::move(*end));
  }
  return ends;
}

bool become_real_time() {
  sched_param priority{};
  priority.sched_priority = 1;
  return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) == 0;
}

Relay::Relay(const Scenario& scenario, Ends ends)
    : channel_(scenario),
      air_(copy_of(channel_.flows()), scenario.cell.medium_kind() == radio::Medium::airtime,
           scenario.seed),
      ends_(std::move(ends)),
      noted_bytes_(channel_.flows().size()) {
  in_addr parsed{};
  inet_pton(AF_INET, scenario.address.c_str(), &parsed);
  address_ = ntohl(parsed.s_addr);
  record_.flows.resize(channel_.flows().size());
}

Nanoseconds Relay::now() const {
  return steady_now() - record_.start;
}

Nanoseconds Relay::next() const {
  Nanoseconds soonest = std::min(air_.next(), next_note_);
  if (!waiting_ && channel_.next() != kNever)
    soonest = std::min(soonest, channel_.next() + record_.scenario_start);
  return soonest;
}

Result<void> Relay::prepare(const Control& control) {
  poll_ = OwnedFd(epoll_create1(EPOLL_CLOEXEC));
  timer_ = OwnedFd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!poll_.valid() || !timer_.valid()) return refused("timer");
  bool added = true;
  const auto add = [&](int fd, std::uint32_t number) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = number;
    added = added && epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  add(timer_.get(), kTimer);
  add(control.signal_fd, kSignal);
  add(control.stop_fd, kStop);
  add(ends_.base_station.get(), 0);
  for (std::size_t device = 0; device < ends_.devices.size(); ++device)
    add(ends_.devices[device].get(), static_cast<std::uint32_t>(device + 1));
  if (!added) return refused("epoll");
  return {};
}

Result<void> Relay::run(const Control& control) {
  WDMOE_TRY(prepare(control));
  waiting_ = control.wait_for_start;
  record_.start = steady_now();
  const Nanoseconds end = control.most.value_or(kNever);
  Nanoseconds armed = kNever;
  bool stopped = false;
  while (!stopped && now() < end) {
    const Nanoseconds wake = std::min(next(), end);
    if (wake != armed) {  // a time in the past wakes at once
      const itimerspec at{{}, timespec_of(record_.start + wake)};
      timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
      armed = wake;
    }
    std::array<epoll_event, 64> events;
    const int count = epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), -1);
    move_channel(now());
    for (int event = 0; event < count; ++event) {
      const std::uint32_t number = events[static_cast<std::size_t>(event)].data.u32;
      if (number == kStop) stopped = true;
      if (number == kSignal) stopped = signalled(control) || stopped;
      if (number == kTimer) armed = kNever;  // expired: arm it anew
      if (number <= ends_.devices.size()) carry_from(number);
    }
    deliver();
    note_intervals(now());
  }
  record_.duration = now();
  return {};
}

/// True: the child has ended.
bool Relay::signalled(const Control& control) {
  signalfd_siginfo signal{};
  bool ended = false;
  while (read(control.signal_fd, &signal, sizeof signal) == sizeof signal) {
    if (signal.ssi_signo == SIGUSR1 && waiting_) {
      waiting_ = false;
      record_.scenario_start = now();
    }
    if (signal.ssi_signo == SIGCHLD && control.child_ended && control.child_ended()) ended = true;
  }
  return ended;
}

void Relay::move_channel(Nanoseconds now) {
  if (waiting_ || channel_.next() > now - record_.scenario_start) return;
  channel_.advance(now - record_.scenario_start);
  for (std::size_t flow = 0; flow < record_.flows.size(); ++flow)
    air_.change(flow, channel_.flows()[flow], now);
}

/// End 0 is the base station, end k + 1 is device k.
std::optional<std::size_t> Relay::flow_of(std::size_t end, Span<const std::byte> packet) const {
  constexpr std::size_t kHeader = 20, kDestination = 16;
  if (packet.size() < kHeader || (static_cast<unsigned>(packet[0]) >> 4) != 4) return std::nullopt;
  std::uint32_t destination = 0;
  std::memcpy(&destination, packet.data() + kDestination, sizeof destination);
  destination = ntohl(destination);
  if (end > 0) {
    if (destination != address_) return std::nullopt;
    return up_flow(end - 1);
  }
  const std::uint32_t device = destination - address_ - 1;  // wraps for lower addresses
  if (device >= ends_.devices.size()) return std::nullopt;
  return down_flow(device);
}

void Relay::carry_from(std::size_t end) {
  std::array<std::byte, kLargestPacket> buffer;
  const int fd = end == 0 ? ends_.base_station.get() : ends_.devices[end - 1].get();
  for (int packet = 0; packet < kPacketsAtOnce; ++packet) {
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size <= 0) return;
    const Span<const std::byte> bytes(buffer.data(), static_cast<std::size_t>(size));
    const auto flow = flow_of(end, bytes);
    if (flow)
      air_.offer(*flow, {bytes.begin(), bytes.end()}, now());
    else
      ++record_.strangers;
  }
}

void Relay::deliver() {
  while (const auto arrival = air_.take(now())) {  // bounded by what the queues hold
    const bool up = arrival->flow % 2 == 1;
    const int fd = up ? ends_.base_station.get() : ends_.devices[arrival->flow / 2].get();
    record_.lateness.add(now() - arrival->due);
    if (write(fd, arrival->bytes.data(), arrival->bytes.size()) < 0) ++record_.refused;
  }
}

void Relay::note_intervals(Nanoseconds now) {
  for (; next_note_ <= now; next_note_ += Record::kInterval) {
    if (record_.flows.front().bytes.size() >= Record::kMostIntervals) continue;
    for (std::size_t flow = 0; flow < record_.flows.size(); ++flow) {
      const std::uint64_t total = air_.counts(flow).bytes_delivered;
      record_.flows[flow].rate_mbit.push_back(
          static_cast<float>(1e-6 * air_.flow(flow).rate.value()));
      record_.flows[flow].bytes.push_back(static_cast<std::uint32_t>(total - noted_bytes_[flow]));
      noted_bytes_[flow] = total;
    }
  }
}

}  // namespace wdmoe::airlink
