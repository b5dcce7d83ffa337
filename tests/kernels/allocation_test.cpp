// After warm-up the kernels do not allocate: this program counts every operator new.

#include <atomic>
#include <cstdlib>
#include <new>

#include <doctest/doctest.h>

#include "kernels/expert_backend.h"
#include "kernels/ops.h"
#include "tests/kernels/kernel_cases.h"

namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

// All forms that the library uses end here; free() takes what aligned_alloc() gave.
void* operator new(std::size_t size) {
  return counted(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

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
  const long reserved = allocations;
  bool overflowed = false;
  const ExpertWork first{0, {rows.data(), kRows}};
  const auto result = cpu->run({&first, 1}, in.view(), out.writable(), overflowed);
  CHECK(allocations == reserved);  // reserve() was enough
  CHECK(result);

  all(kRows);
  const long warm = allocations;
  for (const std::size_t count : {1u, 7u, 20u}) all(count);
  const long after = allocations;
  CHECK(after == warm);
}
