# Text <-> tokens and the sampler; a target of its own, so that the API can use it without the model.
wdmoe_library(tokenizer CXX20
  SOURCES added_tokens.cpp bpe.cpp byte_level.cpp metaspace.cpp normalizer.cpp post_processor.cpp
          pre_tokenizer.cpp regex.cpp sampler.cpp sentencepiece_tokenizer.cpp splitter.cpp
          token_decoder.cpp tokenizer.cpp tokenizer_json.cpp tokenizer_part.cpp utf8.cpp
  LINK wdmoe::common
  PRIVATE_LINK deps::json deps::pcre2 deps::utf8proc deps::sentencepiece)
