// Devices, contexts, streams, events and faults of the stand-in.

#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/cuda/standin.h"

namespace wdmoe::standin {

namespace {

thread_local CUcontext current = nullptr;
CUcontext const kContext = reinterpret_cast<CUcontext>(0x10);
bool initialised = false;

struct Fault {
  std::string name;
  unsigned long at = 0, seen = 0;
  int code = 0;
};

Fault parse_fault(const char* spec) {
  Fault fault;
  const char* first = spec == nullptr ? nullptr : std::strchr(spec, ':');
  const char* second = first == nullptr ? nullptr : std::strchr(first + 1, ':');
  if (second == nullptr) return fault;
  fault.name.assign(spec, first);
  fault.at = std::strtoul(first + 1, nullptr, 10);
  fault.code = std::atoi(second + 1);
  return fault;
}

Fault& fault() {
  static Fault wanted = parse_fault(std::getenv("WDMOE_STANDIN_FAULT"));
  return wanted;
}

bool sticks(CUresult error) {
  return error == CUDA_ERROR_ILLEGAL_ADDRESS || error == CUDA_ERROR_LAUNCH_FAILED ||
         error == CUDA_ERROR_ECC_UNCORRECTABLE;
}

void check_nothing_left() {
  const Device& all = device();
  const std::size_t left = all.memory.size() + all.pinned.size() + all.streams.size() +
                           all.events.size() + all.modules.size() + all.graphs.size() +
                           all.executables.size() + all.handles;
  if (left > 0) die(std::to_string(left) + " things were not given back to the context");
}

/// The end of a context takes everything with it.
void forget_all() {
  Device& all = device();
  for (const auto& [address, allocation] : all.memory) unmap_memory(allocation);
  for (const auto& [address, bytes] : all.pinned) std::free(reinterpret_cast<void*>(address));
  all.memory.clear();
  all.pinned.clear();
  all.streams.clear();
  all.events.clear();
  all.modules.clear();
  all.graphs.clear();
  all.executables.clear();
  all.handles = 0;
  all.counters.device_bytes = 0;
}

}  // namespace

Device& device() {
  static Device all;
  return all;
}

int fault_of(const char* name) {
  Fault& wanted = fault();
  if (wanted.name != name) return 0;
  ++wanted.seen;
  return wanted.at == 0 || wanted.seen == wanted.at ? wanted.code : 0;
}

bool fault_happened() {
  return fault().seen > 0 && fault().seen >= fault().at;
}

CUresult run_until(Stream& stream, std::uint64_t target) {
  open_memory(true);
  CUresult error = CUDA_SUCCESS;
  while (error == CUDA_SUCCESS && stream.executed < target) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.executed;
    error = work();
  }
  open_memory(false);
  if (error != CUDA_SUCCESS) device().sticky = error;
  return error;
}

CUresult enter(const char* name) {
  if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (current == nullptr || device().retained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (device().sticky != CUDA_SUCCESS) return device().sticky;
  const auto error = static_cast<CUresult>(fault_of(name));
  if (sticks(error)) device().sticky = error;
  return error;
}

Stream& stream_of(CUstream stream) {
  if (stream == nullptr) die("the null stream is used beside a non-blocking one");
  return live(device().streams, stream, "stream");
}

void enqueue(Stream& stream, Work work) {
  if (stream.capturing != nullptr) {
    stream.capturing->work.push_back(std::move(work));
    return;
  }
  stream.queue.push_back(std::move(work));
  ++stream.enqueued;
}

}  // namespace wdmoe::standin

using namespace wdmoe::standin;
using Lock = std::lock_guard<std::recursive_mutex>;

extern "C" {

void wdmoe_standin_fault(const char* spec) {
  const Lock lock(device().mutex);
  fault() = parse_fault(spec);
}

StandinCounters wdmoe_standin_counters() {
  const Lock lock(device().mutex);
  return device().counters;
}

CUresult cuInit(unsigned flags) {
  if (const auto error = static_cast<CUresult>(fault_of("cuInit"))) return error;
  initialised = flags == 0;
  return initialised ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDriverGetVersion(int* version) {
  *version = 12'060;
  return static_cast<CUresult>(fault_of("cuDriverGetVersion"));
}

CUresult cuGetErrorName(CUresult error, const char** name) {
  static const std::map<int, const char*> kNames{
      {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
      {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
      {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
      {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
      {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"}};
  const auto found = kNames.find(error);
  if (found == kNames.end()) return CUDA_ERROR_INVALID_VALUE;
  *name = found->second;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return static_cast<CUresult>(fault_of("cuDeviceGetCount"));
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = 0;
  return initialised && ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char* name, int bytes, CUdevice) {
  std::strncpy(name, "stand-in", static_cast<std::size_t>(bytes));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  const char* text = std::getenv("WDMOE_STANDIN_SM");
  const int architecture = text == nullptr ? 87 : std::atoi(text);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = architecture / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = architecture % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
      *value = integrated() ? 1 : 0;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
      *value = 1;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  const Lock lock(device().mutex);
  if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (const auto error = static_cast<CUresult>(fault_of("cuDevicePrimaryCtxRetain"))) return error;
  ++device().retained;
  *context = kContext;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice) {
  const Lock lock(device().mutex);
  if (device().retained == 0) die("a context is released once too often");
  if (--device().retained > 0) return CUDA_SUCCESS;
  if (device().sticky == CUDA_SUCCESS) check_nothing_left();
  forget_all();
  device().sticky = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  if (context != nullptr && context != kContext) die("not a context");
  current = context;
  return device().sticky;
}

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
  WDMOE_ENTER("cuStreamCreate");
  if (flags != CU_STREAM_NON_BLOCKING) die("expected a non-blocking stream");
  auto* made = new Stream;
  device().streams.insert(made);
  *stream = reinterpret_cast<CUstream>(made);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream) {
  WDMOE_ENTER("cuStreamDestroy");
  if (!stream_of(stream).queue.empty() && !fault_happened())
    die("a stream is destroyed while work is under way");
  destroy(device().streams, stream, "cuStreamDestroy");
  return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
  WDMOE_ENTER("cuEventCreate");
  if ((flags & CU_EVENT_DISABLE_TIMING) == 0) die("an event that measures time costs a wait");
  auto* made = new Event;
  device().events.insert(made);
  *event = reinterpret_cast<CUevent>(made);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
  WDMOE_ENTER("cuEventDestroy");
  destroy(device().events, event, "cuEventDestroy");
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  WDMOE_ENTER("cuEventRecord");
  Stream& on = stream_of(stream);
  if (on.capturing != nullptr) die("an event is recorded inside a capture");
  live(device().events, event, "cuEventRecord") = {&on, on.enqueued};
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  WDMOE_ENTER("cuEventSynchronize");
  const Event& waited = live(device().events, event, "cuEventSynchronize");
  ++device().counters.waits;
  if (waited.stream == nullptr) die("waiting for an event that was never recorded");
  return run_until(*waited.stream, waited.target);
}

}  // extern "C"
