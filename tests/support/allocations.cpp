#include "tests/support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> of_all{0};
thread_local std::size_t of_this_thread = 0;

/// malloc() stays the sanitizers' own where they are linked.  Null when memory is short.
void* counted(std::size_t size, std::size_t alignment) {
  of_all.fetch_add(1, std::memory_order_relaxed);
  ++of_this_thread;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
}

void* counted_or_throw(std::size_t size, std::size_t alignment) {
  if (void* memory = counted(size, alignment)) return memory;
  throw std::bad_alloc();
}

constexpr std::size_t kUsual = alignof(std::max_align_t);

}  // namespace

namespace wdmoe::test {

std::size_t allocations() {
  return of_all.load(std::memory_order_relaxed);
}

std::size_t allocations_of_this_thread() {
  return of_this_thread;
}

}  // namespace wdmoe::test

// free() takes what aligned_alloc() gave, so one way back serves all.  Array forms are written out
// because a sanitizer's runtime brings its own.
void* operator new(std::size_t size) {
  return counted_or_throw(size, kUsual);
}
void* operator new[](std::size_t size) {
  return counted_or_throw(size, kUsual);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {  // std::stable_sort's
  return counted(size, kUsual);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size, kUsual);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
