#include "wire/zap.h"

#include <array>
#include <cstring>
#include <vector>

#include <zmq.h>

namespace wdmoe::wire {
namespace {

constexpr std::size_t kMostParts = 8;  // RFC 27: six and the credentials (one for CURVE)

/// The parts of one waiting request; false: nothing waits.
bool receive_parts(void* socket, std::vector<std::string>& parts) {
  parts.clear();
  int more = 1;
  while (more != 0) {
    zmq_msg_t part;
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&part);
      return false;
    }
    if (parts.size() < kMostParts)
      parts.emplace_back(static_cast<const char*>(zmq_msg_data(&part)), zmq_msg_size(&part));
    more = zmq_msg_more(&part);
    zmq_msg_close(&part);
  }
  return true;
}

}  // namespace

std::string find_agent(const AllowList& agents, Bytes raw_key) {
  if (raw_key.size() != 32) return {};
  std::array<char, kKeyText + 1> text{};
  zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(raw_key.data()), 32);
  const auto found = agents.find(text.data());
  return found == agents.end() ? std::string() : found->second;
}

Result<std::unique_ptr<Zap>> Zap::open(const Context& context, AllowList agents) {
  Socket reply(zmq_socket(context.handle(), ZMQ_REP));
  const int linger = 0;
  if (!reply.valid() || zmq_setsockopt(reply.handle(), ZMQ_LINGER, &linger, sizeof linger) != 0 ||
      zmq_bind(reply.handle(), "inproc://zeromq.zap.01") != 0)
    return fail(Code::io, std::string("cannot start authentication: ") + zmq_strerror(zmq_errno()));
  return std::unique_ptr<Zap>(new Zap(std::move(reply), std::move(agents)));
}

void Zap::serve() {
  std::vector<std::string> parts;  // version, request id, domain, address, identity, mechanism, key
  while (receive_parts(reply_.handle(), parts)) {
    const bool understood =
        parts.size() == 7 && parts[0] == "1.0" && parts[2] == kZapDomain && parts[5] == "CURVE";
    std::string name;
    if (understood)
      name = find_agent(agents_,
                        {reinterpret_cast<const std::byte*>(parts[6].data()), parts[6].size()});
    if (name.empty()) ++refused_;
    const std::array<std::string, 6> reply = {"1.0",
                                              parts.size() > 1 ? parts[1] : "",
                                              name.empty() ? "400" : "200",
                                              name.empty() ? "unknown key" : "OK",
                                              name,
                                              ""};
    for (std::size_t part = 0; part < reply.size(); ++part)
      zmq_send(reply_.handle(), reply[part].data(), reply[part].size(),
               ZMQ_DONTWAIT | (part + 1 < reply.size() ? ZMQ_SNDMORE : 0));
  }
}

}  // namespace wdmoe::wire
