// Causal grouped-query attention over a paged cache, with a softmax that is kept while blocks of
// keys stream by (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax").
//
// One item of work: one job, one key/value head, one block of queries.  All query heads that share
// the key/value head are rows of one matrix, so a page of keys or values is read once for the whole
// group, in decode (1 query, `group` rows) and prefill (about kQueryRows rows) alike.
// Bench alone: tests/bench/kernels_bench --benchmark_filter='attend'

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/check.h"
#include "kernels/matmul.h"
#include "kernels/ops.h"
#include "kernels/rows.h"

namespace wdmoe::kernels {
namespace {

constexpr std::size_t kQueryRows = 64;  ///< enough to pay for packing a block of keys

constexpr std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

/// How the work is cut and what one thread needs in its scratch.
struct Plan {
  std::size_t group, queries;  ///< query heads per key/value head; queries per item
  std::size_t rows;            ///< group · queries
  std::size_t width;           ///< head_dim, padded for whole vectors

  explicit Plan(const AttentionShape& shape)
      : group(shape.heads / shape.kv_heads),
        queries(std::max<std::size_t>(1, kQueryRows / group)),
        rows(group * queries),
        width(round_up(shape.head_dim, kBlockColumns)) {}

  std::size_t blocks(const AttentionJob& job) const { return (job.rows + queries - 1) / queries; }
  std::size_t scratch_floats() const {
    static_assert(sizeof(Visible) == 4 * sizeof(float), "counted as four floats a row");
    return kPanelFloats + rows * (2 * width + kBlockColumns + 2 + 4);
  }
};

/// One thread's scratch, cut up.
struct Workplace {
  float *panel, *q, *o, *scores, *largest, *sum;
  Visible* visible;

  Workplace(const Plan& plan, float* scratch)
      : panel(scratch),
        q(panel + kPanelFloats),
        o(q + plan.rows * plan.width),
        scores(o + plan.rows * plan.width),
        largest(scores + plan.rows * kBlockColumns),
        sum(largest + plan.rows),
        visible(reinterpret_cast<Visible*>(sum + plan.rows)) {}
};

/// Consecutive queries of one job, with all heads that share one key/value head.
struct Block {
  const AttentionJob& job;
  std::size_t kv_head, first, queries;  ///< first: counted from the job's first row
};

class Attention {
 public:
  Attention(const AttentionShape& shape, const Plan& plan, Matrix<const float> q, Matrix<float> out)
      : shape_(shape), plan_(plan), q_(q), out_(out) {}

  void run(const Block& block, const Workplace& place) const {
    const std::size_t rows = block.queries * plan_.group;
    gather(block, place);
    const std::size_t first_position = block.job.first_position + block.first;
    const std::size_t end = first_position + block.queries;
    for (std::size_t token = first_visible(first_position); token < end;) {
      const std::size_t offset = token % shape_.page_tokens;
      const std::size_t count = std::min({kBlockColumns, shape_.page_tokens - offset, end - token});
      add_tokens(block, place, token, count, rows);
      token += count;
    }
    scatter(block, place);
  }

 private:
  std::size_t first_visible(std::size_t position) const {
    return shape_.window == 0 || position < shape_.window ? 0 : position + 1 - shape_.window;
  }

  /// Queries times 1/sqrt(head_dim) into place.q; empties the running softmax.
  void gather(const Block& block, const Workplace& place) const {
    const float scale = 1 / std::sqrt(static_cast<float>(shape_.head_dim));
    for (std::size_t row = 0; row < block.queries * plan_.group; ++row) {
      const float* from = q_.row(row_of(block, row)) + column_of(block, row);
      float* to = place.q + row * plan_.width;
      for (std::size_t d = 0; d < shape_.head_dim; ++d) to[d] = from[d] * scale;
      std::fill_n(place.o + row * plan_.width, plan_.width, 0.0f);
      place.largest[row] = std::numeric_limits<float>::lowest();
      place.sum[row] = 0;
    }
  }

  /// Lets the block's queries see `count` tokens from `token` on, all within one page.
  void add_tokens(const Block& block, const Workplace& place, std::size_t token, std::size_t count,
                  std::size_t rows) const {
    const std::size_t page = token / shape_.page_tokens;
    const std::size_t at =
        (block.kv_head * shape_.page_tokens + token % shape_.page_tokens) * shape_.head_dim;
    const float* keys = block.job.key_pages[page] + at;
    const float* values = block.job.value_pages[page] + at;

    const Tensor key_rows{reinterpret_cast<const std::byte*>(keys), DType::f32, count,
                          shape_.head_dim};
    multiply_block(key_rows, {place.q, rows, shape_.head_dim, plan_.width}, place.panel,
                   place.scores);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t position = block.job.first_position + block.first + row / plan_.group;
      const std::size_t first = std::max(first_visible(position), token) - token;
      const std::size_t end = position < token ? 0 : std::min(position + 1 - token, count);
      place.visible[row] = {first, end};
    }
    const Matrix<float> scores{place.scores, rows, count, kBlockColumns};
    const Matrix<float> o{place.o, rows, shape_.head_dim, plan_.width};
    online_softmax({place.largest, place.sum, o}, place.visible, scores);
    accumulate(scores, {values, count, shape_.head_dim}, place.panel, o);
  }

  void scatter(const Block& block, const Workplace& place) const {
    for (std::size_t row = 0; row < block.queries * plan_.group; ++row) {
      const float* from = place.o + row * plan_.width;
      float* to = out_.row(row_of(block, row)) + column_of(block, row);
      const float scale = 1 / place.sum[row];
      for (std::size_t d = 0; d < shape_.head_dim; ++d) to[d] = from[d] * scale;
    }
  }

  std::size_t row_of(const Block& block, std::size_t row) const {
    return block.job.first_row + block.first + row / plan_.group;
  }
  std::size_t column_of(const Block& block, std::size_t row) const {
    return (block.kv_head * plan_.group + row % plan_.group) * shape_.head_dim;
  }

  const AttentionShape& shape_;
  const Plan& plan_;
  Matrix<const float> q_;
  Matrix<float> out_;
};

}  // namespace

void attend(ThreadPool& pool, const AttentionShape& shape, Span<const AttentionJob> jobs,
            Matrix<const float> q, Matrix<float> out) {
  WDMOE_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.heads > 0);
  WDMOE_CHECK(shape.head_dim > 0 && shape.page_tokens > 0);
  WDMOE_CHECK(q.cols == shape.heads * shape.head_dim && out.cols == q.cols && q.rows == out.rows);
  const Plan plan(shape);
  std::size_t items = 0;
  for (const AttentionJob& job : jobs) {
    const std::size_t tokens = job.first_position + job.rows;
    WDMOE_CHECK(job.first_row + job.rows <= q.rows);
    WDMOE_CHECK(job.key_pages.size() * shape.page_tokens >= tokens);
    WDMOE_CHECK(job.value_pages.size() * shape.page_tokens >= tokens);
    items += plan.blocks(job) * shape.kv_heads;
  }
  pool.reserve_scratch(plan.scratch_floats());
  const Attention attention(shape, plan, q, out);
  pool.run(items, [&](std::size_t item, std::size_t thread) {
    // Late queries see the most tokens, so the longest items of a job go first.
    const AttentionJob* job = jobs.data();
    for (; item >= plan.blocks(*job) * shape.kv_heads; ++job)
      item -= plan.blocks(*job) * shape.kv_heads;
    const std::size_t block = plan.blocks(*job) - 1 - item / shape.kv_heads;
    const std::size_t first = block * plan.queries;
    attention.run({*job, item % shape.kv_heads, first, std::min(plan.queries, job->rows - first)},
                  Workplace(plan, pool.scratch(thread)));
  });
}

}  // namespace wdmoe::kernels
