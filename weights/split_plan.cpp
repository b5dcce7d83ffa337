#include "weights/split_plan.h"

#include <algorithm>
#include <set>

#include "weights/file.h"
#include "weights/json.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kMostAgents = 65'536;
constexpr std::size_t kMostName = 64;
constexpr std::uint64_t kMostPlanBytes = 64u << 20;

struct ModelSize {
  std::size_t layers, experts;
};

/// Letters, digits, '.', '_', '-', not starting with a dot: safe as a folder and on the wire.
bool is_agent_name(const std::string& name) {
  return !name.empty() && name.size() <= kMostName && name.front() != '.' &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
             "0123456789._-") == std::string::npos;
}

std::string text_of(ExpertId id) {
  return "[" + std::to_string(id.layer) + ", " + std::to_string(id.expert) + "]";
}

Result<void> check_known_keys(const rapidjson::Value& object,
                              const std::set<std::string_view>& known) {
  for (const auto& entry : object.GetObject())
    if (known.count(weights::text_of(entry.name)) == 0)
      return fail(Code::bad_input,
                  "unknown key '" + std::string(weights::text_of(entry.name)) + "'");
  return {};
}

/// {"all_layers": [expert, …]}
Result<std::vector<ExpertId>> in_all_layers(const rapidjson::Value& value, ModelSize size) {
  WDMOE_TRY(check_known_keys(value, {"all_layers"}));
  const rapidjson::Value* list = member(value, "all_layers");
  if (list == nullptr || !list->IsArray())
    return fail(Code::bad_input, "key 'all_layers': expected a list of expert numbers");
  std::vector<ExpertId> ids;
  std::set<std::uint64_t> seen;
  for (const auto& expert : list->GetArray()) {
    if (!expert.IsUint64() || expert.GetUint64() >= size.experts)
      return fail(Code::bad_input, "key 'all_layers': expected numbers from 0 to " +
                                       std::to_string(size.experts - 1));
    if (!seen.insert(expert.GetUint64()).second)
      return fail(Code::bad_input, "names expert " + std::to_string(expert.GetUint64()) + " twice");
    for (std::size_t layer = 0; layer < size.layers; ++layer)
      ids.push_back(expert_id(layer, expert.GetUint64()));
  }
  return ids;
}

Result<std::vector<ExpertId>> read_experts(const rapidjson::Value* value, ModelSize size) {
  if (value != nullptr && value->IsObject()) {
    auto ids = in_all_layers(*value, size);
    if (ids) std::sort(ids->begin(), ids->end());
    return ids;
  }
  if (value == nullptr || !value->IsArray())
    return fail(Code::bad_input, "expected [[layer, expert], …] or {\"all_layers\": [expert, …]}");
  std::vector<ExpertId> ids;
  for (const auto& pair : value->GetArray()) {
    if (!pair.IsArray() || pair.Size() != 2 || !pair[0].IsUint64() || !pair[1].IsUint64() ||
        pair[0].GetUint64() >= size.layers || pair[1].GetUint64() >= size.experts)
      return fail(Code::bad_input, "expected [layer, expert] pairs with layers below " +
                                       std::to_string(size.layers) + " and experts below " +
                                       std::to_string(size.experts));
    ids.push_back(expert_id(pair[0].GetUint64(), pair[1].GetUint64()));
  }
  std::sort(ids.begin(), ids.end());
  const auto twin = std::adjacent_find(ids.begin(), ids.end());
  if (twin != ids.end()) return fail(Code::bad_input, "names expert " + text_of(*twin) + " twice");
  return ids;
}

Result<AgentPlan> read_agent(const rapidjson::Value& value, ModelSize size) {
  if (!value.IsObject()) return fail(Code::bad_input, "key 'agents': expected objects");
  const auto name = text_member(value, "name");
  if (!name) return fail("an agent", name.error());
  if (!is_agent_name(*name))
    return fail(Code::bad_input, "agent '" + *name +
                                     "': expected a name of 1 to 64 letters, digits, '.', '_', "
                                     "'-' that does not start with a dot");
  if (auto known = check_known_keys(value, {"name", "experts"}); !known)
    return fail("agent '" + *name + "'", known.error());
  auto experts = read_experts(member(value, "experts"), size);
  if (!experts) return fail("agent '" + *name + "', key 'experts'", experts.error());
  if (experts->empty())
    return fail(Code::bad_input, "agent '" + *name + "': holds no expert; give it one or drop it");
  return AgentPlan{*name, std::move(*experts)};
}

/// Experts that no agent holds.
std::vector<ExpertId> left_over(const SplitPlan& plan, ModelSize size) {
  std::vector<bool> held(size.layers * size.experts, false);
  for (const AgentPlan& agent : plan.agents)
    for (const ExpertId id : agent.experts) held[id.layer * size.experts + id.expert] = true;
  std::vector<ExpertId> rest;
  for (std::size_t layer = 0; layer < size.layers; ++layer)
    for (std::size_t expert = 0; expert < size.experts; ++expert)
      if (!held[layer * size.experts + expert]) rest.push_back(expert_id(layer, expert));
  return rest;
}

Result<std::vector<ExpertId>> read_bs(const rapidjson::Value* value, const SplitPlan& plan,
                                      ModelSize size) {
  std::vector<ExpertId> rest = left_over(plan, size);
  if (value != nullptr && value->IsString() && weights::text_of(*value) == "rest") return rest;
  std::vector<ExpertId> on_bs;
  if (value != nullptr) {
    auto named = read_experts(value, size);
    if (!named) return fail("key 'bs'", std::move(named).error());
    on_bs = std::move(*named);
  }
  std::vector<ExpertId> homeless;
  std::set_difference(rest.begin(), rest.end(), on_bs.begin(), on_bs.end(),
                      std::back_inserter(homeless));
  if (homeless.empty()) return on_bs;
  return fail(Code::bad_input,
              "nobody has expert " + std::to_string(homeless.front().expert) + " of layer " +
                  std::to_string(homeless.front().layer) + " (" + std::to_string(homeless.size()) +
                  " in all); give it to an agent, or keep such experts with \"bs\": \"rest\"");
}

}  // namespace

Result<SplitPlan> default_plan(std::size_t agents, std::size_t layers, std::size_t experts) {
  if (agents == 0 || agents > experts)
    return fail(Code::bad_input,
                std::to_string(agents) + " agents for " + std::to_string(experts) +
                    " experts a layer: expected 1 to " + std::to_string(experts) +
                    ", so that every agent holds some; use --plan to hold experts more than once");
  SplitPlan plan;
  for (std::size_t agent = 0; agent < agents; ++agent)
    plan.agents.push_back({"agent-" + std::to_string(agent), {}});
  for (std::size_t layer = 0; layer < layers; ++layer)
    for (std::size_t expert = 0; expert < experts; ++expert)
      plan.agents[expert % agents].experts.push_back(expert_id(layer, expert));
  return plan;
}

Result<SplitPlan> parse_plan(std::string_view json, std::size_t layers, std::size_t experts) {
  const ModelSize size{layers, experts};
  const auto document = parse_json(json);
  if (!document) return tl::unexpected(document.error());
  if (!document->IsObject()) return fail(Code::bad_input, "expected a JSON object");
  WDMOE_TRY(check_known_keys(*document, {"agents", "bs"}));
  const rapidjson::Value* agents = member(*document, "agents");
  if (agents == nullptr || !agents->IsArray() || agents->Empty() || agents->Size() > kMostAgents)
    return fail(Code::bad_input, "key 'agents': expected a list of agents");
  SplitPlan plan;
  std::set<std::string> names;
  for (const auto& value : agents->GetArray()) {
    auto agent = read_agent(value, size);
    if (!agent) return tl::unexpected(std::move(agent).error());
    if (!names.insert(agent->name).second)
      return fail(Code::bad_input, "agent '" + agent->name + "' is named twice");
    plan.agents.push_back(std::move(*agent));
  }
  auto on_bs = read_bs(member(*document, "bs"), plan, size);
  if (!on_bs) return tl::unexpected(std::move(on_bs).error());
  plan.on_bs = std::move(*on_bs);
  return plan;
}

Result<SplitPlan> load_plan(const std::filesystem::path& path, std::size_t layers,
                            std::size_t experts) {
  const auto text = read_text(path, kMostPlanBytes);
  if (!text) return tl::unexpected<Error>(text.error());
  auto plan = parse_plan(*text, layers, experts);
  if (!plan) return fail(path.string(), std::move(plan).error());
  return plan;
}

}  // namespace wdmoe::weights
