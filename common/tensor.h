#pragma once
// How numbers in memory are named: Matrix<T> for f32 working data with a known type, Tensor for
// weights and activation rows whose dtype is decided at run time and whose address may be unaligned
// (mapped files, received frames).  Views own nothing.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/result.h"

namespace wdmoe {

/// Element types of weights and of activation rows on the wire.
enum class DType : std::uint8_t { f32 = 0, f16 = 1, bf16 = 2 };

constexpr std::size_t bytes_of(DType dtype) {
  return dtype == DType::f32 ? 4 : 2;
}
std::string_view name_of(DType dtype);            ///< "f32", "f16", "bf16"
Result<DType> dtype_from(std::string_view name);  ///< accepts the three names, else bad_input

/// A row-major view [rows, cols] of T; consecutive rows are `stride` elements apart.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;

  Matrix() = default;
  Matrix(T* data_in, std::size_t rows_in, std::size_t cols_in)
      : Matrix(data_in, rows_in, cols_in, cols_in) {}
  Matrix(T* data_in, std::size_t rows_in, std::size_t cols_in, std::size_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}

  T* row(std::size_t index) const { return data + index * stride; }
  Matrix slice_rows(std::size_t first, std::size_t count) const {
    return {data + first * stride, count, cols, stride};
  }
  operator Matrix<const T>() const { return {data, rows, cols, stride}; }  // NOLINT: widening view
};

/// A dense row-major read-only view [rows, cols] of `dtype` elements; `data` may be unaligned.
/// A weight of a linear layer is [out_features, in_features], as Hugging Face stores it.
struct Tensor {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;
  std::size_t rows = 0, cols = 0;

  std::size_t size_bytes() const { return rows * cols * bytes_of(dtype); }
  const std::byte* row(std::size_t index) const { return data + index * cols * bytes_of(dtype); }
  Tensor slice_rows(std::size_t first, std::size_t count) const {
    return {row(first), dtype, count, cols};
  }
};

/// The same, writable: where result rows go (an outgoing frame).
struct MutableTensor {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  std::size_t rows = 0, cols = 0;

  std::size_t size_bytes() const { return rows * cols * bytes_of(dtype); }
  std::byte* row(std::size_t index) const { return data + index * cols * bytes_of(dtype); }
};

/// Scalar conversions, round to nearest even; the definition the SIMD paths are tested against.
std::uint16_t f16_from_float(float value);  ///< overflow becomes infinity
float float_from_f16(std::uint16_t bits);
std::uint16_t bf16_from_float(float value);
float float_from_bf16(std::uint16_t bits);

}  // namespace wdmoe
