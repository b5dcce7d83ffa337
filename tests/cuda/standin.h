#pragma once
// A stand-in for the NVIDIA driver (libcuda.so.1) and cuBLAS (libcublas.so.12), for tests without a
// GPU.  It computes on the CPU and is stricter than the real thing:
//   * work runs only when the host waits for it, so a missing wait shows;
//   * device memory has no access rights while the host runs, has an inaccessible page at either
//     end, and starts as NaNs; the bytes up to the next page are watched;
//   * handles, states, ranges, leading dimensions, kernel names and parameter sizes (as in the PTX
//     that is loaded) are checked; a broken rule ends the process with one line;
//   * what is not given back before the context's last release is a broken rule too.
// It cannot show: races, wrong thread numbers in the .cu file, real cuBLAS rounding, speed.
//
// Environment: WDMOE_STANDIN_FAULT=NAME:N:CODE fails the N-th call (from 1; 0: every) of a function
// or execution of a kernel (NAME "wdmoe_…") with a CUresult or cuBLAS status; WDMOE_STANDIN_MEMORY:
// bytes of the device; WDMOE_STANDIN_INTEGRATED=1: it shares the host's memory;
// WDMOE_STANDIN_SM: its architecture, 87 unless said.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <cuda.h>

/// What has been called since the library was loaded.
struct StandinCounters {
  std::uint64_t allocations, waits, launches, graph_launches, products, device_bytes;
};

extern "C" {
/// The faults to come instead of those of the environment; "": none.  Counting starts anew.
void wdmoe_standin_fault(const char* spec);
StandinCounters wdmoe_standin_counters();
}

namespace wdmoe::standin {

/// Broken rule: one line, then abort().
[[noreturn]] void die(const std::string& rule);

/// One thing to do, in stream order; returns the error that comes to light when it runs.
using Work = std::function<CUresult()>;

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  std::deque<Work> queue;
  std::uint64_t enqueued = 0, executed = 0;
  Graph* capturing = nullptr;
};

struct Event {
  Stream* stream = nullptr;
  std::uint64_t target = 0;
};

/// Device memory between two inaccessible pages; [base, base + mapped) holds it.
struct Allocation {
  char* base;
  std::size_t mapped, bytes;
};

/// All of the device; one lock for everything.
struct Device {
  std::recursive_mutex mutex;
  int retained = 0;
  CUresult sticky = CUDA_SUCCESS;
  std::map<std::uintptr_t, Allocation> memory;
  std::map<std::uintptr_t, std::size_t> pinned;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<struct Module*> modules;
  std::set<Graph*> graphs, executables;
  std::size_t handles = 0;  ///< of cuBLAS
  StandinCounters counters{};
};
Device& device();

/// What this call shall fail with, by the fault that was asked for.
int fault_of(const char* name);

/// Whether the fault that was asked for has come: then what follows may be less orderly.
bool fault_happened();

/// Runs what was enqueued before `target`.
CUresult run_until(Stream& stream, std::uint64_t target);

/// CUDA_SUCCESS if the calling thread may call `name` now.
CUresult enter(const char* name);

/// Dies unless [address, + bytes) lies in one live allocation (or pinned memory that the device
/// sees).
void check_range(const void* address, std::size_t bytes, const char* what);
Stream& stream_of(CUstream stream);
void enqueue(Stream& stream, Work work);

template <class T, class Handle>
T& live(std::set<T*>& all, Handle handle, const char* what) {
  auto* known = reinterpret_cast<T*>(handle);
  if (all.count(known) == 0) die(std::string(what) + ": not a live handle");
  return *known;
}

template <class T, class Handle>
void destroy(std::set<T*>& all, Handle handle, const char* what) {
  T& known = live(all, handle, what);
  all.erase(&known);
  delete &known;
}

// standin_memory.cpp
Allocation map_memory(std::size_t bytes);
void unmap_memory(const Allocation& allocation);
void open_memory(bool open);  ///< access to all device memory, while work runs
bool integrated();

}  // namespace wdmoe::standin

/// The first lines of most calls: one at a time, and only when the context is alive.
#define WDMOE_ENTER(name)                                                             \
  const std::lock_guard<std::recursive_mutex> lock(::wdmoe::standin::device().mutex); \
  if (const CUresult wdmoe_error = ::wdmoe::standin::enter(name)) return wdmoe_error
