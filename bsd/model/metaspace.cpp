#include "bsd/model/metaspace.h"

namespace wdmoe::bsd::text {

Metaspace Metaspace::from(const Part& part) {
  // str_rep and add_prefix_space are how older files said the same.
  part.only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  Metaspace settings;
  settings.replacement = part.character("replacement");
  settings.split = part.boolean("split", true);
  const std::string scheme =
      part.string_or("prepend_scheme", part.boolean("add_prefix_space", true) ? "always" : "never");
  if (scheme == "first") {
    settings.prepend = Prepend::first;
  } else if (scheme == "never") {
    settings.prepend = Prepend::never;
  } else if (scheme != "always") {
    part.unsupported("prepend_scheme", scheme, "first, always or never");
  }
  return settings;
}

}  // namespace wdmoe::bsd::text
