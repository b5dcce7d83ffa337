#pragma once
// Spans, under one name for C++17 and C++20 code alike.

#include <cstddef>

#include <gsl/span>

namespace wdmoe {

template <class T>
using Span = gsl::span<T>;

using Bytes = Span<const std::byte>;

}  // namespace wdmoe
