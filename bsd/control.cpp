#include "bsd/control.h"

#include <cstdio>

#include "common/log.h"

namespace wdmoe::bsd {

void Control::serve(api::Hooks& hooks) {
  hooks.policy = [this] { return policy_state(); };
  hooks.set_policy = [this](const api::PolicyState& wanted) { return set_policy(wanted); };
  hooks.fingerprint = [this](const PolicyWish& wish) { return fingerprint(wish); };
  hooks.trace = [this] { return state_of(recorder_.progress()); };
  hooks.start_trace = [this](const api::TraceWish& wish) { return start_trace(wish); };
  hooks.stop_trace = [this] { return stop_trace(); };
}

api::PolicyState Control::policy_state() const {
  const PolicySetting setting = policy_.setting();
  api::PolicyState state;
  state.policy = setting.policy;
  if (setting.options.quality >= 0) state.quality = setting.options.quality;
  state.beta = setting.options.beta;
  state.layer_budgets = policy_.has_layer_quality();
  return state;
}

Result<void> Control::set_policy(const api::PolicyState& wanted) {
  PolicySetting setting;
  setting.policy = wanted.policy;
  setting.options.quality = wanted.quality.value_or(setting.options.quality);
  setting.options.beta = wanted.beta.value_or(setting.options.beta);
  WDMOE_TRY(policy_.set(setting));
  log::info("policy_changed", {{"policy", setting.policy},
                               {"quality", setting.options.quality},
                               {"beta", setting.options.beta}});
  return {};
}

/// What an answer depends on besides its request: build, policy, its quality if set, model.
std::string Control::fingerprint(const PolicyWish& wish) const {
  const PolicySetting setting = policy_.setting();
  std::string text = "wdmoe-" WDMOE_VERSION "-";
  text += wish.policy ? std::string(policies()[*wish.policy].name) : setting.policy;
  char quality[32] = "";
  const double wanted = wish.quality.value_or(setting.options.quality);
  if (wanted >= 0) std::snprintf(quality, sizeof quality, "@%g", wanted);
  return text + quality + "-" + model_;
}

api::TraceState Control::state_of(const trace::Progress& progress) const {
  api::TraceState state;
  state.recording = progress.recording;
  state.name = progress.name;
  if (!progress.name.empty()) state.path = recorder_.path_of(progress.name);
  state.tokens = progress.tokens;
  state.records = progress.records;
  state.bytes = progress.bytes;
  state.error = progress.error;
  return state;
}

Result<api::TraceState> Control::start_trace(const api::TraceWish& wish) {
  trace::Limits limits;
  if (wish.tokens) limits.tokens = *wish.tokens;
  if (wish.seconds) limits.time = std::chrono::seconds(*wish.seconds);
  const auto progress = recorder_.start(wish.name, limits);
  if (!progress) return tl::unexpected<Error>(progress.error());
  log::info("trace_started", {{"name", wish.name}});
  return state_of(*progress);
}

Result<api::TraceState> Control::stop_trace() {
  const auto progress = recorder_.stop();
  if (!progress) return tl::unexpected<Error>(progress.error());
  const auto write = progress->error.empty() ? log::info : log::warn;
  write("trace_finished", {{"name", progress->name},
                           {"tokens", progress->tokens},
                           {"bytes", progress->bytes},
                           {"error", progress->error}});
  return state_of(*progress);
}

}  // namespace wdmoe::bsd
