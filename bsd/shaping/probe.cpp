#include "bsd/shaping/probe.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd/shaping/nl80211_socket.h"
#include "bsd/shaping/privileges.h"
#include "bsd/shaping/route.h"
#include "bsd/shaping/tc_messages.h"
#include "common/fd.h"

namespace wdmoe::shaping {
namespace {

/// What the child found, as it goes through the pipe: 'y', 'n' or '?'; then errno of a namespace
/// that was refused.
struct Answers {
  std::array<char, 4> kinds{'?', '?', '?', '?'};  // kKinds, then ifb
  int refused = 0;
};
constexpr std::array<const char*, 3> kKinds{"htb", "fq", "fq_codel"};

/// Whether the kernel knows what a batch asks for; other objections (a missing option) mean yes.
char answer_of(RouteSocket& socket, Batch& batch) {
  const auto outcome = socket.transact(batch);
  if (outcome) return 'y';
  const Code code = outcome.error().code;
  if (code == Code::denied || code == Code::io) return '?';
  return code == Code::not_found || code == Code::unsupported ? 'n' : 'y';
}

Answers look_inside() {
  Answers out;
  // A user namespace of one's own lets everybody look, where the machine permits those.
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    out.refused = errno;
    return out;
  }
  auto socket = RouteSocket::open();
  const auto loopback = socket ? socket->find("lo") : tl::unexpected<Error>(socket.error());
  if (!loopback) return out;
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    Batch add, remove;
    add_plain_root(add, *loopback, kKinds[i]);
    out.kinds[i] = answer_of(*socket, add);
    remove_plain_root(remove, *loopback);
    (void)socket->transact(remove);
  }
  Batch ifb;
  add_link(ifb, "probe0", "ifb");
  out.kinds.back() = answer_of(*socket, ifb);
  return out;  // all of it goes with the child
}

Result<Answers> look() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Code::io, std::strerror(errno));
  const OwnedFd from(ends[0]);
  OwnedFd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return fail(Code::io, std::strerror(errno));
  if (child == 0) {
    const Answers answers = look_inside();
    ::_exit(::write(to.get(), &answers, sizeof answers) == sizeof answers ? 0 : 1);
  }
  to.reset();
  Answers answers;
  const auto got = ::read(from.get(), &answers, sizeof answers);
  (void)::waitpid(child, nullptr, 0);
  if (got != sizeof answers) return fail(Code::io, "the looking process ended early");
  return answers;
}

std::optional<bool> known(char answer) {
  return answer == '?' ? std::nullopt : std::optional<bool>(answer == 'y');
}

Result<Findings::Port> port_of(const std::string& name) {
  auto socket = RouteSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  const auto interface = socket->find(name);
  if (!interface) return tl::unexpected<Error>(interface.error());
  const auto qdiscs = socket->qdiscs(*interface);
  if (!qdiscs) return tl::unexpected<Error>(qdiscs.error());
  const auto classes = socket->classes(*interface);
  if (!classes) return tl::unexpected<Error>(classes.error());
  return Findings::Port{name, root_kind(*qdiscs), interface->up, owner_of(*qdiscs, *classes)};
}

/// Nothing where the interface is no Wi-Fi one.
std::optional<Findings::Radio> radio_of(const std::string& name) {
  auto route = RouteSocket::open();
  auto nl80211 = Nl80211Socket::open();
  if (!route || !nl80211) return {};
  const auto interface = route->find(name);
  if (!interface) return {};
  const auto wireless = nl80211->describe(*interface);
  if (!wireless) return {};
  Findings::Radio out;
  out.access_point = wireless->access_point;
  if (const auto facts = nl80211->facts(wireless->radio)) {
    out.airtime_fairness = facts->airtime_fairness;
    out.airtime_limits = facts->airtime_limits;
    out.transmit_queues = facts->transmit_queues;
  }
  if (const auto power_save = nl80211->power_save(*interface)) out.power_save = *power_save;
  return out;
}

}  // namespace

Result<Findings> probe(const std::optional<std::string>& interface) {
  Findings out;
  out.net_admin = may_administer_network();
  if (interface) {
    auto port = port_of(*interface);
    if (!port) return tl::unexpected<Error>(port.error());
    out.port = std::move(*port);
    out.radio = radio_of(*interface);
  }
  const auto answers = look();
  if (!answers) {
    out.unseen = answers.error().text;
    return out;
  }
  if (answers->refused != 0)
    out.unseen = std::string("a network namespace of its own: ") + std::strerror(answers->refused);
  out.htb = known(answers->kinds[0]);
  out.fq = known(answers->kinds[1]);
  out.fq_codel = known(answers->kinds[2]);
  out.ifb = known(answers->kinds[3]);
  return out;
}

}  // namespace wdmoe::shaping
