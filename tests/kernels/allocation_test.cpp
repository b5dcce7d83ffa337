// After warm-up the kernels do not allocate: this program counts every operator new.

#include <doctest/doctest.h>

#include "kernels/expert_backend.h"
#include "kernels/ops.h"
#include "tests/kernels/kernel_cases.h"
#include "tests/support/allocations.h"

using namespace wdmoe;
using namespace wdmoe::kernels;

TEST_CASE("kernels: do not allocate once they have seen a call as large") {
  constexpr std::size_t kHidden = 48, kFfn = 80, kRows = 20;
  std::mt19937 random(43);
  const OwnedTensor gate(kFfn, kHidden, DType::f16, 1, random);
  const OwnedTensor up(kFfn, kHidden, DType::f16, 1, random);
  const OwnedTensor down(kHidden, kFfn, DType::f16, 1, random);
  const OwnedTensor in(kRows, kHidden, DType::f16, 1, random);
  OwnedTensor out(kRows, kHidden, DType::f16, 1, random);
  std::vector<RowWeight> rows;
  for (std::uint32_t row = 0; row < kRows; ++row) rows.push_back({row, 0.5f});

  ThreadPool pool(2);
  const auto cpu = make_cpu_backend(pool);
  REQUIRE(cpu->load({gate.view(), up.view(), down.view()}));
  REQUIRE(cpu->reserve(kRows, kRows));
  const std::vector<float> x = random_floats(kRows * kHidden, random);
  std::vector<float> y(kRows * kFfn), attended(kRows * kHidden);
  const std::vector<float> pages = random_floats(3 * 8 * 16, random);
  const float* page_list[] = {pages.data(), pages.data(), pages.data()};
  const AttentionJob job{0, kRows, 0, page_list, page_list};

  const auto all = [&](std::size_t count) {
    const ExpertWork work{0, {rows.data(), count}};
    bool overflowed = false;
    CHECK(cpu->run({&work, 1}, in.view(), out.writable(), overflowed));
    linear(pool, gate.view(), {x.data(), count, kHidden}, {y.data(), count, kFfn});
    attend(pool, {3, 1, 16, 8, 0}, {&job, 1}, {x.data(), kRows, kHidden},
           {attended.data(), kRows, kHidden});
  };
  const std::size_t reserved = test::allocations();
  bool overflowed = false;
  const ExpertWork first{0, {rows.data(), kRows}};
  const auto result = cpu->run({&first, 1}, in.view(), out.writable(), overflowed);
  CHECK(test::allocations() == reserved);  // reserve() was enough
  CHECK(result);

  all(kRows);
  const std::size_t warm = test::allocations();
  for (const std::size_t count : {1u, 7u, 20u}) all(count);
  const std::size_t after = test::allocations();
  CHECK(after == warm);
}
