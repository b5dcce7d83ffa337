#pragma once
// Every setting of an agent, once: --help, TOML, checks and systemd/agent.toml come from visit().

#include <cstdint>
#include <filesystem>
#include <string>

#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"

namespace wdmoe::agent {

struct Config {
  std::string connect = "tcp://127.0.0.1:7411";
  std::string name;
  std::filesystem::path shard = "/var/lib/wdmoe/shard";
  bool verify_digests = true;
  bool staged = false;
  std::filesystem::path secret_key = "/etc/wdmoe/keys/agent.key";
  std::filesystem::path server_key = "/etc/wdmoe/keys/bsd.pub";
  bool insecure = false;
  std::string backend = "auto";
  std::string backend_recovery = "cpu";
  std::uint32_t threads = 0;
  std::uint32_t max_rows = 1024;
  std::uint32_t spin_us = 50;
  bool uplink_pacing = true;
  std::uint32_t uplink_dscp = 0;
  log::Config log;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("connect", connect, not_empty(), "the base station: tcp://HOST:PORT or ipc://PATH");
    v("name", name, anything(),
      "this agent's identity: NAME of its NAME.pub at the base station; empty: the shard's name");
    v("shard", shard, not_empty(), "directory that `wdmoe split` made for this agent");
    v("verify_digests", verify_digests, anything(),
      "compare every file of the shard with its SHA-256 at start");
    v("staged", staged, anything(),
      "copy the weights into private memory instead of mapping the file (not with a GPU, which "
      "holds its own copy)");
    v("secret_key", secret_key, anything(), "CURVE secret key of this agent (wdmoe keygen)");
    v("server_key", server_key, anything(), "CURVE public key of the base station");
    v("insecure", insecure, anything(), "no encryption, no authentication (measurements only)");
    v("backend", backend, one_of({"auto", "cuda", "cpu"}),
      "what computes the experts; auto: the GPU where the CUDA plug-in finds one, else the CPU");
    v("backend_recovery", backend_recovery, one_of({"cpu", "restart"}),
      "what follows a failure of the GPU: the CPU, or the GPU anew (3 times, then the CPU)");
    v("threads", threads, between(0, 1'024), "compute threads; 0: one per core");
    v("max_rows", max_rows, between(1, 1'024), "most rows taken in one message");
    v("spin_us", spin_us, between(0, 10'000),
      "poll for the next message this long before sleeping: lower latency for one busy core");
    v("uplink.pacing", uplink_pacing, anything(),
      "send no faster than the base station asks (SO_MAX_PACING_RATE), where it controls the "
      "radio");
    v("uplink.dscp", uplink_dscp, between(0, 63),
      "DSCP of all packets, which picks their Wi-Fi queue: 46 is voice; 0: best effort");
    log.visit(v);
  }
};

}  // namespace wdmoe::agent
