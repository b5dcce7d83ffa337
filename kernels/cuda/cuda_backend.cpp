// Shapes: in [rows, hidden]; assignments (row, expert) are numbered expert after expert.
//   x [assignments, hidden] scaled f16; gate_up [chunk, 2·ffn] f32; h [chunk, ffn] scaled f16 (few
//   rows: f32); y [assignments, hidden] f32; out [rows, hidden].
// Products leave f32, so that nothing between two roundings can overflow.  Few rows take the
// matrix-vector kernels, replayed as a CUDA graph per shape; more take cuBLAS per expert.

#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "kernels/cuda/message.h"
#include "kernels/expert_checks.h"

namespace wdmoe::cuda {
namespace {

using kernels::ExpertHandle;
using kernels::ExpertWork;

constexpr std::size_t kMostRows = 65'535;  // a grid's extent in y
constexpr std::size_t kVectorRows = 4;     // of one expert: more are worth a matrix product
constexpr std::size_t kVectorAssignments = 64;
constexpr std::size_t kChunkRows = 512;  // of one expert at a time, bounds gate_up and h
constexpr std::size_t kMostGraphs = 32;  // shapes beyond these are launched one by one
constexpr std::size_t kFlagBytes = 16;   // before the sums, in the download

class CudaBackend final : public kernels::ExpertBackend {
 public:
  ~CudaBackend() override;
  Result<void> open() { return gpu_.open(); }
  std::string_view name() const override { return "cuda"; }
  kernels::BackendFacts facts() const override {
    return {gpu_.description(), saturated_ + (loader_ ? loader_->saturated() : 0), true};
  }

  Result<ExpertHandle> load(const ExpertWeights& weights) override;
  Result<void> reserve(std::size_t rows, std::size_t assignments) override;
  Result<void> run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                   bool& overflowed) override;

 private:
  /// What a message looks like to the device; equal shapes replay one graph.
  struct Shape {
    std::size_t rows, assignments;
    DType in, out;
    bool operator==(const Shape& other) const {
      return rows == other.rows && assignments == other.assignments && in == other.in &&
             out == other.out;
    }
  };
  struct Graph {
    Shape shape;
    Owned<CUgraphExec> exec;
  };
  struct Room {
    std::size_t rows = 0, assignments = 0, widest = 0;
    PinnedMemory upload, download;
    DeviceMemory upload_there, download_there;  ///< empty where memory is shared
    DeviceMemory x, x_scale, h_scale, gate_up, h, y;
  };

  Result<void> make_room(std::size_t rows, std::size_t assignments);
  Result<void> allocate(Room& room) const;
  Result<void> compute(Span<const ExpertWork> work, const Shape& shape);
  Result<void> replay(const Shape& shape);
  Result<void> capture(const Shape& shape, Graph& graph);
  Result<void> enqueue(Span<const ExpertWork> work, const Shape& shape, bool vectors);
  Result<void> vectors(const Shape& shape);
  Result<void> products(Span<const ExpertWork> work);
  Result<void> product(const Half* weight, std::size_t out, const Half* x, std::size_t in,
                       std::size_t rows, float* y);

  CUdeviceptr there(const PinnedMemory& pinned, const DeviceMemory& device) const {
    return pinned.device != 0 ? pinned.device : device.owned.get();
  }
  CUdeviceptr upload_at(std::size_t offset) const {
    return there(room_.upload, room_.upload_there) + offset;
  }
  CUdeviceptr download_at(std::size_t offset) const {
    return there(room_.download, room_.download_there) + offset;
  }
  UploadLayout layout_of(const Shape& shape) const {
    return {shape.rows, shape.assignments, shape.rows * hidden_ * bytes_of(shape.in)};
  }

  Gpu gpu_;
  std::optional<WeightLoader> loader_;  ///< from the first load() to the next reserve()
  std::uint64_t saturated_ = 0;         ///< weights, by loaders before
  std::vector<Resident> experts_;
  std::size_t hidden_ = 0, widest_ = 0;  ///< widest_: the largest ffn loaded
  Room room_;
  std::array<Graph, kMostGraphs> graphs_;
  std::size_t graphs_made_ = 0;
  std::optional<Error> broken_;  ///< the first failure while computing; nothing is tried after it
};

CudaBackend::~CudaBackend() {
  if (!gpu_.opened()) return;
  static_cast<void>(gpu_.use());     // memory is given back by whichever thread this is,
  static_cast<void>(gpu_.finish());  // and after a failure work may still be under way
}

Result<ExpertHandle> CudaBackend::load(const ExpertWeights& weights) {
  if (auto fits = kernels::check_expert(weights, hidden_); !fits)
    return tl::unexpected(fits.error());
  if (auto used = gpu_.use(); !used) return tl::unexpected(used.error());
  if (!loader_) {
    loader_.emplace(gpu_);
    if (auto opened = loader_->open(); !opened) {
      loader_.reset();
      return tl::unexpected(opened.error());
    }
  }
  auto expert = loader_->load(weights);
  if (!expert) return tl::unexpected(expert.error());
  hidden_ = weights.gate.cols;
  widest_ = std::max(widest_, weights.gate.rows);
  experts_.push_back(std::move(*expert));
  return static_cast<ExpertHandle>(experts_.size() - 1);
}

Result<void> CudaBackend::reserve(std::size_t rows, std::size_t assignments) {
  WDMOE_TRY(gpu_.use());
  if (loader_) saturated_ += loader_->saturated();
  loader_.reset();
  return make_room(rows, assignments);
}

Result<void> CudaBackend::make_room(std::size_t rows, std::size_t assignments) {
  if (std::max(rows, assignments) > kMostRows)
    return fail(Code::limit, "experts: " + std::to_string(std::max(rows, assignments)) +
                                 " rows at once: expected at most " + std::to_string(kMostRows));
  if (rows <= room_.rows && assignments <= room_.assignments && widest_ <= room_.widest) return {};
  const std::size_t most_rows = std::max(rows, room_.rows);
  const std::size_t most_assignments = std::max(assignments, room_.assignments);
  for (Graph& graph : graphs_) graph.exec.reset();  // they hold the old addresses
  graphs_made_ = 0;
  room_ = {};  // before the new, so that both never exist
  Room room;
  room.rows = most_rows;
  room.assignments = most_assignments;
  room.widest = widest_;
  WDMOE_TRY(allocate(room));
  room_ = std::move(room);
  return {};
}

Result<void> CudaBackend::allocate(Room& room) const {
  const std::size_t chunk = std::min(room.rows, kChunkRows);
  const std::size_t vectors = std::min(room.assignments, kVectorAssignments);
  const std::size_t upload =
      UploadLayout(room.rows, room.assignments, room.rows * hidden_ * sizeof(float)).bytes;
  const std::size_t download = kFlagBytes + room.rows * hidden_ * sizeof(float);
  const std::size_t gate_up = std::max(2 * chunk, vectors) * room.widest * sizeof(float);
  struct {
    DeviceMemory& memory;
    std::size_t bytes;
    bool wanted;
  } const parts[] = {{room.upload_there, upload, !gpu_.shares_memory()},
                     {room.download_there, download, !gpu_.shares_memory()},
                     {room.x, room.assignments * hidden_ * sizeof(Half), true},
                     {room.x_scale, room.assignments * sizeof(float), true},
                     {room.h_scale, room.assignments * sizeof(float), true},
                     {room.gate_up, gate_up, true},
                     {room.h, chunk * room.widest * sizeof(Half), true},
                     {room.y, room.assignments * hidden_ * sizeof(float), true}};
  for (const auto& part : parts) {
    if (!part.wanted) continue;
    auto memory = gpu_.allocate(std::max<std::size_t>(part.bytes, 16), "a message");
    if (!memory) return tl::unexpected(memory.error());
    part.memory = std::move(*memory);
  }
  auto up = gpu_.allocate_pinned(upload, "pinned memory for a message");
  if (!up) return tl::unexpected(up.error());
  room.upload = std::move(*up);
  auto down = gpu_.allocate_pinned(download, "pinned memory for a message");
  if (!down) return tl::unexpected(down.error());
  room.download = std::move(*down);
  return {};
}

Result<void> CudaBackend::run(Span<const ExpertWork> work, Tensor in, MutableTensor out,
                              bool& overflowed) {
  WDMOE_TRY(kernels::check_work(work, in, out, experts_.size(), hidden_));
  overflowed = false;
  std::size_t assignments = 0;
  for (const ExpertWork& item : work) assignments += item.rows.size();
  if (assignments == 0) {
    if (out.size_bytes() > 0) std::memset(out.data, 0, out.size_bytes());
    return {};
  }
  if (broken_) return tl::unexpected(*broken_);
  WDMOE_TRY(gpu_.use());
  WDMOE_TRY(make_room(in.rows, assignments));

  const Shape shape{in.rows, assignments, in.dtype, out.dtype};
  write_upload(room_.upload.data(), layout_of(shape), work, in, experts_);
  auto computed = compute(work, shape);
  if (computed) computed = gpu_.finish();
  if (!computed) {
    broken_ = Error{Code::unavailable, computed.error().text};
    return tl::unexpected(*broken_);
  }
  std::uint32_t flag = 0;
  std::memcpy(&flag, room_.download.data(), sizeof flag);
  std::memcpy(out.data, room_.download.data() + kFlagBytes, out.size_bytes());
  overflowed = flag != 0;
  return {};
}

Result<void> CudaBackend::compute(Span<const ExpertWork> work, const Shape& shape) {
  std::size_t longest = 0;
  for (const ExpertWork& item : work) longest = std::max(longest, item.rows.size());
  const bool few = longest <= kVectorRows && shape.assignments <= kVectorAssignments;
  return few ? replay(shape) : enqueue(work, shape, false);
}

/// The graph of this shape, made when it is new and there is a place for it.
Result<void> CudaBackend::replay(const Shape& shape) {
  const auto made = graphs_.begin() + static_cast<std::ptrdiff_t>(graphs_made_);
  auto graph =
      std::find_if(graphs_.begin(), made, [&](const Graph& g) { return g.shape == shape; });
  if (graph == graphs_.end()) return enqueue({}, shape, true);
  if (graph == made) {
    WDMOE_TRY(capture(shape, *graph));
    ++graphs_made_;
  }
  const Api& api = gpu_.api();
  return api.check(api.cuGraphLaunch(graph->exec.get(), gpu_.stream()), "cuGraphLaunch");
}

Result<void> CudaBackend::capture(const Shape& shape, Graph& graph) {
  const Api& api = gpu_.api();
  WDMOE_TRY(api.check(api.cuStreamBeginCapture(gpu_.stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                      "capturing"));
  auto captured = enqueue({}, shape, true);
  CUgraph made = nullptr;
  const auto ended = api.check(api.cuStreamEndCapture(gpu_.stream(), &made), "capturing");
  const Owned<CUgraph> nodes(made, api.cuGraphDestroy);
  if (captured) captured = ended;
  if (!captured) return captured;
  CUgraphExec exec = nullptr;
  WDMOE_TRY(
      api.check(api.cuGraphInstantiateWithFlags(&exec, made, 0), "cuGraphInstantiateWithFlags"));
  graph.exec = {exec, api.cuGraphExecDestroy};
  graph.shape = shape;
  return {};
}

Result<void> CudaBackend::enqueue(Span<const ExpertWork> work, const Shape& shape, bool few) {
  const Api& api = gpu_.api();
  const UploadLayout layout = layout_of(shape);
  const auto hidden = static_cast<std::uint32_t>(hidden_);
  const auto* assigned = reinterpret_cast<const Assigned*>(upload_at(layout.assigned));
  auto* flag = reinterpret_cast<std::uint32_t*>(download_at(0));
  if (!gpu_.shares_memory())
    WDMOE_TRY(api.check(
        api.cuMemcpyHtoDAsync(upload_at(0), room_.upload.data(), layout.bytes, gpu_.stream()),
        "copying rows to the device"));
  WDMOE_TRY(gpu_.launch<Gather>(
      {reinterpret_cast<const void*>(upload_at(layout.in)), assigned, room_.x.as<Half>(),
       room_.x_scale.as<float>(), flag, static_cast<std::uint32_t>(shape.in), hidden,
       static_cast<std::uint32_t>(shape.assignments)},
      shape.assignments, 1));
  WDMOE_TRY(few ? vectors(shape) : products(work));
  WDMOE_TRY(gpu_.launch<ScatterAdd>(
      {assigned, reinterpret_cast<const std::uint32_t*>(upload_at(layout.first)),
       reinterpret_cast<const std::uint32_t*>(upload_at(layout.order)), room_.y.as<float>(),
       room_.h_scale.as<float>(), reinterpret_cast<void*>(download_at(kFlagBytes)), flag,
       static_cast<std::uint32_t>(shape.out), hidden, static_cast<std::uint32_t>(shape.rows)},
      (hidden_ + ScatterAdd::kLanes - 1) / ScatterAdd::kLanes, shape.rows));
  if (gpu_.shares_memory()) return {};
  return api.check(
      api.cuMemcpyDtoHAsync(room_.download.data(), download_at(0),
                            kFlagBytes + shape.rows * hidden_ * bytes_of(shape.out), gpu_.stream()),
      "copying sums from the device");
}

Result<void> CudaBackend::vectors(const Shape& shape) {
  const auto* assigned = reinterpret_cast<const Assigned*>(upload_at(layout_of(shape).assigned));
  const auto hidden = static_cast<std::uint32_t>(hidden_);
  const auto count = static_cast<std::uint32_t>(shape.assignments);
  const auto stride = static_cast<std::uint32_t>(room_.widest);
  auto* h = room_.gate_up.as<float>();
  WDMOE_TRY(gpu_.launch<GateUpVector>({assigned, room_.x.as<Half>(), room_.x_scale.as<float>(), h,
                                       room_.h_scale.as<float>(), hidden, count, stride},
                                      stride, count));
  return gpu_.launch<DownVector>({assigned, h, room_.y.as<float>(), hidden, count, stride}, hidden,
                                 count);
}

/// Expert after expert, and chunks of rows of one: each waits for gate_up and h in stream order.
Result<void> CudaBackend::products(Span<const ExpertWork> work) {
  std::size_t a = 0;
  for (const ExpertWork& item : work) {
    const Resident& expert = experts_[item.expert];
    for (std::size_t done = 0; done < item.rows.size(); done += kChunkRows) {
      const std::size_t rows = std::min(kChunkRows, item.rows.size() - done);
      auto* gate_up = room_.gate_up.as<float>();
      auto* h = room_.h.as<Half>();
      WDMOE_TRY(product(expert.gate_up.as<Half>(), std::size_t{2} * expert.ffn,
                        room_.x.as<Half>() + a * hidden_, hidden_, rows, gate_up));
      WDMOE_TRY(gpu_.launch<SiluMultiply>(
          {gate_up, room_.x_scale.as<float>() + a, h, room_.h_scale.as<float>() + a, expert.ffn,
           static_cast<std::uint32_t>(rows)},
          rows, 1));
      WDMOE_TRY(product(expert.down.as<Half>(), hidden_, h, expert.ffn, rows,
                        room_.y.as<float>() + a * hidden_));
      a += rows;
    }
  }
  return {};
}

/// y[rows, out] = x[rows, in] · weightᵀ.  cuBLAS counts columns first: yᵀ = weight · xᵀ, where the
/// row-major weight [out, in] reads as its transpose with leading dimension `in`.
Result<void> CudaBackend::product(const Half* weight, std::size_t out, const Half* x,
                                  std::size_t in, std::size_t rows, float* y) {
  constexpr float kOne = 1, kZero = 0;
  const int m = static_cast<int>(out), n = static_cast<int>(rows), k = static_cast<int>(in);
  return Api::check_cublas(
      gpu_.api().cublasGemmEx(gpu_.blas(), cublas::kOpT, cublas::kOpN, m, n, k, &kOne, weight,
                              cublas::kReal16F, k, x, cublas::kReal16F, k, &kZero, y,
                              cublas::kReal32F, m, cublas::kCompute32F, cublas::kGemmDefault),
      "cublasGemmEx");
}

}  // namespace

Result<std::unique_ptr<kernels::ExpertBackend>> make_cuda_backend() {
  auto backend = std::make_unique<CudaBackend>();
  if (auto opened = backend->open(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<kernels::ExpertBackend>(std::move(backend));
}

}  // namespace wdmoe::cuda
