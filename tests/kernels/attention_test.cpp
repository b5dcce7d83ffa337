#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "kernels/ops.h"
#include "kernels/reference.h"
#include "tests/kernels/kernel_cases.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

namespace {

/// A paged cache of one sequence, filled with seeded numbers.
struct Cache {
  std::vector<std::vector<float>> pages;
  std::vector<const float*> keys, values;

  Cache(const AttentionShape& shape, std::size_t tokens, std::mt19937& random) {
    const std::size_t count = (tokens + shape.page_tokens - 1) / shape.page_tokens;
    const std::size_t floats = shape.kv_heads * shape.page_tokens * shape.head_dim;
    for (std::size_t page = 0; page < 2 * count; ++page)
      pages.push_back(random_floats(floats, random));
    for (std::size_t page = 0; page < count; ++page) {
      keys.push_back(pages[2 * page].data());
      values.push_back(pages[2 * page + 1].data());
    }
  }
  AttentionJob job(std::size_t first_row, std::size_t rows, std::size_t first_position) const {
    return {first_row,
            rows,
            first_position,
            {keys.data(), keys.size()},
            {values.data(), values.size()}};
  }
};

struct AttentionCase {
  const char* name;
  AttentionShape shape;
  struct Job {
    std::size_t rows, first_position;
  };
  std::vector<Job> jobs;
};

const AttentionCase kCases[] = {
    {"one token sees itself", {1, 1, 8, 4, 0}, {{1, 0}}},
    {"odd shape: 3 heads, 1 kv head, head_dim 12", {3, 1, 12, 5, 0}, {{17, 0}}},
    {"decode after a long prompt", {8, 4, 64, 16, 0}, {{1, 700}}},
    {"prefill of several query blocks", {4, 2, 64, 16, 0}, {{150, 0}}},
    {"a later slice of a prompt", {4, 4, 33, 16, 0}, {{40, 90}}},
    {"sliding window shorter than a page", {4, 2, 16, 32, 5}, {{1, 99}, {50, 0}}},
    {"sliding window over pages", {2, 2, 20, 8, 30}, {{64, 20}}},
    {"window of one", {2, 1, 16, 8, 1}, {{10, 3}}},
    {"a batch of decodes and a prefill", {8, 2, 32, 16, 0}, {{1, 5}, {1, 0}, {1, 64}, {70, 16}}},
    {"pages longer than a block", {2, 1, 8, 100, 0}, {{5, 170}}},
    {"a job without rows", {2, 1, 8, 4, 0}, {{0, 3}, {2, 1}}},
    {"more heads in a group than a block has rows", {80, 1, 8, 16, 0}, {{2, 20}}},
};

/// Worst error in units of the bound.
///
/// Scores: |q·k| <= head_dim for entries below 1, so a score is off by at most
/// head_dim²·eps/sqrt(head_dim), and each weight by that relative error plus that of exp
/// (2 eps) and of the running sums (tokens·eps); each value is below 1 and weights sum to 1.
double worst_of(ThreadPool& pool, const AttentionCase& c) {
  std::mt19937 random(11);
  std::size_t rows = 0;
  for (const AttentionCase::Job& job : c.jobs) rows += job.rows;
  std::vector<Cache> caches;
  std::vector<AttentionJob> jobs;
  std::size_t row = 0, longest = 0;
  for (const AttentionCase::Job& job : c.jobs) {
    caches.emplace_back(c.shape, job.first_position + job.rows, random);
    longest = std::max(longest, job.first_position + job.rows);
  }
  for (std::size_t i = 0; i < c.jobs.size(); row += c.jobs[i++].rows)
    jobs.push_back(caches[i].job(row, c.jobs[i].rows, c.jobs[i].first_position));

  const std::size_t cols = c.shape.heads * c.shape.head_dim;
  const std::vector<float> q = random_floats(rows * cols, random);
  std::vector<float> out(rows * cols, 9.0f), expected(rows * cols);
  const Span<const AttentionJob> all(jobs.data(), jobs.size());
  attend(pool, c.shape, all, {q.data(), rows, cols}, {out.data(), rows, cols});
  reference::attend(c.shape, all, {q.data(), rows, cols}, {expected.data(), rows, cols});

  const auto dim = static_cast<double>(c.shape.head_dim);
  const double bound = 2 * (dim * std::sqrt(dim) + 2 + static_cast<double>(longest)) * kEpsilon;
  WorstError worst;
  for (std::size_t i = 0; i < out.size(); ++i)
    worst.see(static_cast<double>(out[i]), static_cast<double>(expected[i]), bound);
  return worst.ratio();
}

}  // namespace

TEST_CASE("attend: equals the reference for every shape of batch, page and window") {
  ThreadPool pool(2);
  for (const AttentionCase& c : kCases) {
    CAPTURE(c.name);
    for_each_target([&](const char* target) {
      CAPTURE(target);
      CHECK(worst_of(pool, c) <= 1);
    });
  }
}

TEST_CASE("attend: survives scores that only a running maximum can handle") {
  // exp(score) overflows f32 for scores above 88; here they reach 4000, rising with the position.
  const AttentionShape shape{1, 1, 16, 8, 0};
  std::mt19937 random(13);
  Cache cache(shape, 100, random);
  for (std::size_t page = 0; page < cache.keys.size(); ++page)
    for (std::size_t i = 0; i < 8 * 16; ++i)
      cache.pages[2 * page][i] = static_cast<float>(page * 8 + i / 16);
  const std::vector<float> q(16, 10.0f);
  std::vector<float> out(16), expected(16);
  const AttentionJob job = cache.job(0, 1, 99);
  ThreadPool pool(1);
  attend(pool, shape, {&job, 1}, {q.data(), 1, 16}, {out.data(), 1, 16});
  reference::attend(shape, {&job, 1}, {q.data(), 1, 16}, {expected.data(), 1, 16});
  for (std::size_t d = 0; d < 16; ++d) CHECK(out[d] == doctest::Approx(expected[d]).epsilon(1e-6));
}
