#include "bsd/shaping/capabilities.h"

#include <algorithm>

#include <doctest/doctest.h>

using namespace wdmoe::shaping;

namespace {

const Capability& row(const Verdict& verdict, const std::string& name) {
  const auto found = std::find_if(verdict.capabilities.begin(), verdict.capabilities.end(),
                                  [&](const Capability& each) { return each.name == name; });
  REQUIRE(found != verdict.capabilities.end());
  return *found;
}

bool offers(const Verdict& verdict, const std::string& actuator) {
  const auto& all = verdict.actuators;
  return std::find(all.begin(), all.end(), actuator) != all.end();
}

Findings everything() {
  Findings out;
  out.net_admin = true;
  out.htb = out.fq = out.fq_codel = out.ifb = true;
  out.port = Findings::Port{"wlan0", "noqueue", true, Owner::nobody};
  out.radio = Findings::Radio{true, true, true, true, false};
  return out;
}

}  // namespace

TEST_CASE("capabilities: with everything nothing stands in for anything") {
  const Verdict verdict = verdict_of(everything());
  for (const Capability& each : verdict.capabilities) {
    CAPTURE(each.name);
    CHECK(each.available == true);
    CHECK(each.instead.empty());
  }
  for (const char* each : {"tc", "wifi", "uplink", "order", "dry-run"})
    CHECK(offers(verdict, each));
}

TEST_CASE("capabilities: what is missing has a name and a substitute") {
  Findings findings = everything();
  findings.fq_codel = false;
  findings.fq.reset();
  findings.radio->airtime_fairness = false;
  const Verdict verdict = verdict_of(findings);
  CHECK(row(verdict, "fq_codel").available == false);
  CHECK(row(verdict, "fq_codel").instead.find("bfifo") != std::string::npos);
  CHECK_FALSE(row(verdict, "fq").available);
  CHECK_FALSE(row(verdict, "fq").instead.empty());
  CHECK_FALSE(row(verdict, "airtime fairness").instead.empty());
  CHECK(offers(verdict, "tc"));
}

TEST_CASE("capabilities: tc and wifi are offered only where they can work") {
  struct Case {
    const char* name;
    void (*spoil)(Findings&);
    bool tc, wifi;
  };
  const Case cases[] = {
      {"no privilege", [](Findings& f) { f.net_admin = false; }, false, false},
      {"no htb", [](Findings& f) { f.htb = false; }, false, true},
      {"htb not looked at", [](Findings& f) { f.htb.reset(); }, true, true},
      {"a foreign root", [](Findings& f) { f.port->owner = Owner::other; }, false, true},
      {"our leftover", [](Findings& f) { f.port->owner = Owner::us; }, true, true},
      {"no Wi-Fi", [](Findings& f) { f.radio.reset(); }, true, false},
      {"a station", [](Findings& f) { f.radio->access_point = false; }, true, false},
      {"no interface named", [](Findings& f) { f.port.reset(); }, true, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Findings findings = everything();
    c.spoil(findings);
    const Verdict verdict = verdict_of(findings);
    CHECK(offers(verdict, "tc") == c.tc);
    CHECK(offers(verdict, "wifi") == c.wifi);
    CHECK(offers(verdict, "uplink"));
    CHECK(offers(verdict, "order"));
  }
}
