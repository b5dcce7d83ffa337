#pragma once
// SentencePiece's way with blanks: U+2581 stands for a space.  Both the pre-tokenizer and the
// decoder of this name read the same settings.

#include "bsd/model/tokenizer_part.h"

namespace wdmoe::bsd::text {

struct Metaspace {
  enum class Prepend { first, always, never };

  char32_t replacement = 0x2581;
  Prepend prepend = Prepend::always;
  bool split = true;

  static Metaspace from(const Part& part);  // throws LoadError
};

}  // namespace wdmoe::bsd::text
