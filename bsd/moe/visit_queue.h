#pragma once
// The rows that visit one bottleneck, cheapest to send away first: the priority queue of
// descent.cpp. A plain list until it is first asked, because most devices never become the
// bottleneck.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace wdmoe::bsd {

struct Visit {
  float price;  ///< kept mass lost per second saved, when last looked at
  std::uint32_t row;
  std::uint16_t device;
};

/// A binary heap that can price its front anew in place, which std::pop_heap and std::push_heap
/// would walk the heap twice for.
class VisitQueue {
 public:
  void clear(std::size_t capacity) {
    visits_.clear();
    visits_.reserve(capacity);
    ordered_ = false;
  }
  bool empty() const { return visits_.empty(); }
  std::size_t size() const { return visits_.size(); }
  bool is_ordered() const { return ordered_; }
  const Visit& front() const { return visits_.front(); }
  std::vector<Visit>& visits() { return visits_; }  ///< to set prices before order()

  void order() {
    for (std::size_t place = visits_.size() / 2; place-- > 0;) sink(place);
    ordered_ = true;
  }

  void push(const Visit& visit) {
    visits_.push_back(visit);
    if (!ordered_) return;
    std::size_t place = visits_.size() - 1;
    while (place > 0) {
      const std::size_t parent = (place - 1) / 2;
      if (!cheaper(visits_[place], visits_[parent])) return;
      std::swap(visits_[place], visits_[parent]);
      place = parent;
    }
  }

  void pop() {
    visits_.front() = visits_.back();
    visits_.pop_back();
    if (!visits_.empty()) sink(0);
  }

  /// Sets the front's price; false: another visit is at the front now.
  bool reprice_front(float price) {
    visits_.front().price = price;
    return sink(0) == 0;
  }

 private:
  /// A total order, so that equal prices leave nothing to chance.
  static bool cheaper(const Visit& a, const Visit& b) {
    if (a.price != b.price) return a.price < b.price;
    return a.row != b.row ? a.row < b.row : a.device < b.device;
  }

  std::size_t sink(std::size_t place) {
    const Visit visit = visits_[place];
    for (std::size_t child = 2 * place + 1; child < visits_.size(); child = 2 * place + 1) {
      if (child + 1 < visits_.size()) child += cheaper(visits_[child + 1], visits_[child]) ? 1 : 0;
      if (!cheaper(visits_[child], visit)) break;
      visits_[place] = visits_[child];
      place = child;
    }
    visits_[place] = visit;
    return place;
  }

  std::vector<Visit> visits_;
  bool ordered_ = false;
};

}  // namespace wdmoe::bsd
