#pragma once
// tokenizer.json's `decoder`: token strings back to text, one token at a time.  decode() of a whole
// list and streaming run the very same stages, so they cannot differ.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace wdmoe::bsd::text {

/// One step of decoding one list: takes token strings (or, after a Fuse, parts of the one fused
/// string), gives some on to the next, and may hold some back until finish().
class DecodeStage {
 public:
  using Next = std::function<void(std::string_view)>;
  virtual ~DecodeStage() = default;
  virtual void push(std::string_view piece, const Next& next) = 0;
  virtual void finish(const Next& next) = 0;
  /// Whether it holds back text that stands should the list end here (not a mere repair).
  virtual bool holds_text() const { return false; }
  virtual std::unique_ptr<DecodeStage> clone() const = 0;
};

using StageFactory = std::function<std::unique_ptr<DecodeStage>()>;

/// The stages of one list in a row.
class DecodePipeline {
 public:
  explicit DecodePipeline(const std::vector<StageFactory>& factories);
  void push(std::string_view piece, std::string& out) { push_from(0, piece, out); }
  void finish(std::string& out);
  /// What finish() would append now if some stage holds_text(), else nothing.
  std::string held_text() const;

 private:
  void push_from(std::size_t stage, std::string_view piece, std::string& out);
  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

/// The stages that `decoder` (possibly null) asks for; throws LoadError for what is not
/// implemented.
std::vector<StageFactory> decoder_from(const nlohmann::json& decoder);

/// The same for one token amid others: its bytes as they are, nothing stripped or repaired.
std::vector<StageFactory> piece_decoder_from(const nlohmann::json& decoder);

/// The byte that "<0x41>" names, or -1.
int byte_of_token(std::string_view token);

}  // namespace wdmoe::bsd::text
