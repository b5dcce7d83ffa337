// tokenizer.json of random models: every byte is a token.

#include <string>

#include "weights/json.h"
#include "weights/random_model.h"

namespace wdmoe::weights {
namespace {

constexpr std::size_t kSpecials = 3;
constexpr const char* kSpecialTexts[kSpecials] = {"<unk>", "<s>", "</s>"};

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

/// UTF-8 of a code point below 0x800.
std::string utf8(unsigned point) {
  if (point < 0x80) return {static_cast<char>(point)};
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
}

bool is_printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/// GPT-2's byte alphabet: printable Latin-1 stands for itself, the others for U+0100 and up, in
/// order.
std::string byte_letter(unsigned byte) {
  if (is_printable(byte)) return utf8(byte);
  unsigned rank = 0;
  for (unsigned other = 0; other < byte; ++other) rank += is_printable(other) ? 0 : 1;
  return utf8(0x100 + rank);
}

std::string token_text(std::size_t id) {
  if (id < kSpecials) return kSpecialTexts[id];
  if (id < kLeastVocabulary) return byte_letter(static_cast<unsigned>(id - kSpecials));
  return byte_letter(' ') + "t" + std::to_string(id);
}

void write_special(Writer& writer, unsigned id) {
  writer.StartObject();
  writer.Key("id");
  writer.Uint(id);
  writer.Key("content");
  writer.String(kSpecialTexts[id]);
  for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"}) {
    writer.Key(key);
    writer.Bool(false);
  }
  writer.Key("special");
  writer.Bool(true);
  writer.EndObject();
}

constexpr const char* kPipeline = R"(
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
  "post_processor": {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
  },
  "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "merges": [],
    "vocab": )";

}  // namespace

std::string byte_tokenizer_json(std::size_t vocabulary) {
  rapidjson::StringBuffer specials;
  Writer special_writer(specials);
  special_writer.StartArray();
  for (unsigned id = 0; id < kSpecials; ++id) write_special(special_writer, id);
  special_writer.EndArray();

  rapidjson::StringBuffer tokens;
  Writer writer(tokens);
  writer.StartObject();
  for (std::size_t id = 0; id < vocabulary; ++id) {
    const std::string token = token_text(id);
    writer.Key(token.data(), static_cast<rapidjson::SizeType>(token.size()));
    writer.Uint64(id);
  }
  writer.EndObject();

  return std::string(
             "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n") +
         "  \"added_tokens\": " + specials.GetString() + "," + kPipeline + tokens.GetString() +
         "\n  }\n}\n";
}

}  // namespace wdmoe::weights
