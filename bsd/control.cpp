#include "bsd/control.h"

#include <charconv>
#include <cstddef>

#include "common/log.h"
#include "weights/sha256.h"

namespace wdmoe::bsd {
namespace {

/// The shortest text that reads back as `value`.
std::string format(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The first digits of the numbers' SHA-256: tells budgets apart.
std::string short_digest(Span<const double> numbers) {
  weights::Sha256 digest;
  digest.add({reinterpret_cast<const std::byte*>(numbers.data()), numbers.size_bytes()});
  return digest.hex().substr(0, 8);
}

}  // namespace

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
  state.layer_budgets = !policy_.layer_quality().empty();
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

/// What an answer depends on besides its request: build, policy with the knobs it reads, model.
std::string Control::fingerprint(const PolicyWish& wish) const {
  const PolicySetting setting = policy_.setting();
  const std::string policy =
      wish.policy ? std::string(policies()[*wish.policy].name) : setting.policy;
  std::string text = "wdmoe-" WDMOE_VERSION "-" + policy;
  const double quality = wish.quality.value_or(setting.options.quality);
  if (policy == "beta") {
    text.append("@").append(format(setting.options.beta));
  } else if (reads_quality(policy) && quality >= 0) {
    text.append("@").append(format(quality));
  } else if (reads_quality(policy) && !policy_.layer_quality().empty()) {
    text.append("@layers:").append(short_digest(policy_.layer_quality()));
  }
  return text + "-" + model_;
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
