#include "bsd/request.h"

namespace wdmoe::bsd {

SelectionTally& SelectionTally::operator+=(const SelectionTally& other) {
  rows += other.rows;
  kept += other.kept;
  drops += other.drops;
  substitutions += other.substitutions;
  return *this;
}

StepCosts& StepCosts::operator+=(const StepCosts& other) {
  attention += other.attention;
  gate += other.gate;
  selection += other.selection;
  serialise += other.serialise;
  wire_wait += other.wire_wait;
  combine += other.combine;
  head += other.head;
  total += other.total;
  bytes_sent += other.bytes_sent;
  bytes_received += other.bytes_received;
  round_trips += other.round_trips;
  messages += other.messages;
  tokens += other.tokens;
  tally += other.tally;
  if (!other.policy.empty()) policy = other.policy;
  return *this;
}

}  // namespace wdmoe::bsd
