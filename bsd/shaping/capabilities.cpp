#include "bsd/shaping/capabilities.h"

#include <utility>

namespace wdmoe::shaping {
namespace {

Capability row(std::string name, std::optional<bool> available, std::string detail,
               std::string instead) {
  if (available.value_or(false)) instead.clear();
  return {std::move(name), available, std::move(detail), std::move(instead)};
}

Capability port_row(const Findings::Port& port) {
  if (port.owner == Owner::other)
    return row("interface", false, port.name + ": somebody set its root, " + port.root,
               "it is left alone; `tc qdisc del dev " + port.name + " root` frees it");
  if (port.owner == Owner::us)
    return row("interface", true, port.name + ": shaped by wdmoe, now or before it was killed", "");
  return row("interface", port.up,
             port.name + (port.up ? ": up" : ": down") + ", root " + port.root + ", nobody's",
             "nothing until it is up");
}

void add_radio(const Findings::Radio& radio, std::vector<Capability>& rows) {
  rows.push_back(row("access point", radio.access_point, "this machine is the cell's access point",
                     "tc on the way to the access point; uplink and order"));
  rows.push_back(row("airtime fairness", radio.airtime_fairness, "airtime weights of stations",
                     "tc's shares of rate, and send order"));
  rows.push_back(row("airtime queue limits", radio.airtime_limits, "short queues in the driver",
                     "the cell's rate is kept below what the radio carries"));
  rows.push_back(row("transmit queues", radio.transmit_queues,
                     "limit and quantum of the stack's queues", "the driver's own queues"));
  rows.push_back(
      row("power save", radio.power_save ? std::optional<bool>(true) : std::nullopt,
          radio.power_save.value_or(false) ? "on now; the wifi actuator turns it off" : "off now",
          "whatever the driver does; agents may sleep for 100 ms"));
}

}  // namespace

Verdict verdict_of(const Findings& findings) {
  Verdict out;
  auto& rows = out.capabilities;
  rows.push_back(row("CAP_NET_ADMIN", findings.net_admin, "lets tc and wifi change interfaces",
                     "uplink, order and dry-run, which need no privilege"));
  const std::string unseen = findings.unseen.empty() ? "" : "; not looked at: " + findings.unseen;
  rows.push_back(row("htb", findings.htb, "a rate for each agent" + unseen,
                     "agents' own pacing (uplink) and send order"));
  rows.push_back(row("fq_codel", findings.fq_codel, "short queues within a class" + unseen,
                     "bfifo, a queue of at most 256 KiB"));
  rows.push_back(row("fq", findings.fq, "pacing of sockets by the kernel's queues" + unseen,
                     "TCP's own pacing, which keeps SO_MAX_PACING_RATE as well"));
  rows.push_back(
      row("ifb", findings.ifb, "shaping what arrives" + unseen, "pacing at the agents (uplink)"));
  rows.push_back(row("SO_MAX_PACING_RATE", true, "paces an agent's uplink without privilege", ""));
  if (findings.port) rows.push_back(port_row(*findings.port));
  if (findings.radio) add_radio(*findings.radio, rows);

  const bool free_port = !findings.port || findings.port->owner != Owner::other;
  if (findings.net_admin && findings.htb.value_or(true) && free_port) out.actuators.push_back("tc");
  if (findings.net_admin && findings.radio && findings.radio->access_point)
    out.actuators.push_back("wifi");
  for (const char* always : {"uplink", "order", "dry-run"}) out.actuators.push_back(always);
  return out;
}

}  // namespace wdmoe::shaping
