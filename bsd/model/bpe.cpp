#include "bsd/model/bpe.h"

#include <algorithm>
#include <cstdio>
#include <queue>
#include <utility>

#include <nlohmann/json.hpp>

#include "bsd/model/utf8.h"

namespace wdmoe::bsd::text {
namespace {

constexpr std::uint32_t kNone = 0xFFFFFFFFu;

std::uint64_t pair_of(Token left, Token right) {
  return (static_cast<std::uint64_t>(left) << 32) | right;
}

}  // namespace

/// A node of the doubly linked list of what is not merged yet; indices instead of pointers.
struct Bpe::Symbol {
  Token token;
  std::uint32_t previous, next;  // kNone at the ends
  bool alive;
};

struct Bpe::Candidate {
  std::uint32_t rank;
  std::uint32_t position;  // of the left symbol
  Token merged;

  /// std::priority_queue puts the largest first: the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

Bpe::Bpe(const Part& model) {
  const std::string type = model.string_or("type", "BPE");  // old files leave it out
  if (type != "BPE") model.unsupported("type", type, "BPE");
  model.only({"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix",
              "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"});
  const nlohmann::json* dropout = model.find("dropout");
  if (dropout != nullptr && *dropout != 0)
    model.unsupported("dropout", dropout->dump(), "null: dropout makes tokens random");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const std::string affix = model.string_or(key, ""); !affix.empty())
      model.unsupported(key, "'" + affix + "'", "null");
  fuse_unknown_ = model.boolean("fuse_unk", false);
  ignore_merges_ = model.boolean("ignore_merges", false);

  read_vocabulary(model);
  read_merges(model);
  if (const std::string unknown = model.string_or("unk_token", ""); model.find("unk_token")) {
    unknown_ = find(unknown);
    if (!unknown_) model.bad("unk_token", "in the vocabulary ('" + unknown + "' is not)");
  }
  if (!model.boolean("byte_fallback", false)) return;
  for (unsigned byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    byte_tokens_.push_back(find(name));
  }
}

void Bpe::read_vocabulary(const Part& model) {
  const auto& vocabulary = model.object("vocab");
  ids_.reserve(vocabulary.size());
  for (const auto& [piece, id] : vocabulary.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > kMaxToken)
      model.bad("vocab['" + piece + "']", "a token id up to " + std::to_string(kMaxToken));
    const Token token = id.get<Token>();
    if (token >= pieces_.size()) pieces_.resize(token + 1, nullptr);
    if (pieces_[token] != nullptr)
      model.bad("vocab['" + piece + "']", "an id of its own ('" + *pieces_[token] + "' has " +
                                              std::to_string(token) + " too)");
    pieces_[token] = &ids_.emplace(piece, token).first->first;
  }
}

void Bpe::read_merges(const Part& model) {
  const auto& merges = model.array("merges");
  rules_.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto& merge = merges[i];
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      add_merge(model, i, merge[0].get_ref<const std::string&>(),
                merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : std::string();
    const std::size_t blank = text.find(' ');
    if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos)
      model.bad("merges[" + std::to_string(i) + "]", "two tokens: \"a b\" or [\"a\", \"b\"]");
    add_merge(model, i, std::string_view(text).substr(0, blank),
              std::string_view(text).substr(blank + 1));
  }
}

void Bpe::add_merge(const Part& model, std::size_t index, std::string_view left,
                    std::string_view right) {
  const auto id_of = [&](std::string_view piece) {
    const auto token = find(piece);
    if (!token)
      model.bad("merges[" + std::to_string(index) + "]",
                "of tokens in the vocabulary ('" + std::string(piece) + "' is not)");
    return *token;
  };
  const Token a = id_of(left), b = id_of(right);
  const Token merged = id_of(std::string(left) + std::string(right));
  rules_.insert_or_assign(pair_of(a, b), Rule{static_cast<std::uint32_t>(index), merged});
}

std::optional<Token> Bpe::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Bpe::piece(Token token) const {
  return token < pieces_.size() ? pieces_[token] : nullptr;
}

const Bpe::Rule* Bpe::rule(Token left, Token right) const {
  const auto found = rules_.find(pair_of(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

/// Appends one token per byte when the vocabulary has them all.
bool Bpe::fall_back(std::string_view letter, std::vector<Symbol>& out) const {
  const auto token_of = [this](char byte) {
    return byte_tokens_[static_cast<unsigned char>(byte)];
  };
  if (byte_tokens_.empty() ||
      !std::all_of(letter.begin(), letter.end(), [&](char c) { return token_of(c).has_value(); }))
    return false;
  for (const char c : letter) out.push_back({*token_of(c), kNone, kNone, true});
  return true;
}

/// The piece as single characters (or their bytes), before any merge.  An unknown token is held
/// back until the next known character, as Hugging Face's merge_word does: bytes overtake it.
std::vector<Bpe::Symbol> Bpe::letters(std::string_view piece) const {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  const auto add = [&symbols](Token token) { symbols.push_back({token, kNone, kNone, true}); };
  bool held = false;
  for (std::size_t at = 0, end = 0; at < piece.size(); at = end) {
    next_char(piece, at, end);
    const std::string_view letter = piece.substr(at, end - at);
    if (const auto token = find(letter)) {
      if (held) add(*unknown_);
      held = false;
      add(*token);
    } else if (!fall_back(letter, symbols) && unknown_) {
      if (held && !fuse_unknown_) add(*unknown_);
      held = true;
    }
  }
  if (held) add(*unknown_);
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = i == 0 ? kNone : static_cast<std::uint32_t>(i - 1);
    symbols[i].next = i + 1 == symbols.size() ? kNone : static_cast<std::uint32_t>(i + 1);
  }
  return symbols;
}

/// The merging of one piece.
class Bpe::Merging {
 public:
  Merging(const Bpe& bpe, std::vector<Symbol>& symbols) : bpe_(bpe), symbols_(symbols) {
    std::vector<Candidate> initial;
    initial.reserve(symbols.size());
    queue_ = Queue(std::less<Candidate>{}, std::move(initial));
    for (std::uint32_t i = 0; i + 1 < symbols.size(); ++i) propose(i);
  }

  /// Each merge removes a symbol and proposes at most two pairs, so the loop is bounded by 3 n.
  void run() {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      Symbol& left = symbols_[best.position];
      if (!left.alive || left.next == kNone) continue;
      Symbol& right = symbols_[left.next];
      const Rule* rule = bpe_.rule(left.token, right.token);
      if (rule == nullptr || rule->merged != best.merged) continue;  // the pair has changed since
      left.token = best.merged;
      right.alive = false;
      left.next = right.next;
      if (left.next != kNone) symbols_[left.next].previous = best.position;
      if (left.previous != kNone) propose(left.previous);
      if (left.next != kNone) propose(best.position);
    }
  }

 private:
  void propose(std::uint32_t position) {
    const Symbol& left = symbols_[position];
    if (const Rule* rule = bpe_.rule(left.token, symbols_[left.next].token))
      queue_.push({rule->rank, position, rule->merged});
  }

  using Queue = std::priority_queue<Candidate>;
  const Bpe& bpe_;
  std::vector<Symbol>& symbols_;
  Queue queue_;
};

void Bpe::encode(std::string_view piece, std::vector<Token>& out) const {
  if (ignore_merges_) {
    if (const auto whole = find(piece)) {
      out.push_back(*whole);
      return;
    }
  }
  std::vector<Symbol> symbols = letters(piece);
  if (symbols.size() > 1) Merging(*this, symbols).run();
  for (const Symbol& symbol : symbols)
    if (symbol.alive) out.push_back(symbol.token);
}

void CachedBpe::encode(std::string_view piece, std::vector<Token>& out) {
  if (piece.size() > kLongest) return bpe_.encode(piece, out);
  const auto found = seen_.find(piece);
  if (found != seen_.end()) {
    out.insert(out.end(), found->second.begin(), found->second.end());
    return;
  }
  const std::size_t before = out.size();
  bpe_.encode(piece, out);
  if (seen_.size() < kMostWords)
    seen_.emplace(piece,
                  std::vector<Token>(out.begin() + static_cast<std::ptrdiff_t>(before), out.end()));
}

}  // namespace wdmoe::bsd::text
