#pragma once
// Radio and data amounts as types, so that a bandwidth cannot be passed where a rate belongs.
// Explicit in, explicit out (.value()), and only the operators that mean something.

#include <chrono>

namespace wdmoe {

/// A double with a unit.  Adds to its own kind, scales by plain numbers, divides to a ratio.
template <class Unit>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(double value) : value_(value) {}
  constexpr double value() const { return value_; }

  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return Quantity(a.value_ + b.value_);
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return Quantity(a.value_ - b.value_);
  }
  friend constexpr Quantity operator*(Quantity a, double factor) {
    return Quantity(a.value_ * factor);
  }
  friend constexpr Quantity operator*(double factor, Quantity a) { return a * factor; }
  friend constexpr Quantity operator/(Quantity a, double divisor) {
    return Quantity(a.value_ / divisor);
  }
  friend constexpr double operator/(Quantity a, Quantity b) { return a.value_ / b.value_; }
  constexpr Quantity& operator+=(Quantity other) { return *this = *this + other; }

  friend constexpr bool operator==(Quantity a, Quantity b) { return a.value_ == b.value_; }
  friend constexpr bool operator!=(Quantity a, Quantity b) { return a.value_ != b.value_; }
  friend constexpr bool operator<(Quantity a, Quantity b) { return a.value_ < b.value_; }
  friend constexpr bool operator<=(Quantity a, Quantity b) { return a.value_ <= b.value_; }
  friend constexpr bool operator>(Quantity a, Quantity b) { return a.value_ > b.value_; }
  friend constexpr bool operator>=(Quantity a, Quantity b) { return a.value_ >= b.value_; }

 private:
  double value_ = 0;
};

using Seconds =
    std::chrono::duration<double>;  ///< model time; steady_clock readings are in clock.h
using Hertz = Quantity<struct HertzUnit>;
using Bits = Quantity<struct BitsUnit>;
using BitsPerSecond = Quantity<struct BitsPerSecondUnit>;
using Watts = Quantity<struct WattsUnit>;
using WattsPerHertz = Quantity<struct WattsPerHertzUnit>;
using Flops = Quantity<struct FlopsUnit>;  ///< an amount of work
using FlopsPerSecond = Quantity<struct FlopsPerSecondUnit>;
using Metres = Quantity<struct MetresUnit>;
using Decibels = Quantity<struct DecibelsUnit>;

constexpr Seconds operator/(Bits amount, BitsPerSecond rate) {
  return Seconds(amount.value() / rate.value());
}
constexpr Seconds operator/(Flops work, FlopsPerSecond speed) {
  return Seconds(work.value() / speed.value());
}

}  // namespace wdmoe
