#pragma once
// A Mixtral checkpoint of any small shape with seeded random f32 weights, written as a Hugging Face
// directory for one test and removed after it.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "bsd/model/model_config.h"
#include "tests/support/temp_folder.h"

namespace wdmoe::test {

class TinyModel {
 public:
  /// hidden 24, ffn 20, 2 layers, 4 heads, 2 key heads, head_dim 6, 4 experts, top-2, 50 tokens.
  static bsd::ModelConfig default_shape();

  explicit TinyModel(const bsd::ModelConfig& config = default_shape(), std::uint32_t seed = 1);
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  const std::filesystem::path& path() const { return folder_.path(); }

  /// Adds one more f32 tensor to the file (a bias, say).
  void add_tensor(const std::string& name, std::size_t rows, std::size_t cols);
  void remove_tensor(const std::string& name);

 private:
  struct Named {
    std::string name;
    std::size_t rows, cols;
  };
  void write_config() const;
  void write_weights() const;

  bsd::ModelConfig config_;
  std::uint32_t seed_;
  TempFolder folder_;
  std::vector<Named> tensors_;
};

}  // namespace wdmoe::test
