#include "bsd/model/post_processor.h"

#include <nlohmann/json.hpp>

#include "bsd/model/bpe.h"
#include "bsd/model/tokenizer_part.h"

namespace wdmoe::bsd::text {
namespace {

std::vector<Token> ids_of_special(const Part& part, const std::string& name) {
  const Part specials = part.part("special_tokens");
  if (specials.find(name) == nullptr) specials.bad(name, "there: the template names it");
  std::vector<Token> ids;
  for (const auto& id : specials.part(name).array("ids")) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > Bpe::kMaxToken)
      specials.bad(name + ".ids", "token ids up to " + std::to_string(Bpe::kMaxToken));
    ids.push_back(id.get<Token>());
  }
  return ids;
}

Affixes affixes_of_template(const Part& part) {
  part.only({"type", "single", "pair", "special_tokens"});
  Affixes affixes;
  bool text_seen = false;
  const auto& steps = part.array("single");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Part step = part.part("single", i, steps[i]);
    if (step.find("Sequence") != nullptr) {
      if (text_seen || step.part("Sequence").string("id") != "A")
        step.bad("Sequence.id", "A, once: a single text has one part");
      text_seen = true;
      continue;
    }
    const auto ids = ids_of_special(part, step.part("SpecialToken").string("id"));
    auto& side = text_seen ? affixes.after : affixes.before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!text_seen) part.bad("single", "a template that holds the text ({\"Sequence\": …})");
  return affixes;
}

Affixes affixes_of(const nlohmann::json& value, const std::string& path) {
  const Part part(value, path);
  const std::string type = part.string("type");
  if (type == "TemplateProcessing") return affixes_of_template(part);
  if (type == "ByteLevel") return {};  // only moves offsets
  if (type != "Sequence")
    part.unsupported("type", type, "TemplateProcessing, ByteLevel or Sequence");
  part.only({"type", "processors"});
  Affixes all;
  const auto& elements = part.array("processors");
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const Affixes one = affixes_of(elements[i], part.part("processors", i, elements[i]).path());
    all.before.insert(all.before.begin(), one.before.begin(), one.before.end());
    all.after.insert(all.after.end(), one.after.begin(), one.after.end());
  }
  return all;
}

}  // namespace

Affixes affixes_from(const nlohmann::json& post_processor) {
  return post_processor.is_null() ? Affixes{} : affixes_of(post_processor, "post_processor");
}

}  // namespace wdmoe::bsd::text
