#pragma once
// What a checkpoint's tensors add up to, part by part of the model.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace wdmoe::weights {

/// The parts of a Mixtral model, by tensor name; `other` is what no name of ours matches.
enum class Part { embedding, attention, norm, gate, expert, head, other };
constexpr Part kParts[] = {Part::embedding, Part::attention, Part::norm, Part::gate,
                           Part::expert,    Part::head,      Part::other};

const char* name_of(Part part);
Part part_of(const std::string& tensor_name);  ///< both layouts

struct Amount {
  std::uint64_t tensors = 0, parameters = 0, bytes = 0;
};

struct Inventory {
  Amount total;
  std::map<Part, Amount> parts;
  std::map<std::string, Amount> dtypes;  ///< by safetensors name
};

Inventory take_inventory(const Checkpoint& checkpoint);

/// One line on a directory's tokenizer: "BPE, byte-level", "BPE, byte fallback", "SentencePiece
/// model", "none" …
std::string tokenizer_kind(const std::filesystem::path& directory);

}  // namespace wdmoe::weights
