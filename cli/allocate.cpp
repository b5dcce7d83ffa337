#include "cli/allocate.h"

#include <array>
#include <fstream>
#include <iostream>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bsd/radio/allocate.h"
#include "bsd/radio/certificate.h"
#include "cli/command.h"

namespace wdmoe::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t kMostBytes = 64 << 20;  // radio::kMaxDevices at 1 KiB each

constexpr const char* kHelp = R"(
Splits bandwidth among devices so that the slowest finishes as early as possible,
exactly (docs/allocation.md).  INSTANCE.json holds

  {"model": "fdma_common", "bandwidth_hz": 100e6, "noise_w_per_hz": 3.98e-21,
   "bits_per_token": 65536,
   "devices": [{"tokens": 12, "power_dl_w": 10, "power_ul_w": 0.2, "gain_dl": 1e-11,
                "gain_ul": 1e-11, "compute_s_per_token": 3.5e-4}]}

  model           fdma_separate  downlink and uplink each have bandwidth_hz, split independently
                  fdma_common    one split, a device's part serves it in both directions
                  airtime        one band used in turns by all devices and directions
  bits_per_token  payload of one token, each way
  tokens          rows the device must serve; 0: idle, gets no bandwidth
  gain_dl/_ul     power gain of the channel, e.g. 1e-11 for -110 dB
  fixed_s         optional: a round trip, added once

Example, from a pipe:
  echo '{"model": "airtime", "bandwidth_hz": 20e6, "noise_w_per_hz": 4e-21, "bits_per_token": 65536,
    "devices": [{"tokens": 8, "power_dl_w": 0.1, "power_ul_w": 0.1, "gain_dl": 1e-8, "gain_ul": 1e-8,
    "compute_s_per_token": 0.001}]}' | wdmoe allocate -
prints waiting_latency_s and, per device, bandwidths (airtime: its share of the turns times the
band), rates and latency.  kkt_residual certifies the optimum: 0 is perfect.)";

/// A place in the instance, for messages: "" or "device 3: ".
using Place = std::string;

/// A text of the user's for an error line: quoted, escaped, and no longer than a line bears.
std::string quoted(std::string text) {
  constexpr std::size_t kLongest = 60;
  if (text.size() > kLongest) text.resize(kLongest);
  return json(std::move(text)).dump(-1, ' ', true, json::error_handler_t::replace);
}

Result<const json*> member(const json& object, const Place& place, const char* name) {
  const auto found = object.find(name);
  if (found == object.end())
    return fail(Code::bad_input, place + name + " is missing (see wdmoe allocate --help)");
  return &*found;
}

Result<double> number(const json& object, const Place& place, const char* name) {
  auto value = member(object, place, name);
  if (!value) return tl::unexpected<Error>(std::move(value).error());
  if (!(*value)->is_number())
    return fail(Code::bad_input,
                place + name + " is " + (*value)->type_name() + ", expected a number");
  return (*value)->get<double>();
}

/// Refuses what is no object, and fields that mean nothing: a misspelt one would be lost silently.
template <std::size_t kNames>
Result<void> expect_fields(const json& value, const Place& place, const char* what,
                           const std::array<const char*, kNames>& names) {
  if (!value.is_object())
    return fail(Code::bad_input,
                place + what + " is " + value.type_name() + ", expected an object");
  for (const auto& item : value.items()) {
    bool known = false;
    for (const char* name : names) known = known || item.key() == name;
    if (!known)
      return fail(Code::bad_input,
                  place + "unknown field " + quoted(item.key()) + " (see wdmoe allocate --help)");
  }
  return {};
}

Result<radio::DeviceDemand> device_from(const json& value, std::size_t index) {
  constexpr std::array kFields{"tokens",  "power_dl_w",          "power_ul_w", "gain_dl",
                               "gain_ul", "compute_s_per_token", "fixed_s"};
  const Place place = Place("device ").append(std::to_string(index)).append(": ");
  WDMOE_TRY(expect_fields(value, place, "it", kFields));
  std::array<double, kFields.size()> numbers{};
  for (std::size_t field = 0; field < kFields.size(); ++field) {
    const bool optional = field + 1 == kFields.size();
    if (optional && !value.contains(kFields[field])) continue;
    const auto found = number(value, place, kFields[field]);
    if (!found) return tl::unexpected<Error>(found.error());
    numbers[field] = *found;
  }
  return radio::DeviceDemand{numbers[0], Watts(numbers[1]),   Watts(numbers[2]),  numbers[3],
                             numbers[4], Seconds(numbers[5]), Seconds(numbers[6])};
}

/// The problem and the devices its span points to.
struct Instance {
  std::vector<radio::DeviceDemand> devices;
  radio::AllocationProblem problem;
};

Result<std::unique_ptr<Instance>> instance_from(const json& root) {
  constexpr std::array kFields{"model", "bandwidth_hz", "noise_w_per_hz", "bits_per_token",
                               "devices"};
  WDMOE_TRY(expect_fields(root, "", "the instance", kFields));
  auto instance = std::make_unique<Instance>();
  const auto model = member(root, "", "model");
  if (!model) return tl::unexpected<Error>(model.error());
  if (!(*model)->is_string())
    return fail(Code::bad_input, std::string("model is ") + (*model)->type_name() +
                                     ", expected fdma_separate, fdma_common or airtime");
  const auto& name = (*model)->get_ref<const std::string&>();
  const auto medium = radio::medium_from(name);
  if (!medium)
    return fail(Code::bad_input,
                "model is " + quoted(name) + ", expected fdma_separate, fdma_common or airtime");
  instance->problem.medium = *medium;

  std::array<double, 3> numbers{};
  for (std::size_t field = 0; field < numbers.size(); ++field) {
    const auto found = number(root, "", kFields[field + 1]);
    if (!found) return tl::unexpected<Error>(found.error());
    numbers[field] = *found;
  }
  instance->problem.bandwidth = Hertz(numbers[0]);
  instance->problem.noise = WattsPerHertz(numbers[1]);
  instance->problem.bits_per_token = Bits(numbers[2]);

  const auto devices = member(root, "", "devices");
  if (!devices) return tl::unexpected<Error>(devices.error());
  if (!(*devices)->is_array())
    return fail(Code::bad_input,
                std::string("devices is ") + (*devices)->type_name() + ", expected an array");
  for (const json& value : **devices) {
    auto device = device_from(value, instance->devices.size());
    if (!device) return tl::unexpected<Error>(std::move(device).error());
    instance->devices.push_back(*device);
  }
  instance->problem.devices = instance->devices;
  return instance;
}

/// JSON text -> value; unlike the library's default, a field given twice is an error.
Result<json> parse(std::string_view text) {
  std::vector<std::set<std::string>> seen;  // field names of the objects that are open
  std::string twice;
  const auto watch = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second &&
        twice.empty())
      twice = quoted(value.get<std::string>());
    return true;
  };
  try {
    json root = json::parse(text.begin(), text.end(), watch);
    if (!twice.empty()) return fail(Code::bad_input, "field " + twice + " is given twice");
    return root;
  } catch (const json::exception& error) {  // the library tells where only this way
    std::string what = error.what();
    for (char& letter : what)
      if (static_cast<unsigned char>(letter) < ' ') letter = ' ';
    constexpr std::size_t kLongest = 300;  // it quotes the input
    if (what.size() > kLongest) what.resize(kLongest);
    return fail(Code::bad_input, "not JSON: " + what);
  }
}

std::string answer(const radio::AllocationProblem& problem, const radio::Allocation& allocation) {
  ordered_json out;
  out["model"] = std::string(radio::name_of(problem.medium));
  out["waiting_latency_s"] = allocation.waiting_latency.count();
  out["kkt_residual"] = radio::certify(problem, allocation.devices).residual();
  out["devices"] = ordered_json::array();
  for (std::size_t device = 0; device < problem.devices.size(); ++device) {
    const radio::DeviceShare& share = allocation.devices[device];
    const radio::Rates rates =
        radio::rates_of(problem, problem.devices[device], share.bandwidth_dl, share.bandwidth_ul);
    out["devices"].push_back({{"bandwidth_dl_hz", share.bandwidth_dl.value()},
                              {"bandwidth_ul_hz", share.bandwidth_ul.value()},
                              {"rate_dl_bit_per_s", rates.down.value()},
                              {"rate_ul_bit_per_s", rates.up.value()},
                              {"latency_s", share.latency.count()}});
  }
  return out.dump(2);
}

/// All of `path`, or of standard input for "-".
Result<std::string> read_all(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return fail(Code::not_found, path + " cannot be opened: give a readable JSON file");
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  std::array<char, 65536> block{};
  while (in.read(block.data(), block.size()) || in.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMostBytes)
      return fail(Code::limit, path + " is larger than 64 MiB, the most that is read");
  }
  if (in.bad()) return fail(Code::io, path + " cannot be read to its end");
  return text;
}

}  // namespace

Result<std::string> allocate_json(std::string_view text) {
  auto root = parse(text);
  if (!root) return tl::unexpected<Error>(std::move(root).error());
  auto instance = instance_from(*root);
  if (!instance) return tl::unexpected<Error>(std::move(instance).error());
  radio::Allocator allocator;
  const auto solved = allocator.solve((*instance)->problem);
  if (!solved) return tl::unexpected<Error>(solved.error());
  return answer((*instance)->problem, *solved);
}

void add_allocate(Commands& commands) {
  const auto path = std::make_shared<std::string>("-");
  CLI::App& command =
      commands.add("allocate", "Split bandwidth among devices so that the slowest is done soonest",
                   [path]() -> Result<int> {
                     const auto text = read_all(*path);
                     if (!text) return tl::unexpected<Error>(text.error());
                     const auto result = allocate_json(*text);
                     if (!result)
                       return fail(*path == "-" ? "standard input" : *path, result.error());
                     std::cout << *result << '\n';
                     return 0;
                   });
  command.add_option("INSTANCE.json", *path, "the problem; - or nothing: standard input");
  command.footer(kHelp);
}

}  // namespace wdmoe::cli
