// Memory of the stand-in: rules of ranges, poison and access.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "tests/cuda/standin.h"

namespace wdmoe::standin {
namespace {

constexpr std::size_t kAlignment = 256;  // as cuMemAlloc promises
constexpr unsigned char kWatched = 0xA5;

std::size_t page() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

/// The memory lies as far up as its alignment lets it, so that the next page comes right after.
char* start_of(const Allocation& allocation) {
  const std::size_t used = (allocation.bytes + kAlignment - 1) / kAlignment * kAlignment;
  return allocation.base + allocation.mapped - used;
}

std::size_t device_bytes() {
  const char* text = std::getenv("WDMOE_STANDIN_MEMORY");
  return text == nullptr ? std::size_t{1} << 30 : std::strtoull(text, nullptr, 10);
}

void check_watched(const Allocation& allocation) {
  const char* start = start_of(allocation);
  for (const char* at = start + allocation.bytes; at < allocation.base + allocation.mapped; ++at)
    if (static_cast<unsigned char>(*at) != kWatched)
      die("work wrote beyond an allocation of " + std::to_string(allocation.bytes) + " bytes");
}

}  // namespace

void die(const std::string& rule) {
  std::fprintf(stderr, "CUDA stand-in: %s\n", rule.c_str());
  std::abort();
}

bool integrated() {
  const char* text = std::getenv("WDMOE_STANDIN_INTEGRATED");
  return text != nullptr && *text == '1';
}

Allocation map_memory(std::size_t bytes) {
  Allocation allocation{nullptr, (bytes + kAlignment + page() - 1) / page() * page(), bytes};
  void* at = ::mmap(nullptr, allocation.mapped + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                    -1, 0);
  if (at == MAP_FAILED) die("the host has no memory left");
  allocation.base = static_cast<char*>(at) + page();
  ::mprotect(allocation.base, allocation.mapped, PROT_READ | PROT_WRITE);
  std::memset(allocation.base, kWatched, allocation.mapped);
  std::memset(start_of(allocation), 0xFF, bytes);  // NaN in every format
  ::mprotect(allocation.base, allocation.mapped, PROT_NONE);
  return allocation;
}

void unmap_memory(const Allocation& allocation) {
  ::mprotect(allocation.base, allocation.mapped, PROT_READ);
  check_watched(allocation);
  ::munmap(allocation.base - page(), allocation.mapped + 2 * page());
}

void open_memory(bool open) {
  for (const auto& [address, allocation] : device().memory) {
    if (!open) check_watched(allocation);
    ::mprotect(allocation.base, allocation.mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

void check_range(const void* address, std::size_t bytes, const char* what) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto inside = [&](std::uintptr_t start, std::size_t size) {
    return at >= start && at - start <= size && bytes <= size - (at - start);
  };
  Device& device = standin::device();
  if (auto next = device.memory.upper_bound(at); next != device.memory.begin()) {
    --next;
    if (inside(next->first, next->second.bytes)) return;
  }
  if (auto next = device.pinned.upper_bound(at); integrated() && next != device.pinned.begin()) {
    --next;
    if (inside(next->first, next->second)) return;
  }
  die(std::string(what) + ": " + std::to_string(bytes) + " bytes at " + std::to_string(at) +
      " are not inside one live allocation");
}

}  // namespace wdmoe::standin

using namespace wdmoe::standin;

extern "C" {

CUresult cuMemGetInfo(std::size_t* unused, std::size_t* total) {
  WDMOE_ENTER("cuMemGetInfo");
  *total = device_bytes();
  *unused = *total - std::min<std::size_t>(*total, device().counters.device_bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr* address, std::size_t bytes) {
  WDMOE_ENTER("cuMemAlloc");
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  Device& device = wdmoe::standin::device();
  for (const Stream* stream : device.streams)
    if (stream->capturing != nullptr) die("memory allocated while a stream is captured");
  if (bytes > device_bytes() - device.counters.device_bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  ++device.counters.allocations;
  device.counters.device_bytes += bytes;
  const Allocation allocation = map_memory(bytes);
  *address = reinterpret_cast<CUdeviceptr>(start_of(allocation));
  device.memory.emplace(static_cast<std::uintptr_t>(*address), allocation);
  return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr address) {
  WDMOE_ENTER("cuMemFree");
  Device& device = wdmoe::standin::device();
  const auto found = device.memory.find(static_cast<std::uintptr_t>(address));
  if (found == device.memory.end()) die("cuMemFree of what is not an allocation");
  for (Stream* stream : device.streams) {
    if (stream->queue.empty()) continue;
    if (!fault_happened()) die("memory freed while work is under way");
    if (const CUresult error = run_until(*stream, stream->enqueued)) return error;  // it waits
  }
  device.counters.device_bytes -= found->second.bytes;
  unmap_memory(found->second);
  device.memory.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  WDMOE_ENTER("cuMemHostAlloc");
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (integrated() != ((flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0))
    die("pinned memory is mapped exactly where the device shares the host's");
  *address = std::malloc(bytes);
  std::memset(*address, 0xFF, bytes);
  ++device().counters.allocations;
  device().pinned.emplace(reinterpret_cast<std::uintptr_t>(*address), bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* address) {
  WDMOE_ENTER("cuMemFreeHost");
  if (device().pinned.erase(reinterpret_cast<std::uintptr_t>(address)) == 0)
    die("cuMemFreeHost of what is not pinned memory");
  std::free(address);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr* there, void* address, unsigned flags) {
  WDMOE_ENTER("cuMemHostGetDevicePointer");
  if (!integrated() || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *there = reinterpret_cast<CUdeviceptr>(address);
  return CUDA_SUCCESS;
}

/// Copies between pinned and device memory, when the stream gets there.
static CUresult copy(const char* name, CUdeviceptr there, const void* here, std::size_t bytes,
                     CUstream stream, bool up) {
  WDMOE_ENTER(name);
  check_range(reinterpret_cast<const void*>(there), bytes, name);
  const auto at = reinterpret_cast<std::uintptr_t>(here);
  auto next = device().pinned.upper_bound(at);
  if (next == device().pinned.begin()) die(std::string(name) + ": host memory is not pinned");
  --next;
  if (at - next->first > next->second || bytes > next->second - (at - next->first))
    die(std::string(name) + ": beyond the pinned memory");
  void* to = up ? reinterpret_cast<void*>(there) : const_cast<void*>(here);
  const void* from = up ? here : reinterpret_cast<const void*>(there);
  if (!up) std::memset(to, 0xFF, bytes);  // who reads before waiting reads NaNs
  enqueue(stream_of(stream), [=] {
    std::memcpy(to, from, bytes);
    return CUDA_SUCCESS;
  });
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return copy("cuMemcpyHtoDAsync", to, from, bytes, stream, true);
}

CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return copy("cuMemcpyDtoHAsync", from, to, bytes, stream, false);
}

}  // extern "C"
