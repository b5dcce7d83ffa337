#pragma once
// A tokenizer.model (SentencePiece) read with SentencePiece's own library, for checkpoints that
// have no tokenizer.json.  BOS and EOS follow tokenizer_config.json beside it (add_bos_token,
// add_eos_token; by default BOS only, as Llama's and Mixtral's).

#include <filesystem>
#include <memory>

#include "bsd/model/tokenizer.h"

namespace wdmoe::bsd::text {

Result<std::unique_ptr<const Tokenizer>> load_sentencepiece(const std::filesystem::path& file);

}  // namespace wdmoe::bsd::text
