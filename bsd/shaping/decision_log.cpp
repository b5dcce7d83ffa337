#include "bsd/shaping/decision_log.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace wdmoe::shaping {
namespace {

constexpr double kFlushEvery = 1;  // s: what a crash may cost

}  // namespace

std::string csv_header() {
  return "time_s,tick,plan,reason,change,late_s,predicted_wait_s,agent,rows,"
         "rate_down_bps,measured_down,rate_up_bps,measured_up,base_rtt_s,queueing_s,"
         "compute_s_per_row,wanted_down_bps,wanted_up_bps,down_bps,up_bps,"
         "down_ceiling_bps,up_ceiling_bps,airtime\n";
}

void append_csv(std::string& text, const Decision& decision, const Plan& plan,
                Span<const AgentInput> agents) {
  const auto add = [&text](const char* format, auto... values) {
    char part[256];
    const int size = std::snprintf(part, sizeof part, format, values...);
    text.append(part, static_cast<std::size_t>(std::clamp(size, 0, int{sizeof part} - 1)));
  };
  const auto share_of = [](const std::vector<Share>& shares, std::size_t slot) {
    const Share* share = find_slot(shares, slot);
    return share == nullptr ? Share{} : *share;
  };
  const auto head = [&] {
    add("%.6f,%llu,%llu,", decision.at_s, static_cast<unsigned long long>(decision.tick),
        static_cast<unsigned long long>(plan.number));
    text += name_of(decision.reason);
    add(",%.4g,%.6f,%.6f,", decision.change, decision.lateness_s, decision.predicted_wait_s);
  };
  if (agents.empty()) {
    head();
    text += ",,,,,,,,,,,,,,,\n";
  }
  for (const AgentInput& agent : agents) {
    head();
    text += agent.name;  // letters, digits, '.', '_' and '-' only: nothing to quote
    const radio::LinkState& link = agent.link;
    add(",%.4g,%.0f,%d,%.0f,%d,%.6f,%.6f,%.3g", link.rows, link.down.rate_bps,
        int{link.down.measured}, link.up.rate_bps, int{link.up.measured}, link.base_rtt_s,
        link.queueing_s, link.compute.per_row_s);
    const Share wanted = share_of(decision.wanted, agent.slot);
    const Share share = share_of(plan.shares, agent.slot);
    add(",%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.4f\n", wanted.down_bps, wanted.up_bps, share.down_bps,
        share.up_bps, share.down_ceiling_bps, share.up_ceiling_bps, share.airtime);
  }
}

Result<DecisionLog> DecisionLog::open(const std::filesystem::path& path) {
  std::ofstream file(path, std::ios::trunc);
  if (!file)
    return fail(Code::io,
                "radio.log_csv: cannot write " + path.string() + ": " + std::strerror(errno));
  file << csv_header();
  return DecisionLog(std::move(file));
}

bool DecisionLog::write(const Decision& decision, const Plan& plan, Span<const AgentInput> agents) {
  if (!file_.is_open()) return true;
  text_.clear();
  append_csv(text_, decision, plan, agents);
  bytes_ += text_.size();
  file_ << text_;
  if (decision.at_s - flushed_s_ >= kFlushEvery) {
    flushed_s_ = decision.at_s;
    file_.flush();
  }
  if (file_ && bytes_ < kMostBytes) return true;
  file_.close();
  return false;
}

}  // namespace wdmoe::shaping
