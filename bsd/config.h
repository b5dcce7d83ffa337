#pragma once
// Every setting of the base station, once: --help, TOML, checks and systemd/bsd.toml come from
// visit().

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bsd/moe/catalogue.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"

namespace wdmoe::bsd {

/// The names in the catalogue, for the check of selection.policy.
inline std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const PolicyEntry& entry : policies()) names.emplace_back(entry.name);
  return names;
}

struct Config {
  std::filesystem::path model = "/var/lib/wdmoe/model";

  std::string http_listen = "127.0.0.1:8080";
  std::uint32_t http_connections = 256;
  std::uint32_t http_body_kib = 4096;
  std::uint32_t queue = 64;
  std::filesystem::path http_api_keys, http_tls_certificate, http_tls_key;
  bool http_insecure = false;
  std::string served_name;

  std::string fleet_listen = "tcp://0.0.0.0:7411";
  std::filesystem::path secret_key = "/etc/wdmoe/keys/bsd.key";
  std::filesystem::path authorized_agents = "/etc/wdmoe/keys/agents";
  bool local_experts = false;
  bool insecure = false;
  std::string wire = "f16";
  std::uint32_t fleet_dscp = 0;
  milliseconds exchange_deadline{10'000};
  milliseconds heartbeat{1'000};
  std::uint32_t spin_us = 50;

  std::uint32_t threads = 0;
  std::uint32_t kv_cache_mib = 512;
  std::uint32_t prefill_chunk = 512;
  std::uint32_t max_sequences = 32;
  std::uint32_t max_context = 0;
  milliseconds retry_deadline{15'000};

  std::string policy = "topk";
  double quality = -1;
  double beta = 0.3;
  std::filesystem::path layer_budgets;

  std::vector<std::string> radio_actuators;
  std::string radio_interface;
  std::uint32_t radio_wifi_queue_packets = 0;
  std::uint32_t radio_wifi_quantum_bytes = 0;
  std::string radio_medium = "airtime";
  double radio_bandwidth_mhz = 20;
  double radio_capacity_mbps = 0;
  milliseconds radio_tick{20};
  milliseconds radio_refractory{100};
  double radio_threshold = 0.08;
  std::filesystem::path radio_log_csv;

  std::filesystem::path trace_directory;
  std::uint32_t trace_most_mib = 1024;

  std::string chat_system_prefix;
  std::string chat_user_prefix = "User: ";
  std::string chat_assistant_prefix = "Assistant: ";
  std::string chat_separator = "\n";

  log::Config log;

  template <class Visitor>
  void visit(Visitor&& v) {
    v("model", model, not_empty(),
      "Hugging Face directory of the model (only non-experts are read)");

    v("http.listen", http_listen, not_empty(),
      "address:port of the OpenAI-style API; a socket passed by systemd takes its place");
    v("http.connections", http_connections, between(1, 65'536), "most HTTP connections at once");
    v("http.body_kib", http_body_kib, between(1, 65'536), "largest request body, in KiB");
    v("http.queue", queue, between(1, 65'536),
      "requests that may wait for the engine; further ones get 429");
    v("http.api_keys", http_api_keys, anything(),
      "file of hashed API keys (wdmoe keygen --api); empty: nobody is asked for one");
    v("http.tls_certificate", http_tls_certificate, anything(),
      "PEM file of this server's certificate chain; empty: plain HTTP");
    v("http.tls_key", http_tls_key, anything(), "PEM file of the certificate's private key");
    v("http.insecure", http_insecure, anything(),
      "listen beyond this machine even without API keys and TLS");
    v("http.served_name", served_name, anything(),
      "model name that clients see; empty: the directory's name");

    v("fleet.listen", fleet_listen, not_empty(), "where agents connect: tcp://… or ipc://…");
    v("fleet.secret_key", secret_key, anything(),
      "CURVE secret key of this base station (wdmoe keygen)");
    v("fleet.authorized_agents", authorized_agents, anything(),
      "directory of NAME.pub files: the agents that may connect");
    v("fleet.local_experts", local_experts, anything(),
      "compute all experts in this process and wait for no agent (baselines, checks)");
    v("fleet.insecure", insecure, anything(),
      "no encryption, no authentication (measurements only)");
    v("fleet.wire", wire, one_of({"f16", "bf16", "f32"}), "element type of rows on the air");
    v("fleet.dscp", fleet_dscp, between(0, 63),
      "DSCP of packets to agents, which picks their Wi-Fi queue: 46 is voice; 0: best effort");
    v("fleet.exchange_deadline_ms", exchange_deadline, between(1, 600'000),
      "give up on a layer's answers after this long");
    v("fleet.heartbeat_ms", heartbeat, between(50, 60'000),
      "ping an agent after this much silence");
    v("fleet.spin_us", spin_us, between(0, 10'000),
      "poll for answers this long before sleeping: lower latency for one busy core");

    v("engine.threads", threads, between(0, 1'024), "compute threads; 0: one per core");
    v("engine.kv_cache_mib", kv_cache_mib, between(1, 1 << 20),
      "memory for keys and values, in MiB");
    v("engine.prefill_chunk", prefill_chunk, between(1, 1'024), "most prompt tokens in one step");
    v("engine.max_sequences", max_sequences, between(1, 1'024), "most sequences that run together");
    v("engine.max_context", max_context, between(0, 1 << 24),
      "longest prompt and completion together, in tokens; 0: what the model was made for");
    v("engine.retry_deadline_ms", retry_deadline, between(0, 600'000),
      "how long a step that lost a device is tried again before its requests fail");

    v("selection.policy", policy, one_of(policy_names()),
      "how experts are chosen; a running station changes with wdmoe policy set");
    v("selection.quality", quality, between(-1, 1),
      "least share of the gate's mass that budget and minmax keep; negative: their own default");
    v("selection.beta", beta, between(0, 1),
      "policy beta skips experts whose weight is below this share of the token's greatest");
    v("selection.layer_budgets", layer_budgets, anything(),
      "file with a quality for each layer (wdmoe eval sensitivity), used where none is set");

    v("radio.actuators", radio_actuators, anything(),
      "what may act on the air, several at once: tc, wifi, uplink, order, dry-run; none: links are "
      "only measured");
    v("radio.interface", radio_interface, anything(),
      "network interface that carries the agents' traffic, for tc and wifi");
    v("radio.wifi_queue_packets", radio_wifi_queue_packets, between(0, 1'000'000),
      "wifi: most packets in the access point's own queues; 0: as they are");
    v("radio.wifi_quantum_bytes", radio_wifi_quantum_bytes, between(0, 65'536),
      "wifi: bytes that a flow sends in its turn there, 0: as they are");
    v("radio.medium", radio_medium,
      one_of({"airtime", "fdma_separate", "fdma_common", "dedicated"}),
      "how agents share the air: in turns, by bands of their own for each direction or for both, "
      "or "
      "not at all");
    v("radio.bandwidth_mhz", radio_bandwidth_mhz, between(0.001, 1e6),
      "the whole band, where agents have bands of their own");
    v("radio.capacity_mbps", radio_capacity_mbps, between(0, 1e6),
      "most payload of the cell (airtime: of both directions together), in Mbit/s; 0: as measured");
    v("radio.tick_ms", radio_tick, between(5, 1'000), "time between two decisions");
    v("radio.refractory_ms", radio_refractory, between(5, 60'000),
      "least time between two changes of the shares");
    v("radio.threshold", radio_threshold, between(0.01, 1),
      "least relative change of a share that is worth a change");
    v("radio.log_csv", radio_log_csv, anything(),
      "file for every decision and its reason, overwritten at start; empty: none");

    v("trace.directory", trace_directory, anything(),
      "where wdmoe trace record may put its files; empty: nothing is recorded");
    v("trace.most_mib", trace_most_mib, between(1, 1 << 20), "largest recording, in MiB");

    v("chat.system_prefix", chat_system_prefix, anything(), "put before system messages");
    v("chat.user_prefix", chat_user_prefix, anything(),
      "put before user messages; also a stop string");
    v("chat.assistant_prefix", chat_assistant_prefix, anything(), "put before assistant messages");
    v("chat.separator", chat_separator, anything(), "put after every message");

    log.visit(v);
  }
};

}  // namespace wdmoe::bsd
