#include "cli/eval/dataset.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bsd/json_depth.h"
#include "weights/file.h"

namespace wdmoe::cli::eval {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMostFileBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMostLineBytes = std::size_t{1} << 20;
constexpr std::size_t kMostItems = 200'000;
constexpr std::size_t kMostSets = 256;
constexpr std::size_t kMostFolders = 10'000;  // entries walked below the data folder
constexpr std::size_t kMostDepth = 8;

bool is_text(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string();
}

Result<Item> item_from(std::string_view line) {
  if (line.size() > kMostLineBytes)
    return fail(Code::limit, fmt::format("is longer than {} bytes", kMostLineBytes));
  if (bsd::json_depth(line) > kMostDepth) return fail(Code::bad_input, "nests too deeply");
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return fail(Code::bad_input, "is not a JSON object");
  if (!is_text(object, "id") || !is_text(object, "prompt"))
    return fail(Code::bad_input, "\"id\" and \"prompt\" should be strings");
  Item item{object["id"].get<std::string>(), object["prompt"].get<std::string>(), {}, 0};
  const auto choices = object.find("choices");
  if (choices == object.end() || !choices->is_array() || choices->size() < 2 ||
      choices->size() > kMostChoices)
    return fail(Code::bad_input,
                fmt::format("\"choices\" should be a list of 2 to {} strings", kMostChoices));
  for (const json& choice : *choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty())
      return fail(Code::bad_input, "\"choices\" should hold strings that are not empty");
    item.choices.push_back(choice.get<std::string>());
  }
  const auto answer = object.find("answer");
  if (answer == object.end() || !answer->is_number_unsigned() ||
      answer->get<std::uint64_t>() >= item.choices.size())
    return fail(Code::bad_input, "\"answer\" should be the index of a choice");
  item.answer = answer->get<std::size_t>();
  return item;
}

Result<std::vector<std::filesystem::path>> set_files(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(folder, error);
  std::vector<std::filesystem::path> files;
  for (std::size_t walked = 0; !error && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(error)) {
    if (++walked > kMostFolders || files.size() > kMostSets)
      return fail(Code::limit, fmt::format("{}: holds more than {} entries or {} sets",
                                           folder.string(), kMostFolders, kMostSets));
    if (entry->path().extension() == ".jsonl") files.push_back(entry->path());
  }
  if (error)
    return fail(Code::not_found,
                fmt::format("{}: {}; give --data a folder with *.jsonl sets and heldout.txt",
                            folder.string(), error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

std::string names_of(Span<const std::filesystem::path> files) {
  std::string names;
  for (const auto& file : files) names += (names.empty() ? "" : ", ") + file.stem().string();
  return names;
}

/// The files of the named sets, or all of them.
Result<std::vector<std::filesystem::path>> choose(std::vector<std::filesystem::path> files,
                                                  const std::filesystem::path& folder,
                                                  Span<const std::string> names) {
  if (files.empty())
    return fail(Code::not_found, folder.string() + ": holds no evaluation set (*.jsonl)");
  if (names.empty()) return files;
  std::vector<std::filesystem::path> chosen;
  for (const std::string& name : names) {
    const auto file = std::find_if(files.begin(), files.end(), [&name](const auto& path) {
      return path.stem().string() == name;
    });
    if (file == files.end())
      return fail(Code::not_found, fmt::format("no evaluation set '{}' in {}; there are: {}", name,
                                               folder.string(), names_of(files)));
    chosen.push_back(*file);
  }
  return chosen;
}

}  // namespace

Result<std::vector<Item>> parse_items(std::string_view text) {
  std::vector<Item> items;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<Item> item = item_from(line);
    if (!item) return fail(fmt::format("line {}", number), std::move(item).error());
    if (items.size() == kMostItems)
      return fail(Code::limit, fmt::format("holds more than {} items", kMostItems));
    items.push_back(*std::move(item));
  }
  if (items.empty()) return fail(Code::bad_input, "holds no item");
  return items;
}

Result<std::vector<TaskSet>> load_task_sets(const std::filesystem::path& folder,
                                            Span<const std::string> names, std::size_t limit) {
  auto all = set_files(folder);
  if (!all) return tl::unexpected<Error>(std::move(all).error());
  const auto files = choose(*std::move(all), folder, names);
  if (!files) return tl::unexpected<Error>(files.error());
  std::vector<TaskSet> sets;
  for (const auto& file : *files) {
    const Result<std::string> text = weights::read_text(file, kMostFileBytes);
    if (!text) return tl::unexpected<Error>(text.error());
    Result<std::vector<Item>> items = parse_items(*text);
    if (!items) return fail(file.string(), std::move(items).error());
    if (limit != 0 && items->size() > limit) items->resize(limit);
    sets.push_back({file.stem().string(), *std::move(items)});
  }
  return sets;
}

Result<std::string> load_heldout(const std::filesystem::path& folder) {
  return weights::read_text(folder / "heldout.txt", kMostFileBytes);
}

}  // namespace wdmoe::cli::eval
