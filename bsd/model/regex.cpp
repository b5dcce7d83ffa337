#include "bsd/model/regex.h"

#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <nlohmann/json.hpp>
#include <pcre2.h>

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

// What Oniguruma means by \s and \w; PCRE2's own differ by U+180E and by marks and circled letters.
constexpr std::string_view kSpaceSet = "\\t-\\r\\x{85}\\p{Z}";
constexpr std::string_view kWordSet =
    "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"
    "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";

// A pattern that needs more than this per match is hostile or broken; the longest known tokenizer
// patterns stay within a small multiple of the text's length, and texts are bounded by 64 MiB.
constexpr std::uint32_t kMatchLimit = 300'000'000;
constexpr std::uint32_t kHeapLimitKib = 256 * 1024;
constexpr std::size_t kJitStackBytes = std::size_t{8} << 20;

[[noreturn]] void refuse(std::string_view expression, std::string_view what) {
  throw LoadError(Code::unsupported, "regular expression '" + std::string(expression) + "' uses " +
                                         std::string(what) + ", which is not supported");
}

/// The expansion of a two-character escape whose meaning differs; empty: same in both.
std::string expand_escape(std::string_view expression, char letter, bool in_class) {
  const auto set = [&](std::string_view members, bool negated) {
    if (!in_class) return std::string(negated ? "[^" : "[") + std::string(members) + "]";
    return std::string(members);
  };
  switch (letter) {
    case 's':
      return set(kSpaceSet, false);
    case 'w':
      return set(kWordSet, false);
    case 'S':
    case 'W':
      if (in_class) return {};  // cannot be spelt out inside a class; PCRE2's own is close
      return set(letter == 'S' ? kSpaceSet : kWordSet, true);
    case 'h':
    case 'H':
      refuse(expression, "\\h (a hex digit for Hugging Face, a blank for PCRE2)");
    default:
      return {};
  }
}

}  // namespace

std::string translate(std::string_view expression) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const std::string expansion = expand_escape(expression, expression[i + 1], in_class);
      out += expansion.empty() ? std::string(expression.substr(i, 2)) : expansion;
      ++i;
      continue;
    }
    if (in_class && c == '&' && expression.substr(i, 2) == "&&")
      refuse(expression, "an intersection of classes (&&)");
    if (in_class && c == '[' && expression.substr(i, 2) != "[:")
      refuse(expression, "a class within a class");
    if (in_class && c == '[') {  // [:alpha:] goes over whole
      const std::size_t end = expression.find(":]", i);
      if (end == std::string_view::npos) refuse(expression, "an open class name");
      out += expression.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    }
    if (!in_class && c == '[') {
      in_class = true;
      out += c;
      if (expression.substr(i + 1, 1) == "^") out += expression[++i];
      if (expression.substr(i + 1, 1) == "]") {
        out += "\\]";
        ++i;
      }
      continue;
    }
    if (in_class && c == ']') in_class = false;
    out += c;
  }
  return out;
}

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() { pcre2_code_free(code); }
};

Pattern Pattern::string(std::string needle) {
  Pattern pattern;
  pattern.needle_ = std::move(needle);
  return pattern;
}

Pattern Pattern::characters(Predicate predicate) {
  Pattern pattern;
  pattern.predicate_ = predicate;
  return pattern;
}

Pattern Pattern::regex(const std::string& expression) {
  const std::string translated = translate(expression);
  auto compiled = std::make_shared<Compiled>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                 &error, &offset, nullptr);
  if (compiled->code == nullptr) {
    unsigned char message[256] = {};
    pcre2_get_error_message(error, message, sizeof message);
    throw LoadError(Code::bad_input, "regular expression '" + expression + "' does not compile: " +
                                         reinterpret_cast<const char*>(message));
  }
  pcre2_jit_compile(compiled->code,
                    PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter runs
  Pattern pattern;
  pattern.compiled_ = std::move(compiled);
  return pattern;
}

Pattern Pattern::from(const Part& part) {
  part.only({"String", "Regex"});
  if (part.find("String") != nullptr) return string(part.string("String"));
  return regex(part.string("Regex"));
}

namespace {

/// Appends matches so that they and the stretches between cover the text.
class Cutter {
 public:
  explicit Cutter(std::vector<Match>& out) : out_(out) { out_.clear(); }
  void match(std::size_t begin, std::size_t end) {
    if (begin > done_) out_.push_back({done_, begin, false});
    out_.push_back({begin, end, true});
    done_ = end;
  }
  void finish(std::size_t size) {
    if (done_ < size) out_.push_back({done_, size, false});
  }

 private:
  std::vector<Match>& out_;
  std::size_t done_ = 0;
};

/// Everything one search needs, freed together.
struct Search {
  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack = nullptr;

  explicit Search(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    if (context == nullptr) return;
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
  }
  /// PCRE2's JIT begins with 32 KiB of the machine's stack; true when there is more from now on.
  bool grow_stack() {
    if (stack != nullptr) return false;
    stack = pcre2_jit_stack_create(64 * 1024, kJitStackBytes, nullptr);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
    return stack != nullptr;
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;
  ~Search() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

}  // namespace

Result<void> Pattern::find(std::string_view text, std::vector<Match>& out) const {
  if (compiled_) return find_regex(text, out);
  Cutter cutter(out);
  if (predicate_ != nullptr) {
    for (std::size_t at = 0, end = 0; at < text.size(); at = end)
      if (predicate_(next_char(text, at, end))) cutter.match(at, end);
  } else if (!needle_.empty()) {
    for (std::size_t at = text.find(needle_); at != std::string_view::npos;
         at = text.find(needle_, at + needle_.size()))
      cutter.match(at, at + needle_.size());
  }
  cutter.finish(text.size());
  return {};
}

Result<void> Pattern::find_regex(std::string_view text, std::vector<Match>& out) const {
  Cutter cutter(out);
  Search search(compiled_->code);
  if (search.data == nullptr || search.context == nullptr)
    return fail(Code::unavailable, "no memory to match a regular expression");
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(search.data);
  for (std::size_t at = 0; at < text.size();) {
    const int found = pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                                  search.data, search.context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && search.grow_stack()) continue;
    if (found < 0)
      return fail(Code::limit,
                  "the tokenizer's regular expression gave up on this text (PCRE2 error " +
                      std::to_string(found) + "); send it in smaller pieces");
    if (span[1] > span[0]) cutter.match(span[0], span[1]);
    if (span[1] > at) {
      at = span[1];
    } else {  // an empty match cuts nothing here; step over one character
      next_char(text, at, at);
    }
  }
  cutter.finish(text.size());
  return {};
}

}  // namespace wdmoe::bsd::text
