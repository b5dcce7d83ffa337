#pragma once
// What `wdmoe radio check` says: which ways of shaping this machine offers, and what stands in for
// those it lacks.  Pure; probe.h looks.

#include <optional>
#include <string>
#include <vector>

#include "bsd/shaping/tc_tree.h"

namespace wdmoe::shaping {

/// What was seen.  Absent: could not be looked at; `unseen` says why.
struct Findings {
  bool net_admin = false;
  std::optional<bool> htb, fq, fq_codel, ifb;
  std::string unseen;

  struct Port {  ///< the interface that was asked for
    std::string name, root;
    bool up = false;
    Owner owner = Owner::nobody;
  };
  std::optional<Port> port;

  struct Radio {  ///< of the interface, if it is a Wi-Fi one
    bool access_point = false;
    bool airtime_fairness = false, airtime_limits = false, transmit_queues = false;
    std::optional<bool> power_save;  ///< on now; absent: the driver does not tell
  };
  std::optional<Radio> radio;
};

struct Capability {
  std::string name;
  std::optional<bool> available;  ///< absent: not known
  std::string detail;             ///< what it is for, or what was seen
  std::string instead;            ///< what is used without it; empty if it is available
};

struct Verdict {
  std::vector<Capability> capabilities;
  std::vector<std::string> actuators;  ///< for radio.actuators: those that can work here
};

Verdict verdict_of(const Findings& findings);

}  // namespace wdmoe::shaping
