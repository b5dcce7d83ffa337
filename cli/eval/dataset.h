#pragma once
// What `wdmoe eval` asks a model: multiple-choice sets (JSON lines) and held-out text, from a
// folder laid out as models/demo/eval is.  Every size is bounded before it is used.

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/span.h"

namespace wdmoe::cli::eval {

/// One question; the right choice is `choices[answer]`.
struct Item {
  std::string id, prompt;
  std::vector<std::string> choices;
  std::size_t answer = 0;
};

struct TaskSet {
  std::string name;  ///< of the file, without folder and ending
  std::vector<Item> items;
};

constexpr std::size_t kMostChoices = 64;

/// One item a line: {"id", "prompt", "choices": [text, ...], "answer": index}; further keys are
/// left alone.  Errors name the line.
Result<std::vector<Item>> parse_items(std::string_view text);

/// Every *.jsonl below `folder`, ordered by path; with `names`, only those sets, in that order.
/// `limit`: the first so many items of each, 0 for all.  Errors name the file or the unknown set.
Result<std::vector<TaskSet>> load_task_sets(const std::filesystem::path& folder,
                                            Span<const std::string> names, std::size_t limit);

/// `folder`/heldout.txt.
Result<std::string> load_heldout(const std::filesystem::path& folder);

}  // namespace wdmoe::cli::eval
