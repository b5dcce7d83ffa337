#pragma once
// What the control API does to a running station: its policy, and recordings of its decisions.
// Callable from the io thread.

#include <string>

#include "bsd/api/hooks.h"
#include "bsd/moe/switchable.h"
#include "bsd/trace/recorder.h"

namespace wdmoe::bsd {

class Control {
 public:
  /// Both outlive the control.  `model_id`: for fingerprints.
  Control(SwitchablePolicy& policy, trace::Recorder& recorder, const std::string& model_id)
      : policy_(policy), recorder_(recorder), model_(model_id.substr(0, 8)) {}

  /// Fills in the hooks of the control API.
  void serve(api::Hooks& hooks);
  /// Finishes the recording under way, for a client or because it is full, and logs how it ended.
  Result<api::TraceState> stop_trace();

 private:
  api::PolicyState policy_state() const;
  Result<void> set_policy(const api::PolicyState& wanted);
  std::string fingerprint(const PolicyWish& wish) const;
  api::TraceState state_of(const trace::Progress& progress) const;
  Result<api::TraceState> start_trace(const api::TraceWish& wish);

  SwitchablePolicy& policy_;
  trace::Recorder& recorder_;
  const std::string model_;
};

}  // namespace wdmoe::bsd
