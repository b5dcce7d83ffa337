// Experts on the CPU: y = down · (silu(gate · x) ∘ (up · x)), rows weighted and added up per token.
//
// Shapes: in [rows, hidden]; per expert gate, up [ffn, hidden] and down [hidden, ffn] in place.
// Three phases with a barrier after each: the rows of each expert are gathered once as f32;
// blocks of ffn columns of every expert (gate and up in one pass); blocks of hidden columns, each
// summing over all experts in order of `work`, so that no two threads add to one number and the sum
// does not depend on the number of threads.  The same blocks serve decode (they are streamed) and
// prefill (they are packed).
// Bench alone: tests/bench/kernels_bench --benchmark_filter='expert'

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "kernels/expert_backend.h"
#include "kernels/expert_checks.h"
#include "kernels/matmul.h"
#include "kernels/rows.h"
#include "kernels/scratch.h"
#include "kernels/thread_pool.h"

namespace wdmoe::kernels {
namespace {

/// Rows and assignments of one call; no scheduler sends more, and products of it with an extent
/// (kMaxExpertExtent) stay far from overflowing.
constexpr std::size_t kMaxRows = std::size_t{1} << 20;

constexpr std::size_t blocks_of(std::size_t count, std::size_t block) {
  return (count + block - 1) / block;
}

/// Row stride for f32 working rows: whole cache lines, and an odd number of them, so that rows of
/// a power-of-two width do not all fall into the same cache sets.
constexpr std::size_t stride_for(std::size_t cols) {
  return (blocks_of(cols, 16) | 1) * 16;
}

class CpuBackend final : public ExpertBackend {
 public:
  explicit CpuBackend(ThreadPool& pool) : pool_(pool) {
    pool_.reserve_scratch(kPanelFloats + 2 * kBlockFloats);
  }

  std::string_view name() const override { return "cpu"; }

  Result<ExpertHandle> load(const ExpertWeights& weights) override {
    WDMOE_TRY(check_expert(weights, hidden_));
    hidden_ = weights.gate.cols;
    widest_ = std::max(widest_, weights.gate.rows);
    experts_.push_back(weights);
    WDMOE_TRY(make_room(reserved_rows_, reserved_assignments_));
    return static_cast<ExpertHandle>(experts_.size() - 1);
  }

  Result<void> reserve(std::size_t rows, std::size_t assignments) override {
    WDMOE_TRY(check_rows(rows, assignments));
    reserved_rows_ = std::max(reserved_rows_, rows);
    reserved_assignments_ = std::max(reserved_assignments_, assignments);
    return make_room(reserved_rows_, reserved_assignments_);
  }

  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override {
    WDMOE_TRY(check_work(work, in, out, experts_.size(), hidden_));
    std::size_t assignments = 0, multiplies = 0;
    for (const ExpertWork& item : work) {
      assignments += item.rows.size();
      multiplies += item.rows.size() * 3 * hidden_ * experts_[item.expert].gate.rows;
    }
    WDMOE_TRY(check_rows(in.rows, std::max(assignments, work.size())));
    WDMOE_TRY(make_room(in.rows, std::max(assignments, work.size())));
    const Call call{work, in, out};
    alone_ = multiplies < kWorthSharing;
    gather(call);
    inner_products(call);
    overflowed = !outer_products(call);
    return {};
  }

 private:
  struct Call {
    Span<const ExpertWork> work;
    Tensor in;
    MutableTensor out;
  };

  static Result<void> check_rows(std::size_t rows, std::size_t assignments) {
    const std::size_t most = std::max(rows, assignments);
    if (most <= kMaxRows) return {};
    return fail(Code::limit, "experts: " + std::to_string(most) +
                                 " rows at once: expected at most " + std::to_string(kMaxRows));
  }

  /// Grows the working memory; allocates only when it is asked for more than ever before.
  Result<void> make_room(std::size_t rows, std::size_t assignments) {
    try {
      gathered_.at_least(assignments * stride_for(hidden_));
      inner_.at_least(assignments * stride_for(widest_));
      sums_.at_least(rows * stride_for(hidden_));
      first_.reserve(assignments);
    } catch (const std::bad_alloc&) {
      return fail(Code::limit, "experts: no memory for " + std::to_string(assignments) +
                                   " rows at once; send fewer rows per request");
    }
    return {};
  }

  void share(std::size_t items, Task task) {
    if (alone_) {
      pool_.run_here(items, task);
    } else {
      pool_.run(items, task);
    }
  }

  /// Fills first_[w], the first gathered row of work w, and gathers.
  void gather(const Call& call) {
    first_.clear();
    std::size_t next = 0;
    for (const ExpertWork& item : call.work) {
      first_.push_back(next);
      next += item.rows.size();
    }
    share(call.work.size(), [&](std::size_t w) {
      const Matrix<float> x = gathered(call, w);
      for (std::size_t row = 0; row < x.rows; ++row)
        load_row(call.in.row(call.work[w].rows[row].row), hidden_, call.in.dtype, x.row(row));
    });
  }

  Matrix<float> gathered(const Call& call, std::size_t w) const {
    const std::size_t stride = stride_for(hidden_);
    return {gathered_.data() + first_[w] * stride, call.work[w].rows.size(), hidden_, stride};
  }

  Matrix<float> inner(const Call& call, std::size_t w) const {
    const std::size_t stride = stride_for(widest_);
    return {inner_.data() + first_[w] * stride, call.work[w].rows.size(),
            experts_[call.work[w].expert].gate.rows, stride};
  }

  std::size_t inner_blocks(const Call& call, std::size_t w) const {
    return blocks_of(experts_[call.work[w].expert].gate.rows, kBlockColumns) *
           blocks_of(call.work[w].rows.size(), kBlockRows);
  }

  /// inner = silu(gate · x) ∘ (up · x), an item per expert, block of ffn columns and block of rows.
  void inner_products(const Call& call) {
    std::size_t items = 0;
    for (std::size_t w = 0; w < call.work.size(); ++w) items += inner_blocks(call, w);
    share(items, [&](std::size_t item, std::size_t thread) {
      std::size_t w = 0;
      for (; item >= inner_blocks(call, w); ++w) item -= inner_blocks(call, w);
      inner_block(call, w, item, pool_.scratch(thread));
    });
  }

  void inner_block(const Call& call, std::size_t w, std::size_t item, float* panel) const {
    const ExpertWeights& expert = experts_[call.work[w].expert];
    const std::size_t across = blocks_of(expert.gate.rows, kBlockColumns);
    const std::size_t col = item % across * kBlockColumns, row = item / across * kBlockRows;
    const std::size_t cols = std::min(kBlockColumns, expert.gate.rows - col);
    const Matrix<float> rows = gathered(call, w);
    const std::size_t count = std::min(kBlockRows, rows.rows - row);
    const Matrix<float> x = rows.slice_rows(row, count);

    float* gate = panel + kPanelFloats;
    float* up = gate + kBlockFloats;
    const std::size_t next = col + pool_.threads() * kBlockColumns;
    multiply_block(expert.gate.slice_rows(col, cols), x, panel, gate, expert.up.row(col));
    multiply_block(expert.up.slice_rows(col, cols), x, panel, up,
                   next + cols <= expert.gate.rows ? expert.gate.row(next) : nullptr);
    Matrix<float> to = inner(call, w).slice_rows(row, count);
    to.data += col;
    to.cols = cols;
    silu_multiply({gate, count, cols, kBlockColumns}, {up, count, cols, kBlockColumns}, to);
  }

  /// out = Σ weight · (down · inner), an item per block of hidden columns; false if f16 overflowed.
  bool outer_products(const Call& call) {
    std::atomic<bool> fits{true};
    share(blocks_of(hidden_, kBlockColumns), [&](std::size_t item, std::size_t thread) {
      const std::size_t col = item * kBlockColumns;
      const std::size_t cols = std::min(kBlockColumns, hidden_ - col);
      const std::size_t stride = stride_for(hidden_);
      float* sums = sums_.data() + col;
      for (std::size_t row = 0; row < call.out.rows; ++row)
        std::memset(sums + row * stride, 0, cols * sizeof(float));
      for (std::size_t w = 0; w < call.work.size(); ++w)
        add_outer_block(call, w, col, cols, pool_.scratch(thread));
      for (std::size_t row = 0; row < call.out.rows; ++row)
        if (!store_row(sums + row * stride, cols, call.out.dtype,
                       call.out.row(row) + col * bytes_of(call.out.dtype)))
          fits.store(false, std::memory_order_relaxed);
    });
    return fits;
  }

  void add_outer_block(const Call& call, std::size_t w, std::size_t col, std::size_t cols,
                       float* panel) const {
    const ExpertWork& work = call.work[w];
    const Matrix<float> rows = inner(call, w);
    const Tensor down = experts_[work.expert].down.slice_rows(col, cols);
    const std::size_t stride = stride_for(hidden_);
    float* c = panel + kPanelFloats;
    for (std::size_t from = 0; from < rows.rows; from += kBlockRows) {
      const std::size_t count = std::min(kBlockRows, rows.rows - from);
      multiply_block(down, rows.slice_rows(from, count), panel, c);
      for (std::size_t row = 0; row < count; ++row) {
        const RowWeight& target = work.rows[from + row];
        add_scaled_row(target.weight, c + row * kBlockColumns,
                       sums_.data() + target.row * stride + col, cols);
      }
    }
  }

  ThreadPool& pool_;
  std::vector<ExpertWeights> experts_;
  std::size_t hidden_ = 0, widest_ = 0;  ///< widest_: the largest ffn loaded
  Scratch gathered_;                     ///< [assignments, hidden], expert after expert
  Scratch inner_;                        ///< [assignments, ffn]
  Scratch sums_;                         ///< [rows, hidden]
  std::vector<std::size_t> first_;       ///< per work, its first row in gathered_ and inner_
  std::size_t reserved_rows_ = 0, reserved_assignments_ = 0;
  bool alone_ = false;  ///< this call is too small to share
};

}  // namespace

std::unique_ptr<ExpertBackend> make_cpu_backend(ThreadPool& pool) {
  return std::make_unique<CpuBackend>(pool);
}

}  // namespace wdmoe::kernels
