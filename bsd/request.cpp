#include "bsd/request.h"

namespace wdmoe::bsd {

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
  return *this;
}

}  // namespace wdmoe::bsd
