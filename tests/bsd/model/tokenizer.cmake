wdmoe_test(tokenizer_test
  SOURCES tokenizer_test.cpp tokenizer_parts_test.cpp bpe_test.cpp sampler_test.cpp
  LINK wdmoe::tokenizer deps::json)
