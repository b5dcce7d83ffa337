#include "bsd/selector.h"

#include <algorithm>
#include <string>

#include "common/check.h"
#include "common/clock.h"

namespace wdmoe::bsd {

void Selector::begin(Span<const Slice> batch) {
  ++step_;
  under_way_ = 0;
  std::size_t rows = 0;
  runs_.clear();
  wishes_.clear();
  const bool wished =
      std::any_of(batch.begin(), batch.end(), [](const Slice& s) { return !s.wish.empty(); });
  for (const Slice& slice : batch) {
    const std::size_t count = slice.tokens.size();
    runs_.push_back({slice.sequence, static_cast<std::uint32_t>(slice.cache->length()),
                     static_cast<std::uint32_t>(count)});
    if (wished) wishes_.insert(wishes_.end(), count, slice.wish);
    rows += count;
  }
  tallies_.begin(rows);
}

Result<const Selection*> Selector::select(std::size_t layer, RowRange part,
                                          Matrix<const float> gates) {
  SelectionInput input;
  input.layer = layer;
  input.top_k = top_k_;
  input.probabilities = gates;
  input.holders = &experts_.holders(layer);
  input.latencies = experts_.latencies();
  if (!wishes_.empty())
    input.wishes =
        Span<const PolicyWish>(wishes_.data(), wishes_.size()).subspan(part.first, part.count);
  policy_->select(input, chosen_);
  const auto homeless = std::find_if(chosen_.begin(), chosen_.end(),
                                     [](const Choice& c) { return c.device == kNobody; });
  if (homeless != chosen_.end())
    return fail(Code::unavailable, "layer " + std::to_string(layer) + ": no device holds expert " +
                                       std::to_string(homeless->expert));

  const SelectionTally tally = tallies_.add(part.first, input, chosen_);
  for (SelectionWitness* witness : witnesses_)
    witness->decided({step_, {runs_.data(), runs_.size()}, part.first, input, chosen_, tally});
  WDMOE_CHECK(under_way_ < expected_.size());
  const bool known = !input.latencies.fixed_s.empty();
  expected_[(oldest_ + under_way_++) % expected_.size()] = {layer,
                                                            known ? predict_(input, chosen_) : 0.0};
  return &chosen_;
}

void Selector::finished() {
  WDMOE_CHECK(under_way_ > 0);
  const Expectation expected = expected_[oldest_];
  oldest_ = (oldest_ + 1) % expected_.size();
  --under_way_;
  const Waiting waiting = experts_.last_wait();
  Wait wait{expected.layer, expected.seconds, in_seconds(waiting.response),
            in_seconds(waiting.blocked)};
  if (wait.predicted_s <= 0 || wait.response_s <= 0) wait.predicted_s = wait.response_s = 0;
  for (SelectionWitness* witness : witnesses_) witness->waited(wait);
}

void Selector::completed() {
  for (SelectionWitness* witness : witnesses_) witness->completed();
}

}  // namespace wdmoe::bsd
