#pragma once
// The seam between devices: whatever computes experts (CPU here, CUDA as a plug-in) does it behind
// this interface.  Numbers in, numbers out; knows nothing of messages or files.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/expert.h"
#include "common/result.h"
#include "common/span.h"
#include "common/tensor.h"

namespace wdmoe::kernels {

/// What load() returned; dense, counted from 0.
using ExpertHandle = std::uint32_t;

/// out[row] += weight · expert(in[row])
struct RowWeight {
  std::uint32_t row;
  float weight;
};

/// The rows that visit one expert, each row at most once.
struct ExpertWork {
  ExpertHandle expert;
  Span<const RowWeight> rows;
};

/// What a start-up message tells about a backend.
struct BackendFacts {
  std::string device;                   ///< which hardware computes; empty: this machine's CPU
  std::uint64_t saturated_weights = 0;  ///< that did not fit the backend's number format
  bool copies_weights = false;          ///< load() leaves the given memory unused
};

class ExpertBackend {
 public:
  virtual ~ExpertBackend() = default;
  virtual std::string_view name() const = 0;  ///< "cpu", "cuda"
  virtual BackendFacts facts() const { return {}; }

  /// Takes an expert in.  The memory behind `weights` must outlive the backend (the CPU backend
  /// computes from it in place).  Start-up only.  Errors: shapes that do not fit each other or the
  /// experts already loaded (bad_input), out of memory (limit).
  virtual Result<ExpertHandle> load(const ExpertWeights& weights) = 0;

  /// out[row] = Σ over `work` of weight · expert(in[row]); rows that no work names become zero.
  /// in, out: [rows, hidden], any dtype each, possibly unaligned, not overlapping.  Accumulates in
  /// f32 and rounds once, when writing `out`.  Does not allocate once it has seen a call at least
  /// as large (or reserve()).  Sets `overflowed` when out.dtype is f16 and a finite sum does not
  /// fit it, else clears it (the caller then asks again for f32).
  virtual Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                           bool& overflowed) = 0;

  /// Makes room for calls of up to `rows` rows with `assignments` (row, expert) pairs in total.
  virtual Result<void> reserve(std::size_t rows, std::size_t assignments) = 0;
};

class ThreadPool;

/// Blocked, vectorised kernels for this machine's CPU.  `pool` outlives the backend.
std::unique_ptr<ExpertBackend> make_cpu_backend(ThreadPool& pool);

/// Plain loops in double precision: the definition of correct, for tests.
std::unique_ptr<ExpertBackend> make_reference_backend();

}  // namespace wdmoe::kernels
