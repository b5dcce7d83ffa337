#pragma once
// Small files and models for the tests of this folder.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temp_folder.h"
#include "weights/checkpoint.h"
#include "weights/random_model.h"
#include "weights/sha256.h"

namespace wdmoe::weights::test {

using wdmoe::test::TempFolder;

inline void put(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string get(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string sha256_of_file(const std::filesystem::path& path) {
  Sha256 digest;
  digest.add(std::string_view(get(path)));
  return digest.hex();
}

inline Bytes bytes_of_text(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// 8-byte little-endian size, `json`, `data`: a safetensors file by hand.
inline std::string safetensors_file(const std::string& json, const std::string& data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return file + json + data;
}

inline bool mentions(const Error& error, const std::string& word) {
  return error.text.find(word) != std::string::npos && error.text.find('\n') == std::string::npos;
}

/// 2 layers, 4 experts, hidden 8, ffn 12.
inline RandomModel small_model() {
  RandomModel model;
  model.hidden = 8;
  model.ffn = 12;
  model.layers = 2;
  model.experts = 4;
  model.heads = 2;
  model.kv_heads = 1;
  model.vocabulary = 300;
  return model;
}

}  // namespace wdmoe::weights::test
